package plan

import (
	"path"
	"strings"

	"github.com/slipway-init/slipway/internal/step"
)

// tree is the end of an object that means everything below it.
const tree = "/..."

// check looks at the plan as a whole and returns it, or all faults.
func (p *parser) check(plan *Plan) (*Plan, error) {
	p.conflicts(plan.Root)
	p.replacement(plan)
	if err := p.faults.err(); err != nil {
		return nil, err
	}
	return plan, nil
}

// conflicts adds a fault for each task that may run at the same time as another one that writes the same path.
func (p *parser) conflicts(n Node) {
	switch n := n.(type) {
	case Sequence:
		for _, child := range n {
			p.conflicts(child)
		}
	case Parallel:
		for _, child := range n {
			p.conflicts(child)
		}
		p.sideBySide(n)
	}
}

// sideBySide adds a fault for each task that writes where a task of an earlier branch of the group does.
func (p *parser) sideBySide(group Parallel) {
	earlier := claims{paths: make(map[string]*Task), trees: make(map[string]*Task), below: make(map[string]*Task)}
	for _, branch := range group {
		walk(branch, func(t *Task) bool {
			for _, object := range written(t) {
				if other, clash := earlier.clash(object); clash {
					p.faults.add(t.Pos, "%s and %s (%s) may run at the same time and both write %s", t.ID, other.ID, other.Pos, object).
						Hint = `put one after the other with "then", or in a sequence`
					break
				}
			}
			return true
		})
		walk(branch, func(t *Task) bool {
			for _, object := range written(t) {
				earlier.add(object, t)
			}
			return true
		})
	}
}

// written returns the paths that t changes.
func written(t *Task) []string {
	var objects []string
	for _, e := range t.Effects {
		if e.Verb == step.Write || e.Verb == step.Own {
			objects = append(objects, e.Object)
		}
	}
	return objects
}

// claims are the paths that tasks write, each with one of its tasks.
type claims struct {
	paths map[string]*Task // by path
	trees map[string]*Task // by the top of a tree
	below map[string]*Task // by every folder above a path: the first task to write below it
}

// clash returns a task that writes object too, or a tree that object lies in, or something in the tree that object is.
func (c claims) clash(object string) (*Task, bool) {
	name, whole := strings.CutSuffix(object, tree)
	name = path.Clean(name)
	if t, taken := c.paths[name]; taken {
		return t, true
	}
	for dir := name; ; dir = path.Dir(dir) {
		if t, taken := c.trees[dir]; taken {
			return t, true
		}
		if dir == path.Dir(dir) {
			break
		}
	}
	t, taken := c.below[name]
	return t, whole && taken
}

// add notes that t writes object.
func (c claims) add(object string, t *Task) {
	name, whole := strings.CutSuffix(object, tree)
	name = path.Clean(name)
	c.paths[name] = t
	if whole {
		c.trees[name] = t
	}
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		if _, taken := c.below[dir]; !taken {
			c.below[dir] = t
		}
		if dir == path.Dir(dir) {
			return
		}
	}
}

// replacement adds a fault for each task that replaces the process and is not the plan's last.
func (p *parser) replacement(plan *Plan) {
	last := lastTask(plan.Root)
	for t := range plan.Tasks() {
		for _, e := range t.Effects {
			if e.Verb == step.Replace && t != last {
				p.faults.add(t.Pos, "%s replaces the process and must be the last step, with none beside it", t.ID)
			}
		}
	}
}

// lastTask returns the task behind which nothing runs and beside which nothing runs, nil if there is none.
func lastTask(n Node) *Task {
	switch n := n.(type) {
	case *Task:
		return n
	case Sequence:
		if len(n) > 0 {
			return lastTask(n[len(n)-1])
		}
	case Parallel:
		if len(n) == 1 {
			return lastTask(n[0])
		}
	}
	return nil
}
