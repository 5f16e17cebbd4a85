package wire

import (
	"context"
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/git/pktline"
)

// capabilities reads what a server of version 2 can.
func (c *Client) capabilities() error {
	c.words = make(map[string]string)
	for {
		kind, line, err := c.packets.Line()
		switch {
		case err != nil:
			return unexpected(err)
		case kind != pktline.Data:
			c.format, err = object.ParseFormat(c.words["object-format"])
			return err
		case len(c.words) == maxWords:
			return unexpectedAnswer()
		}
		name, value, _ := strings.Cut(line, "=")
		c.words[name] = value
	}
}

// command begins a request.
func (c *Client) command(name string) []byte {
	b := pktline.Append(nil, "command=%s\n", name)
	if _, ok := c.words["agent"]; ok {
		b = pktline.Append(b, "agent=%s\n", Agent)
	}
	if _, ok := c.words["object-format"]; ok {
		b = pktline.Append(b, "object-format=%s\n", c.format)
	}
	return pktline.AppendDelimiter(b)
}

func (c *Client) listRefs(ctx context.Context, prefixes []string) ([]Ref, error) {
	b := c.command("ls-refs")
	b = pktline.Append(b, "peel\n")
	b = pktline.Append(b, "symrefs\n")
	for _, prefix := range prefixes {
		b = pktline.Append(b, "ref-prefix %s\n", prefix)
	}
	answer, err := c.transport.Send(ctx, pktline.AppendFlush(b))
	if err != nil {
		return nil, err
	}
	c.hear(answer)
	var found refs
	for {
		kind, line, err := c.packets.Line()
		if err != nil {
			return nil, unexpected(err)
		}
		if kind != pktline.Data {
			return found.all, nil
		}
		if strings.HasPrefix(line, "unborn ") {
			continue
		}
		ref, err := c.ref(line)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(ref.Name, prefix) }) {
			continue // a prefix is a wish, says gitprotocol-v2(5)
		}
		if err := found.add(ref); err != nil {
			return nil, err
		}
	}
}

// ref reads a line such as "ID refs/tags/v1 peeled:ID".
func (c *Client) ref(line string) (Ref, error) {
	words := strings.Split(line, " ")
	if len(words) < 2 {
		return Ref{}, unexpectedAnswer()
	}
	id, err := c.parseID(words[0])
	if err != nil {
		return Ref{}, err
	}
	ref := Ref{Name: words[1], ID: id}
	for _, word := range words[2:] {
		if target, ok := strings.CutPrefix(word, "symref-target:"); ok {
			ref.Target = target
		}
		if peeled, ok := strings.CutPrefix(word, "peeled:"); ok {
			if ref.Peeled, err = c.parseID(peeled); err != nil {
				return Ref{}, err
			}
		}
	}
	return ref, nil
}

func (c *Client) fetchV2(ctx context.Context, r Request) (*Fetched, error) {
	b := c.command("fetch")
	b = pktline.Append(b, "ofs-delta\n")
	b = pktline.Append(b, "no-progress\n")
	for _, want := range r.Wants {
		b = pktline.Append(b, "want %s\n", want)
	}
	if r.Depth > 0 {
		b = pktline.Append(b, "deepen %d\n", r.Depth)
	}
	if r.Filter != "" {
		b = pktline.Append(b, "filter %s\n", r.Filter)
	}
	b = pktline.Append(b, "done\n")
	answer, err := c.transport.Send(ctx, pktline.AppendFlush(b))
	if err != nil {
		return nil, err
	}
	c.hear(answer)
	f := &Fetched{}
	for section := ""; ; {
		kind, line, err := c.packets.Line()
		switch {
		case err != nil:
			return nil, unexpected(err)
		case kind == pktline.Delimiter:
			section = ""
		case kind != pktline.Data:
			return nil, unexpectedAnswer() // it has ended without a pack
		case section == "" && line == "packfile":
			f.Pack = pktline.NewSideband(c.packets)
			return f, nil
		case section == "":
			section = line
		case section == "shallow-info":
			if err := c.shallow(f, line); err != nil {
				return nil, err
			}
		}
	}
}

// shallow reads a line of shallow-info. There was nothing before, so that nothing is unshallow.
func (c *Client) shallow(f *Fetched, line string) error {
	if text, ok := strings.CutPrefix(line, "shallow "); ok {
		id, err := c.parseID(text)
		if err != nil {
			return err
		}
		if len(f.Shallow) == maxShallow {
			return fault.New(fault.Data, "the server cuts the history off in over %d places", maxShallow)
		}
		f.Shallow = append(f.Shallow, id)
	}
	return nil
}
