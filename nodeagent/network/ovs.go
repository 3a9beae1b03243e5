// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	libovsdb "github.com/ovn-kubernetes/libovsdb/ovsdb"
	"github.com/vishvananda/netlink"
)

// The tables of Open vSwitch's database, with the columns that Husk uses (ovs-vswitchd.conf.db(5)).

type switchRow struct {
	UUID        string            `ovsdb:"_uuid"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
	SSL         *string           `ovsdb:"ssl"`
}

type sslRow struct {
	UUID        string `ovsdb:"_uuid"`
	Key         string `ovsdb:"private_key"`
	Certificate string `ovsdb:"certificate"`
	Authority   string `ovsdb:"ca_cert"`
}

type bridgeRow struct {
	UUID      string   `ovsdb:"_uuid"`
	Name      string   `ovsdb:"name"`
	Ports     []string `ovsdb:"ports"`
	Protocols []string `ovsdb:"protocols"`
}

type portRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	Interfaces  []string          `ovsdb:"interfaces"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type interfaceRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	Number      *int              `ovsdb:"ofport"` // nil: not opened yet; -1: it could not be opened
	Error       *string           `ovsdb:"error"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

func databaseModel() (model.ClientDBModel, error) {
	return model.NewClientDBModel("Open_vSwitch", map[string]model.Model{
		"Open_vSwitch": &switchRow{}, "Bridge": &bridgeRow{}, "Port": &portRow{}, "Interface": &interfaceRow{}, "SSL": &sslRow{},
	})
}

// monitor asks for these columns only: Open vSwitch writes others, such as statistics, every few seconds.
func monitor(db client.Client) *client.Monitor {
	s, b, p, i, t := &switchRow{}, &bridgeRow{}, &portRow{}, &interfaceRow{}, &sslRow{}
	return db.NewMonitor(
		client.WithTable(s, &s.ExternalIDs, &s.SSL), client.WithTable(b, &b.Name, &b.Ports, &b.Protocols), client.WithTable(p, &p.Name, &p.Interfaces, &p.ExternalIDs),
		client.WithTable(i, &i.Name, &i.Number, &i.Error, &i.ExternalIDs), client.WithTable(t, &t.Key, &t.Certificate, &t.Authority),
	)
}

// OVN's names: of the bridge of pods, which ovn-controller makes, and of what it and an interface tell each other (ovn-controller(8)).
const (
	integrationBridge = "br-int"
	interfaceID       = "iface-id"
	installed         = "ovn-installed"
	datapathKey       = "ovn-bridge-datapath-type"
	podKey            = "husk-pod"
)

// memberProbe is after how long without a word ovn-controller asks a member of the southbound database whether it is there (ms). It goes to another
// member after as long again. With a single database there is nowhere to go, and a busy one may answer late.
const memberProbe = "2000"

const (
	// bridgeTimeout is how long the first port waits until ovn-controller has made its bridge.
	bridgeTimeout = 30 * time.Second
	// openTimeout is how long a port waits until Open vSwitch has opened its interface.
	openTimeout = 10 * time.Second
	// installTimeout is how long a port waits until OVN has connected it.
	installTimeout = 30 * time.Second
)

// watchDatabase wakes those who wait for a change of the database.
func (n *Network) watchDatabase(db client.Client) {
	wake := func() {
		n.notify.Lock()
		defer n.notify.Unlock()
		close(n.changed)
		n.changed = make(chan struct{})
	}
	db.Cache().AddEventHandler(&cache.EventHandlerFuncs{
		AddFunc:    func(string, model.Model) { wake() },
		UpdateFunc: func(string, model.Model, model.Model) { wake() },
		DeleteFunc: func(string, model.Model) { wake() },
	})
}

func (n *Network) nextChange() <-chan struct{} {
	n.notify.Lock()
	defer n.notify.Unlock()
	return n.changed
}

// open makes sure that there is a connection to Open vSwitch. The caller holds mu, here and below.
func (n *Network) open(ctx context.Context) error {
	if _, err := n.ovs.Open(ctx); err != nil {
		return err
	}
	var rows []switchRow
	if err := n.ovs.Client().List(ctx, &rows); err != nil {
		return err
	}
	if len(rows) != 1 {
		return fmt.Errorf("the database of Open vSwitch at %s is empty; start ovs-vswitchd", n.cfg.OVSDB)
	}
	switch rows[0].ExternalIDs[datapathKey] { // the operator may have chosen
	case "netdev":
		n.userspace = true
	case "system":
		n.userspace = false
	default:
		_, err := os.Stat("/sys/module/openvswitch")
		n.userspace = err != nil
	}
	return nil
}

// configure tells ovn-controller who and where the node is, and how to reach the southbound database.
func (n *Network) configure(ctx context.Context) error {
	var rows []switchRow
	if err := n.ovs.Client().List(ctx, &rows); err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	want := map[string]string{
		"system-id": n.cfg.Node.String(), "hostname": host, "ovn-remote": strings.Join(n.cfg.Southbound, ","), "ovn-encap-type": "geneve",
		"ovn-encap-ip": n.cfg.Overlay.String(), "ovn-bridge": integrationBridge, datapathKey: "system",
		"ovn-remote-probe-interval": "60000", "ovn-openflow-probe-interval": "60",
		// A restarted ovn-controller keeps the flows that are there until it knows its own (ms); by default, it removes them first.
		"ovn-ofctrl-wait-before-clear": "2000",
	}
	if len(n.cfg.Southbound) > 1 {
		want["ovn-remote-probe-interval"] = memberProbe
	}
	if n.userspace {
		want[datapathKey] = "netdev"
	}
	if n.Gateway() {
		want["ovn-bridge-mappings"] = n.cfg.ProviderNetwork + ":" + n.cfg.ProviderBridge
	}
	next := &switchRow{UUID: rows[0].UUID, ExternalIDs: maps.Clone(rows[0].ExternalIDs)}
	if next.ExternalIDs == nil {
		next.ExternalIDs = map[string]string{}
	}
	if !n.Gateway() {
		delete(next.ExternalIDs, "ovn-bridge-mappings")
	}
	maps.Copy(next.ExternalIDs, want)
	var all []libovsdb.Operation
	if !maps.Equal(next.ExternalIDs, rows[0].ExternalIDs) {
		ops, err := n.ovs.Client().Where(next).Update(next, &next.ExternalIDs)
		if err != nil {
			return err
		}
		all = append(all, ops...)
	}
	ops, err := n.useTLS(ctx, rows[0])
	if err != nil {
		return err
	}
	if all = append(all, ops...); len(all) == 0 {
		return nil
	}
	return n.ovs.Transact(ctx, all)
}

// useTLS returns the operations that tell ovn-controller which certificate to use, if the southbound database needs one.
func (n *Network) useTLS(ctx context.Context, row switchRow) ([]libovsdb.Operation, error) {
	if !slices.ContainsFunc(n.cfg.Southbound, func(e string) bool { return strings.HasPrefix(e, "ssl:") }) {
		return nil, nil
	}
	want := &sslRow{UUID: "tls", Key: n.cfg.TLS.Key, Certificate: n.cfg.TLS.Certificate, Authority: n.cfg.TLS.Authority}
	db := n.ovs.Client()
	if row.SSL != nil {
		is := &sslRow{UUID: *row.SSL}
		if err := db.Get(ctx, is); err == nil {
			want.UUID = is.UUID
			if *is == *want {
				return nil, nil
			}
			return db.Where(is).Update(want, &want.Key, &want.Certificate, &want.Authority)
		}
	}
	create, err := db.Create(want)
	if err != nil {
		return nil, err
	}
	next := &switchRow{UUID: row.UUID, SSL: &want.UUID}
	use, err := db.Where(next).Update(next, &next.SSL)
	return append(create, use...), err
}

// bridge waits for the bridge of pods and returns it.
func (n *Network) bridge(ctx context.Context) (*bridgeRow, error) {
	ctx, cancel := context.WithTimeout(ctx, bridgeTimeout)
	defer cancel()
	for {
		changed := n.nextChange()
		found := &bridgeRow{Name: integrationBridge}
		err := n.ovs.Client().Get(ctx, found)
		if err == nil {
			return found, nil
		}
		if !errors.Is(err, client.ErrNotFound) {
			return nil, err
		}
		select {
		case <-changed:
		case <-time.After(time.Second): // the connection may have ended
			if err := n.open(ctx); err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("ovn-controller has made no bridge %s in %s; check that it runs on this node and reaches %s", integrationBridge, bridgeTimeout, strings.Join(n.cfg.Southbound, ", "))
		}
	}
}

// plugIn plugs an interface into the bridge of pods, under the name that its port has in OVN, and sets it up. A port that is there already begins
// again. The key says whose it is.
func (n *Network) plugIn(ctx context.Context, name, logical string, mac net.HardwareAddr, key string, owner uuid.UUID) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", name, err)
	}
	if err := errors.Join(disableIPv6(name), n.guard(name), n.addPort(ctx, name, logical, mac, key, owner)); err != nil {
		return err
	}
	// When Open vSwitch opens the interface, it reads the flags, and writes them with another one. If it were set up in between, it would be down again.
	if err := n.awaitOpen(ctx, name); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set interface %s up: %w", name, err)
	}
	return nil
}

// awaitOpen waits until Open vSwitch has opened an interface.
func (n *Network) awaitOpen(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	for {
		changed := n.nextChange()
		card := &interfaceRow{Name: name}
		if n.ovs.Client().Get(ctx, card) == nil && card.Number != nil {
			if *card.Number > 0 {
				return nil
			}
			why := "it does not say why"
			if card.Error != nil {
				why = *card.Error
			}
			return fmt.Errorf("Open vSwitch cannot open the interface %s: %s", name, why) //nolint:staticcheck // a name
		}
		select {
		case <-changed:
		case <-time.After(time.Second): // the connection may have ended
			if err := n.open(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("ovs-vswitchd has not opened the interface %s in %s; check that it runs on this node", name, openTimeout)
		}
	}
}

func (n *Network) addPort(ctx context.Context, name, logical string, mac net.HardwareAddr, key string, owner uuid.UUID) error {
	bridge, err := n.bridge(ctx)
	if err != nil {
		return err
	}
	if err := n.removePort(ctx, name); err != nil {
		return err
	}
	db := n.ovs.Client()
	card := &interfaceRow{UUID: "card", Name: name, ExternalIDs: map[string]string{interfaceID: logical, "attached-mac": mac.String()}}
	port := &portRow{UUID: "port", Name: name, Interfaces: []string{card.UUID}, ExternalIDs: map[string]string{key: owner.String()}}
	ops1, err1 := db.Create(card)
	ops2, err2 := db.Create(port)
	ops3, err3 := db.Where(bridge).Mutate(bridge, model.Mutation{Field: &bridge.Ports, Mutator: libovsdb.MutateOperationInsert, Value: []string{port.UUID}})
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	return n.ovs.Transact(ctx, slices.Concat(ops1, ops2, ops3))
}

// removePort unplugs a tap, if it is plugged in.
func (n *Network) removePort(ctx context.Context, tap string) error {
	db := n.ovs.Client()
	if db == nil {
		return nil // open has failed, and its error counts
	}
	port := &portRow{Name: tap}
	err := db.Get(ctx, port)
	if errors.Is(err, client.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var bridges []bridgeRow
	if err := db.List(ctx, &bridges); err != nil {
		return err
	}
	var all []libovsdb.Operation
	for i := range bridges {
		if !slices.Contains(bridges[i].Ports, port.UUID) {
			continue
		}
		ops, err := db.Where(&bridges[i]).Mutate(&bridges[i], model.Mutation{Field: &bridges[i].Ports, Mutator: libovsdb.MutateOperationDelete, Value: []string{port.UUID}})
		if err != nil {
			return err
		}
		all = append(all, ops...)
	}
	return n.ovs.Transact(ctx, all)
}

// hasPort reports whether a pod's tap is plugged in under the right name.
func (n *Network) hasPort(ctx context.Context, p Port) bool {
	card := &interfaceRow{Name: p.Tap()}
	port := &portRow{Name: p.Tap()}
	db := n.ovs.Client()
	return db.Get(ctx, card) == nil && db.Get(ctx, port) == nil && card.ExternalIDs[interfaceID] == p.Logical()
}

// portNames returns the taps that are plugged in.
func (n *Network) portNames(ctx context.Context) []string {
	var rows []portRow
	if err := n.ovs.Client().List(ctx, &rows); err != nil {
		return nil
	}
	var names []string
	for _, r := range rows {
		if (r.ExternalIDs[podKey] != "" || r.ExternalIDs[namesKey] != "") && isOurs(r.Name) {
			names = append(names, r.Name)
		}
	}
	return names
}

// AwaitConnected waits until OVN has connected ports of pods: their packets pass, and no others.
func (n *Network) AwaitConnected(ctx context.Context, ports ...Port) error {
	for _, p := range ports {
		if err := n.awaitConnected(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (n *Network) awaitConnected(ctx context.Context, p Port) error {
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	for {
		changed := n.nextChange()
		if n.connected(ctx, p) {
			return nil
		}
		select {
		case <-changed:
		case <-time.After(time.Second):
		case <-ctx.Done():
			return fmt.Errorf("OVN has not connected the port of pod %s in %s; check that ovn-controller runs on this node, and that the servers reach OVN's northbound database", p.PodID, installTimeout)
		}
	}
}

func (n *Network) connected(ctx context.Context, p Port) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.open(ctx) != nil {
		return false
	}
	card := &interfaceRow{Name: p.Tap()}
	return n.ovs.Client().Get(ctx, card) == nil && card.ExternalIDs[installed] == "true"
}
