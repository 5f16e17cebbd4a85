// Package store is what templates need of a store of configuration or secrets, whichever it is: one value by its key,
// and the values below a prefix. The stores are in the packages below this one; package lookup makes template functions
// of them.
//
// A store is opened when a template first asks for it. Until then it costs nothing: no client, no configuration, no
// goroutine. What is read is bounded, and no value is in any error.
package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// MaxBytes bounds what one request to a store may answer: 2 MiB. The stores' own limits of a value are lower: 64 KiB in
// Secrets Manager, 8 KiB in Parameter Store, 512 KiB in Consul, and 1.5 MiB of a request in etcd.
const MaxBytes = 2 << 20

// Getter reads one value.
type Getter interface {
	// Get returns the value at key. One that does not exist is an error by Missing; what may not be
	// read is Permission; what time may mend is Temporary or Unavailable. It is safe for concurrent use, and makes
	// one request: to try again is the runner's.
	Get(ctx context.Context, key string) (string, error)
}

// Lister reads what is below a prefix.
type Lister interface {
	// List returns what is below prefix at any depth, sorted by key. Nothing there is an empty list. The errors are those
	// of Getter.Get.
	List(ctx context.Context, prefix string) ([]Pair, error)
}

// Pair is a value with its key, by the names that consul-template's ls and tree have for them.
type Pair struct {
	Path  string // the whole key
	Key   string // the rest of it behind the prefix
	Value string
}

// Pairs returns values by their whole keys as pairs below prefix, sorted. A key that is a folder, or the prefix itself, is
// left out.
func Pairs(prefix string, values map[string]string) []Pair {
	prefix = Folder(prefix)
	pairs := []Pair{}
	for path, value := range values {
		key := strings.TrimPrefix(path, prefix)
		if key == "" || strings.HasSuffix(key, "/") {
			continue
		}
		pairs = append(pairs, Pair{Path: path, Key: key, Value: value})
	}
	slices.SortFunc(pairs, func(a, b Pair) int { return strings.Compare(a.Path, b.Path) })
	return pairs
}

// Folder returns prefix with a slash at its end, so that "app" does not stand for "apple" too. Empty stays empty: it is
// everything.
func Folder(prefix string) string {
	if prefix == "" || strings.HasSuffix(prefix, "/") {
		return prefix
	}
	return prefix + "/"
}

// Parent returns the folder that key is in, with its slash; empty for a key at the top.
func Parent(key string) string { return key[:strings.LastIndex(key, "/")+1] }

// Missing returns the error about a key that does not exist in a store, with the names of those beside it, which are
// often the right one: "Consul has no key app/prot; beside it are app/port, app/proto".
func Missing(store, what, key string, neighbours []string) error {
	return fault.As(fault.NoInput, &missing{fmt.Sprintf("%s has no %s %s%s", store, what, key, Beside(neighbours))})
}

// IsMissing reports whether err is that a key does not exist. Its kind alone does not tell: a file of certificates that is
// not there is NoInput too.
func IsMissing(err error) bool {
	_, ok := errors.AsType[*missing](err)
	return ok
}

// missing is a key that does not exist.
type missing struct{ text string }

func (m *missing) Error() string { return m.text }

// maxNeighbours is how many names an error lists: a report has 4 KiB in all.
const maxNeighbours = 10

// Beside returns names as the end of an error: "; beside it are a, b". Without names it is empty.
func Beside(names []string) string {
	if len(names) == 0 {
		return ""
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	more := ""
	if len(names) > maxNeighbours {
		more = fmt.Sprintf(" and %d more", len(names)-maxNeighbours)
		names = names[:maxNeighbours]
	}
	verb := "is"
	if len(names) > 1 {
		verb = "are"
	}
	return "; beside it " + verb + " " + strings.Join(names, ", ") + more
}
