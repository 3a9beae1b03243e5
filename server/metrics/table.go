// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"slices"
	"strconv"
	"strings"

	"husk"
)

const mib, gib = 1 << 20, 1 << 30

// Metric is one metric of a tenant.
type Metric struct {
	Name, Type, Help string
	Labels           []string // in addition to tenant and, for pods, pod

	pod  func(p *husk.PodMetrics) (value float64, there bool) // one series for each pod
	each func(t *husk.TenantMetrics, tell func(value float64, labels ...string))
}

// Tenant lists the metrics of a tenant, in the order of the response. docs/api.md has the same list. The tenant's quota also limits the number
// of series, because no label has arbitrary values: each is the tenant's name, the name or ID of a pod, container, volume or service, the name of a pod's
// node, or one of a few words. No metric contains the labels of pods.
func Tenant() []Metric {
	return table
}

var table = []Metric{
	{Name: "husk_pod_info", Type: gauge, Help: "1 for each pod.", Labels: []string{"pod_id", "node"}, each: eachPod(func(p *husk.PodMetrics, tell func(float64, ...string)) {
		tell(1, "pod", p.Name, "pod_id", p.ID.String(), "node", p.NodeName)
	})},
	{Name: "husk_pod_phase", Type: gauge, Help: "1 for the phase that the pod is in.", Labels: []string{"phase"}, each: eachPod(func(p *husk.PodMetrics, tell func(float64, ...string)) {
		tell(1, "pod", p.Name, "phase", string(p.Phase))
	})},
	{Name: "husk_pod_unknown", Type: gauge, Help: "1 if the pod's node does not respond, so that what is known of the pod may be old; otherwise 0.", pod: func(p *husk.PodMetrics) (float64, bool) {
		if p.Unknown {
			return 1, true
		}
		return 0, true
	}},
	{Name: "husk_pod_start_time_seconds", Type: gauge, Help: "Unix time at which the pod's virtual machine started.", pod: func(p *husk.PodMetrics) (float64, bool) {
		if p.StartedAt == nil {
			return 0, false
		}
		return float64(p.StartedAt.UnixMilli()) / 1000, true
	}},
	{Name: "husk_pod_restarts_total", Type: counter, Help: "Restarts of the pod's virtual machine.", pod: func(p *husk.PodMetrics) (float64, bool) {
		return float64(p.Restarts), true
	}},
	{Name: "husk_container_restarts_total", Type: counter, Help: "Restarts of the container.", Labels: []string{"container"}, each: eachPod(func(p *husk.PodMetrics, tell func(float64, ...string)) {
		for _, c := range p.Containers {
			tell(float64(c.Restarts), "pod", p.Name, "container", c.Name)
		}
	})},
	{Name: "husk_container_ready", Type: gauge, Help: "1 if the container runs and is ready, otherwise 0.", Labels: []string{"container"}, each: eachPod(func(p *husk.PodMetrics, tell func(float64, ...string)) {
		for _, c := range p.Containers {
			ready := 0.0
			if c.IsReady() && !p.Unknown {
				ready = 1
			}
			tell(ready, "pod", p.Name, "container", c.Name)
		}
	})},
	{Name: "husk_pod_cpu_limit_cores", Type: gauge, Help: "Cpu limit of the pod, in cores.", pod: func(p *husk.PodMetrics) (float64, bool) {
		return float64(p.Limits.CPUMillis) / 1000, true
	}},
	{Name: "husk_pod_cpu_seconds_total", Type: counter, Help: "Cpu time that the pod's virtual machine has used since it started.", pod: sampled(func(s *husk.PodSample) float64 {
		return seconds(s.CPUNanos)
	})},
	{Name: "husk_pod_cpu_steal_seconds_total", Type: counter, Help: "Time for which the pod's virtual CPUs were ready to run and waited for a CPU of the node.", pod: func(p *husk.PodMetrics) (float64, bool) {
		if p.Sample == nil || p.Sample.CPUStealNanos == nil {
			return 0, false
		}
		return seconds(*p.Sample.CPUStealNanos), true
	}},
	{Name: "husk_pod_memory_limit_bytes", Type: gauge, Help: "Memory of the pod.", pod: func(p *husk.PodMetrics) (float64, bool) {
		return float64(p.Limits.MemoryMiB) * mib, true
	}},
	{Name: "husk_pod_memory_used_bytes", Type: gauge, Help: "Memory in use that cannot be reclaimed, as counted by the guest kernel.", pod: ofGuest(func(g *husk.GuestSample) float64 {
		return float64(g.MemoryUsedBytes)
	})},
	{Name: "husk_pod_memory_cached_bytes", Type: gauge, Help: "Page cache, as counted by the guest kernel.", pod: ofGuest(func(g *husk.GuestSample) float64 {
		return float64(g.MemoryCachedBytes)
	})},
	{Name: "husk_pod_machine_memory_bytes", Type: gauge, Help: "Memory of the node that the pod's virtual machine uses, including the virtual machine monitor.", pod: func(p *husk.PodMetrics) (float64, bool) {
		if p.Sample == nil || p.Sample.MachineBytes == nil {
			return 0, false
		}
		return float64(*p.Sample.MachineBytes), true
	}},
	{Name: "husk_pod_oom_kills_total", Type: counter, Help: "Processes killed because the pod was out of memory, since its virtual machine started.", pod: ofGuest(func(g *husk.GuestSample) float64 {
		return float64(g.OOMKills)
	})},
	{
		Name: "husk_pod_pressure_ratio", Type: gauge, Help: "Share of the last ten seconds in which at least one process of the pod waited for the resource.", Labels: []string{"resource"},
		each: eachPod(func(p *husk.PodMetrics, tell func(float64, ...string)) {
			if p.Sample == nil || p.Sample.Guest == nil {
				return
			}
			g := p.Sample.Guest
			for _, of := range []struct {
				resource string
				share    *int
			}{{"cpu", g.CPUPressure}, {"memory", g.MemoryPressure}, {"io", g.IOPressure}} {
				if of.share != nil {
					tell(float64(*of.share)/10_000, "pod", p.Name, "resource", of.resource)
				}
			}
		}),
	},
	counted("husk_pod_network_receive_bytes_total", "Bytes received by the pod.", func(s *husk.PodSample) int64 { return s.NetworkReceiveBytes }),
	counted("husk_pod_network_receive_packets_total", "Packets received by the pod.", func(s *husk.PodSample) int64 { return s.NetworkReceivePackets }),
	counted("husk_pod_network_receive_errors_total", "Received packets with errors.", func(s *husk.PodSample) int64 { return s.NetworkReceiveErrors }),
	counted("husk_pod_network_receive_drops_total", "Received packets that were dropped.", func(s *husk.PodSample) int64 { return s.NetworkReceiveDrops }),
	counted("husk_pod_network_transmit_bytes_total", "Bytes sent by the pod.", func(s *husk.PodSample) int64 { return s.NetworkTransmitBytes }),
	counted("husk_pod_network_transmit_packets_total", "Packets sent by the pod.", func(s *husk.PodSample) int64 { return s.NetworkTransmitPackets }),
	counted("husk_pod_network_transmit_errors_total", "Sent packets with errors.", func(s *husk.PodSample) int64 { return s.NetworkTransmitErrors }),
	counted("husk_pod_network_transmit_drops_total", "Sent packets that were dropped.", func(s *husk.PodSample) int64 { return s.NetworkTransmitDrops }),
	counted("husk_pod_network_outside_receive_bytes_total", "Of the received bytes, those from addresses outside of the tenant's networks.", func(s *husk.PodSample) int64 { return s.NetworkOutsideReceiveBytes }),
	counted("husk_pod_network_outside_transmit_bytes_total", "Of the sent bytes, those to addresses outside of the tenant's networks.", func(s *husk.PodSample) int64 { return s.NetworkOutsideTransmitBytes }),
	counted("husk_pod_network_spoofed_packets_total", "Sent packets that were dropped because their source was not the pod's.", func(s *husk.PodSample) int64 { return s.NetworkSpoofedPackets }),
	counted("husk_pod_disk_read_bytes_total", "Bytes read from the pod's volumes and images.", func(s *husk.PodSample) int64 { return s.DiskReadBytes }),
	counted("husk_pod_disk_read_operations_total", "Reads from the pod's volumes and images.", func(s *husk.PodSample) int64 { return s.DiskReadOperations }),
	counted("husk_pod_disk_written_bytes_total", "Bytes written to the pod's volumes.", func(s *husk.PodSample) int64 { return s.DiskWriteBytes }),
	counted("husk_pod_disk_write_operations_total", "Writes to the pod's volumes.", func(s *husk.PodSample) int64 { return s.DiskWriteOperations }),
	filled("husk_pod_volume_used_bytes", "Bytes used in the file system of a volume of the pod, as counted by the guest kernel.", func(f husk.FileSystemSample) int64 { return f.UsedBytes }),
	filled("husk_pod_volume_capacity_bytes", "Bytes that the file system of a volume of the pod can hold.", func(f husk.FileSystemSample) int64 { return f.CapacityBytes }),
	{Name: "husk_pod_scratch_used_bytes", Type: gauge, Help: "Bytes used on the pod's scratch disk, as counted by the guest kernel.", pod: scratch(func(f husk.FileSystemSample) int64 { return f.UsedBytes })},
	{Name: "husk_pod_scratch_capacity_bytes", Type: gauge, Help: "Bytes that the pod's scratch disk can hold.", pod: scratch(func(f husk.FileSystemSample) int64 { return f.CapacityBytes })},
	{Name: "husk_volume_size_bytes", Type: gauge, Help: "Size of the volume.", Labels: []string{"volume"}, each: func(t *husk.TenantMetrics, tell func(float64, ...string)) {
		for _, v := range t.Volumes {
			tell(float64(v.SizeGiB)*gib, "volume", v.Name)
		}
	}},
	{Name: "husk_service_endpoints", Type: gauge, Help: "Running pods that the service selects.", Labels: []string{"service"}, each: func(t *husk.TenantMetrics, tell func(float64, ...string)) {
		for _, s := range t.Services {
			tell(float64(s.Endpoints), "service", s.Name)
		}
	}},
	{Name: "husk_service_ready_endpoints", Type: gauge, Help: "Pods that get connections to the service.", Labels: []string{"service"}, each: func(t *husk.TenantMetrics, tell func(float64, ...string)) {
		for _, s := range t.Services {
			tell(float64(s.Ready), "service", s.Name)
		}
	}},
	security("husk_security_rule_packets_total", "Packets of connections that a rule of a security group has allowed, without the answers.", "rule", func(c husk.SecurityCount) int64 { return c.Packets }),
	security("husk_security_rule_bytes_total", "Bytes of connections that a rule of a security group has allowed, without the answers.", "rule", func(c husk.SecurityCount) int64 { return c.Bytes }),
	security("husk_security_dropped_packets_total", "Packets that no rule of a security group allowed.", "direction", func(c husk.SecurityCount) int64 { return c.Packets }),
	{Name: "husk_ingress_requests_total", Type: counter, Help: "Requests to the ingress, by the class of their status.", Labels: []string{"ingress", "code"}, each: func(t *husk.TenantMetrics, tell func(float64, ...string)) {
		for _, i := range t.Ingresses {
			for n, code := range []string{"1xx", "2xx", "3xx", "4xx", "5xx"} {
				tell(float64(i.Requests[n]), "ingress", i.Name, "code", code)
			}
		}
	}},
	{Name: "husk_ingress_limited_requests_total", Type: counter, Help: "Requests to the ingress that were refused because of a limit of the platform.", Labels: []string{"ingress"}, each: func(t *husk.TenantMetrics, tell func(float64, ...string)) {
		for _, i := range t.Ingresses {
			tell(float64(i.Limited), "ingress", i.Name)
		}
	}},
	{Name: "husk_ingress_receive_bytes_total", Type: counter, Help: "Bytes in the bodies of requests to the ingress.", Labels: []string{"ingress"}, each: func(t *husk.TenantMetrics, tell func(float64, ...string)) {
		for _, i := range t.Ingresses {
			tell(float64(i.ReceivedBytes), "ingress", i.Name)
		}
	}},
	{Name: "husk_ingress_transmit_bytes_total", Type: counter, Help: "Bytes in the bodies of responses of the ingress.", Labels: []string{"ingress"}, each: func(t *husk.TenantMetrics, tell func(float64, ...string)) {
		for _, i := range t.Ingresses {
			tell(float64(i.SentBytes), "ingress", i.Name)
		}
	}},
	{Name: "husk_ingress_certificate_expiry_timestamp_seconds", Type: gauge, Help: "When the certificate of a host of the ingress ends, as a Unix time; 0 if there is none yet.", Labels: []string{"ingress", "host"}, each: func(t *husk.TenantMetrics, tell func(float64, ...string)) {
		for _, i := range t.Ingresses {
			for _, c := range i.Certificates {
				at := 0.0
				if c.ExpiresAt != nil {
					at = float64(c.ExpiresAt.Unix())
				}
				tell(at, "ingress", i.Name, "host", c.Host)
			}
		}
	}},
	{Name: "husk_quota_limit", Type: gauge, Help: "Limit of the tenant's quota for a resource, in cores, in bytes or as a number.", Labels: []string{"resource"}, each: func(t *husk.TenantMetrics, tell func(float64, ...string)) {
		l := t.Quota.Limits
		tell(float64(l.Pods), "resource", "pods")
		tell(float64(l.CPUMillis)/1000, "resource", "cpu_cores")
		tell(float64(l.MemoryMiB)*mib, "resource", "memory_bytes")
		tell(float64(l.ScratchGiB)*gib, "resource", "scratch_bytes")
		tell(float64(l.Volumes), "resource", "volumes")
		tell(float64(l.VolumeGiB)*gib, "resource", "volume_bytes")
		tell(float64(l.Networks), "resource", "networks")
		tell(float64(l.Addresses), "resource", "addresses")
		tell(float64(l.Images), "resource", "images")
		tell(float64(l.Configs), "resource", "configs")
		tell(float64(l.Services), "resource", "services")
		tell(float64(l.Ingresses), "resource", "ingresses")
		tell(float64(l.SecurityGroups), "resource", "security_groups")
		tell(float64(l.RequestsPerSecond), "resource", "requests_per_second")
	}},
	{Name: "husk_quota_used", Type: gauge, Help: "How much of its quota for a resource the tenant uses.", Labels: []string{"resource"}, each: func(t *husk.TenantMetrics, tell func(float64, ...string)) {
		u := t.Quota.Used
		tell(float64(u.Pods), "resource", "pods")
		tell(float64(u.CPUMillis)/1000, "resource", "cpu_cores")
		tell(float64(u.MemoryMiB)*mib, "resource", "memory_bytes")
		tell(float64(u.ScratchGiB)*gib, "resource", "scratch_bytes")
		tell(float64(u.Volumes), "resource", "volumes")
		tell(float64(u.VolumeGiB)*gib, "resource", "volume_bytes")
		tell(float64(u.Networks), "resource", "networks")
		tell(float64(u.Addresses), "resource", "addresses")
		tell(float64(u.Images), "resource", "images")
		tell(float64(u.Configs), "resource", "configs")
		tell(float64(u.Services), "resource", "services")
		tell(float64(u.Ingresses), "resource", "ingresses")
		tell(float64(u.SecurityGroups), "resource", "security_groups")
	}},
}

