// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"husk/nodeagent/lease"
	"husk/nodeagent/network"
	"husk/nodeagent/vm"
)

// ScratchDir returns the directory with the scratch disks of pods.
func ScratchDir(stateDir string) string { return filepath.Join(stateDir, "scratch") }

// Purge ends every machine of the node with the given state directory and removes the node's
// network, before the node is removed from the cluster. It does not notify the server. If the node
// has never joined, it has no machines, and Purge only removes the network.
func Purge(ctx context.Context, stateDir, libvirtURI string) error {
	raw, err := os.ReadFile(identityFile(stateDir)) //nolint:gosec // the operator sets the path
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
	vms := vm.New(vm.Config{Node: id.NodeID, URI: libvirtURI, ScratchDir: ScratchDir(stateDir)})
	domains, err := vms.List(ctx)
	for _, d := range domains {
		err = errors.Join(err, vms.Destroy(ctx, d.PodID))
	}
	vms.Close()
	return errors.Join(err, network.Clear(), lease.Dismiss(stateDir))
}
