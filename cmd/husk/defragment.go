package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"husk/openapi"
)

func defragmentCommand(a *app) *cobra.Command {
	moves, pool, apply := 100, "", false
	cmd := &cobra.Command{
		Use:   "defragment",
		Short: "Propose which nodes can be emptied, and empty them",
		Long: `Propose which nodes can be emptied by moving their pods onto others that run
something already, and what each move gains. Nothing is done unless --apply is
given: then those nodes take no more pods, and their pods stop and start on
other nodes. Disruption limits are kept. An emptied node may be switched off;
husk node uncordon lets it take pods again.`,
		Example: "  husk defragment --max-moves 20\n  husk defragment --max-moves 20 --apply",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().IntVar(&moves, "max-moves", moves, "how many pods may be moved")
	cmd.Flags().StringVar(&pool, "pool", "", "only nodes of this pool")
	cmd.Flags().BoolVar(&apply, "apply", false, "do it")
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		dry := !apply
		order := openapi.DefragmentationCreate{DryRun: &dry, MaxMoves: &moves, Pool: given(pool)}
		d, err := answer[openapi.Defragmentation](c.Defragment(cmd.Context(), &openapi.DefragmentParams{IdempotencyKey: newKey()}, order))
		if err != nil {
			return err
		}
		switch p.format {
		case "json":
			return writeJSON(p.out, d)
		case "yaml":
			return writeYAML(p.out, d)
		}
		if err := describeDefragmentation(p.out, d); err != nil {
			return err
		}
		if dry && len(d.Freed) > 0 {
			a.hint("nothing was done; --apply does it")
		}
		return nil
	}
	return cmd
}

func describeDefragmentation(w io.Writer, d openapi.Defragmentation) error {
	if len(d.Freed) == 0 {
		_, err := fmt.Fprintln(w, "no node can be emptied")
		return err
	}
	for _, n := range d.Freed {
		if _, err := fmt.Fprintf(w, "node/%s: %d moves free %s cores and %d MiB, %s cores and %d MiB each\n", clean(n.NodeName), len(n.Moves),
			cores(n.Gain.CPUMillis), n.Gain.MemoryMiB, cores(n.GainPerMove.CPUMillis), n.GainPerMove.MemoryMiB); err != nil {
			return err
		}
		for _, m := range n.Moves {
			if _, err := fmt.Fprintf(w, "  pod %s of tenant %s, %s cores and %d MiB, to node/%s\n", m.PodID, m.TenantID, cores(m.Resources.CPUMillis), m.Resources.MemoryMiB, clean(m.ToNodeName)); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintf(w, "%d moves free %d nodes\n", d.Moves, len(d.Freed))
	return err
}
