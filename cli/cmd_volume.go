// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io"

	"github.com/spf13/cobra"

	"husk/cli/addresses"
	"husk/cli/groups"
	"husk/cli/ingresses"
	"husk/cli/kind"
	"husk/cli/networks"
	"husk/cli/services"
	"husk/cli/volumes"
)

func (a *app) volumeParts() volumes.Parts {
	return volumes.Parts{Connect: a.connect, Output: a.outputFlags, Names: a.offers().Names, In: func() io.Reader { return a.in }, Out: func() io.Writer { return a.out }}
}

func volumesCommand(a *app) *cobra.Command {
	cmd := listCommand(a, kind.Volumes)
	cmd.AddCommand(append(volumes.Commands(a.volumeParts()), deleteKind(a, "volume"))...)
	return cmd
}

func snapshotsCommand(a *app) *cobra.Command {
	cmd := listCommand(a, kind.Snapshots)
	cmd.AddCommand(volumes.CreateSnapshot(a.volumeParts()), volumes.ExportSnapshot(a.volumeParts()), deleteKind(a, "snapshot"))
	return cmd
}

func volumeClassesCommand(a *app) *cobra.Command {
	cmd := listCommand(a, kind.VolumeClasses)
	cmd.AddCommand(volumes.ClassCommands(a.volumeParts())...)
	return cmd
}

func networksCommand(a *app) *cobra.Command {
	cmd := listCommand(a, kind.Networks)
	cmd.AddCommand(networks.Create(networks.Parts{Connect: a.connect, Output: a.outputFlags}), deleteKind(a, "network"))
	return cmd
}

func servicesCommand(a *app) *cobra.Command {
	cmd := listCommand(a, kind.Services)
	cmd.AddCommand(append(services.Commands(services.Parts{Connect: a.connect, Output: a.outputFlags, Names: a.offers().Names}), deleteKind(a, "service"))...)
	return cmd
}

func addressesCommand(a *app) *cobra.Command {
	cmd := listCommand(a, kind.Addresses)
	cmd.AddCommand(append(addresses.Commands(addresses.Parts{Connect: a.connect, Output: a.outputFlags, Names: a.offers().Names}), deleteKind(a, "address"))...)
	return cmd
}

func ingressesCommand(a *app) *cobra.Command {
	cmd := listCommand(a, kind.Ingresses)
	cmd.AddCommand(append(ingresses.Commands(ingresses.Parts{Connect: a.connect, Output: a.outputFlags, Names: a.offers().Names, Out: a.out}), deleteKind(a, "ingress"))...)
	return cmd
}

func groupsCommand(a *app) *cobra.Command {
	cmd := listCommand(a, kind.SecurityGroups)
	cmd.AddCommand(append(groups.Commands(groups.Parts{Connect: a.connect, Output: a.outputFlags, Names: a.offers().Names}), deleteKind(a, "security-group"))...)
	return cmd
}
