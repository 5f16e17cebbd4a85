package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// The words that join steps into a chain.
const (
	then = "then" // ends a stage: the stages run one after the other
	and  = "and"  // joins steps of a stage: they run side by side
)

// ParseArgs reads a chain:
//
//	chain = stage { "then" stage } .
//	stage = step  { "and"  step  } .
//	step  = NAME { FLAG | ARGUMENT } .
//
// The error, of kind Usage, is a Faults that holds all that is wrong.
func ParseArgs(kinds []step.Kind, args []string) (*Plan, error) {
	c := &chain{parser: parser{kinds: kinds}, args: args}
	plan := &Plan{}
	if len(args) == 0 {
		c.faults.add(Pos{Arg: 1}, "the chain is empty")
		return nil, c.faults.err()
	}
	for {
		var stage Parallel
		for {
			if task := c.step(); task != nil {
				stage = append(stage, task)
			}
			if c.word() != and {
				break
			}
			c.next++
		}
		switch len(stage) {
		case 0:
		case 1:
			plan.Root = append(plan.Root, stage[0])
		default:
			plan.Root = append(plan.Root, stage)
		}
		if c.word() != then {
			break
		}
		c.next++
	}
	if c.help != nil {
		return nil, c.help
	}
	c.finish()
	return c.check(plan)
}

// HelpWanted is the error of a chain that asks for help by --help or -h.
type HelpWanted struct{ Step string } // the step that it stands behind

// Error implements error.
func (h *HelpWanted) Error() string { return "help is wanted for " + h.Step }

// chain reads a chain's arguments from left to right.
type chain struct {
	parser
	args []string
	next int // index of the next argument
	help *HelpWanted
}

func (c *chain) pos() Pos { return Pos{Arg: c.next + 1} }

// word returns the next argument, "" at the end.
func (c *chain) word() string {
	if c.next < len(c.args) {
		return c.args[c.next]
	}
	return ""
}

// over reports whether the step's arguments end here.
func (c *chain) over() bool {
	return c.next >= len(c.args) || c.args[c.next] == then || c.args[c.next] == and
}

// step reads one step up to the next "then", "and" or the end.
func (c *chain) step() Node {
	if c.over() {
		where := "at the end"
		if c.next < len(c.args) {
			where = fmt.Sprintf("before %q", c.word())
		}
		c.faults.add(c.pos(), "a step is missing %s", where).Hint = `a literal "then" or "and" is written --option=then`
		return nil
	}
	d := c.draft(c.word(), c.pos())
	c.next++
	if d == nil {
		c.skip()
		return nil
	}
	var (
		args      []string
		positions []Pos
	)
	for !c.over() {
		word := c.word()
		switch {
		case word == "--" && takesRest(d.task.Kind):
			for c.next++; c.next < len(c.args); c.next++ {
				args, positions = append(args, c.word()), append(positions, c.pos())
			}
		case word == "--":
			d.broken = true
			c.faults.add(c.pos(), `%s takes no "--"`, d.task.Kind.Name).Hint = "write an argument that begins with a dash as --option=-value"
			c.next++
		case strings.HasPrefix(word, "-") && word != "-":
			c.option(d)
		case takesRest(d.task.Kind):
			d.broken = true
			c.faults.add(c.pos(), `%s: %q stands before the "--"`, d.task.Kind.Name, shorten(word)).Hint = usage(d.task.Kind)
			c.skip()
		default:
			args, positions = append(args, word), append(positions, c.pos())
			c.next++
		}
	}
	c.positional(d, args, positions)
	return d.task
}

// skip passes over the rest of a step that cannot be read. A "--" takes the rest of the chain with it.
func (c *chain) skip() {
	for !c.over() {
		if c.word() == "--" {
			c.next = len(c.args)
			return
		}
		c.next++
	}
}

// option reads "--name=value", "--name value", or "--name" of a boolean.
func (c *chain) option(d *draft) {
	pos := c.pos()
	shown, value, attached := strings.Cut(c.word(), "=")
	c.next++
	if (shown == "--help" || shown == "-h") && !attached {
		c.help = cmp.Or(c.help, &HelpWanted{d.task.Kind.Name})
		return
	}
	name := strings.TrimPrefix(shown, "--")
	if len(name) == len(shown) || name == "" {
		d.broken = true
		c.faults.add(pos, "%s has no option %q", d.task.Kind.Name, shorten(shown)).Hint = "options are written --name value or --name=value"
		return
	}
	flag := c.lookup(d, name, shown, pos)
	if flag == nil {
		// Without the option nobody knows whether the next word is its value; taking it as one says one fault
		// instead of two.
		if !attached && !c.over() && !strings.HasPrefix(c.word(), "-") {
			c.next++
		}
		return
	}
	if !c.given(d, flag, pos, true) {
		if !attached && flag.NoOptDefVal == "" && !c.over() {
			c.next++
		}
		return
	}
	switch {
	case attached:
	case flag.NoOptDefVal != "":
		value = flag.NoOptDefVal
	case c.over():
		d.broken = true
		c.faults.add(pos, "%s: %s has no value", d.task.Kind.Name, shown).Hint = fmt.Sprintf(`a literal "then" or "and" is written %s=then`, shown)
		return
	default:
		value = c.word()
		c.next++
	}
	c.set(d, flag, value, pos)
}

// Args returns the plan as a chain; the deadline is a global option and not in it. It is an error of kind Usage if the
// plan says what a chain cannot: groups within groups, a step behind one that takes the rest of the chain, or a carriage
// return in a list that splits at commas (CSV folds it).
func (p *Plan) Args() ([]string, error) {
	var args []string
	add := func(word string, t *Task) error {
		if len(args) > 0 {
			if slices.Contains(args, "--") {
				return fault.New(fault.Usage, "%s: a chain ends with the step before it", t.ID)
			}
			args = append(args, word)
		}
		words, err := taskArgs(t)
		args = append(args, words...)
		return err
	}
	for _, stage := range p.Root {
		steps, ok := stage.(Parallel)
		if !ok {
			steps = Parallel{stage}
		}
		word := then
		for _, n := range steps {
			t, ok := n.(*Task)
			if !ok {
				return nil, fault.New(fault.Usage, "a chain has no groups within groups")
			}
			if err := add(word, t); err != nil {
				return nil, err
			}
			word = and
		}
	}
	return args, nil
}

// taskArgs returns one step of a chain, with the options that were set.
func taskArgs(t *Task) ([]string, error) {
	args := []string{t.Kind.Name}
	rest := ""
	if takesRest(t.Kind) {
		rest = strings.TrimSuffix(t.Kind.Args[1], "...")
	}
	for flag := range t.given() {
		if flag.Name == rest {
			continue
		}
		list, ok := flag.Value.(pflag.SliceValue)
		if !ok {
			args = append(args, "--"+flag.Name+"="+flag.Value.String())
			continue
		}
		for _, item := range list.GetSlice() {
			if flag.Value.Type() == "stringSlice" && strings.Contains(item, "\r") {
				return nil, fault.New(fault.Usage, "%s: %s: a chain cannot write %q", t.ID, flag.Name, item)
			}
			args = append(args, "--"+flag.Name+"="+listText(flag, []string{item}))
		}
	}
	if flag := t.Options.Lookup(rest); flag != nil && flag.Changed {
		args = append(args, "--")
		args = append(args, flag.Value.(pflag.SliceValue).GetSlice()...)
	}
	return args, nil
}
