// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"slices"
	"strings"

	"husk"
	"husk/cli/manifest"
	"husk/client"
	"husk/openapi"
)

// createNamed creates the groups that other documents' groups name, unless they exist. Groups can name each other, so these are created without the rules
// about groups of the documents. They get those in their turn, when all groups exist. If the API would refuse one of them, none is created: a group
// without its rules allows nothing.
func (a *Application) createNamed(ctx context.Context, docs []manifest.Document) error {
	described := map[string]bool{}
	for _, d := range docs {
		if d.Group != nil {
			described[d.Group.Name] = true
		}
	}
	named := map[string]bool{}
	for _, d := range docs {
		if d.Group == nil {
			continue
		}
		for _, peer := range manifest.PeersOf(*d.Group) {
			named[peer] = named[peer] || described[peer] && peer != d.Group.Name
		}
	}
	var missing []manifest.Document
	for _, d := range docs {
		if d.Group == nil || !named[d.Group.Name] {
			continue
		}
		if _, err := a.Client.SecurityGroups.Find(ctx, d.Group.Name); client.IsNotFound(err) {
			missing = append(missing, d)
		} else if err != nil {
			return err
		}
	}
	if a.dry() {
		for _, d := range missing {
			a.targets[d.Ref()] = true
		}
		return nil
	}
	if len(missing) == 0 {
		return nil
	}
	for _, d := range docs {
		if d.Group == nil {
			continue
		}
		if err := a.checkAlone(ctx, *d.Group, described); err != nil && !client.HasCode(err, husk.CodeNameTaken) {
			a.refused[d.Group.Name] = err
		}
	}
	if len(a.refused) > 0 {
		return nil // each error is reported in its turn, with the place in the document
	}
	for _, d := range missing {
		first := manifest.CompleteGroup(*d.Group) // its restrictions do not depend on the rules that are left out
		first.Rules = new(slices.DeleteFunc(slices.Clone(openapi.Value(first.Rules)), func(r openapi.SecurityRule) bool {
			return slices.ContainsFunc(openapi.Value(r.Peers), func(p openapi.SecurityRulePeer) bool { return described[openapi.Value(p.Group)] })
		}))
		if _, err := a.Client.SecurityGroups.Create(ctx, first); err == nil {
			a.named[d.Group.Name] = true
		} else if ctx.Err() != nil {
			return err
		} // otherwise it is created again in its turn, which reports the error with the place in the document
	}
	return nil
}

// checkAlone lets the API check a group although groups that it names may not exist yet: in their place, it names itself.
func (a *Application) checkAlone(ctx context.Context, g openapi.SecurityGroupCreate, planned map[string]bool) error {
	if g.Rules != nil {
		rules := slices.Clone(*g.Rules)
		for i := range rules {
			var peers []openapi.SecurityRulePeer
			for _, p := range openapi.Value(rules[i].Peers) {
				if planned[openapi.Value(p.Group)] {
					p.Group = &g.Name
					if slices.ContainsFunc(peers, func(o openapi.SecurityRulePeer) bool { return openapi.Value(o.Group) == g.Name }) {
						continue
					}
				}
				peers = append(peers, p)
			}
			if rules[i].Peers != nil {
				rules[i].Peers = &peers
			}
		}
		g.Rules = &rules
	}
	_, err := a.Client.SecurityGroups.DryRun(ctx, g)
	return err
}

// plannedGroups are the groups that would exist if this were not a dry run.
func (a *Application) plannedGroups() map[string]bool {
	all := map[string]bool{}
	for ref, planned := range a.targets {
		if name, is := strings.CutPrefix(ref, "security-group/"); is && planned {
			all[name] = true
		}
	}
	return all
}

// arePlanned reports whether one of these groups does not exist yet, because this is a dry run. So the API cannot check what names it.
func (a *Application) arePlanned(groups []string) bool {
	return slices.ContainsFunc(groups, func(name string) bool { return a.targets["security-group/"+name] })
}

// group creates a security group, or gives it what the document says.
func (a *Application) group(ctx context.Context, want openapi.SecurityGroupCreate) (string, error) {
	if err := a.refused[want.Name]; err != nil {
		return "", err
	}
	done, err := a.inLine(ctx, want)
	if a.named[want.Name] {
		done = "created"
	}
	return done, err
}

func (a *Application) inLine(ctx context.Context, want openapi.SecurityGroupCreate) (string, error) {
	have, err := a.Client.SecurityGroups.Find(ctx, want.Name)
	switch {
	case client.IsNotFound(err) && a.DryRun == Client:
		return "created", nil
	case client.IsNotFound(err) && a.DryRun == Server:
		return "created", a.checkAlone(ctx, want, a.plannedGroups())
	case client.IsNotFound(err):
		_, err := a.Client.SecurityGroups.Create(ctx, want)
		return "created", err
	case err != nil:
		return "", err
	}
	labels := labelChanges(openapi.Value(want.Labels), have.Labels)
	whole := manifest.CompleteGroup(want)
	differ := manifest.DiffGroup(whole, have)
	switch {
	case len(labels)+len(differ) == 0:
		return "unchanged", nil
	case a.DryRun == Client, a.DryRun == Server && a.arePlanned(manifest.PeersOf(want)):
		return "changed", nil
	}
	now, err := a.Client.SecurityGroups.Update(ctx, have.ID, openapi.SecurityGroupUpdate{
		Labels: &labels, Selector: whole.Selector, Restricts: whole.Restricts, Rules: whole.Rules,
	}, a.DryRun == Server)
	if err == nil && len(labels) == 0 && openapi.Value(now.Selector) == openapi.Value(have.Selector) && slices.Equal(differ, []string{"selector"}) { // it was written in another way
		return "unchanged", nil
	}
	return "changed", err
}
