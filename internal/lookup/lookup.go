// Package lookup gives templates the functions that read other stores than the pod's own files and variables: AWS Secrets
// Manager and Parameter Store, Consul's key-value store, and etcd. Render and vault-render share it.
//
// Each value is read once in a rendering, however often and wherever its templates name it. A store is opened with the
// first function that asks it, so one that no template names costs nothing. Where each is, and who asks, stands in the
// variables of the store's own tools; see Help.
package lookup

import (
	"context"
	"sync"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/store"
	"github.com/slipway-init/slipway/internal/store/aws"
	"github.com/slipway-init/slipway/internal/store/consul"
	"github.com/slipway-init/slipway/internal/store/etcd"
	"github.com/slipway-init/slipway/internal/template"
)

// MaxBytes bounds what one rendering keeps of all stores: as much as it may write.
const MaxBytes = template.MaxOutput

// Stores are the stores as one rendering sees them, with what it has read. They are safe for concurrent use.
type Stores struct {
	ctx context.Context // the rendering's: template functions cannot be given one

	secrets    *reads[store.Getter]
	parameters *reads[both]
	consul     *reads[both]
	etcd       *reads[both]
	mu         sync.Mutex
	kept       int // bytes
}

// both is a store that gives single values and folders.
type both interface {
	store.Getter
	store.Lister
}

// Open returns the stores of one rendering, which ends with ctx. It does no I/O.
func Open(ctx context.Context, env *step.Env) *Stores {
	s := &Stores{ctx: ctx}
	account := sync.OnceValues(func() (*aws.Account, error) { return aws.Open(env) })
	s.secrets = open(s, func() (store.Getter, error) {
		a, err := account()
		if err != nil {
			return nil, err
		}
		return a.Secrets(), nil
	})
	s.parameters = open(s, func() (both, error) {
		a, err := account()
		if err != nil {
			return nil, err
		}
		return a.Parameters(), nil
	})
	s.consul = open(s, func() (both, error) { return consul.Open(env) })
	s.etcd = open(s, func() (both, error) { return etcd.Open(env) })
	return s
}

// reads is one store with what was read of it.
type reads[S store.Getter] struct {
	stores *Stores
	open   func() (S, error)
	values sync.Map // key → func() (string, error)
	lists  sync.Map // prefix → func() ([]store.Pair, error)
}

func open[S store.Getter](s *Stores, open func() (S, error)) *reads[S] {
	return &reads[S]{stores: s, open: sync.OnceValues(open)}
}

// get returns the value at key, reading it when nobody has before. Who asks meanwhile waits for the same answer.
func (r *reads[S]) get(key string) (string, error) {
	read, _ := r.values.LoadOrStore(key, sync.OnceValues(func() (string, error) {
		opened, err := r.open()
		if err != nil {
			return "", err
		}
		value, err := opened.Get(r.stores.ctx, key)
		if err != nil {
			return "", err
		}
		return value, r.stores.keep(len(key) + len(value))
	}))
	return read.(func() (string, error))()
}

// list returns what is below prefix, reading it when nobody has before.
func list[S both](r *reads[S], prefix string) ([]store.Pair, error) {
	read, _ := r.lists.LoadOrStore(prefix, sync.OnceValues(func() ([]store.Pair, error) {
		opened, err := r.open()
		if err != nil {
			return nil, err
		}
		pairs, err := opened.List(r.stores.ctx, prefix)
		if err != nil {
			return nil, err
		}
		size := 0
		for _, pair := range pairs {
			size += len(pair.Path) + len(pair.Value)
		}
		return pairs, r.stores.keep(size)
	}))
	return read.(func() ([]store.Pair, error))()
}

// keep counts what the rendering keeps.
func (s *Stores) keep(size int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept += size
	if s.kept > MaxBytes {
		return fault.New(fault.Data, "the stores' values are over %d bytes together", MaxBytes)
	}
	return nil
}
