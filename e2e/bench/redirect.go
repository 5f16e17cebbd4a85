package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// redirect measures how long the rules of istio take, for both families: by each of slipway's back ends, by
// iptables-restore, and by one run of iptables for each rule, as linkerd's init container does it. All that happens
// in a network namespace of its own.
func (b *bench) redirect() (outcome, error) {
	if os.Geteuid() != 0 {
		return outcome{Notes: []string{"not measured: a network namespace needs root"}}, nil
	}
	var out outcome
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		err := leaveNetwork()
		if err == nil {
			out, err = b.redirects()
		}
		done <- err
	}()
	err := <-done
	return out, err
}

// leaveNetwork moves the calling thread into a network namespace of its own.
func leaveNetwork() error {
	const namespace = "/proc/thread-self/ns/net"
	before, err := os.Readlink(namespace)
	if err != nil {
		return err
	}
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	if after, err := os.Readlink(namespace); err != nil || after == before {
		return errors.New("the network namespace is still the machine's own")
	}
	return nil
}

// way is one way to set the rules.
type way struct {
	name  string
	apply func() (cost, error)
	again bool // a second run is measured, too
	undo  func() error
}

func (b *bench) redirects() (outcome, error) {
	var out outcome
	rules, err := b.iptablesRules()
	if err != nil {
		return out, err
	}
	nothing := way{
		name:  "slipway mkdir, there already",
		apply: func() (cost, error) { return measure(b.run("mkdir", b.dir)) },
		undo:  func() error { return nil },
	}
	ways := []way{
		nothing, b.slipwayWay("nft"), b.slipwayWay("iptables-nft"), b.slipwayWay("iptables-legacy"),
		b.restoreWay("iptables-nft", rules), b.restoreWay("iptables-legacy", rules),
		b.ruleWay("iptables-nft", rules), b.ruleWay("iptables-legacy", rules),
	}
	costs := make(map[string][]cost)
	for range b.rounds(31, 3) {
		for _, w := range ways {
			one, err := w.apply()
			if err != nil {
				return out, fmt.Errorf("%s: %w", w.name, err)
			}
			costs[w.name] = append(costs[w.name], one)
			if w.again {
				if one, err = w.apply(); err != nil {
					return out, fmt.Errorf("%s, again: %w", w.name, err)
				}
				costs[w.name+", again"] = append(costs[w.name+", again"], one)
			}
			if err := w.undo(); err != nil {
				return out, fmt.Errorf("%s, undone: %w", w.name, err)
			}
		}
	}
	out.Raw = costs
	out.Table = [][]string{{"median", "wall", "of slipway's nft", "CPU"}}
	base := median(walls(costs["slipway, nft"]))
	for _, w := range ways {
		for _, name := range []string{w.name, w.name + ", again"} {
			if c := costs[name]; c != nil {
				out.Table = append(out.Table, []string{name, show(median(walls(c))), times(median(walls(c)), base), show(median(cpus(c)))})
			}
		}
	}
	out.Goals = []goal{
		atMost("wall of both families by netlink", base, 15*time.Millisecond),
		atMost("wall of the run after it", median(walls(costs["slipway, nft, again"])), 15*time.Millisecond),
	}
	out.Notes = []string{fmt.Sprintf("the rules of --preset istio, %d for iptables; mkdir is what the process itself costs", len(rules.v4.rules)+len(rules.v6.rules))}
	return out, nil
}

// slipwayWay is slipway with a back end: the whole process, with its report.
func (b *bench) slipwayWay(backend string) way {
	run := func(options ...string) *exec.Cmd {
		return b.locked(b.run(append([]string{"iptables-redirect", "--backend", backend}, options...)...))
	}
	return way{
		name: "slipway, " + backend, again: true,
		apply: func() (cost, error) { return measure(run("--preset", "istio")) },
		undo: func() error {
			_, err := measure(run("--remove"))
			return err
		},
	}
}

// restoreWay is iptables-restore, once for each family.
func (b *bench) restoreWay(tool string, rules bothFamilies) way {
	return way{
		name: tool + "-restore, two runs",
		apply: func() (sum cost, err error) {
			for _, f := range []familyRules{rules.v4, rules.v6} {
				cmd := b.locked(b.command(f.tool(tool)+"-restore", "--noflush"))
				cmd.Stdin = strings.NewReader(f.text)
				if sum, err = plus(sum, cmd); err != nil {
					return sum, err
				}
			}
			return sum, nil
		},
		undo: b.slipwayWay(tool).undo,
	}
}

// ruleWay is iptables, once for each chain and rule.
func (b *bench) ruleWay(tool string, rules bothFamilies) way {
	return way{
		name: tool + ", a run for each rule",
		apply: func() (sum cost, err error) {
			for _, f := range []familyRules{rules.v4, rules.v6} {
				for _, args := range f.rules {
					if sum, err = plus(sum, b.locked(b.command(f.tool(tool), args...))); err != nil {
						return sum, err
					}
				}
			}
			return sum, nil
		},
		undo: b.slipwayWay(tool).undo,
	}
}

// plus runs a command and adds what it took.
func plus(sum cost, cmd *exec.Cmd) (cost, error) {
	one, err := measure(cmd)
	return cost{Wall: sum.Wall + one.Wall, CPU: sum.CPU + one.CPU}, err
}

// locked gives a command a lock of iptables that nobody else on the machine holds.
func (b *bench) locked(cmd *exec.Cmd) *exec.Cmd {
	cmd.Env = append(cmd.Env, "XTABLES_LOCKFILE="+filepath.Join(b.dir, "xtables.lock"))
	return cmd
}

// bothFamilies are the rules of slipway in iptables' words.
type bothFamilies struct{ v4, v6 familyRules }

type familyRules struct {
	prefix string     // of the tools' names
	text   string     // for iptables-restore
	rules  [][]string // arguments of iptables, one for each chain and rule
}

func (f familyRules) tool(name string) string { return f.prefix + strings.TrimPrefix(name, "ip") }

// iptablesRules returns the rules that slipway shows.
func (b *bench) iptablesRules() (bothFamilies, error) {
	var rules bothFamilies
	output, err := b.run("--dry-run", "iptables-redirect", "--preset", "istio", "--backend", "iptables").Output()
	if err != nil {
		return rules, fmt.Errorf("show the rules: %w", err)
	}
	var text strings.Builder
	for line := range bytes.Lines(output) {
		if _, rule, ok := strings.Cut(string(line), "        | "); ok {
			text.WriteString(rule)
		}
	}
	v4, v6, _ := strings.Cut(text.String(), "# IPv6\n")
	rules.v4, rules.v6 = parseRules("ip", v4), parseRules("ip6", v6)
	if len(rules.v4.rules) == 0 || len(rules.v6.rules) == 0 {
		return rules, fmt.Errorf("no rules in\n%s", output)
	}
	return rules, nil
}

// parseRules turns the input of iptables-restore into arguments of iptables. Comments, which rules of others have few
// of, are left out.
func parseRules(prefix, text string) familyRules {
	f := familyRules{prefix: prefix, text: text}
	table := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case strings.HasPrefix(line, ":"):
			name, _, _ := strings.Cut(line[1:], " ")
			f.rules = append(f.rules, []string{"-w", "-t", table, "-N", name})
		case strings.HasPrefix(line, "-A "):
			if before, comment, ok := strings.Cut(line, `-m comment --comment "`); ok {
				_, after, _ := strings.Cut(comment, `"`)
				line = before + after
			}
			f.rules = append(f.rules, append([]string{"-w", "-t", table}, strings.Fields(line)...))
		}
	}
	return f
}
