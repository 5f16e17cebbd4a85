package seccomp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// kind is what a node is.
type kind int

const (
	null kind = iota
	boolean
	number
	text
	list
	object
)

// node is a value of JSON that knows its line, and keeps the order and the repetitions of its keys.
type node struct {
	kind    kind
	line    int
	text    string // of a text, number or boolean
	items   []*node
	members []member
}

type member struct {
	key   string
	value *node
}

// String returns the node as an error shows it.
func (n *node) String() string {
	switch n.kind {
	case text:
		return fmt.Sprintf("%.60q", n.text)
	case list:
		return "a list"
	case object:
		return "an object"
	case null:
		return "null"
	}
	return fmt.Sprintf("%.60s", n.text)
}

// maxDepth bounds how deep values may be nested; a profile has five levels.
const maxDepth = 16

// parse reads one value of JSON and nothing behind it. An error begins with the line.
func parse(content []byte) (*node, error) {
	r := &reader{content: content, decoder: json.NewDecoder(bytes.NewReader(content)), line: 1}
	r.decoder.UseNumber()
	root, err := r.value(0)
	if err == nil {
		if _, more := r.decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is something behind the profile")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%d: %w", r.here(), err)
	}
	return root, nil
}

type reader struct {
	content []byte
	decoder *json.Decoder
	line    int
	counted int64 // bytes whose line feeds are in line
}

// here returns the line that the decoder is at.
func (r *reader) here() int {
	offset := min(r.decoder.InputOffset(), int64(len(r.content)))
	r.line += bytes.Count(r.content[r.counted:offset], []byte("\n"))
	r.counted = offset
	return r.line
}

func (r *reader) value(depth int) (*node, error) {
	token, err := r.token()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested over %d deep", maxDepth)
	}
	n := &node{line: r.here()}
	switch v := token.(type) {
	case nil:
	case bool:
		n.kind, n.text = boolean, fmt.Sprint(v)
	case json.Number:
		n.kind, n.text = number, v.String()
	case string:
		n.kind, n.text = text, v
	case json.Delim:
		return n, r.inner(n, v, depth)
	}
	return n, nil
}

// inner reads what is in a list or an object, up to its end.
func (r *reader) inner(n *node, opening json.Delim, depth int) error {
	n.kind = list
	if opening == '{' {
		n.kind = object
	}
	for r.decoder.More() {
		key := ""
		if n.kind == object {
			token, err := r.token()
			if err != nil {
				return err
			}
			key, _ = token.(string)
		}
		value, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		if n.kind == object {
			n.members = append(n.members, member{key, value})
		} else {
			n.items = append(n.items, value)
		}
	}
	_, err := r.token()
	return err
}

// token returns the next token. The end of the text is no end that it may have.
func (r *reader) token() (json.Token, error) {
	token, err := r.decoder.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); ok || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("it is no JSON: %w", err)
	}
	return token, err
}
