// SPDX-License-Identifier: Apache-2.0

// Package complete offers the names of objects to the completion of a shell.
package complete

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"husk/cli/connect"
	"husk/cli/kind"
	"husk/cli/print"
	"husk/client"
)

// completionTime bounds one completion. If the server has not responded by then, no names are offered.
const completionTime = 2 * time.Second

// Offer offers words for an argument or a flag.
type Offer = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective)

// Objects offers the names of objects, which it asks the server for.
type Objects struct {
	Connect func() (*client.Client, error)
}

// Flag gives a flag its completions.
func Flag(cmd *cobra.Command, flag string, offer Offer) {
	if err := cmd.RegisterFlagCompletionFunc(flag, offer); err != nil {
		panic(err) // a bug: the command has no such flag
	}
}

// Words gives a flag its fixed completions.
func Words(cmd *cobra.Command, flag string, words ...string) {
	Flag(cmd, flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// Contexts offers the names of contexts.
func Contexts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	_, c, err := connect.Contexts()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.Names(), cobra.ShellCompDirectiveNoFileComp
}

// Named asks the server for the names of a kind. If that fails, it offers nothing and reports nothing.
func (o Objects) Named(cmd *cobra.Command, of string) []string {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	c, err := o.Connect()
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

// NamesOf offers the names of a kind.
func (o Objects) NamesOf(of string) Offer {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return o.Named(cmd, of), cobra.ShellCompDirectiveNoFileComp
	}
}

// Names offers names for arguments that are all names of one kind.
func (o Objects) Names(of string) Offer {
	offer := o.NamesOf(of)
	return func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		all, directive := offer(cmd, args, toComplete)
		return without(all, args), directive
	}
}

// Refs offers KIND/NAME.
func (o Objects) Refs(kinds ...string) Offer {
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
		offers := o.Named(cmd, of)
		for i := range offers {
			offers[i] = word + "/" + offers[i]
		}
		return offers, cobra.ShellCompDirectiveNoFileComp
	}
}

// KindThenNames offers a kind and then its names, or KIND/NAME.
func (o Objects) KindThenNames(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		if of, ok := kind.Of(args[0]); ok {
			return without(o.Named(cmd, of), args[1:]), cobra.ShellCompDirectiveNoFileComp
		}
	}
	var kinds []string
	for _, k := range kind.All() {
		if kind.Listable(k) {
			kinds = append(kinds, k)
		}
	}
	if len(args) > 0 || strings.Contains(toComplete, "/") {
		return o.Refs(kinds...)(cmd, args, toComplete)
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
