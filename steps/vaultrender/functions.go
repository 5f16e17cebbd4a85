package vaultrender

import (
	"maps"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/template"
	"github.com/slipway-init/slipway/internal/vault"
)

// The functions that ask the server.
const (
	readsSecret  = "secret"
	listsSecrets = "secrets"
	issues       = "pkiCert"
)

// newEngine returns an engine for the documents of a run, which may ask other stores too. Without an env it can parse, not
// render.
func newEngine(r *run) *template.Engine {
	functions := r.stores.Funcs()
	maps.Copy(functions, template.Funcs{
		readsSecret: r.secret, listsSecrets: r.list, issues: r.issue, writesFile: r.writeToFile,
	})
	return &template.Engine{Env: r.env, ConsulTemplate: true, Funcs: functions}
}

// secret reads a path, or with pairs writes them to it and returns the answer.
func (r *run) secret(path string, pairs ...string) (*vault.Secret, error) {
	where, params, err := parsePath(path)
	if err != nil {
		return nil, err
	}
	var s *vault.Secret
	if len(pairs) == 0 {
		s, err = r.vaults.Read(r.ctx, where, params)
	} else {
		s, err = r.send(where, pairs)
	}
	if err != nil {
		return nil, err
	}
	if s == nil { // the server has taken it and says nothing
		s = new(vault.Secret)
	}
	r.answers = append(r.answers, answer{where, s})
	return s, nil
}

func (r *run) send(path string, pairs []string) (*vault.Secret, error) {
	data, err := parsePairs(pairs)
	if err != nil {
		return nil, err
	}
	return r.vaults.Write(r.ctx, path, data)
}

// parsePairs reads "key=value" arguments; their values may be secret.
func parsePairs(pairs []string) (map[string]any, error) {
	data := make(map[string]any)
	for i, pair := range pairs {
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fault.New(fault.Data, "argument %d after the path is not KEY=VALUE", i+1)
		}
		data[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return data, nil
}

// list returns the names below a path.
func (r *run) list(path string) ([]string, error) {
	where, _, err := parsePath(path)
	if err != nil {
		return nil, err
	}
	return r.vaults.List(r.ctx, where)
}
