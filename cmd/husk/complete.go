package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"husk/cmd/husk/config"
	"husk/openapi"
)

// completionTime is how long pressing the tab key may take. What has not come by then is not offered.
const completionTime = 2 * time.Second

// completer offers words for an argument or a flag.
type completer = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective)

// complete gives a flag its completions.
func (a *app) complete(cmd *cobra.Command, flag string, offer completer) {
	if err := cmd.RegisterFlagCompletionFunc(flag, offer); err != nil {
		panic(err) // the flag is not there, or has completions already: a mistake of ours that every start shows
	}
}

// completeWords gives a flag its fixed completions.
func (a *app) completeWords(cmd *cobra.Command, flag string, words ...string) {
	a.complete(cmd, flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

func completeContexts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	store, err := config.Default()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := store.Load()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.Names(), cobra.ShellCompDirectiveNoFileComp
}

// listers list the names of each kind.
var listers = map[string]func(ctx context.Context, c *openapi.Client) ([]string, error){
	"pod":             listerOf(pods),
	"volume":          listerOf(volumes),
	"image":           listerOf(images),
	"service-account": listerOf(serviceAccounts),
	"user":            listerOf(users),
	"issuer":          listerOf(issuers),
	"api-key": func(ctx context.Context, c *openapi.Client) ([]string, error) {
		keys, err := listKeys(ctx, c, "")
		var names []string
		for _, k := range keys {
			names = append(names, k.ClientID.String()+"\t"+k.Name+" of "+k.account)
		}
		return names, err
	},
}

func listerOf[T any](r resource[T]) func(ctx context.Context, c *openapi.Client) ([]string, error) {
	return func(ctx context.Context, c *openapi.Client) ([]string, error) {
		all, err := r.list(ctx, c, query{})
		var names []string
		for _, item := range all {
			names = append(names, r.name(item))
		}
		return names, err
	}
}

// named asks the server for the names of a kind. Whatever goes wrong, there is nothing to offer and nothing to say.
func (a *app) named(cmd *cobra.Command, kind string) []string {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	c, err := a.connect()
	if err != nil || listers[kind] == nil {
		return nil
	}
	found, err := listers[kind](ctx, c)
	if err != nil {
		return nil
	}
	for i, name := range found {
		word, about, described := strings.Cut(name, "\t")
		found[i] = clean(word)
		if described {
			found[i] += "\t" + clean(about)
		}
	}
	return found
}

func (a *app) namesOf(kind string) completer {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.named(cmd, kind), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeNames offers names for arguments that all are names of a kind.
func (a *app) completeNames(kind string) completer {
	offer := a.namesOf(kind)
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
			for _, kind := range kinds {
				offers = append(offers, kind+"/")
			}
			return offers, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
		kind, ok := kindOf(word)
		if !ok {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		offers := a.named(cmd, kind)
		for i := range offers {
			offers[i] = word + "/" + offers[i]
		}
		return offers, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeKindThenNames offers a kind and then its names, or KIND/NAME.
func (a *app) completeKindThenNames(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		if kind, ok := kindOf(args[0]); ok {
			return without(a.named(cmd, kind), args[1:]), cobra.ShellCompDirectiveNoFileComp
		}
	}
	var kinds []string
	for _, words := range kindNames {
		if listers[words[0]] != nil {
			kinds = append(kinds, words[0])
		}
	}
	if len(args) > 0 || strings.Contains(toComplete, "/") {
		return a.completeRefs(kinds...)(cmd, args, toComplete)
	}
	return kinds, cobra.ShellCompDirectiveNoFileComp
}

// without leaves out what was typed already.
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