const gauge, counter = "gauge", "counter"

func seconds(nanos int64) float64 { return float64(nanos) / 1e9 }

func counted(name, help string, of func(*husk.PodSample) int64) Metric {
	return Metric{Name: name, Type: counter, Help: help, pod: sampled(func(s *husk.PodSample) float64 { return float64(of(s)) })}
}

func sampled(of func(*husk.PodSample) float64) func(*husk.PodMetrics) (float64, bool) {
	return func(p *husk.PodMetrics) (float64, bool) {
		if p.Sample == nil {
			return 0, false
		}
		return of(p.Sample), true
	}
}

func ofGuest(of func(*husk.GuestSample) float64) func(*husk.PodMetrics) (float64, bool) {
	return func(p *husk.PodMetrics) (float64, bool) {
		if p.Sample == nil || p.Sample.Guest == nil {
			return 0, false
		}
		return of(p.Sample.Guest), true
	}
}

// fileSystems returns each file system of the pod once: a name that a node sends twice would make the scrape invalid.
func fileSystems(p *husk.PodMetrics) []husk.FileSystemSample {
	if p.Sample == nil || p.Sample.Guest == nil {
		return nil
	}
	all := slices.Clone(p.Sample.Guest.FileSystems)
	slices.SortStableFunc(all, func(a, b husk.FileSystemSample) int { return strings.Compare(a.Volume, b.Volume) })
	return slices.CompactFunc(all, func(a, b husk.FileSystemSample) bool { return a.Volume == b.Volume })
}

