// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/ceph/go-ceph/rados"

	"husk/route"
)

// Fence adds clients to the cluster's blocklist for a while, and returns when the blocklist is in
// effect: from then on every OSD refuses everything that they send to the volumes pool, even if
// they were suspended and wake up. An error means that this is not confirmed. An address is that of
// a Watcher, or ip:0/0 for every client of a host.
func (c *Cluster) Fence(ctx context.Context, addresses []string, during time.Duration) error {
	for _, addr := range addresses {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := c.monCommand(map[string]any{
			"prefix": "osd blocklist", "blocklistop": "add", "addr": addr, "expire": json.Number(fmt.Sprintf("%.1f", during.Seconds())), // an integer is refused
		})
		if err != nil {
			return fmt.Errorf("fence %s: %w", addr, err)
		}
	}
	if err := c.blocklistEverywhere(ctx); err != nil {
		return fmt.Errorf("fence is not confirmed: %w", err)
	}
	return nil
}

// blocklistEverywhere returns when every placement group of the volumes pool uses the newest OSD
// map, and so its blocklist.
//
// The mon's response is not enough: OSDs get the new map a moment later, and until then accept
// writes of the fenced client (a test here observed it). A placement group first catches up with
// the map of a client that sends it a request. So it is enough to get the newest map, and to send
// each placement group a request for an object's name.
func (c *Cluster) blocklistEverywhere(ctx context.Context) error {
	if err := c.conn.WaitForLatestOSDMap(); err != nil {
		return err
	}
	out, err := c.monCommand(map[string]any{"prefix": "osd pool get", "pool": c.cfg.VolumesPool, "var": "pg_num"})
	if err != nil {
		return err
	}
	var pool struct {
		Count int `json:"pg_num"`
	}
	if err := json.Unmarshal(out, &pool); err != nil || pool.Count <= 0 {
		return errors.Join(errors.New("number of placement groups is unknown"), err)
	}
	objects, err := c.volumes.Iter()
	if err != nil {
		return err
	}
	defer objects.Close()
	for pg := range pool.Count {
		if err := ctx.Err(); err != nil {
			return err
		}
		objects.Seek(rados.IterToken(pg)) // hash position n is in placement group n
		objects.Next()
		if err := objects.Err(); err != nil {
			return fmt.Errorf("placement group %d: %w", pg, err)
		}
	}
	return nil
}

// Unfence removes addresses from the blocklist. It succeeds if an address is not on it. Processes
// that were fenced do not recover.
func (c *Cluster) Unfence(ctx context.Context, addresses []string) error {
	for _, addr := range addresses {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := c.monCommand(map[string]any{"prefix": "osd blocklist", "blocklistop": "rm", "addr": addr})
		if err != nil && !notFound(err) {
			return fmt.Errorf("unfence %s: %w", addr, err)
		}
	}
	return nil
}

// Fenced returns the blocklist.
func (c *Cluster) Fenced(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out, err := c.monCommand(map[string]any{"prefix": "osd blocklist ls"})
	if err != nil {
		return nil, fmt.Errorf("list blocklist: %w", err)
	}
	var addresses []string
	// The output contains two lists: addresses, and address ranges.
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var list []struct{ Addr string }
		err := decoder.Decode(&list)
		if errors.Is(err, io.EOF) {
			return addresses, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list blocklist: %w", err)
		}
		for _, e := range list {
			addresses = append(addresses, e.Addr)
		}
	}
}

// OwnAddress returns the IP address from which this process reaches the cluster. To fence it would end the server's own connection.
func (c *Cluster) OwnAddress(ctx context.Context) (netip.Addr, error) {
	out, err := c.monCommand(map[string]any{"prefix": "mon dump"})
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list the monitors: %w", err)
	}
	var monitors struct {
		Mons []struct {
			Addr string `json:"addr"` // ip:port/nonce
		} `json:"mons"`
	}
	if err := json.Unmarshal(out, &monitors); err != nil || len(monitors.Mons) == 0 {
		return netip.Addr{}, errors.Join(errors.New("the cluster has no monitors"), err)
	}
	address, _, _ := strings.Cut(monitors.Mons[0].Addr, "/")
	return route.Source(ctx, address)
}
