package console

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// textHandler writes log lines for people: a sign for the level, the task, what happened, the facts.
//
//	✔ wait-for: done duration=1.2s attempts=7
//	✘ s3-fetch: failed …
//	    error: sha256 of m.bin: got 12…, want 9f…
//	    hint: …
type textHandler struct {
	w          io.Writer
	mu         *sync.Mutex
	level      slog.Level
	attributes []slog.Attr
}

// Enabled implements slog.Handler.
func (h *textHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

// WithAttrs implements slog.Handler.
func (h *textHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	with := *h
	with.attributes = append(slices.Clip(h.attributes), attributes...)
	return &with
}

// WithGroup implements slog.Handler. slipway's lines have no groups.
func (h *textHandler) WithGroup(string) slog.Handler { return h }

// Handle implements slog.Handler.
func (h *textHandler) Handle(_ context.Context, record slog.Record) error {
	var task string
	var facts, below strings.Builder
	add := func(a slog.Attr) bool {
		value := a.Value.Resolve().String()
		switch a.Key {
		case "task":
			task = value + ": "
		case "error", "hint", "stack":
			below.WriteString("\n    " + a.Key + ": " + strings.ReplaceAll(printable(value), "\n", "\n      "))
		case "duration", "delay":
			facts.WriteString(" " + a.Key + "=" + short(a.Value.Float64()).String())
		default:
			facts.WriteString(" " + a.Key + "=" + quoted(value))
		}
		return true
	}
	for _, a := range h.attributes {
		add(a)
	}
	record.Attrs(add)
	line := fmt.Sprintf("%s %s%s%s%s\n", sign(record), task, record.Message, facts.String(), below.String())
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, line)
	return err
}

// sign is the first thing that the eye meets.
func sign(record slog.Record) string {
	switch {
	case record.Level >= slog.LevelError:
		return "✘"
	case record.Level >= slog.LevelWarn:
		return "!"
	case record.Message == "done":
		return "✔"
	}
	return "·"
}

// short returns a number of seconds with as many digits as people read.
func short(seconds float64) time.Duration {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

// quoted returns value as it stands behind "key=": quoted where it would run into its neighbours.
func quoted(value string) string {
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == '"' }) {
		return strconv.Quote(value)
	}
	return value
}

// printable keeps a server's answer from moving the cursor.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return '�'
	}, text)
}
