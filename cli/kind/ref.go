// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"husk/cli/exit"
	"husk/client"
)

// Ref is the kind of an object, such as pod, and its name or ID.
type Ref struct{ Kind, Name string }

// String returns the form KIND/NAME.
func (r Ref) String() string { return r.Kind + "/" + r.Name }

// Find finds the object.
func (r Ref) Find(ctx context.Context, c *client.Client) (Object, error) {
	return finders[r.Kind](ctx, c, r.Name)
}

// ParseRefs reads KIND NAME… or KIND/NAME….
func ParseRefs(args []string) ([]Ref, error) {
	if kind, ok := Of(args[0]); ok {
		if len(args) == 1 {
			return nil, exit.Usagef("give the name of a %s", kind)
		}
		var refs []Ref
		for _, name := range args[1:] {
			refs = append(refs, Ref{kind, Bare(kind, name)})
		}
		return checkKinds(refs)
	}
	var refs []Ref
	for _, arg := range args {
		word, name, ok := strings.Cut(arg, "/")
		kind, known := Of(word)
		if !ok || !known || name == "" {
			return nil, exit.Usagef("%q is not KIND/NAME, such as pod/web; write KIND NAME… or KIND/NAME…", arg)
		}
		refs = append(refs, Ref{kind, name})
	}
	return checkKinds(refs)
}

func checkKinds(refs []Ref) ([]Ref, error) {
	for _, r := range refs {
		if finders[r.Kind] == nil {
			return nil, exit.Usagef("%s: objects of this kind cannot be deleted or waited for", r)
		}
	}
	return refs, nil
}

// FindID finds the ID of KIND/NAME. A name without a kind has the preset kind.
func FindID(ctx context.Context, c *client.Client, arg, preset string) (uuid.UUID, error) {
	refs, err := ParseRefs([]string{arg})
	if err != nil {
		refs = []Ref{{preset, arg}}
	}
	o, err := refs[0].Find(ctx, c)
	return o.ID, err
}

// words are the words for each kind, before a slash and as an argument of delete and wait. The first word is the name of the kind.
var words = [][]string{
	{"pod", "pods", "po"},
	{"volume", "volumes", "vol"},
	{"snapshot", "snapshots", "snap"},
	{"image", "images", "img"},
	{"config", "configs", "cm"},
	{"secret", "secrets"},
	{"network", "networks", "net"},
	{"service", "services", "svc"},
	{"ingress", "ingresses", "ing"},
	{"address", "addresses", "addr"},
	{"security-group", "security-groups", "sg"},
	{"event", "events", "ev"},
	{"service-account", "service-accounts", "sa"},
	{"api-key", "api-keys", "key"},
	{"user", "users"},
	{"issuer", "issuers"},
	{"platform-issuer", "platform-issuers"},
	{"node", "nodes"},
	{"pool", "pools"},
	{"volume-class", "volume-classes"},
}

// Of finds the kind for a word.
func Of(word string) (string, bool) {
	for _, all := range words {
		if slices.Contains(all, word) {
			return all[0], true
		}
	}
	return "", false
}

// Bare returns a name without its kind: web for pod/web. The reference of an image can contain slashes, so the first part is only removed if it
// is a word for the kind.
func Bare(kind, arg string) string {
	word, name, ok := strings.Cut(arg, "/")
	if k, known := Of(word); ok && known && k == kind && name != "" {
		return name
	}
	return arg
}

// BareNames removes the kind from names that were given as pod/web.
func BareNames(kind string, args []string) []string {
	out := make([]string, 0, len(args))
	for _, arg := range args {
		out = append(out, Bare(kind, arg))
	}
	return out
}
