package lookup

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/store"
	"github.com/slipway-init/slipway/internal/template"
)

// Funcs returns the functions for templates; Help lists them.
func (s *Stores) Funcs() template.Funcs {
	all := make(template.Funcs)
	for _, functions := range s.byStore() {
		maps.Copy(all, functions)
	}
	return all
}

// byStore returns the functions by what a dry-run says of their store: its address is in the environment, which the dry-run
// of a laptop does not have.
func (s *Stores) byStore() map[string]template.Funcs {
	return map[string]template.Funcs{
		"aws:secretsmanager":       {"awsSecret": s.awsSecret},
		"aws:ssm":                  {"awsParameter": s.parameters.get, "awsParameters": s.awsParameters},
		"consul:$CONSUL_HTTP_ADDR": s.consulFuncs(),
		"etcd:$ETCDCTL_ENDPOINTS":  {"etcdKey": s.etcd.get, "etcdKeyOr": s.etcdKeyOr, "etcdTree": s.etcdTree},
	}
}

// consulFuncs returns Consul's functions, by consul-template's names for them too.
func (s *Stores) consulFuncs() template.Funcs {
	return template.Funcs{
		"consulKey": s.consul.get, "key": s.consul.get,
		"consulKeyOr": s.consulKeyOr, "keyOrDefault": s.consulKeyOr,
		"consulKeyExists": s.consulKeyExists, "keyExists": s.consulKeyExists,
		"consulLs": s.consulLs, "ls": s.consulLs,
		"consulTree": s.consulTree, "tree": s.consulTree,
	}
}

// awsSecret returns a secret, or one field of a secret that is a JSON object.
func (s *Stores) awsSecret(name string, field ...string) (string, error) {
	if len(field) > 1 {
		return "", fault.New(fault.Data, "awsSecret takes a name and at most one key")
	}
	value, err := s.secrets.get(name)
	if err != nil || len(field) == 0 {
		return value, err
	}
	value, err = store.Field(value, field[0])
	if err != nil {
		return "", fmt.Errorf("AWS secret %s: %w", name, err)
	}
	return value, nil
}

func (s *Stores) awsParameters(path string) ([]store.Pair, error) { return list(s.parameters, path) }

func (s *Stores) consulKeyOr(key, value string) (string, error) { return either(s.consul, key, value) }

func (s *Stores) consulTree(prefix string) ([]store.Pair, error) { return list(s.consul, prefix) }

// consulLs returns the keys in a folder, without those of the folders in it.
func (s *Stores) consulLs(prefix string) ([]store.Pair, error) {
	pairs, err := list(s.consul, prefix)
	deeper := func(pair store.Pair) bool { return strings.Contains(pair.Key, "/") }
	return slices.DeleteFunc(slices.Clone(pairs), deeper), err
}

func (s *Stores) consulKeyExists(key string) (bool, error) {
	_, err := s.consul.get(key)
	if store.IsMissing(err) {
		return false, nil
	}
	return err == nil, err
}

func (s *Stores) etcdKeyOr(key, value string) (string, error) { return either(s.etcd, key, value) }

func (s *Stores) etcdTree(prefix string) ([]store.Pair, error) { return list(s.etcd, prefix) }

// either returns the value at key, or another one where there is none or an empty one, as consul-template's keyOrDefault
// does.
func either[S store.Getter](r *reads[S], key, otherwise string) (string, error) {
	value, err := r.get(key)
	switch {
	case err == nil && value != "":
		return value, nil
	case err == nil, store.IsMissing(err):
		return otherwise, nil
	}
	return "", err
}

// Effects returns the stores that a template names.
func Effects(t *template.Template) []step.Effect {
	called := t.Called()
	var effects []step.Effect
	groups := Open(context.Background(), nil).byStore()
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		if slices.ContainsFunc(called, func(function string) bool { return groups[name][function] != nil }) {
			effects = append(effects, step.Effect{Verb: step.Dial, Object: name})
		}
	}
	return effects
}

// together is how many values are read side by side.
const together = 8

// Prefetch reads side by side what calls will ask for, so that a template with twenty keys does not wait twenty times. It
// returns when all is read. An error is kept with the value, for the template to meet in its place.
func (s *Stores) Prefetch(calls []template.Call) {
	var readers sync.WaitGroup
	slots := make(chan struct{}, together)
	for _, call := range calls {
		read := s.reader(call)
		if read == nil {
			continue
		}
		slots <- struct{}{}
		readers.Go(func() {
			read()
			<-slots
		})
	}
	readers.Wait()
}

// reader returns what reads for a call ahead of it, or nil.
func (s *Stores) reader(call template.Call) func() {
	if len(call.Args) == 0 {
		return nil
	}
	key := call.Args[0]
	switch call.Func {
	case "awsSecret":
		return func() { _, _ = s.secrets.get(key) }
	case "awsParameter":
		return func() { _, _ = s.parameters.get(key) }
	case "awsParameters":
		return func() { _, _ = s.awsParameters(key) }
	case "consulKey", "key", "consulKeyOr", "keyOrDefault", "consulKeyExists", "keyExists":
		return func() { _, _ = s.consul.get(key) }
	case "consulLs", "ls", "consulTree", "tree":
		return func() { _, _ = s.consulTree(key) }
	case "etcdKey", "etcdKeyOr":
		return func() { _, _ = s.etcd.get(key) }
	case "etcdTree":
		return func() { _, _ = s.etcdTree(key) }
	}
	return nil
}
