package ceph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ceph/go-ceph/rados"
)

// Fence puts clients on the cluster's blocklist for a while and returns when it
// holds: from then on every OSD refuses whatever they send to the volumes pool,
// even if they were stopped and wake up. An error means: not confirmed. An address is that of a Watcher, or ip:0/0
// for every client of a host.
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

// blocklistEverywhere returns when every placement group of the volumes pool
// works with the newest map, and so with its blocklist.
//
// The mon's answer is not enough: OSDs learn of the new map a moment later, and
// until then take writes of the fenced client (a test here saw it). A placement
// group first catches up with the map of whoever asks it something, so it is
// enough to take the newest map ourselves and ask each for an object's name.
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
		objects.Seek(rados.IterToken(pg)) // hash position n lies in placement group n
		objects.Next()
		if err := objects.Err(); err != nil {
			return fmt.Errorf("placement group %d: %w", pg, err)
		}
	}
	return nil
}

// Unfence lets addresses in again; one that is not fenced is fine. Processes
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

// Fenced lists the blocklist.
func (c *Cluster) Fenced(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out, err := c.monCommand(map[string]any{"prefix": "osd blocklist ls"})
	if err != nil {
		return nil, fmt.Errorf("list blocklist: %w", err)
	}
	var addresses []string
	// Two lists follow each other: addresses, and ranges of them.
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
