package vaultrender

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-init/slipway/internal/fault"
)

// The forms of a file that is made without a template.
const (
	formatEnv   = "env"
	formatJSON  = "json"
	formatYAML  = "yaml"
	formatFiles = "files"
)

var formats = []string{formatEnv, formatJSON, formatYAML, formatFiles}

// plain adds what is made of --secret without a template.
func (r *run) plain() error {
	if len(r.secrets) == 0 {
		return nil
	}
	pairs, err := r.merged()
	if err != nil {
		return err
	}
	if r.format == formatFiles {
		return r.addFiles(pairs)
	}
	content, err := encoded(r.format, pairs)
	if err != nil {
		return err
	}
	return r.add(r.dest, content, r.attributes())
}

// merged returns the pairs of all secrets. A key that two of them have is a fault: which one wins would be an accident.
func (r *run) merged() (map[string]any, error) {
	all, from := make(map[string]any), make(map[string]string)
	for _, path := range r.secrets {
		pairs, err := r.vaults.KV(r.ctx, path)
		if err != nil {
			return nil, err
		}
		for key, value := range pairs {
			if other, twice := from[key]; twice {
				return nil, fault.Hint(fault.New(fault.Data, "the secrets %s and %s both have the key %q", other, path, key),
					"write them to two files, or say in a template which one is meant")
			}
			all[key], from[key] = value, path
		}
	}
	return all, nil
}

func encoded(format string, pairs map[string]any) ([]byte, error) {
	switch format {
	case formatJSON:
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(pairs); err != nil {
			return nil, fault.New(fault.Data, "the secret cannot be JSON")
		}
		return b.Bytes(), nil
	case formatYAML:
		out, err := yaml.Dump(numbered(pairs), yaml.WithIndent(2))
		if err != nil {
			return nil, fault.New(fault.Data, "the secret cannot be YAML")
		}
		return out, nil
	}
	return environment(pairs)
}

// numbered returns value with JSON's numbers as YAML's, digit for digit.
func numbered(value any) any {
	switch v := value.(type) {
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: v.String()}
	case []any:
		all := make([]any, len(v))
		for i := range v {
			all[i] = numbered(v[i])
		}
		return all
	case map[string]any:
		all := make(map[string]any, len(v))
		for key := range v {
			all[key] = numbered(v[key])
		}
		return all
	}
	return value
}

var (
	variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	unquoted = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=-]+$`)
)

// environment returns lines of NAME=VALUE, as a shell reads them: a value with other characters than letters, digits
// and _./:@%+,=- stands in single quotes.
func environment(pairs map[string]any) ([]byte, error) {
	var lines []string
	for key, value := range pairs {
		if !variable.MatchString(key) {
			return nil, fault.Hint(fault.New(fault.Data, "the key %q is no name of an environment variable", key),
				"take --format json, yaml or files, or write a template")
		}
		s, err := flat(key, value)
		if err != nil {
			return nil, err
		}
		if strings.ContainsRune(s, 0) {
			return nil, fault.New(fault.Data, "the value of the key %q has a zero byte", key)
		}
		if !unquoted.MatchString(s) {
			s = "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
		lines = append(lines, key+"="+s+"\n")
	}
	slices.Sort(lines)
	return []byte(strings.Join(lines, "")), nil
}

// addFiles adds a file for each key, with its value and nothing else.
func (r *run) addFiles(pairs map[string]any) error {
	for key, value := range pairs {
		if key == "." || key == ".." || strings.ContainsAny(key, "/\x00") || len(key) > 255 {
			return fault.Hint(fault.New(fault.Data, "the key %q is no name of a file", key), "take --format json or yaml, or write a template")
		}
		s, err := flat(key, value)
		if err != nil {
			return err
		}
		if err := r.add(filepath.Join(r.dest, key), []byte(s), r.attributes()); err != nil {
			return err
		}
	}
	return nil
}

// flat returns a value as text: a text, number or truth value as it is, a list or map as JSON.
func flat(key string, value any) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case nil:
		return "", fault.New(fault.Data, "the value of the key %q is null", key)
	case json.Number, bool:
		return fmt.Sprint(v), nil
	}
	out, err := json.Marshal(value)
	if err != nil {
		return "", fault.New(fault.Data, "the value of the key %q cannot be text", key)
	}
	return string(out), nil
}
