package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"husk/nodeagent/network"
	"husk/nodeagent/vm"
)

// Purge ends every machine of the node whose state is in stateDir and removes its network, for a node that is to be forgotten. The
// server is not told. It is fine to call when nothing is there.
func Purge(ctx context.Context, stateDir, libvirtURI string) error {
	raw, err := os.ReadFile(identityFile(stateDir)) //nolint:gosec // the operator names it
	if errors.Is(err, fs.ErrNotExist) {
		return network.Clear()
	}
	if err != nil {
		return err
	}
	var id identity
	if err := json.Unmarshal(raw, &id); err != nil {
		return err
	}
	vms := vm.New(vm.Config{Node: id.NodeID, URI: libvirtURI})
	domains, err := vms.List(ctx)
	for _, d := range domains {
		err = errors.Join(err, vms.Destroy(ctx, d.PodID))
	}
	return errors.Join(err, vms.Close(), network.Clear())
}
