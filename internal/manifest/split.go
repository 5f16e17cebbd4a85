package manifest

import (
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/needs"
	"github.com/slipway-init/slipway/internal/plan"
)

// share is the part of a plan that one container runs.
type share struct {
	nodes        plan.Sequence
	capabilities []needs.Capability
	why          []string // why it is not one with the share before it
}

// key tells shares apart that need different privileges.
func (s share) key() string { return strings.Join(names(s.capabilities), ",") }

// tasks yields the tasks of the share.
func (s share) tasks() []*plan.Task { return slices.Collect((&plan.Plan{Root: s.nodes}).Tasks()) }

// split divides a plan into the fewest shares, in order, whose steps all need the same capabilities: a step that needs none
// is not run as root because another one is. Steps that run side by side have no order among themselves, so those of a
// group that need the same go together; a group stays whole where one of its steps reads what another one writes.
func split(p *plan.Plan, single bool) []share {
	if single {
		return []share{{nodes: p.Root, capabilities: needs.Of(p).Capabilities}}
	}
	var stages [][]share // each stage's shares may change places
	for _, n := range flat(p.Root) {
		stages = append(stages, parts(n))
	}
	var shares []share
	for i, stage := range stages {
		order(stage, shares, stages[i+1:])
		for _, part := range stage {
			last := len(shares) - 1
			if last >= 0 && shares[last].key() == part.key() {
				shares[last].nodes = append(shares[last].nodes, part.nodes...)
				shares[last].why = append(shares[last].why, part.why...)
				continue
			}
			part.why = append(reason(part, last >= 0), part.why...)
			shares = append(shares, part)
		}
	}
	return shares
}

// flat unfolds sequences within a sequence.
func flat(nodes plan.Sequence) []plan.Node {
	var all []plan.Node
	for _, n := range nodes {
		if inner, ok := n.(plan.Sequence); ok {
			all = append(all, flat(inner)...)
			continue
		}
		all = append(all, n)
	}
	return all
}

// parts divides one stage by what its branches need.
func parts(n plan.Node) []share {
	whole := share{nodes: plan.Sequence{n}, capabilities: needs.Of(&plan.Plan{Root: plan.Sequence{n}}).Capabilities}
	group, ok := n.(plan.Parallel)
	if !ok {
		return []share{whole}
	}
	var (
		keys     []string
		branches = make(map[string]plan.Parallel)
	)
	for _, branch := range group {
		key := share{capabilities: needs.Of(&plan.Plan{Root: plan.Sequence{branch}}).Capabilities}.key()
		if branches[key] == nil {
			keys = append(keys, key)
		}
		branches[key] = append(branches[key], branch)
	}
	if len(keys) < 2 {
		return []share{whole}
	}
	if reads, writes := crossing(branches); reads != "" {
		whole.why = []string{line("together, though not all need this: %s reads what %s writes, side by side with it", reads, writes)}
		return []share{whole}
	}
	slices.Sort(keys) // those that need nothing come first
	var all []share
	for _, key := range keys {
		node := plan.Node(branches[key])
		if len(branches[key]) == 1 {
			node = branches[key][0]
		}
		nodes := plan.Sequence{node}
		all = append(all, share{nodes: nodes, capabilities: needs.Of(&plan.Plan{Root: nodes}).Capabilities})
	}
	return all
}

// crossing returns two steps of different parts of which one reads what the other one writes.
func crossing(branches map[string]plan.Parallel) (reader, writer string) {
	for a, one := range branches {
		for b, other := range branches {
			if a == b {
				continue
			}
			written := needs.Of(&plan.Plan{Root: plan.Sequence{other}})
			for t := range (&plan.Plan{Root: plan.Sequence{one}}).Tasks() {
				for _, object := range needs.Of(&plan.Plan{Root: plan.Sequence{t}}).Reads {
					if covered(object, written.Writes) {
						for w := range (&plan.Plan{Root: plan.Sequence{other}}).Tasks() {
							if covered(object, needs.Of(&plan.Plan{Root: plan.Sequence{w}}).Writes) {
								return t.ID, w.ID
							}
						}
					}
				}
			}
		}
	}
	return "", ""
}

// covered reports whether a path is one of those that are written, or below one.
func covered(path string, writes []string) bool {
	return slices.ContainsFunc(writes, func(object string) bool {
		tree := strings.TrimSuffix(object, "/...")
		return path == tree || strings.HasPrefix(path, tree+"/")
	})
}

// order puts first what goes into the container before, and last what goes into the one after.
func order(stage []share, before []share, after [][]share) {
	connects := slices.ContainsFunc(stage, func(s share) bool { return len(needs.Of(&plan.Plan{Root: s.nodes}).Dials) > 0 })
	rank := func(s share) int {
		switch {
		case connects && slices.Contains(names(s.capabilities), "NET_ADMIN"):
			return 3 // the others have the network to themselves
		case len(before) > 0 && before[len(before)-1].key() == s.key():
			return 0
		case len(after) > 0 && slices.ContainsFunc(after[0], func(next share) bool { return next.key() == s.key() }):
			return 2
		}
		return 1
	}
	slices.SortStableFunc(stage, func(a, b share) int { return rank(a) - rank(b) })
}

// reason says why a share has a container of its own.
func reason(s share, later bool) []string {
	var lines []string
	for _, c := range s.capabilities {
		lines = append(lines, line("root with %s, for %s", c.Name, c.Why))
	}
	switch {
	case later && len(lines) == 0:
		lines = append(lines, "a container of its own: these steps need no privilege, those before do")
	case later:
		lines = append(lines, "a container of its own, so that no other step has that privilege")
	}
	return lines
}
