// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"slices"

	"husk/cli/manifest"
	"husk/client"
	"husk/openapi"
)

// createNamed creates the groups that other documents' groups name, unless they exist. Groups can name each other, so these are created without the rules
// about groups of the documents. They get those in their turn, when all groups exist.
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
	for _, d := range docs {
		if d.Group == nil || !named[d.Group.Name] {
			continue
		}
		_, err := a.Client.SecurityGroups.Find(ctx, d.Group.Name)
		switch {
		case err == nil:
			continue
		case !client.IsNotFound(err):
			return err
		case a.dry():
			a.targets[d.Ref()] = true
			continue
		}
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

// arePlanned reports whether one of these groups does not exist yet, because this is a dry run. So the API cannot check what names it.
func (a *Application) arePlanned(groups []string) bool {
	return slices.ContainsFunc(groups, func(name string) bool { return a.targets["security-group/"+name] })
}

// group creates a security group, or gives it what the document says.
func (a *Application) group(ctx context.Context, want openapi.SecurityGroupCreate) (string, error) {
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
		if a.arePlanned(manifest.PeersOf(want)) {
			return "created", nil
		}
		_, err := a.Client.SecurityGroups.DryRun(ctx, want)
		return "created", err
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
