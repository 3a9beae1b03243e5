// SPDX-License-Identifier: Apache-2.0

package scale

import (
	"fmt"
	"os/exec"
	"testing"

	"github.com/jackc/pgx/v5"

	"husk/dev"
	"husk/openapi"
)

// size is the size of an installation.
type size struct {
	tenants, pods int
	nodes         int // 0: those that have joined
	imports       int // of the tenants' images; the others have rows only
	events        int
}

// fill writes an installation with running pods into the database, without the API. It returns one
// of the tenants.
func (s *huskd) fill(b *testing.B, db *pgx.Conn, n size) openapi.Tenant {
	b.Helper()
	op := operatorClient(b, s)
	first := op.tenant(b, 0)
	for i := 1; i < n.tenants; i++ { // by the API, because each has a key for its secrets
		op.tenant(b, i)
	}
	for i := 1; i <= n.imports; i++ {
		args := []string{"--conf", s.ceph.CephConf(), "--keyring", s.ceph.CephAdminKeyring(), "--name", "client.admin"}
		image := fmt.Sprintf("%s/img-sha256-%064x", dev.ImagesPool, i)
		for _, command := range [][]string{{"create", "--size", "1M", "--image-feature", "layering", image}, {"snap", "create", image + "@husk"}, {"snap", "protect", image + "@husk"}} {
			if out, err := exec.CommandContext(b.Context(), "rbd", append(args, command...)...).CombinedOutput(); err != nil {
				b.Fatalf("rbd %v: %v: %s", command, err, out)
			}
		}
	}
	for _, sql := range []string{
		// Past rows are written without triggers and foreign keys, which would take minutes.
		"SET session_replication_role = replica",
		"CREATE TEMP TABLE t AS SELECT id, row_number() OVER (ORDER BY name) AS n FROM tenants",
		"INSERT INTO networks (tenant_id, id, ordinal, cidr) SELECT id, gen_random_uuid(), 10000 + n, set_masklen('10.0.0.0'::inet + n * 1024, 22)::cidr FROM t ON CONFLICT (tenant_id, name) DO NOTHING",
		`INSERT INTO images (tenant_id, id, reference, digest, state, config, size_bytes, clone_id, ready_at)
			SELECT id, gen_random_uuid(), 'registry.example.com/web:1', 'sha256:' || lpad(to_hex(n), 64, '0'), 'Ready', '{"cmd": ["run"]}', 1048576, 'abc', now() FROM t`,
		fmt.Sprintf(`INSERT INTO nodes (id, name, state, cpu_millis, memory_mib, vmm_overhead_mib, heartbeat_at, endpoint)
			SELECT gen_random_uuid(), 'metal-' || n, 'Ready', 64000, 131072, 128, now(), 'https://192.0.2.7:7443' FROM generate_series(1, %d) n`, n.nodes),
		"UPDATE nodes SET state = 'Ready', cpu_millis = 64000, memory_mib = 131072, vmm_overhead_mib = 128, heartbeat_at = now() WHERE state = 'Joining'",
		"CREATE TEMP TABLE m AS SELECT id, name, row_number() OVER (ORDER BY name) AS n FROM nodes",
		fmt.Sprintf(`INSERT INTO pods (tenant_id, id, name, labels, spec, cpu_millis, memory_mib, network_id, address, mac, phase, node_id, node_name, holds_room, vmm_overhead_mib,
				generation, observed_generation, placed_generation, placed_at, placement, last_placement, key_placement, ceph_key, domain_started_at, containers, running_at, interfaces)
			SELECT t.id, gen_random_uuid(), 'pod-' || p, '{"app": "web"}',
				'{"containers": [{"name": "main", "image": "registry.example.com/web:1"}], "resources": {"cpuMillis": 500, "memoryMiB": 128}, "restartPolicy": "Always"}',
				500, 128, w.id, set_masklen(w.cidr::inet, 32) + 2 + p, '02:00:00:00:00:01', 'Running', m.id, m.name, true, 128, 1, 1, 1,
				w.placed_at, 1, 1, 1, 'sealed', w.placed_at, '[{"name": "main", "state": "Running", "restarts": 0}]', w.placed_at,
				jsonb_build_array(jsonb_build_object('networkId', w.id, 'network', 'default', 'address', set_masklen(w.cidr::inet, 22) + 2 + p, 'mac', '02:00:00:00:00:01'))
			FROM t JOIN (SELECT *, now() AS placed_at FROM networks) w ON w.tenant_id = t.id, generate_series(0, %[1]d - 1) p, m WHERE m.n = (t.n * %[1]d + p) %% (SELECT count(*) FROM m) + 1`, n.pods/n.tenants),
		"INSERT INTO pod_addresses (tenant_id, network_id, address, pod_id) SELECT tenant_id, network_id, address, id FROM pods",
		"INSERT INTO placements (tenant_id, pod_id, number, node_id, volumes) SELECT tenant_id, id, placement, node_id, false FROM pods",
		"UPDATE nodes SET allocated_cpu_millis = 500 * n, allocated_memory_mib = 256 * n FROM (SELECT node_id, count(*) AS n FROM pods GROUP BY node_id) p WHERE p.node_id = nodes.id",
		"INSERT INTO image_uses (tenant_id, pod_id, container, image_id) SELECT p.tenant_id, p.id, 'main', i.id FROM pods p JOIN images i ON i.tenant_id = p.tenant_id",
		`INSERT INTO pod_samples (tenant_id, pod_id, node_id, at, figures) SELECT tenant_id, id, node_id, now() + interval '1 day', jsonb_build_object('podId', id, 'cpuNanos', 123456789012, 'cpuStealNanos', 12345678,
			'machineBytes', 234567890, 'networkReceiveBytes', 1234567890, 'networkReceivePackets', 1234567, 'networkTransmitBytes', 1234567890, 'networkTransmitPackets', 1234567,
			'diskReadBytes', 1234567890, 'diskReadOperations', 12345, 'diskWriteBytes', 1234567890, 'diskWriteOperations', 12345,
			'guest', jsonb_build_object('memoryUsedBytes', 123456789, 'memoryCachedBytes', 12345678, 'oomKills', 0, 'cpuPressure', 12, 'memoryPressure', 0, 'ioPressure', 3)) FROM pods`,
		fmt.Sprintf("INSERT INTO events (tenant_id, kind, object_id, reason, at) SELECT p.tenant_id, 'pod', p.id, 'Running', now() - n * interval '1 hour' FROM pods p, generate_series(1, %d) n", n.events/n.pods),
		`INSERT INTO usage_intervals (tenant_id, kind, object_id, name, labels, node_id, node_name, cpu_millis, memory_mib, started_at)
			SELECT tenant_id, 'pod', id, name, labels, node_id, node_name, cpu_millis, memory_mib, now() FROM pods`,
		"INSERT INTO usage_open SELECT id, tenant_id FROM usage_intervals",
		"INSERT INTO usage_totals (interval_id, tenant_id, recorded_seconds, recorded_received, recorded_sent) SELECT id, tenant_id, 0, 0, 0 FROM usage_intervals",
		"INSERT INTO usage_closed_hours SELECT date_trunc('hour', now())", // no hour is due
		"RESET session_replication_role",
		"VACUUM ANALYZE",
	} {
		if _, err := db.Exec(b.Context(), sql); err != nil {
			b.Fatalf("%s: %v", sql, err)
		}
	}
	return first
}
