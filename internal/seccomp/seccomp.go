// Package seccomp checks seccomp profiles before a kubelet's runtime gets them: what is wrong with one is otherwise seen by
// nobody but the container that does not start, or runs with less than was meant.
//
// The form is that of the OCI runtime specification, which containerd and CRI-O read a Localhost profile as:
// https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#seccomp. They pass over keys that they do not
// know, such as those of Docker's own form, and libseccomp passes over system calls that it does not know. Here both are errors, with
// their lines.
package seccomp

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// MaxProfile bounds a profile, in bytes. Docker's default one has 13,000.
const MaxProfile = 1 << 20

// Profile is what a profile comes to.
type Profile struct {
	DefaultAction string
	Rules         int // entries of syscalls
	// Toothless says that nothing is ever refused: every action lets the call happen.
	Toothless bool
}

// The words of the specification.
var (
	actions = []string{
		"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
		"SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
	}
	architectures = []string{
		"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64",
		"SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64",
		"SCMP_ARCH_PPC", "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_RISCV64", "SCMP_ARCH_S390", "SCMP_ARCH_S390X", "SCMP_ARCH_SH",
		"SCMP_ARCH_SHEB", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64",
	}
	flags = []string{
		"SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
	}
	operators = []string{
		"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
	}
)

// maxErrno is the largest number that the kernel returns as an error.
const maxErrno = 4095

// maxArgument is the index of a system call's last argument.
const maxArgument = 5

// syscalls has the names of all system calls of all architectures, a line each, sorted: names/main.go writes it.
//
//go:generate go run ./names syscalls.txt
//go:embed syscalls.txt
var syscalls string

// Known reports whether Linux has a system call of that name on some architecture.
func Known(name string) bool {
	return name != "" && strings.Contains("\n"+syscalls, "\n"+name+"\n")
}

// Parse checks a profile. Its error has a line for each fault; all are of the kind Data.
func Parse(name string, text []byte) (*Profile, error) {
	if len(text) > MaxProfile {
		return nil, fault.New(fault.Data, "%s: it is over %d bytes", name, MaxProfile)
	}
	root, err := parse(text)
	if err != nil {
		return nil, fault.New(fault.Data, "%s:%w", name, err)
	}
	c := &checker{file: name}
	p := c.profile(root)
	if len(c.faults) > 0 {
		return nil, errors.Join(c.faults...)
	}
	return p, nil
}

// checker collects what is wrong.
type checker struct {
	file   string
	faults []error
}

// most bounds how many faults are told.
const most = 20

func (c *checker) fail(n *node, format string, args ...any) {
	if len(c.faults) < most {
		c.faults = append(c.faults, fault.New(fault.Data, "%s:%d: %s", c.file, n.line, fmt.Sprintf(format, args...)))
	}
}

// hint is fail with advice.
func (c *checker) hint(n *node, hint, format string, args ...any) {
	c.fail(n, format, args...)
	last := len(c.faults) - 1
	c.faults[last] = fault.Hint(c.faults[last], "%s", hint)
}

// docker are the keys of Docker's own form, which a kubelet's runtime passes over.
var docker = []string{"archMap", "comment", "excludes", "includes", "name"}

// object checks that n is an object with no other keys than known, and returns it by key.
func (c *checker) object(n *node, known ...string) map[string]*node {
	if n.kind != object {
		c.fail(n, "there should be an object here")
		return nil
	}
	fields := make(map[string]*node)
	for _, m := range n.members {
		switch {
		case fields[m.key] != nil:
			c.fail(m.value, "the key %q stands here twice", m.key)
		case slices.Contains(known, m.key):
			fields[m.key] = m.value
		case slices.Contains(docker, m.key):
			c.hint(m.value, "write it in the form of the OCI runtime specification: names, action, errnoRet and args",
				"the key %q is of Docker's form of profiles, which a kubelet's runtime passes over", m.key)
		default:
			c.fail(m.value, "there is no key %q; there are %s", m.key, strings.Join(known, ", "))
		}
	}
	return fields
}

// word checks that n is one of some words.
func (c *checker) word(n *node, what string, words []string) string {
	if n.kind != text || !slices.Contains(words, n.text) {
		c.fail(n, "%s is no %s; there are %s", n, what, strings.Join(words, ", "))
		return ""
	}
	return n.text
}

