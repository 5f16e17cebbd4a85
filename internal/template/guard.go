package template

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
	"unicode"

	"github.com/slipway-init/slipway/internal/fault"
)

// rendering is one run of a template. Its guards stand where text/template has no bounds of its own: at each call of a
// function, each round of a loop, each template within a template, and each value that is printed.
type rendering struct {
	ctx      context.Context
	template *template.Template
	output   output
	rounds   int
	depth    int
	scratch  Scratch
}

// The names of the guards in the tree. A template that calls them does itself no good and others no harm.
const (
	printGuard = "_print"
	roundGuard = "_round"
	enterGuard = "_enter"
	leaveGuard = "_leave"
)

// isGuard reports whether a function is a guard, and not one that the template itself names.
func isGuard(name string) bool {
	return name == printGuard || name == roundGuard || name == enterGuard || name == leaveGuard
}

// guarded returns the functions of all catalogues whose names stand in text, a later one before an earlier one, and the
// guards. There are so many functions that to guard them all, or to look for each in every text, would cost more than
// most templates do.
func (r *rendering) guarded(text string, catalogues ...Funcs) template.FuncMap {
	all := make(template.FuncMap)
	for name := range strings.FieldsFuncSeq(text, func(c rune) bool { return c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c) }) {
		if all[name] != nil {
			continue
		}
		for _, catalogue := range slices.Backward(catalogues) {
			if fn, found := catalogue[name]; found {
				all[name] = r.guard(reflect.ValueOf(fn))
				break
			}
		}
	}
	all[printGuard], all[roundGuard], all[enterGuard], all[leaveGuard] = r.print, r.round, r.enter, r.leave
	return all
}

var errorType = reflect.TypeFor[error]()

// guard returns fn with bounds on what goes into it and comes out of it.
func (r *rendering) guard(fn reflect.Value) any {
	form := fn.Type()
	var in []reflect.Type
	for i := range form.NumIn() {
		in = append(in, form.In(i))
	}
	fail := func(err error) []reflect.Value {
		return []reflect.Value{reflect.Zero(form.Out(0)), reflect.ValueOf(&err).Elem()}
	}
	call := fn.Call
	if form.IsVariadic() {
		call = fn.CallSlice
	}
	return reflect.MakeFunc(reflect.FuncOf(in, []reflect.Type{form.Out(0), errorType}, form.IsVariadic()), func(args []reflect.Value) []reflect.Value {
		if err := r.ctx.Err(); err != nil {
			return fail(err)
		}
		if err := measured("the arguments are", args...); err != nil {
			return fail(err)
		}
		out := call(args)
		if len(out) == 2 && !out[1].IsNil() {
			return out
		}
		if err := measured("the result is", out[0]); err != nil {
			return fail(err)
		}
		return []reflect.Value{out[0], reflect.Zero(errorType)}
	}).Interface()
}

// measured returns a fault if values are too large, and says so of what.
func measured(what string, values ...reflect.Value) error {
	var s scale
	for _, v := range values {
		s.weigh(v, 0)
	}
	if s.deep {
		return fault.New(fault.Data, "%s nested over %d deep", what, MaxDepth)
	}
	if s.bytes > MaxValue {
		return fault.New(fault.Data, "%s over %d bytes", what, MaxValue)
	}
	return nil
}

// print passes on a value that is to be printed; source is how the template says it.
func (r *rendering) print(source string, value any) (any, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	var s scale
	s.weigh(reflect.ValueOf(&value).Elem(), 0)
	if s.null {
		return nil, fault.New(fault.Data, "%s is nil, or holds a nil", shorten(source))
	}
	return value, nil
}

// round counts a round of a loop.
func (r *rendering) round() (string, error) {
	r.rounds++
	if r.rounds > MaxRounds {
		return "", fault.New(fault.Data, "the loops went round over %d times", MaxRounds)
	}
	return "", r.ctx.Err()
}

