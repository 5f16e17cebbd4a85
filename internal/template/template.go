// Package template renders Go's text/template for configuration files, where a wrong file is worse than none.
//
// What is missing is an error: a key that a map does not have, a variable that is not set, and a nil that would have
// been printed. "<no value>", "<nil>" and "%!d(string=x)" never reach the output. An error names the template's file,
// line and column.
//
// A template can neither run away nor fill the memory: its text, the values it makes, its output, its loops and its
// depth are bounded (see the constants), and it ends soon after its context.
//
// The functions are those that users of Helm (sprig) and of consul-template know, by both names; Help lists them, and
// says which order of arguments was chosen where the two differ. What a value in the template is, is not in any error
// of this package: it may be a secret.
package template

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/template"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// The bounds of a rendering. More than they allow is a Data fault.
const (
	MaxText   = 1 << 20   // bytes of a template, and of a file that one reads
	MaxOutput = 8 << 20   // bytes of the result
	MaxValue  = 4 << 20   // bytes of the arguments of one call together, and of its result
	MaxParsed = 256 << 10 // bytes of a text that fromJSON, fromYAML or fromTOML reads
	MaxNodes  = 32_768    // colons, commas, brackets and line feeds of a text that fromYAML reads
	MaxRounds = 1_000_000 // rounds of all loops together
	MaxDepth  = 500       // templates within templates, and lists and dicts within each other
	MaxSeq    = 100_000   // numbers of one seq
)

// Funcs are functions by the names that templates call them by. Their form is that of text/template's FuncMap.
type Funcs map[string]any

// Engine renders templates.
type Engine struct {
	Env      *step.Env              // its environment variables, and the root of the files
	Hostname func() (string, error) // nil is os.Hostname
	Funcs    Funcs                  // more functions; one with the name of a built-in function replaces it

	// ConsulTemplate says that the functions of consul-template, which Vault Agent has, stand before built-in ones of
	// the same name, also where they take their arguments in another order.
	ConsulTemplate bool
	Now            func() time.Time // for ConsulTemplate's timestamp; nil is time.Now

	once  sync.Once
	fixed []Funcs // those that are the same in every rendering
}

// RenderFile renders the template in the file at path, which is put under the env's root. A file that does not exist is
// NoInput. All else is as with Render, which gets path as the name.
func (e *Engine) RenderFile(ctx context.Context, path string) ([]byte, error) {
	text, err := ReadFile(e.Env, path)
	if err != nil {
		return nil, err
	}
	return e.Render(ctx, path, text)
}

// Render parses text and renders it once.
func (e *Engine) Render(ctx context.Context, name, text string) ([]byte, error) {
	t, err := e.Parse(name, text)
	if err != nil {
		return nil, err
	}
	return t.Render(ctx)
}

// Template is a text that was parsed. It is for one goroutine at a time.
type Template struct {
	name   string
	parsed *template.Template
	state  *rendering
}

// Parse parses text and finds what is wrong before it is rendered: an unknown function, a missing end. The name stands for
// it in errors, which are Data. It does no I/O. Several may be parsed at a time.
func (e *Engine) Parse(name, text string) (*Template, error) {
	if len(text) > MaxText {
		return nil, fault.New(fault.Data, "%s: the template is over %d bytes", name, MaxText)
	}
	r := new(rendering)
	funcs := r.guarded(text, e.catalogues(r)...)
	t, err := template.New(name).Option("missingkey=error").Funcs(funcs).Parse(text)
	if err != nil {
		return nil, explain(name, err)
	}
	guardTree(t)
	r.template = t
	return &Template{name: name, parsed: t, state: r}, nil
}

// Render renders the template. Its dot is an empty dict.
//
// An error of the template is Data, unless a function gave another kind; of a context that ended it is the context's.
func (t *Template) Render(ctx context.Context) ([]byte, error) {
	*t.state = rendering{ctx: ctx, template: t.parsed}
	if err := t.parsed.Execute(&t.state.output, map[string]any{}); err != nil {
		return nil, explain(t.name, err)
	}
	return t.state.output.Bytes(), nil
}

// catalogues returns all functions, a later catalogue before an earlier one. There are so many that those which no
// rendering changes are made once.
func (e *Engine) catalogues(r *rendering) []Funcs {
	e.once.Do(func() {
		own := builtin(e)
		e.fixed = []Funcs{own}
		if e.ConsulTemplate {
			e.fixed = append(e.fixed, consul(e, own))
		}
	})
	all := slices.Clone(e.fixed)
	if e.ConsulTemplate {
		all = append(all, r.consul())
	}
	return append(all, e.Funcs)
}

// ReadFile returns the text of a file of at most MaxText bytes, which is put under the env's root. It opens no pipe or
// device, which might never end. A file that does not exist is NoInput.
func ReadFile(env *step.Env, path string) (string, error) {
	f, err := os.OpenFile(env.Path(path), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, fault.Cause(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, fault.Cause(err))
	}
	if !info.Mode().IsRegular() {
		return "", fault.New(fault.Data, "read %s: it is not a regular file", path)
	}
	content, err := io.ReadAll(io.LimitReader(f, MaxText+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, fault.Cause(err))
	}
	if len(content) > MaxText {
		return "", fault.New(fault.Data, "read %s: it is over %d bytes", path, MaxText)
	}
	return string(content), nil
}

// calling is what text/template puts before the error of a function. The place before it names the call already; those
// of the guards are nothing that the user wrote.
var calling = regexp.MustCompile(`(?s)(<_\w+( .*?)?>: )?error calling \w+: `)

// explain returns an error of text/template in the words of the user, "app.conf:3:9: <env "PORT">: …", with its kind:
// Data where none is known, unless a function broke down.
func explain(name string, err error) error {
	kind := fault.KindOf(err)
	if _, broken := errors.AsType[runtime.Error](err); kind == fault.Internal && !broken {
		kind = fault.Data
	}
	text := strings.TrimPrefix(err.Error(), "template: ")
	if e, ok := errors.AsType[template.ExecError](err); ok {
		text = strings.Replace(text, fmt.Sprintf(": executing %q at ", e.Name), ": ", 1)
		text = calling.ReplaceAllString(text, "")
	}
	if !strings.HasPrefix(text, name+":") {
		text = name + ": " + text
	}
	return fault.As(kind, &failure{text, err})
}

// missing is how text/template says that a map has no such key.
var missing = regexp.MustCompile(`map has no entry for key (".*")$`)

// MissingKey returns the key that a map of the template does not have, if that is what err says.
func MissingKey(err error) (key string, ok bool) {
	e, ok := errors.AsType[template.ExecError](err)
	if !ok {
		return "", false
	}
	match := missing.FindStringSubmatch(e.Error())
	if match == nil {
		return "", false
	}
	key, err = strconv.Unquote(match[1])
	return key, err == nil
}

// failure is an error with other words.
type failure struct {
	text string
	err  error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.err }
