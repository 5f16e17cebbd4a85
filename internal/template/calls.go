package template

import (
	"slices"
	"text/template"
	"text/template/parse"
)

// Call is a call of a function whose arguments stand in the template itself.
type Call struct {
	Func string
	Args []string
}

// Calls returns the calls that a rendering is certain to make before it succeeds, in their order and without
// repetitions: those whose arguments are all texts of the template itself, and which no condition, loop or defined
// template that is never called may leave out. The body of a {{with}} is certain if its pipeline is a call of one of
// the functions named sure, which never return an empty value.
func (t *Template) Calls(sure ...string) []Call {
	w := &walk{templates: t.parsed, sure: sure, seen: make(map[string]bool)}
	w.template(t.parsed.Name())
	return w.calls
}

type walk struct {
	templates *template.Template
	sure      []string
	seen      map[string]bool // templates
	calls     []Call
}

func (w *walk) template(name string) {
	t := w.templates.Lookup(name)
	if w.seen[name] || t == nil || t.Tree == nil {
		return
	}
	w.seen[name] = true
	w.list(t.Root)
}

// list walks what is rendered from first to last. What stands behind a break or continue belongs to a loop, which is not
// walked.
func (w *walk) list(list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, node := range list.Nodes {
		switch node := node.(type) {
		case *parse.ActionNode:
			w.pipe(node.Pipe)
		case *parse.TemplateNode:
			w.pipe(node.Pipe)
			w.template(node.Name)
		case *parse.IfNode:
			w.pipe(node.Pipe)
		case *parse.RangeNode:
			w.pipe(node.Pipe)
		case *parse.WithNode:
			w.pipe(node.Pipe)
			if w.certain(node.Pipe) {
				w.list(node.List)
			}
		}
	}
}

// certain reports whether a pipeline never gives an empty value.
func (w *walk) certain(pipe *parse.PipeNode) bool {
	name := called(pipe.Cmds[len(pipe.Cmds)-1])
	return slices.Contains(w.sure, name)
}

func (w *walk) pipe(pipe *parse.PipeNode) {
	if pipe == nil {
		return
	}
	for i, command := range pipe.Cmds {
		name := called(command)
		var args []string
		literal := name != "" && i == 0 // a later command has one argument more, which the pipe brings
		for j, arg := range command.Args {
			switch arg := arg.(type) {
			case *parse.StringNode:
				args = append(args, arg.Text)
				continue
			case *parse.PipeNode:
				// and and or leave out what follows the first argument that decides.
				if j <= 1 || (name != "and" && name != "or") {
					w.pipe(arg)
				}
			case *parse.ChainNode:
				if inner, ok := arg.Node.(*parse.PipeNode); ok && (j <= 1 || (name != "and" && name != "or")) {
					w.pipe(inner)
				}
			}
			literal = literal && j == 0
		}
		call := Call{Func: name, Args: args}
		same := func(other Call) bool { return other.Func == call.Func && slices.Equal(other.Args, call.Args) }
		if literal && !isGuard(name) && !slices.ContainsFunc(w.calls, same) {
			w.calls = append(w.calls, call)
		}
	}
}

// called returns the name of the function that a command calls, or "".
func called(command *parse.CommandNode) string {
	if identifier, ok := command.Args[0].(*parse.IdentifierNode); ok {
		return identifier.Ident
	}
	return ""
}

// Arguments returns the texts that stand as the first argument of a function's calls, wherever in the template they are.
func (t *Template) Arguments(function string) []string {
	var all []string
	t.commands(func(c *parse.CommandNode) {
		if called(c) != function || len(c.Args) < 2 {
			return
		}
		if first, ok := c.Args[1].(*parse.StringNode); ok {
			all = append(all, first.Text)
		}
	})
	slices.Sort(all)
	return slices.Compact(all)
}

// Called returns the names of the functions that the template calls, wherever in it that is, sorted.
func (t *Template) Called() []string {
	var all []string
	t.commands(func(c *parse.CommandNode) {
		for _, arg := range c.Args { // a function without arguments may stand as another one's argument, and before a field
			if chain, ok := arg.(*parse.ChainNode); ok {
				arg = chain.Node
			}
			if identifier, ok := arg.(*parse.IdentifierNode); ok && !isGuard(identifier.Ident) {
				all = append(all, identifier.Ident)
			}
		}
	})
	slices.Sort(all)
	return slices.Compact(all)
}

// commands calls visit for every command of the template and of those that it defines.
func (t *Template) commands(visit func(*parse.CommandNode)) {
	for _, one := range t.parsed.Templates() {
		if one.Tree != nil {
			commands(one.Root, visit)
		}
	}
}

// commands calls visit for every command below a node.
func commands(node parse.Node, visit func(*parse.CommandNode)) {
	branch := func(b *parse.BranchNode) {
		commands(b.Pipe, visit)
		commands(b.List, visit)
		if b.ElseList != nil {
			commands(b.ElseList, visit)
		}
	}
	switch node := node.(type) {
	case *parse.ListNode:
		for _, one := range node.Nodes {
			commands(one, visit)
		}
	case *parse.ActionNode:
		commands(node.Pipe, visit)
	case *parse.TemplateNode:
		if node.Pipe != nil {
			commands(node.Pipe, visit)
		}
	case *parse.IfNode:
		branch(&node.BranchNode)
	case *parse.RangeNode:
		branch(&node.BranchNode)
	case *parse.WithNode:
		branch(&node.BranchNode)
	case *parse.ChainNode:
		commands(node.Node, visit)
	case *parse.PipeNode:
		for _, command := range node.Cmds {
			visit(command)
			for _, arg := range command.Args {
				commands(arg, visit)
			}
		}
	}
}