// list checks that n is a list, and returns its items.
func (c *checker) list(n *node) []*node {
	if n == nil {
		return nil
	}
	if n.kind != list {
		c.fail(n, "there should be a list here")
	}
	return n.items
}

// number checks that n is a whole number of at most limit.
func (c *checker) number(n *node, limit uint64) {
	value, err := strconv.ParseUint(n.text, 10, 64)
	if n.kind != number || err != nil || value > limit {
		c.fail(n, "%s is no whole number from 0 to %d", n, limit)
	}
}

func (c *checker) profile(root *node) *Profile {
	fields := c.object(root, "defaultAction", "defaultErrnoRet", "architectures", "flags", "listenerPath", "listenerMetadata", "syscalls")
	if fields == nil {
		return nil
	}
	p := &Profile{Toothless: true}
	if n := fields["defaultAction"]; n == nil {
		c.fail(root, "there is no defaultAction")
	} else if p.DefaultAction = c.word(n, "action", actions); p.DefaultAction == "SCMP_ACT_NOTIFY" {
		c.fail(n, "SCMP_ACT_NOTIFY cannot be the default: whoever listens would have to answer for itself")
	}
	c.errno(fields["defaultErrnoRet"], p.DefaultAction)
	for _, n := range c.list(fields["architectures"]) {
		c.word(n, "architecture", architectures)
	}
	for _, n := range c.list(fields["flags"]) {
		c.word(n, "flag", flags)
	}
	for _, key := range []string{"listenerPath", "listenerMetadata"} {
		if n := fields[key]; n != nil && n.kind != text {
			c.fail(n, "%s is no text", key)
		}
	}
	p.bites(p.DefaultAction)
	for _, n := range c.list(fields["syscalls"]) {
		action := c.rule(n)
		p.Rules++
		p.bites(action)
		if action == "SCMP_ACT_NOTIFY" && fields["listenerPath"] == nil {
			c.fail(n, "SCMP_ACT_NOTIFY needs a listenerPath")
		}
	}
	return p
}

// bites notes an action that refuses.
func (p *Profile) bites(action string) {
	if action != "SCMP_ACT_ALLOW" && action != "SCMP_ACT_LOG" {
		p.Toothless = false
	}
}

// rule checks an entry of syscalls and returns its action.
func (c *checker) rule(n *node) string {
	fields := c.object(n, "names", "action", "errnoRet", "args")
	if fields == nil {
		return ""
	}
	names := c.list(fields["names"])
	if len(names) == 0 {
		c.fail(n, "names has no system call")
	}
	for _, name := range names {
		if name.kind != text || !Known(name.text) {
			c.fail(name, "there is no system call %s", name)
		}
	}
	action := ""
	if fields["action"] == nil {
		c.fail(n, "there is no action")
	} else {
		action = c.word(fields["action"], "action", actions)
	}
	c.errno(fields["errnoRet"], action)
	for _, arg := range c.list(fields["args"]) {
		c.argument(arg)
	}
	return action
}

// errno checks the number that an action returns.
func (c *checker) errno(n *node, action string) {
	if n == nil {
		return
	}
	c.number(n, maxErrno)
	if action != "" && action != "SCMP_ACT_ERRNO" && action != "SCMP_ACT_TRACE" {
		c.fail(n, "%s returns no error number: leave errnoRet away", action)
	}
}

// argument checks a condition on an argument.
func (c *checker) argument(n *node) {
	fields := c.object(n, "index", "value", "valueTwo", "op")
	if fields == nil {
		return
	}
	for _, key := range []string{"index", "value", "op"} {
		if fields[key] == nil {
			c.fail(n, "there is no %s", key)
			return
		}
	}
	const largest = 1<<64 - 1
	c.number(fields["index"], maxArgument)
	c.number(fields["value"], largest)
	op := c.word(fields["op"], "operator", operators)
	if two := fields["valueTwo"]; two != nil {
		c.number(two, largest)
		if op != "" && op != "SCMP_CMP_MASKED_EQ" && two.text != "0" {
			c.fail(two, "%s takes no valueTwo", op)
		}
	}
}
