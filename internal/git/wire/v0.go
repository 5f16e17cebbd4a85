package wire

import (
	"context"
	"fmt"
	"strings"

	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/git/pktline"
)

// peeledSuffix marks the line that says what the tag of the line before stands for.
const peeledSuffix = "^{}"

// advertisement reads all refs of a server of version 0 or 1, of which the first packet has been read.
func (c *Client) advertisement(kind pktline.Kind, line string) error {
	c.refs, c.words = refs{}, make(map[string]string)
	targets := make(map[string]string)
	for first := true; kind == pktline.Data; first = false {
		if first {
			var words string
			var ok bool
			if line, words, ok = strings.Cut(line, "\x00"); !ok {
				return unexpectedAnswer()
			}
			for word := range strings.FieldsSeq(words) {
				name, value, _ := strings.Cut(word, "=")
				if from, to, ok := strings.Cut(value, ":"); name == "symref" && ok {
					targets[from] = to
					continue
				}
				c.words[name] = value
			}
			var err error
			if c.format, err = object.ParseFormat(c.words["object-format"]); err != nil {
				return err
			}
		}
		if err := c.advertised(line, targets); err != nil {
			return err
		}
		var err error
		if kind, line, err = c.packets.Line(); err != nil {
			return unexpected(err)
		}
	}
	return nil
}

// advertised takes one line of the advertisement.
func (c *Client) advertised(line string, targets map[string]string) error {
	text, name, ok := strings.Cut(line, " ")
	if !ok {
		return unexpectedAnswer()
	}
	if text == "shallow" || name == "capabilities"+peeledSuffix { // of a shallow repository; of an empty one
		return nil
	}
	id, err := c.parseID(text)
	if err != nil {
		return err
	}
	if of, ok := strings.CutSuffix(name, peeledSuffix); ok {
		if last := len(c.refs.all) - 1; last >= 0 && c.refs.all[last].Name == of {
			c.refs.all[last].Peeled = id
		}
		return nil
	}
	return c.refs.add(Ref{Name: name, ID: id, Target: targets[name]})
}

func (c *Client) fetchV0(ctx context.Context, r Request) (*Fetched, error) {
	if c.spent {
		if err := c.open(ctx); err != nil {
			return nil, err
		}
	}
	c.spent = true
	_, sideband := c.words["side-band-64k"]
	words := " no-progress agent=" + Agent
	for _, word := range []string{"ofs-delta", "side-band-64k", "shallow", "filter"} {
		if _, ok := c.words[word]; ok {
			words += " " + word
		}
	}
	if _, ok := c.words["object-format"]; ok {
		words += fmt.Sprintf(" object-format=%s", c.format)
	}
	var b []byte
	for _, want := range r.Wants {
		b = pktline.Append(b, "want %s%s\n", want, words)
		words = ""
	}
	if r.Depth > 0 {
		b = pktline.Append(b, "deepen %d\n", r.Depth)
	}
	if r.Filter != "" {
		b = pktline.Append(b, "filter %s\n", r.Filter)
	}
	b = pktline.Append(pktline.AppendFlush(b), "done\n")
	answer, err := c.transport.Send(ctx, b)
	if err != nil {
		return nil, err
	}
	c.hear(answer)
	f := &Fetched{}
	for {
		kind, line, err := c.packets.Line()
		switch {
		case err != nil:
			return nil, unexpected(err)
		case kind != pktline.Data: // the end of shallow and unshallow lines
		case line == "NAK":
			f.Pack = c.raw
			if sideband {
				f.Pack = pktline.NewSideband(c.packets)
			}
			return f, nil
		default:
			if err := c.shallow(f, line); err != nil {
				return nil, err
			}
		}
	}
}
