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

// writer is a task that changes an object.
type writer struct {
	task   *Task
	branch int // of the parallel group
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

// sideBySide compares what the branches of one group write.
func (p *parser) sideBySide(group Parallel) {
	var (
		paths = make(map[string]writer) // by path
		trees = make(map[string]writer) // by the top of a tree
		below = make(map[string]writer) // by every folder above a path: the first to write below it
	)
	for branch, n := range group {
		mine := make(map[string]*Task)
		walk(n, func(t *Task) bool {
			for _, e := range t.Effects {
				if e.Verb == step.Write || e.Verb == step.Own {
					mine[e.Object] = t
				}
			}
			return true
		})
		reported := make(map[*Task]bool)
		for object, t := range mine {
			if reported[t] {
				continue
			}
			name, whole := strings.CutSuffix(object, tree)
			name = path.Clean(name)
			other, clash := paths[name]
			if !clash {
				other, clash = covering(trees, name)
			}
			if !clash && whole {
				other, clash = below[name]
			}
			if clash && other.branch != branch {
				reported[t] = true
				p.faults.add(t.Pos, "%s and %s (%s) may run at the same time and both write %s", t.ID, other.task.ID, other.task.Pos, object).Hint = `put one after the other with "then", or in a sequence`
			}
		}
		for object, t := range mine {
			name, whole := strings.CutSuffix(object, tree)
			name = path.Clean(name)
			w := writer{t, branch}
			paths[name] = w
			if whole {
				trees[name] = w
			}
			for dir := path.Dir(name); ; dir = path.Dir(dir) {
				if _, taken := below[dir]; !taken {
					below[dir] = w
				}
				if dir == path.Dir(dir) {
					break
				}
			}
		}
	}
}

// covering returns the tree that name lies in.
func covering(trees map[string]writer, name string) (writer, bool) {
	for {
		if w, ok := trees[name]; ok {
			return w, true
		}
		parent := path.Dir(name)
		if parent == name {
			return writer{}, false
		}
		name = parent
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
