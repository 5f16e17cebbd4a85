package main

import (
	"os/exec"
	"strings"
	"time"
)

// parallel measures ten tasks that sleep for a second, side by side. (On the command line only the last step of a chain
// may be an exec with arguments, hence the plan.)
func (b *bench) parallel() (outcome, error) {
	plan := "steps:\n- parallel:\n" + strings.Repeat("  - exec: {command: [sleep, \"1\"]}\n", 10)
	contenders := []struct {
		name  string
		stdin string
		cmd   func() *exec.Cmd
	}{
		{"slipway run, a parallel group of ten", plan, func() *exec.Cmd { return b.run("run", "-") }},
		{"xargs -P10", strings.Repeat("1\n", 10), func() *exec.Cmd { return b.command("xargs", "-P10", "-n1", "sleep") }},
	}
	var out outcome
	costs := make(map[string][]cost)
	for range b.rounds(7, 2) {
		for _, c := range contenders {
			cmd := c.cmd()
			cmd.Stdin = strings.NewReader(c.stdin)
			one, err := measure(cmd)
			if err != nil {
				return out, err
			}
			costs[c.name] = append(costs[c.name], one)
		}
	}
	out.Raw = costs
	out.Table = [][]string{{"median", "wall", "over 1 s", "CPU"}}
	for _, c := range contenders {
		wall := median(walls(costs[c.name]))
		out.Table = append(out.Table, []string{c.name, show(wall), show(wall - time.Second), show(median(cpus(costs[c.name])))})
	}
	out.Table = append(out.Table, []string{"one after the other, by arithmetic", show(10 * time.Second), show(9 * time.Second), ""})
	out.Goals = []goal{atMost("wall of slipway", median(walls(costs[contenders[0].name])), 1050*time.Millisecond)}
	return out, nil
}
