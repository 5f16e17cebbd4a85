package cli

import (
	"bufio"
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/needs"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/step"
)

// dryRun shows the plan as a tree of steps with their resolved options and effects, and what it needs of a pod. With
// --diff it asks the steps that can tell what they would change here.
func (a *app) dryRun(ctx context.Context, p *plan.Plan) error {
	var changes map[*plan.Task][]string
	if a.options.diff {
		var err error
		if changes, err = a.changes(ctx, p); err != nil {
			return err
		}
	}
	out := bufio.NewWriter(a.Stdout)
	deadline := ""
	if p.Deadline > 0 {
		deadline = fmt.Sprintf(", all within %s", p.Deadline)
	}
	fmt.Fprintf(out, "plan%s:\n", deadline)
	for i, n := range p.Root {
		showNode(out, n, strconv.Itoa(i+1), "  ", changes)
	}
	showNeeds(out, needs.Of(p))
	return out.Flush()
}

// showNode shows one node with its number.
func showNode(out *bufio.Writer, n plan.Node, number, indent string, changes map[*plan.Task][]string) {
	var children []plan.Node
	switch n := n.(type) {
	case *plan.Task:
		showTask(out, n, number, indent)
		if lines, asked := changes[n]; asked {
			showChanges(out, lines, indent)
		}
		return
	case plan.Sequence:
		children = n
		fmt.Fprintf(out, "%s%s one after the other\n", indent, number)
	case plan.Parallel:
		children = n
		fmt.Fprintf(out, "%s%s side by side\n", indent, number)
	}
	for i, child := range children {
		showNode(out, child, number+"."+strconv.Itoa(i+1), indent+"  ", changes)
	}
}

// showTask shows a task: its options, those that the user gave first, then what it touches.
func showTask(out *bufio.Writer, t *plan.Task, number, indent string) {
	title := t.ID
	if t.Kind.Name != t.ID && !strings.HasPrefix(t.ID, t.Kind.Name+"#") {
		title += " (" + t.Kind.Name + ")"
	}
	fmt.Fprintf(out, "%s%s %s\n", indent, number, title)
	show := func(given bool, note string) {
		t.Options.VisitAll(func(flag *pflag.Flag) {
			if flag.Changed != given || (!given && isZero(flag)) {
				return
			}
			fmt.Fprintf(out, "%s      --%-20s %s%s\n", indent, flag.Name, shown(flag), note)
		})
	}
	show(true, "")
	show(false, "  (default)")
	for _, e := range t.Effects {
		fmt.Fprintf(out, "%s    %s %s\n", indent, e.Verb, printable(e.Object))
	}
	if previewer, ok := t.Step.(step.Previewer); ok {
		for line := range strings.Lines(previewer.Preview()) {
			fmt.Fprintf(out, "%s      | %s\n", indent, strings.TrimRight(line, "\n"))
		}
	}
}

// showChanges shows what a task would change here.
func showChanges(out *bufio.Writer, lines []string, indent string) {
	if len(lines) == 0 {
		lines = []string{"nothing"}
	}
	fmt.Fprintf(out, "%s    would change here:\n", indent)
	for _, line := range lines {
		fmt.Fprintf(out, "%s      %s\n", indent, printable(line))
	}
}

// isZero reports whether an option that was not given says nothing.
func isZero(flag *pflag.Flag) bool {
	switch flag.DefValue {
	case "", "0", "0s", "false", "[]":
		return true
	}
	return false
}

// shown returns an option's value on one short line.
func shown(flag *pflag.Flag) string {
	text := discreet(flag.Value.String())
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		var items []string
		for _, item := range list.GetSlice() {
			items = append(items, discreet(item))
		}
		text = strings.Join(items, ", ")
	}
	text = printable(text)
	const most = 100
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most-1]) + "…"
	}
	return text
}

// discreet returns an option's value without the password that a URL in it may hold, and without the query of one that
// is fetched, which may hold a token or a signature.
func discreet(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "":
		return text
	case u.Scheme == "http" || u.Scheme == "https":
		return httpx.Redact(u)
	}
	if _, given := u.User.Password(); given {
		return u.Redacted()
	}
	return text
}

// printable returns text, quoted if it would break its line or move the cursor.
func printable(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// showNeeds shows what a pod must grant.
func showNeeds(out *bufio.Writer, n needs.Needs) {
	fmt.Fprintln(out, "needs:")
	list := func(name string, items []string) {
		if len(items) == 0 {
			items = []string{"none"}
		}
		fmt.Fprintf(out, "  %-13s %s\n", name+":", strings.Join(items, ", "))
	}
	var capabilities []string
	for _, c := range n.Capabilities {
		capabilities = append(capabilities, fmt.Sprintf("%s (for %s)", c.Name, c.Why))
	}
	list("capabilities", capabilities)
	list("network", n.Dials)
	list("reads", n.Reads)
	list("writes below", n.Volumes())
	if len(n.Executes) > 0 {
		list("runs", n.Executes)
	}
}
