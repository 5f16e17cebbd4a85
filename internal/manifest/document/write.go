package document

import (
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-init/slipway/internal/fault"
)

// Value is a value to be written.
type Value struct{ node *yaml.Node }

// Map returns a mapping of keys and values in this order: Map("name", "a", "ports", List(…)). A value is a string, an int, a
// bool, a []string, a Value, or nil, which leaves its key out.
func Map(pairs ...any) Value {
	v := Value{&yaml.Node{Kind: yaml.MappingNode}}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i].(string), pairs[i+1])
	}
	return v
}

// Flow is Map, on one line.
func Flow(pairs ...any) Value {
	v := Map(pairs...)
	v.node.Style = yaml.FlowStyle
	return v
}

// List returns a list.
func List(items ...Value) Value {
	v := Value{&yaml.Node{Kind: yaml.SequenceNode}}
	for _, item := range items {
		v.node.Content = append(v.node.Content, item.node)
	}
	return v
}

// Words returns a list of texts, each on a line of its own.
func Words(texts []string) Value {
	v := of(texts)
	v.node.Style = 0
	return v
}

// Block returns a text of several lines.
func Block(text string) Value {
	return Value{&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text, Style: yaml.LiteralStyle}}
}

// Set adds a key to a mapping; nil adds nothing.
func (v Value) Set(key string, value any) {
	if value == nil {
		return
	}
	v.node.Content = append(v.node.Content, of(key).node, of(value).node)
}

// Comment puts lines before the value; as an item of a list it is the item's. The lines have no "#".
func (v Value) Comment(text string) Value {
	if text != "" {
		v.node.HeadComment = text
	}
	return v
}

// Note puts a comment before the key of a mapping that was set last.
func (v Value) Note(text string) {
	if n := len(v.node.Content); n >= 2 && text != "" {
		v.node.Content[n-2].HeadComment = text
	}
}

// Empty reports whether a mapping or list has nothing in it.
func (v Value) Empty() bool { return v.node == nil || len(v.node.Content) == 0 }

func of(value any) Value {
	n := &yaml.Node{}
	switch value := value.(type) {
	case Value:
		return value
	case string:
		n.SetString(value)
	case int:
		n = &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.Itoa(value)}
	case bool:
		n = &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatBool(value)}
	case []string:
		n.Kind, n.Style = yaml.SequenceNode, yaml.FlowStyle
		for _, text := range value {
			n.Content = append(n.Content, of(text).node)
		}
	default:
		panic(fmt.Sprintf("document: a value of type %T", value))
	}
	return Value{n}
}

// YAML returns the values as a stream of documents.
func YAML(documents ...Value) ([]byte, error) {
	var out []byte
	for i, d := range documents {
		if i > 0 {
			out = append(out, "---\n"...)
		}
		data, err := yaml.Dump(d.node, yaml.WithLineWidth(-1))
		if err != nil {
			return nil, fault.As(fault.Internal, fmt.Errorf("write YAML: %w", err))
		}
		out = append(out, data...)
	}
	return out, nil
}

// Ints returns a list of numbers on one line.
func Ints(numbers ...int) Value {
	v := Value{&yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}}
	for _, n := range numbers {
		v.Add(n)
	}
	return v
}

// Add adds an item to a list.
func (v Value) Add(item any) { v.node.Content = append(v.node.Content, of(item).node) }
