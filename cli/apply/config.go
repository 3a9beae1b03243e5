// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"bytes"
	"context"
	"encoding/base64"
	"maps"

	"husk/client"
	"husk/openapi"
)

// config creates a config or secret, or gives it the values and labels of the document. The values of a secret cannot be read, so they are
// always sent; the server makes a new version only if they have changed.
func (a *Application) config(ctx context.Context, want openapi.ConfigCreate) (string, error) {
	have, err := a.Client.Configs.Find(ctx, want.Kind, want.Name)
	switch {
	case client.IsNotFound(err) && a.DryRun == Client:
		return "created", nil
	case client.IsNotFound(err) && a.DryRun == Server:
		_, err := a.Client.Configs.DryRun(ctx, want)
		return "created", err
	case client.IsNotFound(err):
		_, err := a.Client.Configs.Create(ctx, want)
		return "created", err
	case err != nil:
		return "", err
	}
	labels := labelChanges(openapi.Value(want.Labels), have.Labels)
	change := openapi.ConfigUpdate{Labels: &labels, Values: &openapi.ConfigValues{}, BinaryValues: &openapi.ConfigBinaryValues{}}
	maps.Copy(*change.Values, openapi.Value(want.Values))
	maps.Copy(*change.BinaryValues, openapi.Value(want.BinaryValues))
	for _, key := range have.Keys {
		_, text := (*change.Values)[key.Name]
		if _, binary := (*change.BinaryValues)[key.Name]; !text && !binary {
			(*change.Values)[key.Name] = nil
		}
	}
	for key, value := range *change.Values {
		if value != nil && a.Kept != "" && *value == a.Kept {
			delete(*change.Values, key)
		}
	}
	if len(labels) == 0 && want.Kind == openapi.ConfigKindConfig && sameValues(change, have) {
		return "unchanged", nil
	}
	if a.DryRun == Client {
		return "changed", nil
	}
	now, err := a.Client.Configs.Update(ctx, have.ID, change, a.DryRun == Server)
	if err == nil && now.Version == have.Version && maps.Equal(now.Labels, have.Labels) {
		return "unchanged", nil
	}
	return "changed", err
}

// labelChanges returns the changes that make have to want.
func labelChanges(want, have map[string]string) openapi.LabelChanges {
	changes := openapi.LabelChanges{}
	for name, value := range want {
		if was, has := have[name]; !has || was != value {
			changes[name] = &value
		}
	}
	for name := range have {
		if _, stays := want[name]; !stays {
			changes[name] = nil
		}
	}
	return changes
}

// sameValues reports whether a change would leave the values of a config as they are.
func sameValues(change openapi.ConfigUpdate, have openapi.Config) bool {
	was := map[string][]byte{}
	for key, value := range openapi.Value(have.Values) {
		was[key] = []byte(openapi.Value(value))
	}
	for key, value := range openapi.Value(have.BinaryValues) {
		was[key], _ = base64.StdEncoding.DecodeString(openapi.Value(value)) //nolint:errcheck // the server sends base64
	}
	now := maps.Clone(was)
	for key, value := range openapi.Value(change.Values) {
		if delete(now, key); value != nil {
			now[key] = []byte(*value)
		}
	}
	for key, value := range openapi.Value(change.BinaryValues) {
		now[key], _ = base64.StdEncoding.DecodeString(openapi.Value(value)) //nolint:errcheck // the server refuses what is no base64
	}
	return maps.EqualFunc(was, now, bytes.Equal)
}
