// SPDX-License-Identifier: Apache-2.0

// Package habits translates what users of docker and kubectl type into commands of husk. Where husk has no counterpart, it says what to do instead.
// It changes only command lines that husk would refuse otherwise.
package habits

import (
	"slices"
	"strings"

	"husk/cli/exit"
	"husk/cli/kind"
)

// Habit is a command line of docker or kubectl, and the one of husk that does the same.
type Habit struct{ Typed, Ours string }

// Table is in docs/cli.md. A test runs both sides of each line.
var Table = []Habit{
	{"docker ps", "husk pods"},
	{"docker ps -a", "husk pods"},
	{"docker ps -q", "husk pods -q"},
	{"docker container ls", "husk pods"},
	{"docker run -d --name web nginx", "husk run -d --name web nginx"},
	{"docker create --name web nginx", "husk run -d --name web nginx"},
	{"docker inspect web", "husk pod web -o json"},
	{"docker rm web", "husk delete pod web"},
	{"docker rm -f web", "husk delete pod web"},
	{"docker stop web", "husk stop web"},
	{"docker start web", "husk start web"},
	{"docker restart web", "husk restart web"},
	{"docker kill -s HUP web", "husk kill -s HUP web"},
	{"docker rename web front", "husk rename web front"},
	{"docker logs --tail all web", "husk logs web"},
	{"docker logs -n 5 web", "husk logs --tail 5 web"},
	{"docker stats --no-stream", "husk top"},
	{"docker port web", "husk addresses"},
	{"docker images", "husk images"},
	{"docker image ls", "husk images"},
	{"docker image inspect web", "husk images web -o json"},
	{"docker pull nginx", "husk image import nginx"},
	{"docker rmi web", "husk image delete web"},
	{"docker volume ls", "husk volumes"},
	{"docker volume inspect web", "husk volumes web -o json"},
	{"docker volume rm web", "husk volume delete web"},
	{"docker network ls", "husk networks"},
	{"docker context ls", "husk context list"},
	{"kubectl get pods", "husk pods"},
	{"kubectl get pod web -o jsonpath={.name}", "husk pods web -o jsonpath={.name}"},
	{"kubectl get pods --sort-by=.name", "husk pods --sort-by .name"},
	{"kubectl get events", "husk events"},
	{"kubectl describe pod web", "husk pod web"},
	{"kubectl describe volume web", "husk volumes web -o yaml"},
	{"kubectl delete pod web", "husk delete pod web"},
	{"kubectl logs pod/web", "husk logs web"},
	{"kubectl annotate pod web a=b", "husk label web a=b --annotation"},
	{"kubectl label pod web a=b", "husk label web a=b"},
	{"kubectl cordon web", "husk node cordon web"},
	{"kubectl uncordon web", "husk node uncordon web"},
	{"kubectl config get-contexts", "husk context list"},
	{"kubectl auth whoami", "husk whoami"},
	{"kubectl get services", "husk services"},
	{"kubectl top pod", "husk top"},
}

// missing says what to do instead of verbs that husk does not have.
var missing = map[string]string{
	"build":     "build the image elsewhere, push it to a registry, and run \"husk image import\"",
	"push":      "images come from registries; to import one, run \"husk image import\"",
	"tag":       "an image has the reference that it was imported with",
	"commit":    "build an image instead, and run \"husk image import\"",
	"save":      "images stay in the registries that they were imported from",
	"load":      "push the image to a registry, and run \"husk image import\"",
	"history":   "ask the registry for the layers of an image",
	"search":    "ask the registry for its images",
	"pause":     "to stop a pod and keep its address and volumes, run \"husk stop\"",
	"unpause":   "to start a stopped pod, run \"husk start\"",
	"update":    "to change cpu and memory, run \"husk resize\"; to replace pods, run \"husk apply --replace\"",
	"patch":     "change the document, and run \"husk apply -f FILE\"; or run \"husk edit\", or \"husk label\" for labels",
	"scale":     "create a pod for each replica; a service spreads connections over pods with the same labels",
	"autoscale": "create a pod for each replica",
	"rollout":   "to replace pods, run \"husk apply --replace\"",
	"expose":    "run \"husk service create\", or for one pod \"husk address create\"",
	"compose":   "write one document for each service, and run \"husk apply\"",
	"swarm":     "nodes join with a join token; run \"husk node join-token\"",
	"taint":     "run \"husk node set NODE --taint NAME\"",
	"explain":   "the fields are in /openapi.yaml of the server",
	"prune":     "to delete objects by their labels, run \"husk delete KIND -l LABELS\"",
	"info":      "run \"husk whoami\" and \"husk version\"",
	"system":    "run \"husk quota\" and \"husk usage\"",
}

// lists are words after a kind that list its objects.
var lists = []string{"ls", "list", "ps"}

