// SPDX-License-Identifier: Apache-2.0

// Package parse reads the values of flags and arguments: sizes, cores, variables, mounts, times and scheduling rules. Its errors say
// which flag or value is wrong.
package parse

import (
	"io"
	"math/big"
	"os"
	"path"
	"strconv"
	"strings"

	"husk/cli/exit"
	"husk/openapi"
)

// units are powers of 1024, with the letters that users of kubectl and of docker type. In docker, m and g are powers of 1024 too.
var units = map[string]int64{
	"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40,
}

// Size reads a size such as 256Mi, 256m or 1.5Gi and returns it as a number of units, such as Mi. The size must be a multiple of the unit.
func Size(flag, text, unit string) (int, error) {
	for suffix, factor := range units {
		number, ok := strings.CutSuffix(text, suffix)
		if !ok {
			continue
		}
		bytes, ok := decimal(number)
		if !ok {
			break
		}
		n := bytes.Mul(bytes, big.NewRat(factor, units[unit]))
		if !n.IsInt() || !n.Num().IsInt64() || n.Num().Int64() > 1<<31-1 || n.Sign() <= 0 {
			return 0, exit.Usagef("%s: %q is not a whole number of %s", flag, text, unit)
		}
		return int(n.Num().Int64()), nil
	}
	return 0, exit.Usagef("%s: %q is not a size such as 256Mi or 10Gi", flag, text)
}

// CPU reads a number of cores such as 0.5 or 2, or of thousandths of a core such as 500m, and returns thousandths.
func CPU(text string) (int, error) {
	number, millis := strings.CutSuffix(text, "m")
	n, ok := decimal(number)
	if ok && !millis {
		n.Mul(n, big.NewRat(1000, 1))
	}
	if !ok || !n.IsInt() || !n.Num().IsInt64() || n.Num().Int64() > 1<<31-1 || n.Sign() <= 0 {
		return 0, exit.Usagef("--cpus: %q is not a number of cores such as 0.5 or 500m, or has more than three decimals", text)
	}
	return int(n.Num().Int64()), nil
}

