package object

import (
	"bytes"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// CommitInfo is what a commit says.
type CommitInfo struct {
	Tree    ID
	Parents []ID
	Signed
}

// TagInfo is what an annotated tag says.
type TagInfo struct {
	Object ID // what it stands for
	Type   Type
	Name   string
	Signed
}

// Signed is an object's signature and what it is of.
type Signed struct {
	Signature string // armoured, as OpenPGP or SSH has it; "" is none
	Payload   []byte // all but the signature
	Signer    string // the committer or tagger: "Name <mail> 1700000000 +0100"
}

// ParseCommit reads a commit's content.
func ParseCommit(content []byte) (CommitInfo, error) {
	var c CommitInfo
	header, _, _ := bytes.Cut(content, []byte("\n\n"))
	for line := range bytes.Lines(header) {
		key, value, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		switch {
		case key == "tree" && c.Tree.IsZero():
			c.Tree, _ = ParseID(value)
		case key == "parent":
			parent, ok := ParseID(value)
			if !ok {
				return CommitInfo{}, fault.New(fault.Data, "a commit is malformed: parent %q", value)
			}
			c.Parents = append(c.Parents, parent)
		case key == "committer":
			c.Signer = value
		}
	}
	if c.Tree.IsZero() {
		return CommitInfo{}, fault.New(fault.Data, "a commit is malformed: it names no tree")
	}
	key := "gpgsig"
	if c.Tree.Format() == SHA256 {
		key = "gpgsig-sha256"
	}
	c.Signature, c.Payload = cutSignature(content, key)
	return c, nil
}

// cutSignature returns the value of the header key, whose further lines begin with a space, and content without it and
// its twin for the other object format, as git's parse_buffer_signed_by_header does.
func cutSignature(content []byte, key string) (signature string, payload []byte) {
	var value strings.Builder
	var mine, other bool // the line belongs to the header that is wanted, or to its twin
	inHeader := true
	for line := range bytes.Lines(content) {
		if inHeader && len(line) == 1 {
			inHeader, mine, other = false, false, false
		}
		if inHeader {
			name, rest, _ := bytes.Cut(line, []byte(" "))
			switch {
			case len(name) == 0: // it goes on
				if mine {
					value.Write(rest)
				}
			default:
				mine = string(name) == key
				other = !mine && (string(name) == "gpgsig" || string(name) == "gpgsig-sha256")
				if mine {
					value.Write(rest)
				}
			}
		}
		if !mine && !other {
			payload = append(payload, line...)
		}
	}
	return value.String(), payload
}

// ParseTag reads an annotated tag's content.
func ParseTag(content []byte) (TagInfo, error) {
	var t TagInfo
	header, _, _ := bytes.Cut(content, []byte("\n\n"))
	for line := range bytes.Lines(header) {
		key, value, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		switch key {
		case "object":
			t.Object, _ = ParseID(value)
		case "type":
			t.Type = ParseType(value)
		case "tag":
			t.Name = value
		case "tagger":
			t.Signer = value
		}
	}
	if t.Object.IsZero() || t.Type == 0 {
		return TagInfo{}, fault.New(fault.Data, "a tag is malformed: it names no object")
	}
	t.Payload = content
	at := -1 // the last one counts, as in git's parse_signature
	for _, begin := range []string{"-----BEGIN PGP SIGNATURE-----", "-----BEGIN SSH SIGNATURE-----"} {
		at = max(at, bytes.LastIndex(content, []byte("\n"+begin)))
	}
	if at >= 0 {
		t.Payload, t.Signature = content[:at+1], string(content[at+1:])
	}
	return t, nil
}
