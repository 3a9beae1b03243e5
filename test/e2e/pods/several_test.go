// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"slices"
	"testing"

	"husk/openapi"
	"husk/test/stack"
)

// A pod in two networks has its addresses in both, of IPv4 and IPv6, and answers each client the way the question has come. Names lead to the
// address that the asker can reach. Nobody outside of an isolated network reaches a pod in it.
func TestAPodIsInSeveralNetworks(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	for _, n := range []openapi.NetworkCreate{
		{Name: "back", Cidr: new("10.1.0.0/24"), Ipv6Cidr: new("fd00:1::/64")},
		{Name: "vault", Isolated: new(true)},
	} {
		if _, err := tn.API.Networks.Create(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	create := func(name, script string, networks ...openapi.PodNetwork) openapi.Pod {
		return tn.Create(t, name, func(s *openapi.PodSpec) {
			s.Containers = []openapi.Container{stack.Shell(busybox, script)}
			s.Networks = &networks
		})
	}
	const web = "mkdir -p /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www"
	db := create("db", web, openapi.PodNetwork{Network: "default"}, openapi.PodNetwork{Network: "back", Address: new("10.1.0.10")})
	secret := create("secret", web, openapi.PodNetwork{Network: "vault"})
	db, secret = tn.Wait(t, db.ID, openapi.PodPhaseRunning), tn.Wait(t, secret.ID, openapi.PodPhaseRunning)
	faces := openapi.Value(db.Status.Interfaces)
	if len(faces) != 2 || faces[0].Address != *db.Status.Address || faces[1].Address != "10.1.0.10" || openapi.Value(faces[1].Ipv6Address) != "fd00:1::a" {
		t.Fatalf("the pod has the interfaces %+v", faces)
	}
	const try = `
reach() { for i in 1 2 3 4 5 6 7 8 9 10; do timeout 20 wget -q -O - "http://$1/" && return; sleep 1; done; echo "not reached"; }
never() { timeout 5 wget -q -O - "http://$1/" && return; echo "not reached"; }
`
	client := create("client", try+`
echo "front $(reach `+faces[0].Address+`), back $(reach 10.1.0.10), six $(reach '[fd00:1::a]'), name $(reach db.pods.husk.internal)"
echo "address $(nslookup -type=a db.pods.husk.internal 169.254.64.2 | grep -c '10.1.0.10'), of six $(nslookup -type=aaaa db.pods.husk.internal 169.254.64.2 | grep -c 'fd00:1::a')"
echo "vault $(never `+*secret.Status.Address+`), $(ip -o addr | grep -c 'inet6 fe80')"
exec sleep 1000000`, openapi.PodNetwork{Network: "back"})
	both := create("both", try+`
echo "vault $(reach `+*secret.Status.Address+`), name $(reach secret.pods.husk.internal), default $(reach `+faces[0].Address+`)"
exec sleep 1000000`, openapi.PodNetwork{Network: "vault"}, openapi.PodNetwork{Network: "default"})
	tn.WaitForLog(t, client.ID, "", "front db, back db, six db, name db\n")
	tn.WaitForLog(t, client.ID, "", "address 1, of six 1\n")
	tn.WaitForLog(t, client.ID, "", "vault not reached, ")
	tn.WaitForLog(t, both.ID, "", "vault secret, name secret, default db\n")
	for _, p := range []openapi.Pod{client, both} {
		if err := tn.API.Pods.Delete(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
	}
	n, err := tn.API.Networks.Find(t.Context(), "vault")
	if err != nil || !slices.Contains([]int{1, 2}, n.Status.Pods) {
		t.Errorf("the network is %+v: %v", n, err)
	}
}
