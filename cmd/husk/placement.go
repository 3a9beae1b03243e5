package main

import (
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/openapi"
)

func placementCommand(a *app) *cobra.Command {
	tenant := ""
	cmd := &cobra.Command{
		Use:   "placement POD",
		Short: "Say why a pod is where it is, or why it is nowhere",
		Long: `Say what the scheduler decided about a pod last, and why: how many nodes its own
selectors, tolerations and rules leave, what is short there, and which pods of
the tenant would make room.

An operator names the tenant and the pod by their ids, and is told everything.`,
		Example: `  husk placement web
  husk placement --tenant 3f1c2a9e-6b0d-4c55-9a7e-2d8f0b6c1e44 b7d9f3a2-14c8-4e0b-8f6d-5a1c7e92d303`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNames("pod"),
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "id of the pod's tenant, for operators")
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		var of, id uuid.UUID
		if tenant != "" {
			if of, err = uuid.Parse(tenant); err != nil {
				return usagef("--tenant: %q is not an id", tenant)
			}
			if id, err = uuid.Parse(args[0]); err != nil {
				return usagef("an operator names a pod by its id; %q is none", args[0])
			}
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		var placement openapi.Placement
		if tenant != "" {
			placement, err = answer[openapi.Placement](c.AdminGetPodPlacement(cmd.Context(), of, id))
		} else {
			var pod openapi.Pod
			if pod, err = findPod(cmd.Context(), c, bare("pod", args[0])); err != nil {
				return err
			}
			placement, err = answer[openapi.Placement](c.GetPodPlacement(cmd.Context(), pod.ID))
		}
		if err != nil {
			return err
		}
		switch p.format {
		case "json":
			return writeJSON(p.out, placement)
		case "yaml":
			return writeYAML(p.out, placement)
		default:
			return describePlacement(p.out, placement)
		}
	}
	return cmd
}

func describePlacement(w io.Writer, p openapi.Placement) error {
	var f facts
	f.add("Outcome:", string(p.Outcome))
	f.add("Node:", value(p.NodeName))
	f.add("Reason:", string(value(p.Reason)))
	f.add("Message:", value(p.Message))
	if p.DecidedAt != nil {
		f.add("Decided:", p.DecidedAt.Format(time.RFC3339)+", "+age(*p.DecidedAt)+" ago")
	}
	if p.Attempts > 0 {
		f.add("Attempts:", fmt.Sprint(p.Attempts))
		f.add("Next try:", moment(p.NextTryAt))
	}
	if s := p.Score; s != nil {
		f.add("Nodes compared:", fmt.Sprint(s.NodesCompared))
		f.add("Opened a node:", fmt.Sprint(s.OpenedNode))
		f.add("Stranded:", fmt.Sprintf("%.4f nodes before, %.4f after", s.StrandedBefore, s.StrandedAfter))
		f.add("Left free:", fmt.Sprintf("%.3f nodes", s.LeftFree))
		f.add("Score:", fmt.Sprintf("%.4f", s.Total))
	}
	if r := p.Refusal; r != nil {
		f.gap()
		for _, line := range []struct {
			name string
			n    int
		}{
			{"Nodes:", r.Nodes},
			{"  not ready:", r.NotReady},
			{"  labels missing:", r.NotSelected},
			{"  not tolerated:", r.NotTolerated},
			{"  ruled out:", r.Crowded},
			{"  lack cpu:", value(r.LackCPU)},
			{"  lack memory:", value(r.LackMemory)},
		} {
			if line.n > 0 {
				f.add(line.name, fmt.Sprint(line.n))
			}
		}
		if l := r.NearestLacks; l != nil {
			f.add("Nearest:", fmt.Sprintf("%s lacks %s cores and %d MiB", value(r.NearestNode), cores(l.CPUMillis), l.MemoryMiB))
		}
		for _, pod := range value(r.WouldMakeRoom) {
			f.add("Would make room:", fmt.Sprintf("pod %s, of %s cores and %d MiB", pod.ID, cores(pod.Resources.CPUMillis), pod.Resources.MemoryMiB))
		}
	}
	return f.print(w)
}
