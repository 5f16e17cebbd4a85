package netfilter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	goiptables "github.com/coreos/go-iptables/iptables"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// iptables is the back end that runs the iptables tools: go-iptables asks whether they work here, iptables-save says what
// is there, and iptables-restore changes it, a transaction for each table and family. Of go-iptables there is no more
// than that, because it runs one process for each rule, and each of them is a moment in which half of the rules are there.
type iptables struct {
	variant string // "", "-legacy" or "-nft"
	env     *step.Env
	ipv6    bool // whether the kernel has IPv6
}

func newIPTables(env *step.Env, name string) *iptables {
	_, err := os.Stat("/proc/net/if_inet6")
	return &iptables{variant: strings.TrimPrefix(name, "iptables"), env: env, ipv6: err == nil}
}

// Name implements Backend.
func (t *iptables) Name() string { return "iptables" + t.variant }

// families returns the families that the kernel has, IPv6 first: it is the one that may not work.
func (t *iptables) families() []family {
	if t.ipv6 {
		return []family{ipv6, ipv4}
	}
	return []family{ipv4}
}

// Diff implements Backend.
func (t *iptables) Diff(ctx context.Context, want Ruleset) ([]string, error) {
	var lines []string
	for _, f := range t.families() {
		have, err := t.read(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, line := range have.changes(want.tables(f)) {
			lines = append(lines, fmt.Sprintf("%s (IPv%d)", line, f))
		}
	}
	return lines, nil
}

// Apply implements Backend. Should the second family fail, the first one gets back what it had: a pod whose IPv4 alone
// is redirected would look right and leak.
func (t *iptables) Apply(ctx context.Context, want Ruleset) (changed bool, err error) {
	have := make(map[family]tables)
	for _, f := range t.families() {
		if have[f], err = t.read(ctx, f); err != nil {
			return false, err
		}
		changed = changed || len(have[f].changes(want.tables(f))) > 0
	}
	if !changed {
		return false, nil
	}
	for _, f := range t.families() {
		if err := t.probe(f); err != nil {
			return false, err
		}
	}
	var done []family
	for _, f := range t.families() {
		if err = t.restore(ctx, f, restoreInput(want.tables(f), have[f])); err != nil {
			break
		}
		done = append(done, f)
	}
	if err == nil {
		return true, nil
	}
	for _, f := range done {
		err = errors.Join(err, t.restore(context.WithoutCancel(ctx), f, restoreInput(have[f], want.tables(f))))
	}
	return len(done) > 0, err
}

// read returns what is there. Without a table's name, iptables-legacy-save prints the tables that exist and makes none;
// it asks a file of /proc for them that root alone may read.
func (t *iptables) read(ctx context.Context, f family) (tables, error) {
	output, err := t.save(ctx, f)
	if err != nil && strings.Contains(err.Error(), "_tables_names") {
		output, err = "", nil
		for _, table := range []Table{Raw, Mangle, NAT} {
			var one string
			if one, err = t.save(ctx, f, "-t", table.String()); err != nil {
				break
			}
			output += one
		}
	}
	if err != nil {
		return nil, err
	}
	own, _ := parseSave(output)
	return own, nil
}

func (t *iptables) save(ctx context.Context, f family, args ...string) (string, error) {
	return t.run(ctx, f, "-save", nil, args...)
}

// restore applies a transaction. It waits a second for the lock; the runner tries again after that.
func (t *iptables) restore(ctx context.Context, f family, input string) error {
	_, err := t.run(ctx, f, "-restore", strings.NewReader(input), "--noflush", "-w", "1")
	return err
}

// probe asks whether the tools and the kernel's side of them work.
func (t *iptables) probe(f family) error {
	path, err := t.find(f, "")
	if err != nil {
		return err
	}
	protocol := goiptables.ProtocolIPv4
	if f == ipv6 {
		protocol = goiptables.ProtocolIPv6
	}
	tool, err := goiptables.New(goiptables.Path(path), goiptables.IPFamily(protocol), goiptables.Timeout(1))
	if err == nil {
		_, err = tool.ListChains("nat")
	}
	if exit, ok := errors.AsType[*goiptables.Error](err); ok {
		return toolFault(filepath.Base(path), exit.ExitStatus(), exit.Error())
	}
	if err != nil {
		return fault.New(fault.Unsupported, "ask %s: %w", path, err)
	}
	return nil
}

// run runs one of the tools to its end and returns what it printed.
func (t *iptables) run(ctx context.Context, f family, tool string, input *strings.Reader, args ...string) (string, error) {
	path, err := t.find(f, tool)
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Env = t.env.Environ()
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Stdin = strings.NewReader("")
	if input != nil {
		cmd.Stdin = input
	}
	err = t.env.Exec(ctx, cmd)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && ctx.Err() == nil {
		return "", toolFault(filepath.Base(path), exit.ExitCode(), stderr.String())
	}
	if err != nil {
		return "", fmt.Errorf("run %s: %w", path, err)
	}
	return stdout.String(), nil
}

// find returns the path of a tool: of PATH, or of where Debian and Alpine have it, which a user's PATH may lack.
func (t *iptables) find(f family, tool string) (string, error) {
	name := "iptables" + t.variant + tool
	if f == ipv6 {
		name = "ip6" + strings.TrimPrefix(name, "ip")
	}
	folders := append(filepath.SplitList(t.env.Getenv("PATH")), "/usr/sbin", "/sbin")
	for _, folder := range folders {
		path := filepath.Join(folder, name)
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 && filepath.IsAbs(path) {
			return path, nil
		}
	}
	return "", fault.Hint(fault.New(fault.Unsupported, "find %s: %w", name, fs.ErrNotExist),
		"the image has no iptables: --backend nft needs none, or take an image that has it")
}

// toolFault says what a tool's exit status and message mean. See iptables(8): 3 is the kernel's or the version's fault, 4 a
// resource's, and all else is 1 or 2.
func toolFault(tool string, status int, message string) error {
	line := firstLine(message)
	err := fmt.Errorf("%s: exit status %d: %s", tool, status, line)
	says := func(words ...string) bool {
		for _, word := range words {
			if strings.Contains(message, word) {
				return true
			}
		}
		return false
	}
	switch {
	case says("lock file"):
		return fault.Hint(fault.As(fault.CantCreate, err), "mount an emptyDir at /run, or name a writable file by XTABLES_LOCKFILE; --backend nft needs no lock")
	case says("xtables lock"):
		return fault.Hint(fault.As(fault.Temporary, err), "another program holds the lock of iptables; more --retries wait longer, --backend nft needs no lock")
	case says("Permission denied", "Operation not permitted", "you must be root"):
		return fault.Hint(fault.As(fault.Permission, err), "%s; iptables-legacy needs NET_RAW, too", needNetAdmin)
	case status == 4 && says("temporarily unavailable", "busy"):
		return fault.As(fault.Temporary, err)
	}
	return fault.Hint(fault.As(fault.Unsupported, err), "the node's kernel or this iptables lacks something; try --backend nft, iptables-nft or iptables-legacy")
}

// firstLine returns the first line that says something: iptables warns first.
func firstLine(message string) string {
	for line := range strings.Lines(message) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			return line
		}
	}
	return "no message"
}
