// Package netrc finds a user and a password in a .netrc file, as ftp(1) described it and curl reads it.
package netrc

import "strings"

// Find returns user and password for a host: those of the first "machine" with its name, else of "default". A user that is
// given must be the entry's.
func Find(text, host, user string) (login, password string, ok bool) {
	words := &words{text: text}
	for {
		word := words.next()
		switch word {
		case "":
			return "", "", false
		case "macdef":
			words.skipMacro()
		case "machine", "default":
			matches := word == "default" || strings.EqualFold(words.next(), host)
			l, p := words.entry()
			if matches && l != "" && p != "" && (user == "" || user == l) {
				return l, p, true
			}
		}
	}
}

// words are the words of a file, in order. A word may be in double quotes.
type words struct{ text string }

// next returns the next word; "" is the end.
func (w *words) next() string {
	for {
		w.text = strings.TrimLeft(w.text, " \t\r\n")
		if !strings.HasPrefix(w.text, "#") {
			break
		}
		_, w.text, _ = strings.Cut(w.text, "\n")
	}
	if rest, ok := strings.CutPrefix(w.text, `"`); ok {
		var b strings.Builder
		for i := 0; i < len(rest); i++ {
			switch {
			case rest[i] == '"':
				w.text = rest[i+1:]
				return b.String()
			case rest[i] == '\\' && i+1 < len(rest):
				i++
			}
			b.WriteByte(rest[i])
		}
		w.text = ""
		return b.String()
	}
	end := strings.IndexAny(w.text, " \t\r\n")
	if end < 0 {
		end = len(w.text)
	}
	word := w.text[:end]
	w.text = w.text[end:]
	return word
}

// entry reads what is said of a machine, up to the next one.
func (w *words) entry() (login, password string) {
	for {
		before := w.text
		switch w.next() {
		case "login":
			login = w.next()
		case "password":
			password = w.next()
		case "account":
			w.next()
		case "macdef":
			w.skipMacro()
		case "machine", "default":
			w.text = before
			return login, password
		case "":
			return login, password
		}
	}
}

// skipMacro leaves out a macro, which ends with an empty line.
func (w *words) skipMacro() { _, w.text, _ = strings.Cut(w.text, "\n\n") }
