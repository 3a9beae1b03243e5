package main

import (
	"fmt"
	"io"
	"math/big"
	"os"
	"path"
	"strings"

	"husk/openapi"
)

// units are powers of 1024, with the letters that kubectl's users and docker's users type; docker means powers of 1024 by m and g too.
var units = map[string]int64{
	"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40,
}

// parseSize reads a size such as 256Mi, 256m or 1.5Gi and returns how often it holds the unit, which must come out even.
func parseSize(flag, text, unit string) (int, error) {
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
			return 0, usagef("%s: %q is not a whole number of %s", flag, text, unit)
		}
		return int(n.Num().Int64()), nil
	}
	return 0, usagef("%s: %q is not a size such as 256Mi or 10Gi", flag, text)
}

// parseCPU reads a number of cores such as 0.5 or 2, or thousandths of one such as 500m, and returns thousandths.
func parseCPU(text string) (int, error) {
	number, millis := strings.CutSuffix(text, "m")
	n, ok := decimal(number)
	if ok && !millis {
		n.Mul(n, big.NewRat(1000, 1))
	}
	if !ok || !n.IsInt() || !n.Num().IsInt64() || n.Num().Int64() > 1<<31-1 || n.Sign() <= 0 {
		return 0, usagef("--cpus: %q is not a number of cores such as 0.5, with at most three decimals, or 500m", text)
	}
	return int(n.Num().Int64()), nil
}

// decimal reads digits with at most one point: no sign, no exponent, no fraction, all of which big.Rat would take.
func decimal(text string) (*big.Rat, bool) {
	if text == "" || len(text) > 20 || strings.Trim(text, "0123456789.") != "" {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

// parseEnv reads K=V; K alone takes the value of this process' environment.
func parseEnv(items []string) ([]openapi.EnvVar, error) {
	vars := make([]openapi.EnvVar, 0, len(items))
	for _, item := range items {
		name, value, given := strings.Cut(item, "=")
		if name == "" {
			return nil, usagef("--env: NAME=VALUE is needed, and the name is missing")
		}
		if !given {
			v, ok := os.LookupEnv(name)
			if !ok {
				return nil, usagef("--env: %s has no value here; write %s=VALUE", name, name)
			}
			value = v
		}
		vars = append(vars, openapi.EnvVar{Name: name, Value: value})
	}
	return vars, nil
}

// maxEnvFile bounds what is read of an environment file, in bytes; a pod takes less.
const maxEnvFile = 1 << 20

// parseEnvFile reads lines as docker does: NAME=VALUE as it stands, without quotes; NAME alone passes this environment's value on where
// there is one; lines that begin with # are comments.
func parseEnvFile(file string) ([]openapi.EnvVar, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, usageError{fmt.Errorf("--env-file: %w", err)}
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxEnvFile+1))
	if err != nil || len(raw) > maxEnvFile {
		return nil, usagef("--env-file: %s cannot be read, or is above %d bytes", file, maxEnvFile)
	}
	var vars []openapi.EnvVar
	number := 0
	for line := range strings.Lines(string(raw)) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if text := strings.TrimSpace(line); text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		name, value, given := strings.Cut(strings.TrimLeft(line, " \t"), "=")
		if name == "" || strings.ContainsAny(name, " \t") {
			return nil, usagef("--env-file: %s:%d is not NAME=VALUE", file, number) // not the line itself, which may hold a secret
		}
		if !given {
			if value, given = os.LookupEnv(name); !given {
				continue
			}
		}
		vars = append(vars, openapi.EnvVar{Name: name, Value: value})
	}
	return vars, nil
}

// parseLabels reads K=V.
func parseLabels(items []string) (*openapi.Labels, error) {
	if len(items) == 0 {
		return nil, nil //nolint:nilnil // no labels is what was asked for
	}
	labels := openapi.Labels{}
	for _, item := range items {
		name, value, _ := strings.Cut(item, "=")
		if name == "" {
			return nil, usagef("--label: %q is not NAME=VALUE", item)
		}
		labels[name] = value
	}
	return &labels, nil
}

// mount is one -v: which volume (name or id) goes where.
type mount struct {
	volume, path string
	readOnly     bool
}

// parseMounts reads VOLUME:/path with :ro or :rw behind it.
func parseMounts(items []string) ([]mount, error) {
	mounts := make([]mount, 0, len(items))
	for _, item := range items {
		volume, rest, _ := strings.Cut(item, ":")
		where, mode, hasMode := strings.Cut(rest, ":")
		if strings.HasPrefix(item, "/") || strings.HasPrefix(item, ".") {
			return nil, usagef("--volume: %q names a directory of this machine, and pods run elsewhere; make a volume with husk volume create and write VOLUME:/path", item)
		}
		if volume == "" || !path.IsAbs(where) || where == "/" || (hasMode && mode != "ro" && mode != "rw") {
			return nil, usagef("--volume: %q is not VOLUME:/path or VOLUME:/path:ro", item)
		}
		mounts = append(mounts, mount{volume, where, mode == "ro"})
	}
	return mounts, nil
}

// restartPolicies are docker's words, and the API's own.
var restartPolicies = map[string]openapi.RestartPolicy{
	"no": openapi.Never, "never": openapi.Never, "on-failure": openapi.OnFailure, "onfailure": openapi.OnFailure,
	"always": openapi.Always, "unless-stopped": openapi.Always,
}

// parseRestart reads a restart policy in any case.
func parseRestart(text string) (openapi.RestartPolicy, error) {
	if p, ok := restartPolicies[strings.ToLower(text)]; ok {
		return p, nil
	}
	return "", usagef("--restart: %q is not no, on-failure or always", text)
}

// baseName makes a name out of an image's reference: registry.example.com/team/nginx:1.22 is nginx.
func baseName(reference string) string {
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
