package plan

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v4"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// MaxFile bounds a plan file, in bytes: 256 KiB.
const MaxFile = 256 << 10

// The other bounds of a plan file. The parser takes about 1 KiB for a node, and a container has 64 MiB.
const (
	maxSeparators = 20_000 // colons, commas, brackets and lines: how many nodes there may be, before they are read
	maxNodes      = 20_000 // nodes that aliases unfold to
	maxDepth      = 64     // groups within groups
)

// The keys of a plan file that are not steps.
const (
	keyDeadline = "deadline"
	keySteps    = "steps"
	keyParallel = "parallel"
	keySequence = "sequence"
)

// ParseFile reads a plan in YAML or JSON. Name stands before each position. The error, of kind Usage, is a Faults
// that holds all that is wrong.
func ParseFile(kinds []step.Kind, name string, data []byte) (*Plan, error) {
	f := &file{parser: parser{kinds: kinds}, name: name}
	plan := &Plan{}
	if document := f.document(data); document != nil {
		f.top(plan, document)
	}
	f.finish()
	return f.check(plan)
}

// file reads a plan file's nodes.
type file struct {
	parser
	name  string
	nodes int // seen so far, aliases unfolded
}

func (f *file) pos(n *yaml.Node) Pos { return Pos{File: f.name, Line: n.Line, Column: n.Column} }

// start is the place of faults that belong to no node.
func (f *file) start() Pos { return Pos{File: f.name, Line: 1, Column: 1} }

// document returns the one document of data, or adds a fault and returns nil.
func (f *file) document(data []byte) *yaml.Node {
	if len(data) > MaxFile {
		f.faults.add(f.start(), "the plan has over %d bytes", MaxFile)
		return nil
	}
	separators := 0
	for _, separator := range []string{":", ",", "\n", "[", "{"} {
		separators += bytes.Count(data, []byte(separator))
	}
	if separators > maxSeparators {
		f.faults.add(f.start(), "the plan has over %d colons, commas, brackets and lines", maxSeparators)
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithUniqueKeys(false))
	if err != nil {
		f.syntax(err)
		return nil
	}
	var document, second yaml.Node
	err = loader.Load(&document)
	switch {
	case errors.Is(err, io.EOF):
		f.faults.add(f.start(), "the plan is empty")
		return nil
	case err != nil:
		f.syntax(err)
		return nil
	}
	if err := loader.Load(&second); err == nil {
		f.faults.add(f.pos(&second), "a second document; a plan is one")
	} else if !errors.Is(err, io.EOF) {
		f.syntax(err)
	}
	if len(document.Content) != 1 {
		f.faults.add(f.start(), "the plan is empty")
		return nil
	}
	return document.Content[0]
}

// syntax adds a fault of YAML's own grammar, at its place if the parser tells it.
func (f *file) syntax(err error) {
	pos := f.start()
	message := err.Error()
	if load, ok := errors.AsType[*yaml.LoadError](err); ok {
		if load.Mark.Line > 0 {
			pos.Line, pos.Column = load.Mark.Line, max(load.Mark.Column, 1)
		}
		message = load.Message
	}
	f.faults.add(pos, "not YAML or JSON: %s", message)
}

// resolve follows an alias. It returns nil where the plan unfolds beyond all bounds.
func (f *file) resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if f.nodes++; f.nodes == maxNodes {
		f.faults.add(f.pos(n), "the plan unfolds to over %d nodes", maxNodes)
	}
	if f.nodes >= maxNodes {
		return nil
	}
	return n
}

// entry is one key of a mapping with its value.
type entry struct{ key, value *yaml.Node }

// mapping returns the entries of n in order, or adds a fault. what says what n should have been.
func (f *file) mapping(n *yaml.Node, what string) []entry {
	n = f.resolve(n)
	if n == nil {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		f.faults.add(f.pos(n), "%s is %s, not a mapping", what, describe(n))
		return nil
	}
	var entries []entry
	seen := make(map[string]Pos)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			f.faults.add(f.pos(key), "a key is %s, not a word", describe(key))
			continue
		}
		if before, twice := seen[key.Value]; twice {
			f.faults.add(f.pos(key), "%s is given twice, at %s before", shorten(key.Value), before)
			continue
		}
		seen[key.Value] = f.pos(key)
		entries = append(entries, entry{key, n.Content[i+1]})
	}
	return entries
}

// describe names a node's kind for people.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "empty"
		}
		return fmt.Sprintf("%q", shorten(n.Value))
	}
	return "not a plain value"
}

// top reads the keys of the plan itself.
func (f *file) top(plan *Plan, n *yaml.Node) {
	steps := false
	for _, e := range f.mapping(n, "the plan") {
		switch e.key.Value {
		case keyDeadline:
			plan.Deadline = f.deadline(e.value)
		case keySteps:
			steps = true
			plan.Root = Sequence(f.list(e.value, keySteps, 0))
		default:
			f.faults.add(f.pos(e.key), "a plan has no key %q", shorten(e.key.Value)).Hint = didYouMean(e.key.Value, []string{keyDeadline, keySteps})
		}
	}
	if !steps && len(f.faults) == 0 {
		f.faults.add(f.pos(n), "the plan has no steps")
	}
}

func (f *file) deadline(n *yaml.Node) time.Duration {
	if n = f.resolve(n); n == nil {
		return 0
	}
	d, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || d <= 0 {
		f.faults.add(f.pos(n), "deadline: %s is not a duration such as 90s or 5m", describe(n))
		return 0
	}
	return d
}

