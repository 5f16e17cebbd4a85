// Package wire speaks git's protocol with a server: what refs are there, and the pack of what is wanted.
//
// wire.go is what both versions share, v2.go and v0.go are the versions (version 1 is version 0 with one more line);
// http.go, daemon.go and ssh.go carry them. The sources are gitprotocol-v2(5), gitprotocol-pack(5),
// gitprotocol-capabilities(5) and gitprotocol-http(5). go-git knows version 0 alone, where the server tells all its
// refs before anything else, and no filters.
package wire

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/git/pktline"
)

// Ref is a name that a server has for an object.
type Ref struct {
	Name   string
	ID     object.ID
	Peeled object.ID // what the annotated tag at ID stands for; zero is no such tag
	Target string    // the name that a symbolic ref stands for, if the server tells
}

// Commit returns the id of what the ref stands for in the end, tags peeled.
func (r Ref) Commit() object.ID {
	if !r.Peeled.IsZero() {
		return r.Peeled
	}
	return r.ID
}

// refs are those that a server has told of.
type refs struct {
	all  []Ref
	size int // in bytes, about
}

// add takes one more; too many are a Data fault.
func (l *refs) add(r Ref) error {
	if l.size += refSize + len(r.Name) + len(r.Target); l.size > maxRefs {
		return fault.Hint(fault.New(fault.Data, "the server tells of over %d refs, which are too many to hold", len(l.all)),
			"version 2 of git's protocol asks for the one that is wanted: the server should be able to speak it; sshd needs AcceptEnv GIT_PROTOCOL for that")
	}
	l.all = append(l.all, r)
	return nil
}

// Transport carries messages to a server and back. Unless it is stateless, all goes over one connection.
type Transport interface {
	// Open returns what the server says first.
	Open(ctx context.Context) (io.Reader, error)
	// Send sends a request and returns the answer; nil where it comes in the stream that Open returned.
	Send(ctx context.Context, request []byte) (io.Reader, error)
	// Close ends the connection, if there is one.
	Close() error
	// Explain makes the best of an error that cut a connection off: what the server said on the side, for example.
	Explain(err error) error
}

// Client is a conversation with a server.
type Client struct {
	transport Transport
	version   int
	words     map[string]string // the server's capabilities, with their values
	format    object.Format
	packets   *pktline.Reader
	raw       io.Reader // below packets
	refs      refs      // version 0: all of them
	spent     bool      // version 0: the connection has had its one fetch
}

// Agent is how slipway calls itself.
const Agent = "slipway"

// What a server may tell, so that it fits a small container.
const (
	maxRefs    = 32 << 20 // bytes that refs take in memory: about 150,000 of them
	refSize    = 200      // bytes that a ref takes besides its names
	maxShallow = 1 << 18
	maxWords   = 100 // capabilities, each of up to 64 KiB
)

// Connect opens t and learns what the server can. The caller must Close the client.
func Connect(ctx context.Context, t Transport) (*Client, error) {
	c := &Client{transport: t}
	if err := c.open(ctx); err != nil {
		return nil, errors.Join(c.explain(err), t.Close())
	}
	return c, nil
}

// Close says goodbye.
func (c *Client) Close() error { return c.transport.Close() }

// Format returns the repository's object format.
func (c *Client) Format() object.Format { return c.format }

// Version returns the version of the protocol that the server chose.
func (c *Client) Version() int { return c.version }

func (c *Client) open(ctx context.Context) error {
	r, err := c.transport.Open(ctx)
	if err != nil {
		return err
	}
	c.hear(r)
	kind, line, err := c.packets.Line()
	if err == nil && strings.HasPrefix(line, "# service=") { // HTTP's own first message
		if kind, _, err = c.packets.Next(); err == nil && kind != pktline.Flush {
			return unexpectedAnswer()
		}
		kind, line, err = c.packets.Line()
	}
	switch {
	case err != nil:
		return unexpected(err)
	case line == "version 2":
		c.version = 2
		return c.capabilities()
	case line == "version 1":
		c.version = 1
		if kind, line, err = c.packets.Line(); err != nil {
			return unexpected(err)
		}
	}
	return c.advertisement(kind, line)
}

