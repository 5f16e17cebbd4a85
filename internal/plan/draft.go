package plan

import (
	"encoding/csv"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/step"
)

// parser is what both notations share: the kinds, the faults so far, and the tasks.
type parser struct {
	kinds  []step.Kind
	faults Faults
	drafts []*draft
	full   bool // more steps were refused
}

// draft is a task whose options are being set.
type draft struct {
	task      *Task
	policy    policyOptions
	positions map[string]Pos // where each option was given
	broken    bool           // an option of it was wrong; its effects would only repeat that
}

// maxSteps bounds a plan: a step takes about 8 KiB while it is read, and a container has 64 MiB.
const maxSteps = 2000

// draft starts a task of the named kind, or adds a fault and returns nil.
func (p *parser) draft(name string, pos Pos) *draft {
	if len(p.drafts) == maxSteps {
		if !p.full {
			p.full = true
			p.faults.add(pos, "the plan has over %d steps", maxSteps)
		}
		return nil
	}
	i := slices.IndexFunc(p.kinds, func(k step.Kind) bool { return k.Name == name })
	if i < 0 {
		p.faults.add(pos, "there is no step %q", shorten(name)).Hint = didYouMean(name, p.names())
		return nil
	}
	kind := p.kinds[i]
	d := &draft{
		task:      &Task{Kind: kind, Step: kind.New(), Pos: pos},
		positions: make(map[string]Pos),
	}
	d.task.Options, d.policy = bind(d.task.Step, kind.Policy)
	p.drafts = append(p.drafts, d)
	return d
}

func (p *parser) names() []string {
	names := make([]string, len(p.kinds))
	for i, k := range p.kinds {
		names[i] = k.Name
	}
	return names
}

// policyOptions are the options that every step takes.
type policyOptions struct {
	timeout, backoff *time.Duration
	retries          *retries
	name             *string
}

// Options returns all options of a kind with their defaults, for help, completion and the schema: those of its own and
// those that every step takes.
func Options(kind step.Kind) *pflag.FlagSet {
	flags, _ := bind(kind.New(), kind.Policy)
	return flags
}

// bind returns a flag set with the options of s and those that every step takes, whose defaults are the policy's.
func bind(s step.Step, policy step.Policy) (*pflag.FlagSet, policyOptions) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.SortFlags = false
	s.Flags(flags)
	count := retries(policy.Retries)
	options := policyOptions{
		timeout: flags.Duration("timeout", policy.Timeout, "end the step after this long, with all its attempts; 0 is never"),
		retries: &count,
		backoff: flags.Duration("backoff", policy.Backoff, "delay before the first retry; it doubles, up to 30s, with jitter"),
		name:    flags.String("name", "", "what logs, spans and the report call the step (default: its kind)"),
	}
	flags.Var(options.retries, "retries", `attempts after the first one, or "forever"`)
	return flags, options
}

// retries is a number of attempts, or "forever".
type retries int

// String returns the number, or "forever".
func (r *retries) String() string {
	if *r == step.Forever {
		return "forever"
	}
	return strconv.Itoa(int(*r))
}

