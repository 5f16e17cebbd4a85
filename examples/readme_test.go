package examples

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestPagesSayWhatIsTrue dry-runs the plans, containers and command lines that stand in the pages.
func TestPagesSayWhatIsTrue(t *testing.T) {
	schema := compile(t)
	pages := append(files(t, ".md"), "../README.md")
	plans, containers, commands := 0, 0, 0
	for _, page := range pages {
		for _, b := range blocks(read(t, page)) {
			switch {
			case b.language == "yaml" && isPlan(b.text):
				checkPlan(t, schema, page, b.text)
				plans++
			case b.language == "yaml" && strings.HasPrefix(b.text, "initContainers:"):
				var pod podSpec
				decode(t, b.text, &pod)
				for _, c := range pod.InitContainers {
					dryRun(t, c.Args, nil)
				}
				containers++
			case b.language == "":
				for line := range strings.Lines(b.text) {
					if command, ok := strings.CutPrefix(line, "slipway "); ok {
						dryRun(t, fromRoot(strings.Fields(command)), nil)
						commands++
					}
				}
			}
		}
	}
	if plans == 0 || containers == 0 || commands == 0 {
		t.Errorf("found %d plans, %d init containers and %d commands", plans, containers, commands)
	}
}

// fromRoot returns arguments with those that name an example turned into paths from this folder: the pages are read from
// the project's.
func fromRoot(args []string) []string {
	for i, arg := range args {
		if name, ok := strings.CutPrefix(arg, "examples/"); ok {
			args[i] = filepath.FromSlash(name)
		}
	}
	return args
}

// block is a fenced block of a Markdown page.
type block struct{ language, text string }

// blocks returns the fenced blocks of a page.
func blocks(page string) []block {
	var (
		all     []block
		current *block
	)
	for line := range strings.Lines(page) {
		fence, fenced := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fenced && current == nil:
			current = &block{language: fence}
		case fenced:
			all = append(all, *current)
			current = nil
		case current != nil:
			current.text += line
		}
	}
	return all
}
