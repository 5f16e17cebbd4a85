package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// chain measures a chain of eight file steps: the first run, which writes, and the second, which finds everything done.
func (b *bench) chain() (outcome, error) {
	var out outcome
	costs := map[string][]cost{"first": nil, "second": nil}
	for i := range b.rounds(31, 5) {
		dir := filepath.Join(b.dir, fmt.Sprint("chain", i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return out, err
		}
		for _, which := range []string{"first", "second"} {
			one, err := measure(b.run(eight(dir)...))
			if err != nil {
				return out, err
			}
			costs[which] = append(costs[which], one)
		}
	}
	out.Raw = costs
	out.Table = [][]string{{"median", "wall", "CPU"}}
	for _, which := range []string{"first", "second"} {
		out.Table = append(out.Table, []string{which + " run", show(median(walls(costs[which]))), show(median(cpus(costs[which])))})
	}
	out.Goals = []goal{atMost("wall of the second run", median(walls(costs["second"])), 30*time.Millisecond)}
	return out, nil
}

// eight returns a chain of eight file steps below dir.
func eight(dir string) []string {
	steps := []string{
		"mkdir " + dir + "/config",
		"mkdir --mode 0700 " + dir + "/data",
		"touch " + dir + "/data/ready",
		"write-file --content one --mode 0640 " + dir + "/config/one",
		"write-file --content two --mode 0640 " + dir + "/config/two",
		"render --inline {{1}} " + dir + "/config/three",
		"chmod 0640 " + dir + "/config/one",
		fmt.Sprintf("chown %d:%d %s/config/two", os.Getuid(), os.Getgid(), dir),
	}
	return strings.Fields(strings.Join(steps, " then "))
}