// enter counts a template within a template.
func (r *rendering) enter() (string, error) {
	r.depth++
	if r.depth > MaxDepth {
		return "", fault.New(fault.Data, "the templates are nested over %d deep", MaxDepth)
	}
	return "", r.ctx.Err()
}

func (r *rendering) leave() string {
	r.depth--
	return ""
}

// output is bounded, and knows when nobody waits for it any more.
type output struct{ bytes.Buffer }

func (o *output) Write(p []byte) (int, error) {
	if o.Len()+len(p) > MaxOutput {
		return 0, fault.New(fault.Data, "the output is over %d bytes", MaxOutput)
	}
	return o.Buffer.Write(p)
}

// scale weighs values.
type scale struct {
	bytes int  // about what they take; the weighing stops above MaxValue
	deep  bool // some are nested deeper than MaxDepth
	null  bool // some are nil
}

// header is about what a value takes beside the bytes of its text.
const header = 16

func (s *scale) weigh(v reflect.Value, depth int) {
	if depth > MaxDepth {
		s.deep = true
	}
	if s.deep || s.bytes > MaxValue {
		return
	}
	s.bytes += header
	switch v.Kind() {
	case reflect.Invalid:
		s.null = true
	case reflect.Interface, reflect.Pointer:
		s.bytes -= header
		s.weigh(v.Elem(), depth)
	case reflect.String:
		s.bytes += v.Len()
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			s.bytes += v.Len()
			return
		}
		for i := 0; i < v.Len() && s.bytes <= MaxValue; i++ {
			s.weigh(v.Index(i), depth+1)
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next() && s.bytes <= MaxValue; {
			s.weigh(entries.Key(), depth+1)
			s.weigh(entries.Value(), depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				s.weigh(v.Field(i), depth+1)
			}
		}
	}
}

// guardTree puts the guards into all templates of t, as html/template does with its escapers.
func guardTree(t *template.Template) {
	for _, one := range t.Templates() {
		if one.Tree == nil || one.Root == nil {
			continue
		}
		root := one.Root
		guardList(root)
		root.Nodes = append([]parse.Node{action(root.Pos, enterGuard)}, root.Nodes...)
		root.Nodes = append(root.Nodes, action(root.Pos, leaveGuard))
	}
}

func guardList(list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, node := range list.Nodes {
		switch node := node.(type) {
		case *parse.ActionNode:
			if len(node.Pipe.Decl) == 0 {
				source := node.Pipe.String()
				node.Pipe.Cmds = append(node.Pipe.Cmds, command(node.Pipe.Pos, printGuard,
					&parse.StringNode{NodeType: parse.NodeString, Pos: node.Pipe.Pos, Quoted: fmt.Sprintf("%q", source), Text: source}))
			}
		case *parse.IfNode:
			guardList(node.List)
			guardList(node.ElseList)
		case *parse.WithNode:
			guardList(node.List)
			guardList(node.ElseList)
		case *parse.RangeNode:
			guardList(node.List)
			guardList(node.ElseList)
			node.List.Nodes = append([]parse.Node{action(node.Pos, roundGuard)}, node.List.Nodes...)
		}
	}
}

// action returns the node of {{name}}.
func action(pos parse.Pos, name string) *parse.ActionNode {
	pipe := &parse.PipeNode{NodeType: parse.NodePipe, Pos: pos, Cmds: []*parse.CommandNode{command(pos, name)}}
	return &parse.ActionNode{NodeType: parse.NodeAction, Pos: pos, Pipe: pipe}
}

func command(pos parse.Pos, name string, args ...parse.Node) *parse.CommandNode {
	identifier := parse.NewIdentifier(name).SetTree(nil).SetPos(pos)
	return &parse.CommandNode{NodeType: parse.NodeCommand, Pos: pos, Args: append([]parse.Node{identifier}, args...)}
}

// shorten keeps a long expression from filling an error.
func shorten(source string) string {
	const most = 80
	if len(source) > most {
		return source[:most] + "…"
	}
	return source
}
