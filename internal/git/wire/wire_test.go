package wire_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/pktline"
	"github.com/slipway-init/slipway/internal/git/wire"
)

// liar is a server that says what no real one would: what comes first, and what it answers.
type liar struct{ first, answer io.Reader }

func (l liar) Open(context.Context) (io.Reader, error)         { return l.first, nil }
func (l liar) Send(context.Context, []byte) (io.Reader, error) { return l.answer, nil }
func (l liar) Close() error                                    { return nil }
func (l liar) Explain(err error) error                         { return err }

// endless is a packet after the other, each made of its number, and never the end.
type endless struct {
	packet func(i int) string
	left   []byte
	i      int
}

func (e *endless) Read(p []byte) (int, error) {
	if len(e.left) == 0 {
		e.left = pktline.Append(e.left[:0], "%s\n", e.packet(e.i))
		e.i++
	}
	n := copy(p, e.left)
	e.left = e.left[n:]
	return n, nil
}

const id = "1111111111111111111111111111111111111111"

func packets(lines ...string) *bytes.Buffer {
	var b []byte
	for _, line := range lines {
		b = pktline.Append(b, "%s\n", line)
	}
	return bytes.NewBuffer(pktline.AppendFlush(b))
}

// Whoever tells and tells is stopped before the memory of a small container is full, and within what a test waits for.
func TestServerThatNeverEnds(t *testing.T) {
	long := strings.Repeat("x", 60000)
	version2 := func() io.Reader { return packets("version 2", "fetch=shallow", "ls-refs") }
	refs := func(c *wire.Client) error {
		_, err := c.Refs(context.Background(), []string{"refs/heads/main"})
		return err
	}
	fetch := func(c *wire.Client) error {
		_, err := c.Fetch(context.Background(), wire.Request{})
		return err
	}
	for _, c := range []struct {
		name   string
		server liar
		ask    func(*wire.Client) error
	}{
		{"refs of version 0", liar{first: &endless{packet: func(i int) string {
			if i == 0 {
				return id + " HEAD\x00shallow"
			}
			return fmt.Sprintf("%s refs/heads/%d%s", id, i, long)
		}}}, refs},
		{"short refs of version 0", liar{first: &endless{packet: func(i int) string {
			if i == 0 {
				return id + " HEAD\x00shallow"
			}
			return fmt.Sprintf("%s refs/heads/%d", id, i)
		}}}, refs},
		{"refs of version 2", liar{version2(), &endless{packet: func(i int) string {
			return fmt.Sprintf("%s refs/heads/main%d%s", id, i, long)
		}}}, refs},
		{"capabilities", liar{first: io.MultiReader(strings.NewReader("000eversion 2\n"), &endless{packet: func(i int) string {
			return fmt.Sprint(i, long)
		}})}, refs},
		{"places where the history ends", liar{version2(), &endless{packet: func(i int) string {
			if i == 0 {
				return "shallow-info"
			}
			return fmt.Sprintf("shallow %040x", i)
		}}}, fetch},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, err := wire.Connect(context.Background(), c.server)
			if err == nil {
				err = c.ask(client)
			}
			if fault.KindOf(err) != fault.Data {
				t.Errorf("got %v, want a fault of the data", err)
			}
		})
	}
}

// A server may take a prefix for a wish, says the protocol.
func TestRefsThatNobodyAskedFor(t *testing.T) {
	server := liar{packets("version 2", "ls-refs"), packets(id+" refs/heads/other", id+" refs/heads/main")}
	client, err := wire.Connect(context.Background(), server)
	if err != nil {
		t.Fatal(err)
	}
	refs, err := client.Refs(context.Background(), []string{"refs/heads/main"})
	if err != nil || len(refs) != 1 || refs[0].Name != "refs/heads/main" {
		t.Errorf("got %v, %v, want the one", refs, err)
	}
}

// FuzzServer answers with anything.
func FuzzServer(f *testing.F) {
	f.Add(packets("version 2", "ls-refs", "fetch=shallow filter", "object-format=sha1").Bytes(), packets(id+" HEAD symref-target:refs/heads/main peeled:"+id).Bytes())
	f.Add(packets(id+" HEAD\x00shallow symref=HEAD:refs/heads/main", id+" refs/heads/main", id+" refs/heads/main^{}").Bytes(), packets("shallow "+id, "NAK").Bytes())
	f.Add(packets("version 1", id+" HEAD\x00object-format=sha256").Bytes(), packets("ERR no").Bytes())
	f.Add(packets("version 2", "fetch").Bytes(), packets("shallow-info", "shallow "+id, "packfile").Bytes())
	f.Fuzz(func(t *testing.T, first, answer []byte) {
		client, err := wire.Connect(context.Background(), liar{bytes.NewReader(first), bytes.NewReader(answer)})
		if err != nil {
			return
		}
		refs, err := client.Refs(context.Background(), []string{"HEAD"})
		for _, ref := range refs {
			if err == nil && (ref.ID.IsZero() || ref.ID.Format() != client.Format()) {
				t.Errorf("got the ref %+v", ref)
			}
		}
		if fetched, err := client.Fetch(context.Background(), wire.Request{Depth: 1}); err == nil {
			_, _ = io.Copy(io.Discard, fetched.Pack)
		}
	})
}
