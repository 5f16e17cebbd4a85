package waitfor

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// printable returns a server's message shortened and without control characters, so that it cannot act on a terminal.
func printable(message string) string {
	clean := strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(message, "?"))
	const longest = 256
	if len(clean) > longest {
		clean = strings.ToValidUTF8(clean[:longest], "") + "…"
	}
	return clean
}

// maxShown bounds how much of a value an error shows, in bytes.
const maxShown = 64

// shorten cuts text to maxShown bytes, between characters.
func shorten(text string) string {
	if len(text) <= maxShown {
		return text
	}
	end := maxShown
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
