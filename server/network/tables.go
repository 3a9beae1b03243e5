// SPDX-License-Identifier: Apache-2.0

package network

import (
	"reflect"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/model"
)

// The tables of the northbound database, with the columns that Husk uses (ovn-nb(5)).

type globalRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Options     map[string]string `ovsdb:"options"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type switchRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	Ports       []string          `ovsdb:"ports"`
	ACLs        []string          `ovsdb:"acls"`
	QoS         []string          `ovsdb:"qos_rules"`
	Balancers   []string          `ovsdb:"load_balancer"`
	OtherConfig map[string]string `ovsdb:"other_config"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type portRow struct {
	UUID         string            `ovsdb:"_uuid"`
	Name         string            `ovsdb:"name"`
	Type         string            `ovsdb:"type"`
	Addresses    []string          `ovsdb:"addresses"`
	PortSecurity []string          `ovsdb:"port_security"`
	Tag          *int              `ovsdb:"tag"`
	Options      map[string]string `ovsdb:"options"`
	ExternalIDs  map[string]string `ovsdb:"external_ids"`
}

type aclRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Direction   string            `ovsdb:"direction"`
	Priority    int               `ovsdb:"priority"`
	Match       string            `ovsdb:"match"`
	Action      string            `ovsdb:"action"`
	Tier        int               `ovsdb:"tier"`
	Label       int               `ovsdb:"label"`
	Log         bool              `ovsdb:"log"`
	Name        *string           `ovsdb:"name"`
	Severity    *string           `ovsdb:"severity"`
	Meter       *string           `ovsdb:"meter"`
	Options     map[string]string `ovsdb:"options"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type qosRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Direction   string            `ovsdb:"direction"`
	Priority    int               `ovsdb:"priority"`
	Match       string            `ovsdb:"match"`
	Bandwidth   map[string]int    `ovsdb:"bandwidth"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type routerRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	Ports       []string          `ovsdb:"ports"`
	Routes      []string          `ovsdb:"static_routes"`
	Policies    []string          `ovsdb:"policies"`
	NAT         []string          `ovsdb:"nat"`
	Balancers   []string          `ovsdb:"load_balancer"`
	Options     map[string]string `ovsdb:"options"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type routerPortRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	MAC         string            `ovsdb:"mac"`
	Networks    []string          `ovsdb:"networks"`
	Group       *string           `ovsdb:"ha_chassis_group"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type routeRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Prefix      string            `ovsdb:"ip_prefix"`
	NextHop     string            `ovsdb:"nexthop"`
	Port        *string           `ovsdb:"output_port"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type policyRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Priority    int               `ovsdb:"priority"`
	Match       string            `ovsdb:"match"`
	Action      string            `ovsdb:"action"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type natRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Type        string            `ovsdb:"type"`
	ExternalIP  string            `ovsdb:"external_ip"`
	LogicalIP   string            `ovsdb:"logical_ip"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type balancerRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	VIPs        map[string]string `ovsdb:"vips"`
	Protocol    *string           `ovsdb:"protocol"`
	Options     map[string]string `ovsdb:"options"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type setRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	Addresses   []string          `ovsdb:"addresses"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type portGroupRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	Ports       []string          `ovsdb:"ports"`
	ACLs        []string          `ovsdb:"acls"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type meterRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	Unit        string            `ovsdb:"unit"`
	Bands       []string          `ovsdb:"bands"`
	Fair        *bool             `ovsdb:"fair"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type bandRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Action      string            `ovsdb:"action"`
	Rate        int               `ovsdb:"rate"`
	Burst       int               `ovsdb:"burst_size"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type groupRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	Members     []string          `ovsdb:"ha_chassis"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

type memberRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Chassis     string            `ovsdb:"chassis_name"`
	Priority    int               `ovsdb:"priority"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

// The keys of external_ids that mark a row as ours: the row's key, which is unique within its table, and whose it is. Ports of pods also have their
// network.
const (
	idKey     = "husk"
	idOwner   = "husk-owner"
	idNetwork = "husk-network"
)