// Set parses a number from 0 to 1,000,000, or "forever".
func (r *retries) Set(text string) error {
	if text == "forever" {
		*r = step.Forever
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n > 1_000_000 {
		return fmt.Errorf("%q is not a number of retries: write 0 to 1000000, or forever", text)
	}
	*r = retries(n)
	return nil
}

// Type returns "retries".
func (*retries) Type() string { return "retries" }

// JSONSchema implements opt.Schemer.
func (*retries) JSONSchema() map[string]any {
	return map[string]any{"anyOf": []any{
		map[string]any{"type": "integer", "minimum": 0, "maximum": 1_000_000},
		map[string]any{"const": "forever"},
	}}
}

// lookup finds an option by name, or adds a fault. shown is the name as the user wrote it, with its dashes in a chain.
func (p *parser) lookup(d *draft, name, shown string, pos Pos) *pflag.Flag {
	flag := d.task.Options.Lookup(name)
	if flag != nil {
		return flag
	}
	d.broken = true
	var candidates []string
	dashes := shown[:len(shown)-len(name)]
	d.task.Options.VisitAll(func(f *pflag.Flag) { candidates = append(candidates, dashes+f.Name) })
	p.faults.add(pos, "%s has no option %s", d.task.Kind.Name, printable(shorten(shown))).Hint = didYouMean(shown, candidates)
	return nil
}

// given notes that an option is given at pos, or adds a fault if it was given before. A list may repeat where again
// allows it.
func (p *parser) given(d *draft, flag *pflag.Flag, pos Pos, again bool) bool {
	before, twice := d.positions[flag.Name]
	if _, list := flag.Value.(pflag.SliceValue); twice && !(list && again) {
		d.broken = true
		p.faults.add(pos, "%s: %s is given twice, at %s before", d.task.Kind.Name, flag.Name, before)
		return false
	}
	if !twice {
		d.positions[flag.Name] = pos
	}
	return true
}

// set sets an option from text; a list takes commas.
func (p *parser) set(d *draft, flag *pflag.Flag, text string, pos Pos) {
	if flag.Value.Type() == "stringSlice" && severalLines(text) {
		d.broken = true
		p.faults.add(pos, "%s: %s has several lines", d.task.Kind.Name, flag.Name).Hint = "put commas between the items, or write a list"
		return
	}
	if err := d.task.Options.Set(flag.Name, text); err != nil {
		d.broken = true
		p.faults.add(pos, "%s: %s: %s", d.task.Kind.Name, flag.Name, cause(err))
		return
	}
	if list, ok := flag.Value.(pflag.SliceValue); ok && len(list.GetSlice()) == 0 {
		d.broken = true
		p.faults.add(pos, "%s: %s is an empty list", d.task.Kind.Name, flag.Name)
	}
}

// severalLines reports whether a list that splits at commas would take no more than the first line of text.
func severalLines(text string) bool {
	reader := csv.NewReader(strings.NewReader(text))
	if _, err := reader.Read(); err != nil {
		return false // nothing, or what the list itself refuses
	}
	_, err := reader.Read()
	return err != io.EOF
}

// append adds one item to a list as it is, commas and all; the first one replaces the default.
func (p *parser) append(d *draft, flag *pflag.Flag, item string, pos Pos) {
	list := flag.Value.(pflag.SliceValue)
	var err error
	if flag.Changed {
		err = list.Append(item)
	} else {
		// Set marks the flag as changed, which Replace does not; an empty quoted item is what CSV-reading lists
		// take as one empty item.
		if err = d.task.Options.Set(flag.Name, listText(flag, []string{"x"})); err == nil {
			err = list.Replace([]string{item})
		}
	}
	if err != nil {
		d.broken = true
		p.faults.add(pos, "%s: %s: %s", d.task.Kind.Name, flag.Name, cause(err))
	}
}

// cause returns what an option's type said of a value, without pflag's frame, which would print the value again and call
// a plan's key a flag.
func cause(err error) string {
	if invalid, ok := err.(*pflag.InvalidValueError); ok {
		if num, ok := invalid.Unwrap().(*strconv.NumError); ok {
			return fmt.Sprintf("%q: %v", invalid.GetValue(), num.Err)
		}
		return invalid.Unwrap().Error()
	}
	return err.Error()
}

// listText returns items as one value for the list's Set. A list that splits at commas reads CSV.
func listText(flag *pflag.Flag, items []string) string {
	if flag.Value.Type() != "stringSlice" {
		return items[0]
	}
	if len(items) == 1 && items[0] == "" {
		return `""`
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write(items) // a strings.Builder takes everything
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}

// positional sets options from arguments by position: each takes the first of the kind's Args that was not given by
// name.
func (p *parser) positional(d *draft, args []string, positions []Pos) {
	names := d.task.Kind.Args
	if takesRest(d.task.Kind) {
		names = names[1:]
	}
	open := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, given := d.positions[strings.TrimSuffix(name, "...")]
		return given
	})
	for i, arg := range args {
		if len(open) == 0 {
			d.broken = true
			p.faults.add(positions[i], "%s: one argument too many: %q", d.task.Kind.Name, shorten(arg)).Hint = usage(d.task.Kind)
			return
		}
		name, repeats := strings.CutSuffix(open[0], "...")
		flag := d.task.Options.Lookup(name)
		p.given(d, flag, positions[i], true)
		if repeats {
			p.append(d, flag, arg, positions[i])
			continue
		}
		p.set(d, flag, arg, positions[i])
		open = open[1:]
	}
}

// takesRest reports whether a kind's arguments stand behind a "--" and take the rest of the chain.
func takesRest(kind step.Kind) bool { return len(kind.Args) > 1 && kind.Args[0] == "--" }

// usage shows how a kind's arguments stand.
func usage(kind step.Kind) string {
	words := []string{"usage: " + kind.Name}
	for _, arg := range kind.Args {
		if arg == "--" {
			words = append(words, arg)
			continue
		}
		words = append(words, strings.ToUpper(strings.Replace(arg, "...", "…", 1)))
	}
	return strings.Join(append(words, "[--option value]…"), " ")
}

// shorten keeps an absurd value from filling the screen, and what a URL may hide from being told.
func shorten(text string) string {
	if u, err := url.Parse(text); err == nil && u.Host != "" && (u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		text = u.Scheme + "://" + u.Host + "/…"
	}
	const most = 60
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// printable returns text, quoted if it would break its line or move the cursor.
func printable(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// finish turns the drafts into tasks: names, policies, effects.
func (p *parser) finish() {
	seen := make(map[string]int)
	for _, d := range p.drafts {
		t := d.task
		name := *d.policy.name
		if name == "" {
			name = t.Kind.Name
		} else if fault := nameFault(name); fault != "" {
			p.faults.add(d.positions["name"], "%s: name: %s", t.Kind.Name, fault)
		}
		seen[name]++
		t.ID = name
		if n := seen[name]; n > 1 {
			t.ID = fmt.Sprintf("%s#%d", name, n)
		}
		p.policy(d)
		if d.broken {
			continue
		}
		effects, err := t.Step.Effects()
		if err != nil {
			p.faults.addError(t.Pos, t.Kind.Name, err)
			continue
		}
		t.Effects = effects
	}
}

// policy puts the plan's options over the kind's policy.
func (p *parser) policy(d *draft) {
	policy := d.task.Kind.Policy
	for _, name := range []string{"timeout", "backoff"} {
		if value, _ := d.task.Options.GetDuration(name); value < 0 {
			p.faults.add(d.positions[name], "%s: %s: %s is less than nothing", d.task.Kind.Name, name, value)
		}
	}
	policy.Timeout = *d.policy.timeout
	policy.Retries = int(*d.policy.retries)
	policy.Backoff = *d.policy.backoff
	if _, given := d.positions["backoff"]; given {
		policy.Pace = nil
	}
	if tuner, ok := d.task.Step.(step.Tuner); ok {
		tuner.Tune(&policy)
	}
	d.task.Policy = policy
}

// nameFault says what is wrong with a task's name: it stands in logs, spans and the report, on one line.
func nameFault(name string) string {
	if len(name) > 64 {
		return "a name has at most 64 bytes"
	}
	for _, r := range name {
		if !unicode.IsGraphic(r) || unicode.IsSpace(r) {
			return fmt.Sprintf("%q: a name has no spaces and no control characters", name)
		}
	}
	return ""
}
