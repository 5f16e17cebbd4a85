package console

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// live keeps a line for each running step at the bottom of a terminal, below all that was written for good.
type live struct {
	terminal *os.File
	console  *Console
	done     chan struct{}
	ended    chan struct{}

	mu      sync.Mutex
	drawn   int // lines on the screen now
	writers []*lineWriter
}

func startLive(terminal *os.File, c *Console) *live {
	l := &live{terminal: terminal, console: c, done: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		ticker := time.NewTicker(redrawEvery)
		defer ticker.Stop()
		for {
			select {
			case <-l.done:
				return
			case <-ticker.C:
				l.mu.Lock()
				l.terminal.WriteString(l.erase() + l.draw())
				l.mu.Unlock()
			}
		}
	}()
	return l
}

// Write writes lines for good, above the live ones.
func (l *live) Write(lines []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.terminal.WriteString(l.erase() + string(lines) + l.draw()); err != nil {
		return 0, err
	}
	return len(lines), nil
}

// stop takes the live lines away.
func (l *live) stop() {
	close(l.done)
	<-l.ended
	l.mu.Lock()
	defer l.mu.Unlock()
	l.terminal.WriteString(l.erase())
	for _, w := range l.writers {
		l.terminal.Write(w.begun)
	}
}

// lines returns a writer of whole lines above the live ones. A line that never ends is written by stop.
func (l *live) lines() *lineWriter {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &lineWriter{live: l}
	l.writers = append(l.writers, w)
	return w
}

// lineWriter keeps what is no whole line yet.
type lineWriter struct {
	live  *live
	begun []byte
}

// maxLine bounds what a lineWriter keeps, in bytes.
const maxLine = 64 << 10

// Write implements io.Writer.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.live.mu.Lock()
	defer w.live.mu.Unlock()
	w.begun = append(w.begun, p...)
	end := bytes.LastIndexByte(w.begun, '\n') + 1
	if end == 0 && len(w.begun) > maxLine {
		w.begun = append(w.begun, '\n')
		end = len(w.begun)
	}
	if end == 0 {
		return len(p), nil
	}
	_, err := w.live.terminal.WriteString(w.live.erase() + string(w.begun[:end]) + w.live.draw())
	w.begun = append(w.begun[:0], w.begun[end:]...)
	return len(p), err
}

// erase returns what takes the live lines off the screen.
func (l *live) erase() string {
	if l.drawn == 0 {
		return ""
	}
	text := fmt.Sprintf("\x1b[%dA\x1b[J", l.drawn)
	l.drawn = 0
	return text
}

// draw returns the live lines, cut to the terminal's width and to half its height.
func (l *live) draw() string {
	width, height, err := term.GetSize(int(l.terminal.Fd()))
	if err != nil || width < 20 {
		width, height = 80, 24
	}
	lines := l.console.running()
	slices.Sort(lines)
	if most := max(height/2, 1); len(lines) > most {
		lines = append(lines[:most-1], fmt.Sprintf("  … and %d more", len(lines)-most+1))
	}
	var b strings.Builder
	for _, line := range lines {
		runes := []rune(strings.ReplaceAll(printable(line), "\n", " "))
		if len(runes) > width-1 {
			runes = append(runes[:width-2], '…')
		}
		b.WriteString(string(runes) + "\n")
	}
	l.drawn = len(lines)
	return b.String()
}