// nobody is no key and no owner. libovsdb looks at one index after the other until it finds something, and takes a missing key for an empty one.
const nobody = "-"

// platform owns what belongs to no tenant.
const platform = "platform"

// table says how rows of a table are compared. The columns that hold references to other rows of ours are not compared: see batch.attach.
type table[M any] struct {
	name    string
	uuid    func(*M) *string
	ids     func(*M) *map[string]string
	columns func(*M) []any // pointers to those that are compared
}

var (
	switches = table[switchRow]{
		"Logical_Switch", func(r *switchRow) *string { return &r.UUID }, func(r *switchRow) *map[string]string { return &r.ExternalIDs },
		func(r *switchRow) []any { return []any{&r.Name, &r.OtherConfig, &r.ExternalIDs} },
	}
	ports = table[portRow]{
		"Logical_Switch_Port", func(r *portRow) *string { return &r.UUID }, func(r *portRow) *map[string]string { return &r.ExternalIDs },
		func(r *portRow) []any {
			return []any{&r.Name, &r.Type, &r.Addresses, &r.PortSecurity, &r.Tag, &r.Options, &r.ExternalIDs}
		},
	}
	acls = table[aclRow]{
		"ACL", func(r *aclRow) *string { return &r.UUID }, func(r *aclRow) *map[string]string { return &r.ExternalIDs },
		func(r *aclRow) []any {
			return []any{&r.Direction, &r.Priority, &r.Match, &r.Action, &r.Tier, &r.Label, &r.Log, &r.Name, &r.Severity, &r.Meter, &r.Options, &r.ExternalIDs}
		},
	}
	qosRules = table[qosRow]{
		"QoS", func(r *qosRow) *string { return &r.UUID }, func(r *qosRow) *map[string]string { return &r.ExternalIDs },
		func(r *qosRow) []any { return []any{&r.Direction, &r.Priority, &r.Match, &r.Bandwidth, &r.ExternalIDs} },
	}
	routers = table[routerRow]{
		"Logical_Router", func(r *routerRow) *string { return &r.UUID }, func(r *routerRow) *map[string]string { return &r.ExternalIDs },
		func(r *routerRow) []any { return []any{&r.Name, &r.Options, &r.ExternalIDs} },
	}
	routerPorts = table[routerPortRow]{
		"Logical_Router_Port", func(r *routerPortRow) *string { return &r.UUID }, func(r *routerPortRow) *map[string]string { return &r.ExternalIDs },
		func(r *routerPortRow) []any { return []any{&r.Name, &r.MAC, &r.Networks, &r.Group, &r.ExternalIDs} },
	}
	routes = table[routeRow]{
		"Logical_Router_Static_Route", func(r *routeRow) *string { return &r.UUID }, func(r *routeRow) *map[string]string { return &r.ExternalIDs },
		func(r *routeRow) []any { return []any{&r.Prefix, &r.NextHop, &r.Port, &r.ExternalIDs} },
	}
	policies = table[policyRow]{
		"Logical_Router_Policy", func(r *policyRow) *string { return &r.UUID }, func(r *policyRow) *map[string]string { return &r.ExternalIDs },
		func(r *policyRow) []any { return []any{&r.Priority, &r.Match, &r.Action, &r.ExternalIDs} },
	}
	nats = table[natRow]{
		"NAT", func(r *natRow) *string { return &r.UUID }, func(r *natRow) *map[string]string { return &r.ExternalIDs },
		func(r *natRow) []any { return []any{&r.Type, &r.ExternalIP, &r.LogicalIP, &r.ExternalIDs} },
	}
	balancers = table[balancerRow]{
		"Load_Balancer", func(r *balancerRow) *string { return &r.UUID }, func(r *balancerRow) *map[string]string { return &r.ExternalIDs },
		func(r *balancerRow) []any { return []any{&r.Name, &r.VIPs, &r.Protocol, &r.Options, &r.ExternalIDs} },
	}
	sets = table[setRow]{
		"Address_Set", func(r *setRow) *string { return &r.UUID }, func(r *setRow) *map[string]string { return &r.ExternalIDs },
		func(r *setRow) []any { return []any{&r.Name, &r.Addresses, &r.ExternalIDs} },
	}
	portGroups = table[portGroupRow]{
		"Port_Group", func(r *portGroupRow) *string { return &r.UUID }, func(r *portGroupRow) *map[string]string { return &r.ExternalIDs },
		func(r *portGroupRow) []any { return []any{&r.Name, &r.ExternalIDs} },
	}
	meters = table[meterRow]{
		"Meter", func(r *meterRow) *string { return &r.UUID }, func(r *meterRow) *map[string]string { return &r.ExternalIDs },
		func(r *meterRow) []any { return []any{&r.Name, &r.Unit, &r.Fair, &r.ExternalIDs} },
	}
	bands = table[bandRow]{
		"Meter_Band", func(r *bandRow) *string { return &r.UUID }, func(r *bandRow) *map[string]string { return &r.ExternalIDs },
		func(r *bandRow) []any { return []any{&r.Action, &r.Rate, &r.Burst, &r.ExternalIDs} },
	}
	gatewayGroups = table[groupRow]{
		"HA_Chassis_Group", func(r *groupRow) *string { return &r.UUID }, func(r *groupRow) *map[string]string { return &r.ExternalIDs },
		func(r *groupRow) []any { return []any{&r.Name, &r.ExternalIDs} },
	}
	members = table[memberRow]{
		"HA_Chassis", func(r *memberRow) *string { return &r.UUID }, func(r *memberRow) *map[string]string { return &r.ExternalIDs },
		func(r *memberRow) []any { return []any{&r.Chassis, &r.Priority, &r.ExternalIDs} },
	}
)

