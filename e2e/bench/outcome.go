package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// outcome is what a section found.
type outcome struct {
	Table [][]string `json:"table"` // the first row is the header
	Goals []goal     `json:"goals"`
	Notes []string   `json:"notes"` // what a reader must know to judge the figures
	Raw   any        `json:"raw"`   // every measurement
}

// goal is what a figure should be, beside what it was.
type goal struct {
	Text string `json:"goal"`
	Got  string `json:"got"`
	Met  bool   `json:"met"`
}

// atMost returns the goal that a time stays within a limit.
func atMost(text string, got, limit time.Duration) goal {
	return goal{Text: fmt.Sprintf("%s: at most %s", text, show(limit)), Got: show(got), Met: got <= limit}
}

// print writes the outcome for people: names to the left, figures to the right.
func (o outcome) print(out io.Writer) {
	widths := make(map[int]int)
	for _, row := range o.Table {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range o.Table {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				line.WriteString("  " + cell + pad)
			} else {
				line.WriteString("  " + pad + cell)
			}
		}
		fmt.Fprintln(out, strings.TrimRight(line.String(), " "))
	}
	for _, g := range o.Goals {
		verdict := "NOT MET"
		if g.Met {
			verdict = "met"
		}
		fmt.Fprintf(out, "  goal: %s: %s (%s)\n", g.Text, verdict, g.Got)
	}
	for _, note := range o.Notes {
		fmt.Fprintf(out, "  note: %s\n", note)
	}
}

// show returns a time with three digits or so: "812 µs", "4.21 ms", "1.043 s".
func show(d time.Duration) string {
	switch size := d.Abs(); {
	case size < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case size < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", d.Seconds()*1e3)
	case size < time.Second:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.3f s", d.Seconds())
}

// times returns how many times as much as base got is: "1.8x".
func times[N ~int64](got, base N) string {
	if base == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fx", float64(got)/float64(base))
}

// count returns a number with its thousands parted: "14,196,898".
func count(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", count(n/1000), n%1000)
}

// megabytes returns a number of bytes as megabytes: "14.20 MB".
func megabytes(n int64) string { return fmt.Sprintf("%.2f MB", float64(n)/1e6) }
