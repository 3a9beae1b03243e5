// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"husk/cli/connect"
	"husk/cli/kind"
	"husk/cli/print"
)

// completionTime bounds one completion. If the server has not responded by then, no names are offered.
const completionTime = 2 * time.Second

// completer offers words for an argument or a flag.
type completer = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective)

// complete gives a flag its completions.
func (a *app) complete(cmd *cobra.Command, flag string, offer completer) {
	if err := cmd.RegisterFlagCompletionFunc(flag, offer); err != nil {
		panic(err) // a bug: the command has no such flag
	}
}

// completeWords gives a flag its fixed completions.
func (a *app) completeWords(cmd *cobra.Command, flag string, words ...string) {
	a.complete(cmd, flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

func completeContexts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	_, c, err := connect.Contexts()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.Names(), cobra.ShellCompDirectiveNoFileComp
}

// named asks the server for the names of a kind. If that fails, it offers nothing and reports nothing.
func (a *app) named(cmd *cobra.Command, of string) []string {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	c, err := a.connect()
	if err != nil || !kind.Listable(of) {
		return nil
	}
	found, err := kind.Names(ctx, c, of)
	if err != nil {
		return nil
	}
	for i, name := range found {
		word, about, described := strings.Cut(name, "\t")
		found[i] = print.Clean(word)
		if described {
			found[i] += "\t" + print.Clean(about)
		}
	}
	return found
}

func (a *app) namesOf(of string) completer {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.named(cmd, of), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeNames offers names for arguments that are all names of one kind.
func (a *app) completeNames(of string) completer {
	offer := a.namesOf(of)
	return func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		all, directive := offer(cmd, args, toComplete)
		return without(all, args), directive
	}
}

// completeRefs offers KIND/NAME.
func (a *app) completeRefs(kinds ...string) completer {
	return func(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		word, _, slash := strings.Cut(toComplete, "/")
		if !slash {
			var offers []string
			for _, k := range kinds {
				offers = append(offers, k+"/")
			}
			return offers, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
		of, ok := kind.Of(word)
		if !ok {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		offers := a.named(cmd, of)
		for i := range offers {
			offers[i] = word + "/" + offers[i]
		}
		return offers, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeKindThenNames offers a kind and then its names, or KIND/NAME.
func (a *app) completeKindThenNames(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		if of, ok := kind.Of(args[0]); ok {
			return without(a.named(cmd, of), args[1:]), cobra.ShellCompDirectiveNoFileComp
		}
	}
	var kinds []string
	for _, k := range kind.All() {
		if kind.Listable(k) {
			kinds = append(kinds, k)
		}
	}
	if len(args) > 0 || strings.Contains(toComplete, "/") {
		return a.completeRefs(kinds...)(cmd, args, toComplete)
	}
	return kinds, cobra.ShellCompDirectiveNoFileComp
}

// without removes the names that were already typed.
func without(all, typed []string) []string {
	var left []string
	for _, offer := range all {
		word, _, _ := strings.Cut(offer, "\t")
		used := false
		for _, t := range typed {
			used = used || t == word
		}
		if !used {
			left = append(left, offer)
		}
	}
	return left
}
