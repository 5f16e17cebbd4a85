package worktree

import (
	"bytes"

	"github.com/slipway-init/slipway/internal/git/object"
)

// maxConverted is the size of the largest file that is converted, in bytes.
const maxConverted = 8 << 20

// maxPointer is the size below which a file may be a pointer of git LFS, in bytes.
const maxPointer = 1024

// IsPointer reports whether content is a pointer of git LFS.
func IsPointer(content []byte) bool {
	return bytes.HasPrefix(content, []byte("version https://git-lfs.github.com/spec/v1\n")) ||
		bytes.HasPrefix(content, []byte("version https://hawser.github.com/spec/v1\n"))
}

// convert returns what is written for content.
func convert(content []byte, r rules, id object.ID) []byte {
	if r.ident {
		content = expandIdent(content, id)
	}
	if r.crlf {
		content = addCR(content, r.auto)
	}
	return content
}

// expandIdent puts the object's id into each $Id$.
func expandIdent(content []byte, id object.ID) []byte {
	begin := []byte("$Id")
	if !bytes.Contains(content, begin) {
		return content
	}
	var out []byte
	for {
		i := bytes.Index(content, begin)
		if i < 0 {
			return append(out, content...)
		}
		out = append(out, content[:i]...)
		content = content[i:]
		end := identEnd(content)
		if end == 0 {
			out = append(out, begin...)
			content = content[len(begin):]
			continue
		}
		out = append(append(append(out, "$Id: "...), id.String()...), " $"...)
		content = content[end:]
	}
}

// identEnd returns the length of the $Id$ or $Id: …$ that text begins with; 0 is none. As in git's ident_to_worktree, an
// id that somebody else has put there, with spaces in the middle, stays.
func identEnd(text []byte) int {
	rest := text[len("$Id"):]
	if len(rest) > 0 && rest[0] == '$' {
		return len("$Id$")
	}
	if len(rest) == 0 || rest[0] != ':' {
		return 0
	}
	end := bytes.IndexAny(rest, "$\n")
	if end < 0 || rest[end] == '\n' {
		return 0
	}
	if inner := rest[1:end]; len(inner) > 1 && inner[0] == ' ' {
		if space := bytes.IndexByte(inner[1:], ' '); space >= 0 && space != len(inner)-2 {
			return 0
		}
	}
	return len("$Id") + end + 1
}

// addCR puts a CR before each line feed that has none. With auto it leaves alone what is no text, and what has CRs
// already: that is how it was committed. See will_convert_lf_to_crlf in git's convert.c.
func addCR(content []byte, auto bool) []byte {
	s := count(content)
	if s.lonelf == 0 || (auto && (s.lonecr > 0 || s.crlf > 0 || s.binary())) {
		return content
	}
	out := make([]byte, 0, len(content)+s.lonelf)
	for i, c := range content {
		if c == '\n' && (i == 0 || content[i-1] != '\r') {
			out = append(out, '\r')
		}
		out = append(out, c)
	}
	return out
}

// stats are what git's gather_stats counts.
type stats struct{ nul, lonecr, lonelf, crlf, printable, nonprintable int }

func count(content []byte) stats {
	var s stats
	for i := 0; i < len(content); i++ {
		switch c := content[i]; {
		case c == '\r':
			if i+1 < len(content) && content[i+1] == '\n' {
				s.crlf++
				i++
			} else {
				s.lonecr++
			}
		case c == '\n':
			s.lonelf++
		case c == 127:
			s.nonprintable++
		case c == '\b', c == '\t', c == 0x1b, c == '\f', c >= ' ':
			s.printable++
		case c == 0:
			s.nul++
			s.nonprintable++
		default:
			s.nonprintable++
		}
	}
	if len(content) > 0 && content[len(content)-1] == 0x1a { // DOS's end of file
		s.nonprintable--
	}
	return s
}

func (s stats) binary() bool {
	return s.lonecr > 0 || s.nul > 0 || s.printable>>7 < s.nonprintable
}