// databaseModel describes the northbound database for libovsdb. Rows can be found by their key and by their owner.
func databaseModel() (model.ClientDBModel, error) {
	m, err := model.NewClientDBModel("OVN_Northbound", map[string]model.Model{
		"NB_Global": &globalRow{}, switches.name: &switchRow{}, ports.name: &portRow{}, acls.name: &aclRow{}, qosRules.name: &qosRow{},
		routers.name: &routerRow{}, routerPorts.name: &routerPortRow{}, routes.name: &routeRow{}, policies.name: &policyRow{}, nats.name: &natRow{}, balancers.name: &balancerRow{},
		sets.name: &setRow{}, portGroups.name: &portGroupRow{}, meters.name: &meterRow{}, bands.name: &bandRow{},
		gatewayGroups.name: &groupRow{}, members.name: &memberRow{},
	})
	if err != nil {
		return m, err
	}
	indexes := map[string][]model.ClientIndex{}
	for name := range m.Types() {
		if name != "NB_Global" {
			indexes[name] = []model.ClientIndex{
				{Columns: []model.ColumnKey{{Column: "external_ids", Key: idKey}}}, {Columns: []model.ColumnKey{{Column: "external_ids", Key: idOwner}}},
			}
		}
	}
	m.SetIndexes(indexes)
	return m, nil
}

// same reports whether all compared columns of two rows are equal. The order of the elements of a set does not matter.
func (t table[M]) same(a, b *M) bool {
	x, y := t.columns(a), t.columns(b)
	for i := range x {
		if !equal(x[i], y[i]) {
			return false
		}
	}
	return true
}

func equal(a, b any) bool {
	switch x := a.(type) {
	case *[]string:
		return slices.Equal(slices.Sorted(slices.Values(*x)), slices.Sorted(slices.Values(*b.(*[]string)))) //nolint:forcetypeassert // of the same column
	case *map[string]string:
		y := b.(*map[string]string) //nolint:forcetypeassert // of the same column
		return len(*x) == 0 && len(*y) == 0 || reflect.DeepEqual(*x, *y)
	default:
		return reflect.DeepEqual(a, b)
	}
}
