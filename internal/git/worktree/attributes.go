package worktree

import (
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/slipway-init/slipway/internal/git/object"
)

const (
	attributesFile = ".gitattributes"
	maxAttributes  = 1 << 20 // bytes of such a file and of those above it: in memory they are twenty times as large
)

// attributes are the lines of the .gitattributes files of a directory and those above it. See gitattributes(5).
//
// go-git's parser is not used: it panics on patterns that end with a slash, and gives up on lines that git only warns of.
type attributes struct {
	above *attributes
	dir   string
	lines []attributeLine
	macro map[string][]string // of the file at the top alone; nil elsewhere
	size  int64               // bytes of the file and of those above it
}

// attributeLine is one pattern with what is said of the files that match.
type attributeLine struct {
	pattern string   // without its first slash
	whole   bool     // it is matched with the path below the file's directory, not with the name alone
	words   []string // "text", "-text", "!text", "eol=crlf"
}

// rules are what matters when a file is written.
type rules struct {
	crlf     bool // line feeds become CR LF
	auto     bool // but only in a text that has none yet
	ident    bool
	lfs      bool
	encoding string
}

func (r rules) converts() bool { return r.crlf || r.ident }

// attributes returns those that hold in dir, whose tree is content.
func (w *walk) attributes(content []byte, dir string, above *attributes) (*attributes, error) {
	if w.wanted != nil {
		return nil, nil
	}
	for e, err := range object.Entries(content, w.Format) {
		if err != nil || e.Name != attributesFile || (e.Mode != object.ModeFile && e.Mode != object.ModeExecutable) {
			continue
		}
		size := int64(0)
		if above != nil {
			size = above.size
		}
		text, err := w.bytes(e.ID, object.Blob, maxAttributes-size)
		if err != nil {
			return nil, err
		}
		a := parseAttributes(string(text), dir, above)
		a.size = size + int64(len(text))
		return a, nil
	}
	return above, nil
}

// parseAttributes reads a .gitattributes file. Lines that are none are left out, as git does, with a warning there.
func parseAttributes(text, dir string, above *attributes) *attributes {
	a := &attributes{above: above, dir: dir}
	if dir == "" {
		a.macro = map[string][]string{"binary": {"-diff", "-merge", "-text"}}
	}
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		line = strings.Trim(line, " \t\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "[attr]"); ok {
			if words := strings.Fields(name); len(words) > 0 && a.macro != nil {
				a.macro[words[0]] = words[1:]
			}
			continue
		}
		pattern, rest, ok := cutPattern(line)
		if !ok || strings.HasPrefix(pattern, "!") {
			continue
		}
		l := attributeLine{pattern: strings.TrimPrefix(pattern, "/"), whole: strings.Contains(pattern, "/"), words: strings.Fields(rest)}
		// Braces are plain characters for git, and alternatives for the library.
		l.pattern = strings.NewReplacer("{", `\{`, "}", `\}`).Replace(l.pattern)
		if doublestar.ValidatePattern(l.pattern) {
			a.lines = append(a.lines, l)
		}
	}
	return a
}

// cutPattern returns the pattern at the beginning of a line, which may be in quotes.
func cutPattern(line string) (pattern, rest string, ok bool) {
	if line[0] != '"' {
		i := strings.IndexAny(line, " \t")
		if i < 0 {
			return line, "", true
		}
		return line[:i], line[i:], true
	}
	var b strings.Builder
	for i := 1; i < len(line); i++ {
		switch line[i] {
		case '"':
			return b.String(), line[i+1:], true
		case '\\':
			if i++; i == len(line) {
				return "", "", false
			}
			switch c := line[i]; {
			case c == 'n':
				b.WriteByte('\n')
			case c == 't':
				b.WriteByte('\t')
			case c >= '0' && c <= '3' && i+2 < len(line):
				b.WriteByte((c-'0')<<6 | (line[i+1]-'0')<<3 | (line[i+2] - '0'))
				i += 2
			default:
				b.WriteByte(c)
			}
		default:
			b.WriteByte(line[i])
		}
	}
	return "", "", false
}

// of returns the rules of a file.
func (a *attributes) of(name string) rules {
	if a == nil {
		return rules{}
	}
	said := make(map[string]string) // "+" set, "-" unset, "=value"
	for s := a; s != nil; s = s.above {
		s.look(name, said)
	}
	text := said["text"]
	if text == "" {
		text = said["crlf"]
	}
	r := rules{ident: said["ident"] == "+", lfs: said["filter"] == "=lfs"}
	if encoding, ok := strings.CutPrefix(said["working-tree-encoding"], "="); ok && !strings.EqualFold(encoding, "utf-8") {
		r.encoding = encoding
	}
	if said["eol"] == "=crlf" && text != "-" && text != "=input" {
		r.crlf, r.auto = true, text == "=auto"
	}
	return r
}

// look adds what this file's lines say of name and nobody nearer has said. The last line that matches counts.
func (a *attributes) look(name string, said map[string]string) {
	below := strings.TrimPrefix(strings.TrimPrefix(name, a.dir), "/")
	for i := len(a.lines) - 1; i >= 0; i-- {
		l := a.lines[i]
		subject := below
		if !l.whole {
			subject = path.Base(name)
		}
		if doublestar.MatchUnvalidated(l.pattern, subject) {
			a.take(l.words, said, 0)
		}
	}
}

// take adds what the words of a line say. Macros stand for others.
func (a *attributes) take(words []string, said map[string]string, depth int) {
	for i := len(words) - 1; i >= 0; i-- {
		name, state := words[i], "+"
		switch {
		case name[0] == '-':
			name, state = name[1:], "-"
		case name[0] == '!':
			name, state = name[1:], "!"
		case strings.Contains(name, "="):
			before, value, _ := strings.Cut(name, "=")
			name, state = before, "="+value
		}
		if _, ok := said[name]; ok {
			continue
		}
		said[name] = state
		if expansion := a.macroOf(name); state == "+" && depth < 8 {
			a.take(expansion, said, depth+1)
		}
	}
}

func (a *attributes) macroOf(name string) []string {
	for s := a; s != nil; s = s.above {
		if s.macro != nil {
			return s.macro[name]
		}
	}
	if name == "binary" {
		return []string{"-diff", "-merge", "-text"}
	}
	return nil
}
