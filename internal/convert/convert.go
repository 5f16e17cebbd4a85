// Package convert makes plans of what others do before a pod starts: gitRepo volumes, annotations of Vault's injector, the
// arguments of mesh, git-sync and wait4x containers, and the usual lines of shell. It never guesses: what it cannot carry
// over, exactly, it says.
//
// pod.go finds them in manifests, vault.go, mesh.go, gitsync.go and wait4x.go convert one kind each, shell.go reads scripts
// and commands.go the commands in them.
package convert

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/manifest/document"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/step"
)

// The sources that words may come from.
const (
	Auto      = "auto" // a manifest if it is one, else a script
	Manifest  = "manifest"
	Shell     = "shell"
	IstioInit = "istio-init"
	Linkerd   = "linkerd-init"
	GitSync   = "git-sync"
	Wait4x    = "wait4x"
)

// Sources returns all sources, the default first.
func Sources() []string { return []string{Auto, Manifest, Shell, IstioInit, Linkerd, GitSync, Wait4x} }

// Note is one thing that was not carried over, or not exactly.
type Note struct {
	Pos  document.Pos // Line is 0 for arguments
	Text string
}

// String returns the note on one line.
func (n Note) String() string {
	text := clean(n.Text)
	if n.Pos.Line > 0 {
		return clean(fmt.Sprintf("%s:%d:%d: ", n.Pos.File, n.Pos.Line, n.Pos.Column)) + text
	}
	return text
}

// Result is a plan, and what is not in it.
type Result struct {
	Plan  *plan.Plan // nil if nothing could be carried over
	Notes []Note
}

// maxSteps bounds the steps of a result, and their words.
const (
	maxSteps = 500
	maxNotes = 500
)

// converter is one conversion.
type converter struct {
	kinds []step.Kind
	words []string // of the chain
	steps int
	notes []Note
	where string // what is being converted: "Pod shop, container wait"
}

// Text converts a manifest or a script. The error, of kind Data, is for a manifest that cannot be read.
func Text(kinds []step.Kind, source, name string, data []byte) (*Result, error) {
	c := &converter{kinds: kinds}
	if len(data) > document.Max {
		return nil, fault.New(fault.Data, "%s: over %d bytes", name, document.Max)
	}
	if source == Auto || source == Manifest {
		objects, err := document.Read(name, data)
		manifest := err == nil && slices.ContainsFunc(objects, func(n *document.Node) bool {
			return n.Get("kind") != nil || n.Get("initContainers") != nil || n.Get("containers") != nil
		})
		switch {
		case manifest:
			c.manifest(objects)
			return c.result()
		case source == Manifest && err != nil:
			return nil, err
		case source == Manifest:
			return nil, fault.New(fault.Data, "%s: no object of Kubernetes", name)
		}
	}
	c.script(string(data), func(line int) document.Pos { return document.Pos{File: name, Line: line, Column: 1} })
	return c.result()
}

// Words converts the arguments of a container.
func Words(kinds []step.Kind, source string, args []string) (*Result, error) {
	c := &converter{kinds: kinds}
	var words []word
	for _, arg := range args {
		words = append(words, word{text: arg})
	}
	switch source {
	case IstioInit:
		c.istio(words)
	case Linkerd:
		c.linkerd(words)
	case GitSync:
		c.gitSync(words, nil)
	case Wait4x:
		c.wait4x(words)
	default:
		return nil, fault.Hint(fault.New(fault.Usage, "--from: arguments are not those of %q", source),
			"write one of %s", strings.Join(Sources()[3:], ", "))
	}
	return c.result()
}

// word is a word with its place.
type word struct {
	text    string
	pos     document.Pos
	dynamic bool // what it says is known only when it runs
}

// note tells of something that was not carried over.
func (c *converter) note(pos document.Pos, format string, args ...any) {
	if len(c.notes) >= maxNotes {
		return
	}
	text := fmt.Sprintf(format, args...)
	if c.where != "" {
		text = c.where + ": " + text
	}
	c.notes = append(c.notes, Note{pos, text})
}

// step adds a step, unless slipway would refuse it; then its faults are notes. It reports whether the step was added.
func (c *converter) step(pos document.Pos, words ...string) bool {
	for _, w := range words {
		if strings.Contains(w, "$(") {
			c.note(pos, "%s: %q holds a variable that Kubernetes fills in, and a plan does not: write its value", words[0], shorten(w))
			return false
		}
	}
	if _, err := plan.ParseArgs(c.kinds, words); err != nil {
		var faults []string
		if list, ok := err.(plan.Faults); ok {
			for _, f := range list {
				faults = append(faults, f.Message)
			}
		} else {
			for line := range strings.Lines(err.Error()) {
				faults = append(faults, strings.TrimSpace(line))
			}
		}
		c.note(pos, "%s: %s", words[0], strings.Join(faults, "; "))
		return false
	}
	if c.steps == maxSteps {
		c.note(pos, "over %d steps: convert the rest by itself", maxSteps)
	}
	if c.steps++; c.steps > maxSteps {
		return false
	}
	if len(c.words) > 0 {
		c.words = append(c.words, "then")
	}
	c.words = append(c.words, words...)
	return true
}

// result returns the plan of all steps.
func (c *converter) result() (*Result, error) {
	r := &Result{Notes: c.notes}
	if len(c.words) == 0 {
		return r, nil
	}
	p, err := plan.ParseArgs(c.kinds, c.words)
	if err != nil {
		return nil, fault.As(fault.Internal, fmt.Errorf("the steps are no plan together: %w", err))
	}
	r.Plan = p
	return r, nil
}

// YAML returns the result as a plan file, with the notes as comments.
func (r *Result) YAML() ([]byte, error) {
	text, err := r.Plan.YAML()
	return append(r.comment(), text...), err
}

// Chain returns the result as a chain for a shell, with the notes as comments.
func (r *Result) Chain() ([]byte, error) {
	args, err := r.Plan.Args()
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString("slipway")
	for _, arg := range args {
		if arg == "then" {
			b.WriteString(" \\\n ")
		}
		b.WriteString(" " + quote(arg))
	}
	return append(r.comment(), b.String()+"\n"...), nil
}

// comment returns the notes as comments.
func (r *Result) comment() []byte {
	if len(r.Notes) == 0 {
		return nil
	}
	text := "# Not carried over, or not exactly:\n"
	for _, n := range r.Notes {
		text += "# - " + n.String() + "\n"
	}
	return []byte(text)
}

// quote returns a word as a shell reads it.
func quote(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@%+") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// clean returns text on one line, fit for a comment, without the password that a URL in it may hold.
func clean(text string) string {
	var b strings.Builder
	n := 0
	for _, r := range text {
		if r < ' ' || (r >= 0x7f && r < 0xa0) || r == '\u2028' || r == '\u2029' || r == '\ufeff' || r == '\ufffd' {
			r = ' '
		}
		if n++; n > 400 {
			b.WriteString("…")
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// shorten returns the beginning of a long text.
func shorten(text string) string {
	if runes := []rune(text); len(runes) > 60 {
		return string(runes[:60]) + "…"
	}
	return text
}
