package convert

import (
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/manifest/document"
)

// token is a word of a script, or an operator.
type token struct {
	word
	op bool
}

// lex cuts a script into tokens: enough of POSIX's grammar to know for sure what a plain line says. Whatever a shell
// would expand makes its word dynamic.
func lex(script string, at func(line int) document.Pos) []token {
	var tokens []token
	line := 1
	text := []rune(script)
	var b strings.Builder
	begun, dynamic, start := false, false, 1
	flush := func() {
		if begun {
			tokens = append(tokens, token{word: word{text: b.String(), pos: at(start), dynamic: dynamic}})
		}
		b.Reset()
		begun, dynamic = false, false
	}
	put := func(r rune) {
		if !begun {
			begun, start = true, line
		}
		b.WriteRune(r)
	}
	for i := 0; i < len(text); i++ {
		r := text[i]
		switch {
		case r == '\\' && i+1 < len(text):
			i++
			if text[i] == '\n' {
				line++
			} else {
				put(text[i])
			}
		case r == '\'' || r == '"':
			if !begun {
				begun, start = true, line
			}
			end := i + 1
			for ; end < len(text) && text[end] != r; end++ {
				if text[end] == '\n' {
					line++
				}
				if r == '"' && text[end] == '\\' && end+1 < len(text) {
					end++
				} else if r == '"' && (text[end] == '$' || text[end] == '`') {
					dynamic = true
				}
				b.WriteRune(text[end])
			}
			if end >= len(text) {
				dynamic = true // the quote has no end
			}
			i = end
		case r == '\n':
			flush()
			tokens = append(tokens, token{word: word{text: ";", pos: at(line)}, op: true})
			line++
		case r == ' ' || r == '\t' || r == '\r':
			flush()
		case r == '#' && !begun:
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		case r == '>' || r == '<':
			// A redirection: its descriptor before it, its file behind it.
			if begun && strings.Trim(b.String(), "0123456789") == "" {
				b.Reset()
				begun = false
			}
			flush()
			for i+1 < len(text) && strings.ContainsRune("><&", text[i+1]) {
				i++
			}
			tokens = append(tokens, token{word: word{text: string(r), pos: at(line)}, op: true})
		case strings.ContainsRune(";&|(){}", r) && !(strings.ContainsRune("{}", r) && begun):
			flush()
			op := string(r)
			if i+1 < len(text) && text[i+1] == r && (r == '&' || r == '|') {
				op += op
				i++
			}
			tokens = append(tokens, token{word: word{text: op, pos: at(line)}, op: true})
		default:
			dynamic = dynamic || strings.ContainsRune("$`*?~{}", r) || (r == '[' && begun)
			put(r)
		}
	}
	flush()
	return tokens
}

// maxScript bounds a script, in bytes.
const maxScript = 64 << 10

// script converts a shell's script.
func (c *converter) script(text string, at func(line int) document.Pos) {
	if len(text) > maxScript {
		c.note(at(1), "the script has over %d bytes", maxScript)
		return
	}
	p := &script{converter: c, tokens: lex(text, at)}
	for len(p.tokens) > 0 {
		p.statement()
	}
}

// script is one that is being read.
type script struct {
	*converter
	tokens []token
}

// is reports whether the next token is a given operator or word.
func (p *script) is(text string) bool {
	return len(p.tokens) > 0 && p.tokens[0].text == text && (p.tokens[0].op || !p.tokens[0].dynamic)
}

// separators end a statement after which the next one runs, at the latest if this one succeeded.
var separators = []string{";", "&&"}

// statement reads one statement and what separates it from the next one.
func (p *script) statement() {
	if first := p.tokens[0]; first.op && slices.Contains(separators, first.text) {
		p.tokens = p.tokens[1:]
		return
	}
	if p.is("until") || p.is("while") {
		p.loop()
		return
	}
	if first := p.tokens[0]; first.op || slices.Contains([]string{"if", "for", "case", "function", "select"}, first.text) {
		p.skipBlock("%q is not read: only plain commands and waiting loops are")
		return
	}
	words, clean := p.command()
	if !clean {
		p.note(place(words), "%q is part of a pipe, a choice, or writes to a file: it is not carried over", spell(words))
		return
	}
	p.simple(words)
}