// list reads the nodes of a group.
func (f *file) list(n *yaml.Node, what string, depth int) []Node {
	n = f.resolve(n)
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		f.faults.add(f.pos(n), "%s is %s, not a list of steps", what, describe(n))
		return nil
	}
	if len(n.Content) == 0 {
		f.faults.add(f.pos(n), "%s has no steps", what)
	}
	if depth == maxDepth {
		f.faults.add(f.pos(n), "groups stand over %d deep", maxDepth)
		return nil
	}
	var nodes []Node
	for _, child := range n.Content {
		if node := f.node(child, depth+1); node != nil {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// node reads one step or group: a mapping with one key.
func (f *file) node(n *yaml.Node, depth int) Node {
	before := len(f.faults)
	entries := f.mapping(n, "a step")
	if len(entries) != 1 {
		if len(f.faults) == before && len(entries) > 1 {
			f.faults.add(f.pos(entries[1].key), "a step has one key; %q is a second", shorten(entries[1].key.Value)).Hint = "begin each step with a dash; indent its options below its name"
		} else if len(f.faults) == before {
			f.faults.add(f.pos(n), "a step is empty")
		}
		return nil
	}
	e := entries[0]
	switch e.key.Value {
	case keyParallel:
		return Parallel(f.list(e.value, keyParallel, depth))
	case keySequence:
		return Sequence(f.list(e.value, keySequence, depth))
	}
	d := f.draft(e.key.Value, f.pos(e.key))
	if d == nil {
		return nil
	}
	value := f.resolve(e.value)
	if value == nil || (value.Kind == yaml.ScalarNode && value.Tag == "!!null") {
		return d.task
	}
	before = len(f.faults)
	for _, option := range f.mapping(value, d.task.Kind.Name) {
		f.option(d, option)
	}
	d.broken = d.broken || len(f.faults) > before
	return d.task
}

// option sets one option of a step.
func (f *file) option(d *draft, e entry) {
	flag := f.lookup(d, e.key.Value, e.key.Value, f.pos(e.key))
	value := f.resolve(e.value)
	if flag == nil || value == nil || !f.given(d, flag, f.pos(e.key), false) {
		return
	}
	_, list := flag.Value.(pflag.SliceValue)
	switch {
	case value.Kind == yaml.ScalarNode && value.Tag == "!!null":
		f.faults.add(f.pos(value), "%s: %s has no value", d.task.Kind.Name, flag.Name)
	case value.Kind == yaml.ScalarNode:
		f.set(d, flag, f.text(value), f.pos(value))
	case value.Kind == yaml.SequenceNode && list:
		if len(value.Content) == 0 {
			f.faults.add(f.pos(value), "%s: %s is an empty list", d.task.Kind.Name, flag.Name)
		}
		for _, item := range value.Content {
			item = f.resolve(item)
			if item == nil {
				return
			}
			if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
				f.faults.add(f.pos(item), "%s: an item of %s is %s, not a plain value", d.task.Kind.Name, flag.Name, describe(item))
				continue
			}
			f.append(d, flag, f.text(item), f.pos(item))
		}
	default:
		f.faults.add(f.pos(value), "%s: %s is %s, not a plain value", d.task.Kind.Name, flag.Name, describe(value))
	}
}

// text returns a plain value as it was written: 0644 stays 0644. YAML's !!binary is how a path that is not UTF-8 stands
// in a file.
func (f *file) text(n *yaml.Node) string {
	if n.Tag != "!!binary" {
		return n.Value
	}
	data, err := base64.StdEncoding.DecodeString(n.Value)
	if err != nil {
		f.faults.add(f.pos(n), "!!binary: %v", err)
	}
	return string(data)
}

// YAML returns the plan as a file.
func (p *Plan) YAML() ([]byte, error) {
	top := &yaml.Node{Kind: yaml.MappingNode}
	if p.Deadline > 0 {
		top.Content = append(top.Content, word(keyDeadline), word(p.Deadline.String()))
	}
	top.Content = append(top.Content, word(keySteps), group(p.Root))
	data, err := yaml.Dump(top)
	if err != nil {
		return nil, fault.As(fault.Internal, fmt.Errorf("write the plan: %w", err))
	}
	return data, nil
}

func word(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	return n
}

func group(nodes []Node) *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, n := range nodes {
		var name string
		var value *yaml.Node
		switch n := n.(type) {
		case Sequence:
			name, value = keySequence, group(n)
		case Parallel:
			name, value = keyParallel, group(n)
		case *Task:
			name, value = n.Kind.Name, options(n)
		}
		list.Content = append(list.Content, &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{word(name), value}})
	}
	return list
}

// options returns the options of t that were set.
func options(t *Task) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for flag := range t.given() {
		value := word(flag.Value.String())
		switch flag.Value.Type() {
		case "bool", "int":
			value = &yaml.Node{Kind: yaml.ScalarNode, Value: flag.Value.String()}
		}
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			value = &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
			for _, item := range list.GetSlice() {
				value.Content = append(value.Content, word(item))
			}
		}
		n.Content = append(n.Content, word(flag.Name), value)
	}
	return n
}

// Keys returns the words of a plan file that no step may be named after.
func Keys() []string {
	return []string{keyDeadline, keySteps, keyParallel, keySequence, then, and}
}