// hear makes r what the packets are read from; nil is the same as before.
func (c *Client) hear(r io.Reader) {
	if r != nil {
		c.raw = bufio.NewReaderSize(r, 64<<10)
		c.packets = pktline.NewReader(c.raw)
	}
}

// Refs returns the server's refs whose names begin with one of the prefixes; more may come.
func (c *Client) Refs(ctx context.Context, prefixes []string) ([]Ref, error) {
	if c.version < 2 {
		return c.refs.all, nil
	}
	refs, err := c.listRefs(ctx, prefixes)
	return refs, c.explain(err)
}

// Request says what to fetch.
type Request struct {
	Wants  []object.ID
	Depth  int    // how many commits of history; 0 is all
	Filter string // "blob:none" and the like, see git-rev-list(1); the server must be able to, see CanFilter
}

// Fetched is what a server sends. The pack must be read to its end before the client is used again.
type Fetched struct {
	Pack    io.Reader
	Shallow []object.ID // the commits whose parents are not sent
}

// Fetch asks for a pack. The server's refusal is a *pktline.RemoteError, or an error of the kind that fits it.
func (c *Client) Fetch(ctx context.Context, r Request) (*Fetched, error) {
	fetch := c.fetchV2
	if c.version < 2 {
		fetch = c.fetchV0
	}
	f, err := fetch(ctx, r)
	if err != nil {
		return nil, c.explain(err)
	}
	f.Pack = &explained{f.Pack, c}
	return f, nil
}

// CanFilter reports whether the server leaves objects out on request.
func (c *Client) CanFilter() bool {
	if c.version < 2 {
		_, ok := c.words["filter"]
		return ok
	}
	return c.feature("fetch", "filter")
}

// CanShallow reports whether the server sends a part of the history on request.
func (c *Client) CanShallow() bool {
	if c.version < 2 {
		_, ok := c.words["shallow"]
		return ok
	}
	return c.feature("fetch", "shallow")
}

// CanWantAny reports whether the server sends objects that no ref names. Version 2 always does, if it has them.
func (c *Client) CanWantAny() bool {
	_, any := c.words["allow-any-sha1-in-want"]
	_, reachable := c.words["allow-reachable-sha1-in-want"]
	return c.version == 2 || any || reachable
}

// feature reports whether the value of a capability has a word.
func (c *Client) feature(name, word string) bool {
	for w := range strings.FieldsSeq(c.words[name]) {
		if w == word {
			return true
		}
	}
	return false
}

// explained is a stream whose errors the transport explains.
type explained struct {
	io.Reader
	client *Client
}

// Read implements io.Reader.
func (e *explained) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = e.client.explain(err)
	}
	return n, err
}

// explain gives a server's refusal its kind, and asks the transport about other errors.
func (c *Client) explain(err error) error {
	if err == nil {
		return nil
	}
	if remote, ok := errors.AsType[*pktline.RemoteError](err); ok {
		return fault.As(Refusal(remote.Text), err)
	}
	return c.transport.Explain(err)
}

// Refusal returns the kind of what a server says when it gives up. There are no codes for it, only git's and the
// forges' words.
func Refusal(text string) fault.Kind {
	text = strings.ToLower(text)
	for _, words := range []struct {
		kind fault.Kind
		any  []string
	}{
		{fault.NoInput, []string{
			"not our ref", "not found", "not exported", "does not exist", "does not appear to be a git repository",
			"no such", "could not find", "unadvertised object",
		}},
		{fault.Permission, []string{"denied", "not authorized", "not allowed", "permission", "forbidden", "authentication"}},
	} {
		for _, word := range words.any {
			if strings.Contains(text, word) {
				return words.kind
			}
		}
	}
	return fault.Temporary
}

// unexpected says of the end of a stream that it came too early.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func unexpectedAnswer() error {
	return fault.New(fault.Data, "the server's answer is not what git's protocol has there")
}

// parseID reads an id of the repository's format.
func (c *Client) parseID(text string) (object.ID, error) {
	id, ok := object.ParseID(text)
	if !ok || id.Format() != c.format {
		return object.ID{}, fault.New(fault.Data, "the server names an object %.80q", text)
	}
	return id, nil
}
