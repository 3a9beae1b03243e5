package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"husk/openapi"
)

// apiKey is a key with the name of its service account.
type apiKey struct {
	openapi.APIKey
	account string
}

var keyView = view[apiKey]{
	kind: "api-key",
	name: func(k apiKey) string { return k.ClientID.String() },
	columns: []column[apiKey]{
		{"NAME", false, func(k apiKey) string { return k.Name }},
		{"SERVICE-ACCOUNT", false, func(k apiKey) string { return k.account }},
		{"CLIENT-ID", false, func(k apiKey) string { return k.ClientID.String() }},
		{"AGE", false, func(k apiKey) string { return age(k.CreatedAt) }},
		{"LAST-USED", false, func(k apiKey) string { return ageOf(k.LastUsedAt) }},
		{"EXPIRES", false, func(k apiKey) string { return moment(k.ExpiresAt) }},
		{"LIMITED-TO", true, func(k apiKey) string { return string(value(k.LimitedTo)) }},
	},
}

// listKeys lists the keys of one service account, or of all.
func listKeys(ctx context.Context, c *openapi.Client, account string) ([]apiKey, error) {
	var accounts []openapi.ServiceAccount
	if account != "" {
		one, err := findAccount(ctx, c, account)
		if err != nil {
			return nil, err
		}
		accounts = append(accounts, one)
	} else {
		all, err := listAccounts(ctx, c)
		if err != nil {
			return nil, err
		}
		accounts = all
	}
	var keys []apiKey
	for _, s := range accounts {
		of, err := answer[openapi.APIKeyList](c.ListServiceAccountKeys(ctx, s.ID))
		if isNotFound(err) && account == "" { // deleted meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, k := range of.Items {
			keys = append(keys, apiKey{k, s.Name})
		}
	}
	return keys, nil
}

// findKey finds a key by its client id or its name.
func findKey(ctx context.Context, c *openapi.Client, name, account string) (apiKey, error) {
	keys, err := listKeys(ctx, c, account)
	return findListed(name, "API key", keys, err, func(k apiKey) []string { return []string{k.ClientID.String(), k.Name} })
}

func apiKeysCommand(a *app) *cobra.Command {
	cmd := keysList(a)
	cmd.AddCommand(createKeyCommand(a), deleteKind(a, "api-key"))
	return cmd
}

func keysList(a *app) *cobra.Command {
	account := ""
	r := resource[apiKey]{
		view: keyView, plural: "api-keys", aliases: []string{"api-key", "key"}, short: "List API keys, without their secrets",
		id:     func(k apiKey) string { return k.ClientID.String() },
		ifNone: "husk api-key create NAME --service-account ACCOUNT makes one",
		list: func(ctx context.Context, c *openapi.Client, _ query) ([]apiKey, error) {
			return listKeys(ctx, c, account)
		},
		find: func(ctx context.Context, c *openapi.Client, name string) (apiKey, error) {
			return findKey(ctx, c, name, account)
		},
	}
	cmd := listCommand(a, r)
	cmd.Flags().StringVar(&account, "service-account", "", "only the keys of this service account")
	a.complete(cmd, "service-account", a.namesOf("service-account"))
	return cmd
}

func createKeyCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME --service-account ACCOUNT",
		Short: "Create an API key and show its secret, once",
		Example: `  husk api-key create laptop --service-account ci --expires-in 90d
  husk api-key create ci --service-account ci -o json
  husk api-key create prometheus --service-account monitoring --limited-to metrics`,
		Args: cobra.ExactArgs(1),
	}
	account := cmd.Flags().String("service-account", "", "whose key it is")
	expires := cmd.Flags().String("expires-in", "", "how long it is good for, such as 12h or 90d (default: until it is deleted)")
	limit := cmd.Flags().String("limited-to", "", "what its tokens may be used for at most, whatever the account's role: metrics, which is scraping (default: what the role allows)")
	a.complete(cmd, "service-account", a.namesOf("service-account"))
	a.completeWords(cmd, "limited-to", string(openapi.Metrics))
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if *account == "" {
			return usagef("--service-account is needed; husk service-accounts lists them")
		}
		order := openapi.APIKeyCreate{Name: args[0]}
		if order.ExpiresInSeconds, err = parseLife("--expires-in", *expires); err != nil {
			return err
		}
		switch *limit {
		case "":
		case string(openapi.Metrics):
			order.LimitedTo = new(openapi.Metrics)
		default:
			return usagef("--limited-to: %q is not a limit; metrics is the only one", *limit)
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		of, err := findAccount(cmd.Context(), c, bare("service-account", *account))
		if err != nil {
			return err
		}
		made, err := answer[openapi.APIKeyWithSecret](c.CreateServiceAccountKey(cmd.Context(), of.ID,
			&openapi.CreateServiceAccountKeyParams{IdempotencyKey: newKey()}, order))
		if err != nil {
			return err
		}
		switch p.format {
		case "json":
			return writeJSON(p.out, made)
		case "yaml":
			return writeYAML(p.out, made)
		case "name":
			return usagef("--output: the secret would be lost; use json or yaml")
		}
		_, err = fmt.Fprintf(p.out, "HUSK_CLIENT_ID=%s\nHUSK_CLIENT_SECRET=%s\n", made.ClientID, clean(made.ClientSecret))
		a.hint("the secret is shown only now; husk login --client-id %s --client-secret-stdin uses it here", made.ClientID)
		return err
	}
	return cmd
}

// parseLife reads how long something lasts, in days too.
func parseLife(flag, text string) (*int64, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // without a limit
	}
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int64
		n, err = strconv.ParseInt(days, 10, 32)
		d = time.Duration(n) * 24 * time.Hour
	}
	if seconds := int64(d.Seconds()); err == nil && seconds > 0 {
		return &seconds, nil
	}
	return nil, usagef("%s: %q is not a time such as 12h or 90d", flag, text)
}

// deleteKey deletes a key by its client id or name.
func deleteKey(ctx context.Context, c *openapi.Client, k apiKey) (*http.Response, error) {
	return c.DeleteServiceAccountKey(ctx, k.ServiceAccountID, k.ClientID)
}
