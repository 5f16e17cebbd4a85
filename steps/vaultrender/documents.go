package vaultrender

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/lookup"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/template"
	"github.com/slipway-init/slipway/internal/vault"
)

// maxOutput bounds what one step renders, in bytes: it is all in memory before any of it is written.
const maxOutput = 16 << 20

// sideBySide is how many secrets are asked for at a time.
const sideBySide = 24

// document is a template and where its rendering goes.
type document struct {
	source
	parsed *template.Template
	calls  []template.Call // that it is certain to make
}

// run is one attempt to render all documents.
type run struct {
	*rendering
	ctx       context.Context
	env       *step.Env
	vaults    session
	stores    *lookup.Stores
	documents []document
	anew      bool // take no certificate from the old files

	files        []atomicfile.Entry
	at           map[string]int          // where in files the file of a clean path is
	size         int                     // of files together, in bytes
	toFile       map[string]bool         // those of files, by path, that writeToFile has written
	certificates map[string]*certificate // by the call that gave them
	incomplete   bool                    // a certificate from the old files lacks a part
	answers      []answer                // to the document that is being rendered
}

// answer is a secret that a template was given.
type answer struct {
	path   string
	secret *vault.Secret
}

// load reads all templates and parses them, on all CPUs where there are many.
func (r *run) load() error {
	engine := newEngine(r)
	documents, faults := make([]document, len(r.planned)), make([]error, len(r.planned))
	const alone = 8 // so few templates are parsed sooner than a goroutine begins
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 1+len(r.planned)/alone) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(documents); i = int(next.Add(1)) - 1 {
				documents[i], faults[i] = r.parse(engine, r.planned[i])
			}
		})
	}
	all.Wait()
	for _, err := range faults {
		if err != nil {
			return err
		}
	}
	r.documents = documents
	return nil
}

// parse reads a template and parses it.
func (r *run) parse(engine *template.Engine, from source) (document, error) {
	if !r.inline {
		text, err := template.ReadFile(r.env, from.name)
		if err != nil {
			return document{}, err
		}
		from.text = text
	}
	parsed, err := engine.Parse(from.name, from.text)
	if err != nil {
		return document{}, err
	}
	return document{from, parsed, parsed.Calls(readsSecret, issues)}, nil
}

// render returns all files of the step. It is done a second time if a certificate that was found in the old files lacks
// a part that a template wants now. What is certain to be wanted is asked for meanwhile.
func (r *run) render() ([]atomicfile.Entry, error) {
	asked := r.prefetch()
	defer asked()
	err := r.all()
	if r.incomplete {
		r.anew = true
		err = r.all()
	}
	return r.files, err
}

// prefetch asks for everything that is certain to be wanted, side by side and in the background; session and stores keep
// the answers, and whoever wants one that is under way waits for it. What fails here fails again, and is told, where it
// is wanted. The returned function skips what was not asked for yet and waits for the rest.
func (r *run) prefetch() (asked func()) {
	var wanted []func()
	var others []template.Call
	for _, d := range r.documents {
		others = append(others, d.calls...)
		for _, call := range d.calls {
			switch {
			case call.Func == readsSecret && len(call.Args) == 1:
				if path, params, err := parsePath(call.Args[0]); err == nil {
					wanted = append(wanted, func() { _, _ = r.vaults.Read(r.ctx, path, params) })
				}
			case call.Func == listsSecrets && len(call.Args) == 1:
				if path, _, err := parsePath(call.Args[0]); err == nil {
					wanted = append(wanted, func() { _, _ = r.vaults.List(r.ctx, path) })
				}
			}
		}
	}
	for _, path := range r.secrets {
		wanted = append(wanted, func() { _, _ = r.vaults.KV(r.ctx, path) })
	}
	var all sync.WaitGroup
	all.Go(func() { r.stores.Prefetch(others) })
	queue := make(chan func(), len(wanted))
	for _, ask := range wanted {
		queue <- ask
	}
	close(queue)
	for range min(sideBySide, len(wanted)) {
		all.Go(func() {
			for ask := range queue {
				ask()
			}
		})
	}
	return func() {
		for range queue { // nobody wants them any more
		}
		all.Wait()
	}
}

