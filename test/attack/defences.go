// SPDX-License-Identifier: Apache-2.0

package main

// edit replaces a text, which occurs once in a file.
type edit struct{ file, old, new string }

// defence is a part of Husk that attacks depend on. Without it, at least one of the tests fails.
type defence struct {
	name    string
	remove  []edit
	pkg     string
	attacks string // a regular expression of tests
}

var defences = []defence{
	{
		"port security", []edit{
			{"server/network/plan.go", "Addresses: []string{at}, PortSecurity: []string{at},", "Addresses: []string{at},"},
		}, "./test/networks", "TestNoForgedFrameGetsThrough",
	},
	{
		"forbidden answers", []edit{
			{"server/network/plan.go", `"udp.src == 67"`, `"udp.src == 6767"`},
		}, "./test/networks", "TestNoForgedFrameGetsThrough",
	},
	{
		"guard of the node", []edit{
			{"nodeagent/network/guard.go", "policy = nftables.ChainPolicyDrop", "policy = nftables.ChainPolicyAccept"},
		}, "./test/networks", "TestNoForgedFrameGetsThrough|TestWhatIsDeletedByHandIsBack",
	},
	{
		"nothing begins from outside", []edit{
			{"server/network/plan.go", `add("outside", "to-lport", platformTier, 900, "ip4", "drop", nil)`, ""},
		}, "./test/networks", "TestPodsReachOthersThroughAGateway",
	},
	{
		"nothing from outside comes from within", []edit{
			{"server/network/plan.go", "router.policies[name] = &policyRow{Priority: 600, Action: \"drop\", Match: spoofed, ExternalIDs: r.ids(name)}", "_ = spoofed"},
		}, "./test/networks", "TestPodsReachOthersThroughAGateway",
	},
	{
		"egress policy of pods", []edit{
			{"server/network/plan.go", `add("default", 100, "drop", texts(notInternet))`, `_ = texts(notInternet)`},
		}, "./test/networks", "TestPodsReachOnlyThePublicInternet",
	},
	{
		"egress policy of the server", []edit{
			{"egress/policy.go", "case kind != \"\":\n\t\treturn kind", "case kind != \"\":\n\t\treturn \"\""},
		}, "./egress", ".",
	},
	{
		"row-level security", []edit{
			{"migrations/migrations.go", "case err == nil:\n\t\t\treturn nil", "case err == nil:\n\t\t\t_, err = conn.Exec(ctx, `ALTER TABLE pods DISABLE ROW LEVEL SECURITY; ALTER TABLE volumes DISABLE ROW LEVEL SECURITY`)\n\t\t\treturn err"},
		}, "./store", "Tenant|Row",
	},
	{
		"access table", []edit{
			{"server/access.go", "case !slices.Contains(r.kinds, c.Kind):", "case false:"},
			{"server/access.go", "case c.Kind == husk.CallerTenant && !c.Role.Includes(r.role):", "case false:"},
		}, "./server", "TestEveryOperationRefusesUnauthorizedCallers|TestEveryOperationForEveryCaller",
	},
	{
		"caps of pods' keys", []edit{
			{"ceph/key.go", `write("rbd_header." + a.Disk.ID)`, `write("rbd_")`},
		}, "./ceph", "TestAPodKeyAuthorizesOnlyItsOwnDisks",
	},
	{
		"kept headers of disks", []edit{
			{"ceph/header.go", "\tkept := len(original) > 0\n", "\tif true {\n\t\treturn false, nil\n\t}\n\tkept := len(original) > 0\n"},
		}, "./ceph", "TestAForgedHeader",
	},
	{
		"reports one by one", []edit{
			{"server/contract.go", "if err != nil || len(items.Refused) == 0 {", "if true {"},
		}, "./server", "TestARefusedReportDoesNotAffectTheOtherReportsOfItsNode",
	},
	{
		"budget of an image's metadata", []edit{
			{"registry/tree.go", "t.budget.Metadata < 0", "t.budget.Metadata < -1<<62"},
		}, "./registry", "TestTheTreeKeepsItsBudget",
	},
	{
		"budget of a configuration", []edit{
			{"merge.go", "func GuestBytes(", "func GuestBytes([]DesiredContainer) int { return 0 }\n\nfunc guestBytes("},
		}, ".", "TestConfigurationsAreBounded",
	},
	{
		"limits of what a tenant holds", []edit{
			{
				"server/held/held.go", "func (h *Held) TakeMany(tenant uuid.UUID, kind Kind, n int) (release func(), err error) {",
				"func (h *Held) TakeMany(tenant uuid.UUID, kind Kind, n int) (release func(), err error) {\n\tif true {\n\t\treturn func() {}, nil\n\t}",
			},
		}, "./server/held", "TestWhatATenantHoldsIsLimited",
	},
	{
		"confinement of containers", []edit{
			{"guest/become/user.go", "if err := seccomp.Install(kept); err != nil {", "if err := error(nil); err != nil {"},
			{"guest/become/system.go", "for _, p := range masked {", "for _, p := range masked[:0] {"},
			{"guest/become/system.go", "for _, p := range readOnlyPaths {", "for _, p := range readOnlyPaths[:0] {"},
		}, "./test/boot", "TestRootInAContainerStaysInIt",
	},
}
