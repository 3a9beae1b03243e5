// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"husk/client"
	"husk/openapi"
	"husk/test/stack"
)

// The example has six services in two networks, which call each other by name. A security group keeps all but two of them out of the database.
func TestTheExampleOfAShop(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	raw, err := os.ReadFile("../../../examples/shop/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "shop.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(raw), "REGISTRY/busybox:latest", busybox)), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"created", "unchanged"} {
		got := tn.Run(t, nil, "apply", "-f", file)
		if got.Code != 0 || strings.Count(got.Out, want) < 15 {
			t.Fatalf("apply %d: %+v", i+1, got)
		}
	}
	pods, err := client.Collect(tn.API.Pods.List(t.Context(), client.Select{}))
	if err != nil || len(pods) != 7 {
		t.Fatalf("%d pods: %v", len(pods), err)
	}
	for _, p := range pods {
		tn.Wait(t, p.ID, openapi.PodPhaseRunning)
	}
	address, err := tn.API.Addresses.Find(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	tree := regexp.MustCompile(`^shop-[12]
  catalog-1
    stock-1
      db-1
    db does not answer
  cart-1
    orders-1
      db-1
$`)
	stack.Eventually(t, 20*time.Second, func() error {
		resp, err := http.Get("http://" + address.Status.Address + "/cgi-bin/call")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && !tree.Match(body) {
			err = fmt.Errorf("%s: %s", resp.Status, body)
		}
		return err
	})
}