// parsePath splits a path as templates give it, "secret/app?version=2".
func parsePath(text string) (path string, params url.Values, err error) {
	u, err := url.Parse(strings.Trim(strings.TrimSpace(text), "/"))
	if err != nil || u.Path == "" || u.Host != "" || u.Scheme != "" {
		return "", nil, fault.New(fault.Data, "%q is not the path of a secret, such as secret/app", text)
	}
	return u.Path, u.Query(), nil
}

// all makes the files of all documents and of the secrets without a template.
func (r *run) all() error {
	r.files, r.at, r.size = nil, make(map[string]int), 0
	r.toFile, r.certificates = make(map[string]bool), make(map[string]*certificate)
	for _, d := range r.documents {
		r.answers = nil
		content, err := d.parsed.Render(r.ctx)
		if err != nil {
			return r.explain(err)
		}
		if err := r.add(d.dest, content, r.attributes()); err != nil {
			return err
		}
	}
	return r.plain()
}

func (r *run) attributes() atomicfile.Attributes {
	return atomicfile.Attributes{Mode: r.mode, Owner: r.owner}
}

// add keeps a file until all are there. A path that is written twice is a fault.
func (r *run) add(path string, content []byte, a atomicfile.Attributes) error {
	full := r.env.Path(path)
	clean := filepath.Clean(full)
	own := []string{filepath.Clean(r.env.Path(r.tokenSink)), filepath.Clean(r.env.Path(r.vault.Receipt))}
	if _, twice := r.at[clean]; twice || slices.Contains(own, clean) {
		return fault.New(fault.Data, "%s is written twice", path)
	}
	r.at[clean] = len(r.files)
	r.files = append(r.files, atomicfile.Entry{Path: full, Content: content, Attributes: a})
	return r.grow(len(content))
}

// file returns the file at path, if it is there already.
func (r *run) file(path string) *atomicfile.Entry {
	i, found := r.at[filepath.Clean(r.env.Path(path))]
	if !found {
		return nil
	}
	return &r.files[i]
}

// grow counts so many bytes more of the files, and returns a fault if they are too large together.
func (r *run) grow(by int) error {
	r.size += by
	if r.size > maxOutput {
		return fault.New(fault.Data, "the files of one step are over %d bytes together", maxOutput)
	}
	return nil
}

// explain adds to the error of a missing key what the secrets do have: names, never values.
func (r *run) explain(err error) error {
	key, ok := template.MissingKey(err)
	if !ok {
		return err
	}
	var neighbours []string
	for _, a := range slices.Backward(r.answers) {
		pairs, version2 := pairsOf(a.secret)
		switch {
		case version2 && pairs[key] != nil:
			return fault.Hint(err, "%s is of KV version 2: write .Data.data.%s", a.path, key)
		case !version2 && key == "data":
			return fault.Hint(err, "%s is not of KV version 2: write .Data.KEY, without the second .data", a.path)
		}
		if line := fmt.Sprintf("%s has %s", a.path, names(pairs)); !slices.Contains(neighbours, line) {
			neighbours = append(neighbours, line)
		}
	}
	if len(neighbours) == 0 {
		return err
	}
	const most = 3
	told := fault.New(fault.KindOf(err), "%w; %s", err, strings.Join(neighbours[:min(most, len(neighbours))], "; "))
	return fault.Hint(told, "put the key into the secret, or if it may be missing: {{ with index .Data.data %q }}…{{ end }}", key)
}

// pairsOf returns the pairs of a secret, and whether they are those of KV version 2.
func pairsOf(s *vault.Secret) (pairs map[string]any, version2 bool) {
	inner, data := s.Data["data"].(map[string]any)
	if _, metadata := s.Data["metadata"].(map[string]any); data && metadata {
		return inner, true
	}
	return s.Data, false
}

// names returns the keys of pairs, sorted and quoted, for an error.
func names(pairs map[string]any) string {
	const most = 20
	if len(pairs) == 0 {
		return "no keys"
	}
	var quoted []string
	for name := range pairs {
		quoted = append(quoted, fmt.Sprintf("%q", name))
	}
	slices.Sort(quoted)
	if len(quoted) > most {
		quoted = append(quoted[:most], fmt.Sprintf("and %d more", len(quoted)-most))
	}
	return strings.Join(quoted, ", ")
}
