// Package document reads and writes Kubernetes' objects as text. What is read keeps its lines, so that whatever is said
// about it has a place; what is written is the same for the same input, and may hold comments. It knows no types of
// Kubernetes: the API's own would cost every start of the binary.
package document

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-init/slipway/internal/fault"
)

// The bounds of what is read.
const (
	Max     = 4 << 20 // bytes of a stream: what "kustomize build" prints of a large application
	maxDeep = 100     // nodes in one another, aliases unfolded
	// maxSeparators is how many colons, commas, brackets and lines there may be: the parser takes about 1 KiB for a node.
	maxSeparators = 200_000
)

// Pos is a place in a file.
type Pos struct {
	File         string
	Line, Column int // from 1
}

// Read returns the objects of a stream of YAML documents, those of Lists one by one. Name stands before the positions of
// the error, which is of kind Data.
func Read(name string, data []byte) ([]*Node, error) {
	if len(data) > Max {
		return nil, fault.New(fault.Data, "%s: over %d bytes", name, Max)
	}
	separators := 0
	for _, separator := range []string{":", ",", "\n", "[", "{", "- "} {
		separators += bytes.Count(data, []byte(separator))
	}
	if separators > maxSeparators {
		return nil, fault.New(fault.Data, "%s: over %d colons, commas, brackets and lines", name, maxSeparators)
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithUniqueKeys(false))
	if err != nil {
		return nil, syntax(name, err)
	}
	var objects []*Node
	for {
		var document yaml.Node
		err := loader.Load(&document)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, syntax(name, err)
		}
		for _, content := range document.Content {
			objects = append(objects, unfold(&Node{yaml: content, file: name})...)
		}
	}
}

// unfold returns the objects of a List, others as they are, and nothing for an empty document.
func unfold(n *Node) []*Node {
	n = n.resolve()
	if n == nil || n.yaml.Tag == "!!null" {
		return nil
	}
	if kind := n.Get("kind").Text(); !strings.HasSuffix(kind, "List") || n.Get("items").yamlKind() != yaml.SequenceNode {
		return []*Node{n}
	}
	return n.Get("items").Items()
}

// syntax returns an error of YAML's grammar at its place.
func syntax(name string, err error) error {
	line, column, message := 1, 1, err.Error()
	if load, ok := errors.AsType[*yaml.LoadError](err); ok {
		if load.Mark.Line > 0 {
			line, column = load.Mark.Line, max(load.Mark.Column, 1)
		}
		message = load.Message
	}
	return fault.New(fault.Data, "%s:%d:%d: not YAML or JSON: %s", name, line, column, message)
}

// Node is one value of an object. A nil Node is what is not there; all methods take it.
type Node struct {
	yaml  *yaml.Node
	file  string
	shift int // lines to add: the text is a value of another file
	depth int
}

// resolve follows aliases, nil where they go in circles.
func (n *Node) resolve() *Node {
	if n == nil || n.depth > maxDeep {
		return nil
	}
	y := n.yaml
	for i := 0; y != nil && y.Kind == yaml.AliasNode; i++ {
		if i > maxDeep {
			return nil
		}
		y = y.Alias
	}
	if y == nil {
		return nil
	}
	return &Node{yaml: y, file: n.file, shift: n.shift, depth: n.depth}
}

func (n *Node) yamlKind() yaml.Kind {
	if n == nil {
		return 0
	}
	return n.yaml.Kind
}

// Pos returns where the node begins.
func (n *Node) Pos() Pos {
	if n == nil {
		return Pos{}
	}
	return Pos{n.file, n.yaml.Line + n.shift, max(n.yaml.Column, 1)}
}

// Get returns what stands below the keys, nil if that is not there.
func (n *Node) Get(keys ...string) *Node {
	for _, key := range keys {
		if n.yamlKind() != yaml.MappingNode {
			return nil
		}
		var found *Node
		for k, value := range n.Entries() {
			if k == key {
				found = value
			}
		}
		n = found
	}
	return n
}

// Entries yields the keys and values of a mapping, in the order of the text.
func (n *Node) Entries() func(yield func(string, *Node) bool) {
	return func(yield func(string, *Node) bool) {
		if n.yamlKind() != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.yaml.Content); i += 2 {
			value := (&Node{yaml: n.yaml.Content[i+1], file: n.file, shift: n.shift, depth: n.depth + 1}).resolve()
			if value != nil && !yield(n.yaml.Content[i].Value, value) {
				return
			}
		}
	}
}

// Items returns the items of a list.
func (n *Node) Items() []*Node {
	if n.yamlKind() != yaml.SequenceNode {
		return nil
	}
	var items []*Node
	for _, item := range n.yaml.Content {
		if node := (&Node{yaml: item, file: n.file, shift: n.shift, depth: n.depth + 1}).resolve(); node != nil {
			items = append(items, node)
		}
	}
	return items
}

// Given reports whether the node is there and not null.
func (n *Node) Given() bool { return n != nil && n.yaml.Tag != "!!null" }

// Text returns a plain value as it was written, "" for everything else.
func (n *Node) Text() string {
	if n.yamlKind() != yaml.ScalarNode || n.yaml.Tag == "!!null" {
		return ""
	}
	return n.yaml.Value
}

// Texts returns the plain values of a list.
func (n *Node) Texts() []string {
	var texts []string
	for _, item := range n.Items() {
		texts = append(texts, item.Text())
	}
	return texts
}

// Inside returns the place of a line, from 1, of a plain value that is a text of its own: a plan in a variable, a patch
// in a kustomization. It is exact for block scalars; others are one place.
func (n *Node) Inside(line, column int) Pos {
	pos := n.Pos()
	if n != nil && n.yaml.Style&yaml.LiteralStyle != 0 {
		pos.Line += line
		pos.Column = max(column, 1)
	}
	return pos
}

// Nested reads a plain value as a stream of objects of its own, with places in the file that holds it.
func (n *Node) Nested() ([]*Node, error) {
	objects, err := Read(n.Pos().File, []byte(n.Text()))
	for _, o := range objects {
		o.shift = n.Inside(0, 1).Line
	}
	return objects, err
}