func filled(name, help string, of func(husk.FileSystemSample) int64) Metric {
	return Metric{Name: name, Type: gauge, Help: help, Labels: []string{"volume"}, each: eachPod(func(p *husk.PodMetrics, tell func(float64, ...string)) {
		for _, f := range fileSystems(p) {
			if f.Volume != "" {
				tell(float64(of(f)), "pod", p.Name, "volume", f.Volume)
			}
		}
	})}
}

func scratch(of func(husk.FileSystemSample) int64) func(*husk.PodMetrics) (float64, bool) {
	return func(p *husk.PodMetrics) (float64, bool) {
		for _, f := range fileSystems(p) {
			if f.Volume == "" {
				return float64(of(f)), true
			}
		}
		return 0, false
	}
}

func eachPod(of func(p *husk.PodMetrics, tell func(float64, ...string))) func(*husk.TenantMetrics, func(float64, ...string)) {
	return func(t *husk.TenantMetrics, tell func(float64, ...string)) {
		for i := range t.Pods {
			of(&t.Pods[i], tell)
		}
	}
}

// AllLabels returns the labels of the metric's series.
func (m Metric) AllLabels() []string {
	labels := []string{"tenant"}
	if strings.HasPrefix(m.Name, "husk_pod_") || strings.HasPrefix(m.Name, "husk_container_") {
		labels = append(labels, "pod")
	}
	return append(labels, m.Labels...)
}

// security makes a metric of security groups, by rule or by direction.
func security(name, help, by string, of func(husk.SecurityCount) int64) Metric {
	return Metric{Name: name, Type: counter, Help: help, Labels: []string{"group", by}, each: func(t *husk.TenantMetrics, tell func(float64, ...string)) {
		for _, g := range t.Groups {
			if by == "rule" {
				for _, c := range g.Rules {
					tell(float64(of(c)), "group", g.Name, by, strconv.FormatInt(c.Rule, 10))
				}
				continue
			}
			for _, c := range g.Dropped {
				tell(float64(of(c)), "group", g.Name, by, c.Direction)
			}
		}
	}}
}
