// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"husk/cli/exit"
	"husk/openapi"
)

// ValueFlags are the ways to give values of a config or a secret.
type ValueFlags struct{ files, envFiles []string }

// Add adds the flags.
func (f *ValueFlags) Add(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.files, "from-file", nil, "a value from a file, [KEY=]PATH; - is standard input; may be repeated")
	fs.StringArrayVar(&f.envFiles, "from-env-file", nil, "a value from each line NAME=VALUE of a file; may be repeated")
}

// maxConfigFile is more than the API accepts, in bytes.
const maxConfigFile = 1 << 20

// Values reads the values of flags and arguments. Values that are not text are in base64.
func (f *ValueFlags) Values(args []string, in io.Reader) (openapi.ConfigValues, openapi.ConfigBinaryValues, error) {
	text, binary := openapi.ConfigValues{}, openapi.ConfigBinaryValues{}
	for _, file := range f.envFiles {
		vars, err := EnvFile(file)
		if err != nil {
			return nil, nil, err
		}
		for _, v := range vars {
			text[v.Name] = v.Value
		}
	}
	for _, arg := range f.files {
		key, path, named := strings.Cut(arg, "=")
		if !named {
			key, path = filepath.Base(arg), arg
		}
		raw, err := readValue(path, in)
		if err != nil {
			return nil, nil, err
		}
		if utf8.Valid(raw) {
			value := string(raw)
			text[key] = &value
			continue
		}
		value := base64.StdEncoding.EncodeToString(raw)
		binary[key] = &value
	}
	for _, arg := range args {
		key, value, given := strings.Cut(arg, "=")
		if !given || key == "" {
			return nil, nil, exit.Usagef("an argument is not KEY=VALUE") // it may contain a secret
		}
		text[key] = &value
	}
	return text, binary, nil
}

func readValue(path string, in io.Reader) ([]byte, error) {
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, exit.Usagef("--from-file: %w", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxConfigFile+1))
	if err != nil {
		return nil, exit.Usagef("--from-file: %w", err)
	}
	if len(raw) > maxConfigFile {
		return nil, exit.Usagef("--from-file: %s has more than %d bytes", path, maxConfigFile)
	}
	return raw, nil
}