// Translate returns the command line of husk for args. Most are returned unchanged.
func Translate(args []string) ([]string, error) {
	at := verb(args)
	if at == len(args) {
		return args, nil
	}
	ours, err := translate(args[at], args[at+1:])
	if err != nil || ours == nil {
		return args, err
	}
	return slices.Concat(args[:at], ours), nil
}

// verb returns the index of the first argument that is no flag.
func verb(args []string) int {
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "--context":
			i++
		case !strings.HasPrefix(args[i], "-"):
			return i
		}
	}
	return len(args)
}

func translate(verb string, rest []string) ([]string, error) {
	first := ""
	if len(rest) > 0 {
		first = rest[0]
	}
	with := func(words ...string) []string { return append(words, rest...) }
	after := func(words ...string) []string { return append(words, rest[1:]...) }
	switch verb {
	case "ps", "ls":
		return with0(without(rest, "-a", "--all", "--no-trunc"), "pods"), nil
	case "container":
		if first == "" {
			return nil, nil
		}
		if ours, err := translate(first, rest[1:]); ours != nil || err != nil {
			return ours, err
		}
		return rest, nil
	case "create":
		if slices.ContainsFunc(rest, func(a string) bool { return a == "-f" || strings.HasPrefix(a, "--filename") }) {
			return with("apply"), nil
		}
		if k, ok := kind.Of(first); ok {
			return after(k, "create"), nil
		}
		return with("run", "-d"), nil
	case "replace":
		return with("apply", "--replace"), nil
	case "inspect":
		return inFormat(with("pod"), "json"), nil
	case "describe":
		if k, ok := kind.Of(first); ok && k != "pod" && len(rest) > 1 {
			return inFormat(after("get", k), "yaml"), nil
		}
	case "rm":
		plain := without(rest, "-f", "--force", "-v", "--volumes")
		if names := slices.DeleteFunc(slices.Clone(plain), func(a string) bool { return strings.HasPrefix(a, "-") }); len(names) > 0 && !refersToKind(names[0]) && !isFile(rest) {
			return append([]string{"delete", "pod"}, plain...), nil
		}
	case "rmi":
		return with0(without(rest, "-f", "--force"), "image", "delete"), nil
	case "pull":
		return with("image", "import"), nil
	case "stats":
		return with0(without(rest, "--no-stream", "-a", "--all"), "top"), nil
	case "top":
		if k, ok := kind.Of(first); ok && k == "pod" {
			return after("top"), nil
		}
	case "port":
		return []string{"addresses"}, nil
	case "annotate":
		return append(unkinded("label", rest), "--annotation"), nil
	case "label":
		if k, ok := kind.Of(first); ok && k == "pod" && len(rest) > 2 && !strings.Contains(rest[1], "=") && !strings.HasSuffix(rest[1], "-") {
			return unkinded("label", rest), nil
		}
	case "cordon", "uncordon", "drain":
		return with("node", verb), nil
	case "auth":
		if first == "whoami" {
			return []string{"whoami"}, nil
		}
	case "config", "context":
		if to, ok := map[string]string{"get-contexts": "list", "use-context": "use", "current-context": "show", "delete-context": "delete", "rename-context": "rename", "ls": "list"}[first]; ok {
			return after("context", to), nil
		}
	case "events":
		if len(rest) == 0 {
			return nil, nil
		}
	}
	if k, ok := kind.Of(verb); ok && first != "" {
		switch {
		case slices.Contains(lists, first):
			return after("get", k), nil
		case first == "inspect" && len(rest) > 1:
			return inFormat(after("get", k), "json"), nil
		case k == "image" && first == "pull":
			return after("image", "import"), nil
		}
	}
	if instead, ok := missing[verb]; ok {
		return nil, exit.Usagef("husk has no command %q: %s", verb, instead)
	}
	return nil, nil
}

// inFormat adds -o, unless the arguments have it.
func inFormat(args []string, format string) []string {
	if slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "-o") || strings.HasPrefix(a, "--output") }) {
		return args
	}
	return append(args, "-o", format)
}

func with0(rest []string, words ...string) []string { return append(words, rest...) }

// unkinded returns the words and the arguments without the kind before a pod's name.
func unkinded(word string, rest []string) []string {
	if len(rest) > 0 {
		if k, ok := kind.Of(rest[0]); ok && k == "pod" {
			rest = rest[1:]
		}
	}
	return append([]string{word}, rest...)
}

func without(args []string, flags ...string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(a string) bool { return slices.Contains(flags, a) })
}

// refersToKind reports whether an argument is KIND or KIND/NAME.
func refersToKind(arg string) bool {
	word, _, _ := strings.Cut(arg, "/")
	_, ok := kind.Of(word)
	return ok
}

// isFile reports whether the value of -f is a file of documents, which docker's -f does not take.
func isFile(args []string) bool {
	i := slices.Index(args, "-f")
	return i >= 0 && i+1 < len(args) && strings.ContainsAny(args[i+1], "./") || slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--filename") || a == "-l" })
}