// command reads the words up to the end of a command. It is clean if nothing but silence is redirected, and no pipe, group or
// choice follows.
func (p *script) command() (words []word, clean bool) {
	clean = true
	for len(p.tokens) > 0 {
		t := p.tokens[0]
		switch {
		case t.op && slices.Contains(separators, t.text):
			return words, clean
		case t.op && (t.text == ">" || t.text == "<"):
			p.tokens = p.tokens[1:]
			if len(p.tokens) > 0 && !p.tokens[0].op {
				file := p.tokens[0].text
				clean = clean && t.text == ">" && (file == "/dev/null" || file == "1" || file == "2")
				p.tokens = p.tokens[1:]
			}
			continue
		case t.op:
			clean = false
		default:
			words = append(words, t.word)
		}
		p.tokens = p.tokens[1:]
	}
	return words, clean
}

// loop reads "until COMMAND; do sleep N; done" and "while ! COMMAND; do sleep N; done".
func (p *script) loop() {
	head := p.tokens[0]
	end := p.end()
	body := &script{converter: p.converter, tokens: p.tokens[1:end]}
	rest := p.tokens[end:]
	p.tokens = rest
	if len(p.tokens) > 0 {
		p.tokens = p.tokens[1:] // done
	}
	if head.text == "while" {
		if !body.is("!") {
			p.note(head.pos, "a loop that goes on while something succeeds is not carried over: wait-for --not may be what is meant")
			p.skipRest()
			return
		}
		body.tokens = body.tokens[1:]
	} else if body.is("!") {
		p.note(head.pos, "a loop until something fails is not carried over: wait-for --not may be what is meant")
		p.skipRest()
		return
	}
	condition, clean := body.command()
	for len(body.tokens) > 0 && body.tokens[0].op && body.tokens[0].text == ";" {
		body.tokens = body.tokens[1:]
	}
	if !clean || !body.is("do") {
		p.note(head.pos, "the loop's condition %q is not one plain command", spell(condition))
		p.skipRest()
		return
	}
	body.tokens = body.tokens[1:]
	for len(body.tokens) > 0 {
		if t := body.tokens[0]; t.op && slices.Contains(separators, t.text) {
			body.tokens = body.tokens[1:]
			continue
		}
		words, _ := body.command()
		if len(words) == 0 || !slices.Contains([]string{"sleep", "echo", "printf", "true", ":"}, words[0].text) {
			p.note(head.pos, "the loop does more than wait: %q", spell(words))
			p.skipRest()
			return
		}
	}
	if p.wait(condition) {
		p.note(head.pos, "the loop waits without end, wait-for 5m: --timeout 0 is without end")
	}
	p.skipRest()
}

// end returns the index of the token "done" that ends the block that begins here, or the number of tokens.
func (p *script) end() int {
	depth := 0
	for i, t := range p.tokens {
		command := i == 0 || p.tokens[i-1].op || p.tokens[i-1].text == "do" || p.tokens[i-1].text == "then" || p.tokens[i-1].text == "else"
		if t.op || !command {
			continue
		}
		switch t.text {
		case "until", "while", "for", "if", "case", "select":
			depth++
		case "done", "fi", "esac":
			if depth--; depth <= 0 {
				return i
			}
		}
	}
	return len(p.tokens)
}

// skipBlock passes over a statement that is not read, with all that it holds.
func (p *script) skipBlock(format string) {
	p.note(p.tokens[0].pos, format, p.tokens[0].text)
	if !p.tokens[0].op {
		p.tokens = p.tokens[p.end():]
	}
	if len(p.tokens) > 0 {
		p.tokens = p.tokens[1:]
	}
	p.skipRest()
}

// skipRest passes over what stands behind a block, such as "done | cat", up to the next statement.
func (p *script) skipRest() {
	for len(p.tokens) > 0 && !(p.tokens[0].op && slices.Contains(separators, p.tokens[0].text)) {
		p.tokens = p.tokens[1:]
	}
}

// spell returns words as a line.
func spell(words []word) string {
	var texts []string
	for _, w := range words {
		texts = append(texts, w.text)
	}
	return shorten(strings.Join(texts, " "))
}