// decimal reads digits with at most one point. It refuses a sign, an exponent and a fraction, which big.Rat would accept.
func decimal(text string) (*big.Rat, bool) {
	if text == "" || len(text) > 20 || strings.Trim(text, "0123456789.") != "" {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

// Env reads NAME=VALUE. NAME alone takes its value from the environment of this process.
func Env(items []string) ([]openapi.EnvVar, error) {
	vars := make([]openapi.EnvVar, 0, len(items))
	for _, item := range items {
		name, value, given := strings.Cut(item, "=")
		if name == "" {
			return nil, exit.Usagef("--env: the name is missing; write NAME=VALUE")
		}
		if !given {
			v, ok := os.LookupEnv(name)
			if !ok {
				return nil, exit.Usagef("--env: %s is not set in this environment; write %s=VALUE", name, name)
			}
			value = v
		}
		vars = append(vars, openapi.EnvVar{Name: name, Value: &value})
	}
	return vars, nil
}

// maxEnvFile is the maximum size of an environment file, in bytes. The limit of a pod is lower.
const maxEnvFile = 1 << 20

// EnvFile reads lines as docker does: NAME=VALUE is taken literally, with its quotes. NAME alone takes the value from this environment, if
// there is one. Lines that begin with # are comments.
func EnvFile(file string) ([]openapi.EnvVar, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, exit.Usagef("--env-file: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxEnvFile+1))
	if err != nil || len(raw) > maxEnvFile {
		return nil, exit.Usagef("--env-file: %s cannot be read, or has more than %d bytes", file, maxEnvFile)
	}
	var vars []openapi.EnvVar
	number := 0
	const byteOrderMark = "\ufeff" // editors on Windows begin files with it
	for line := range strings.Lines(strings.TrimPrefix(string(raw), byteOrderMark)) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if text := strings.TrimSpace(line); text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		name, value, given := strings.Cut(strings.TrimLeft(line, " \t"), "=")
		if name == "" || strings.ContainsAny(name, " \t") {
			return nil, exit.Usagef("--env-file: %s:%d is not NAME=VALUE", file, number) // not the line itself, which may hold a secret
		}
		if !given {
			if value, given = os.LookupEnv(name); !given {
				continue
			}
		}
		vars = append(vars, openapi.EnvVar{Name: name, Value: &value})
	}
	return vars, nil
}

// Labels reads NAME=VALUE.
func Labels(items []string) (*openapi.Labels, error) {
	if len(items) == 0 {
		return nil, nil //nolint:nilnil // no labels were given
	}
	labels := openapi.Labels{}
	for _, item := range items {
		name, value, _ := strings.Cut(item, "=")
		if name == "" {
			return nil, exit.Usagef("--label: %q is not NAME=VALUE", item)
		}
		labels[name] = value
	}
	return &labels, nil
}

// Mount is the value of one -v: a volume, and where it is mounted.
type Mount struct {
	Volume   string // its name or ID
	Snapshot bool   // it is a snapshot
	Path     string
	ReadOnly bool
}

// allMounts reads the mounts of volumes and snapshots.
func allMounts(volumes, snapshots []string) ([]Mount, error) {
	all, err := Mounts(volumes)
	if err != nil {
		return nil, err
	}
	for _, item := range snapshots {
		name, path, _ := strings.Cut(item, ":")
		if name == "" || !strings.HasPrefix(path, "/") || strings.Contains(path, ":") {
			return nil, exit.Usagef("--snapshot: %q is not SNAPSHOT:/path", item)
		}
		all = append(all, Mount{Volume: name, Snapshot: true, Path: path, ReadOnly: true})
	}
	return all, nil
}

// Mounts reads VOLUME:/path, optionally followed by :ro or :rw.
func Mounts(items []string) ([]Mount, error) {
	mounts := make([]Mount, 0, len(items))
	for _, item := range items {
		volume, rest, _ := strings.Cut(item, ":")
		where, mode, hasMode := strings.Cut(rest, ":")
		if strings.HasPrefix(item, "/") || strings.HasPrefix(item, ".") {
			return nil, exit.Usagef("--volume: %q is a directory of this machine, and pods run elsewhere; create a volume with \"husk volume create\" and write VOLUME:/path", item)
		}
		if dir, _, found := strings.Cut(where, ","); found && (strings.HasSuffix(where, ",ro") || strings.HasSuffix(where, ",rw")) {
			return nil, exit.Usagef("--volume: %q has its options after a comma; write %s:%s:%s", item, volume, dir, where[len(where)-2:])
		}
		if volume == "" || !path.IsAbs(where) || where == "/" || (hasMode && mode != "ro" && mode != "rw") {
			return nil, exit.Usagef("--volume: %q is not VOLUME:/path or VOLUME:/path:ro", item)
		}
		mounts = append(mounts, Mount{Volume: volume, Path: where, ReadOnly: mode == "ro"})
	}
	return mounts, nil
}

// restartPolicies are the words of docker and of the API.
var restartPolicies = map[string]openapi.RestartPolicy{
	"no": openapi.Never, "never": openapi.Never, "on-failure": openapi.OnFailure, "onfailure": openapi.OnFailure,
	"always": openapi.Always, "unless-stopped": openapi.Always,
}

// Restart reads a restart policy, in upper or lower case, and the maximum of restarts in on-failure:N. Without a maximum, or if it is 0 as in
// docker, the second result is nil.
func Restart(text string) (openapi.RestartPolicy, *int, error) {
	name, most, limited := strings.Cut(text, ":")
	policy, ok := restartPolicies[strings.ToLower(name)]
	switch {
	case !ok:
		return "", nil, exit.Usagef("--restart: %q is not a restart policy; use no, on-failure, on-failure:N or always", text)
	case !limited:
		return policy, nil, nil
	case policy != openapi.OnFailure:
		return "", nil, exit.Usagef("--restart %s: only on-failure has a maximum of restarts; use %s or on-failure:%s", text, name, most)
	}
	n, err := strconv.Atoi(most)
	if err != nil || n < 0 {
		return "", nil, exit.Usagef("--restart %s: %q is not a number of restarts; use on-failure:3, for example", text, most)
	}
	return policy, given(n), nil
}

// BaseName makes a name from the reference of an image: nginx from registry.example.com/team/nginx:1.22.
func BaseName(reference string) string {
	reference, _, _ = strings.Cut(reference, "@")
	name := path.Base(reference)
	name, _, _ = strings.Cut(name, ":")
	name = strings.Map(func(r rune) rune {
		if (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9') {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	name = strings.Trim(name, "-")
	if len(name) > 50 {
		name = strings.Trim(name[:50], "-")
	}
	if name == "" {
		return "pod"
	}
	return name
}
