package e2e

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/e2e/internal/pod"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

// as has the user of an ordinary container, with these capabilities alone.
func as(capabilities ...uintptr) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65532, Gid: 65532}, AmbientCaps: capabilities}
}

// redirected checks that the pod's connections go to the proxy, in both families.
func redirected(t *testing.T, p *pod.Pod) {
	t.Helper()
	for _, family := range []int{4, 6} {
		to := netip.AddrPortFrom(pod.Server.Of(family), 80)
		if got, want := p.Inside.Call(pod.Call{UID: application, GID: application, To: to}), "out "+to.String(); got != want {
			t.Errorf("outbound: got %q, want %q", got, want)
		}
		to = netip.AddrPortFrom(pod.Own.Of(family), 8080)
		if got, want := p.Outside.Call(pod.Call{To: to}), "in "+to.String(); got != want {
			t.Errorf("inbound: got %q, want %q", got, want)
		}
	}
}

// An ordinary user needs NET_ADMIN, and for iptables-legacy NET_RAW.
func TestRedirectAsAnOrdinaryUser(t *testing.T) {
	needRoot(t, "network namespaces")
	for _, c := range []struct {
		name, backend string
		capabilities  []uintptr
		exit          int
		says          string
	}{
		{"nft", "nft", []uintptr{unix.CAP_NET_ADMIN}, 0, ""},
		{"auto", "auto", []uintptr{unix.CAP_NET_ADMIN}, 0, "the kernel has nf_tables"},
		{"iptables-nft", "iptables-nft", []uintptr{unix.CAP_NET_ADMIN}, 0, ""},
		{"iptables-legacy", "iptables-legacy", []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW}, 0, ""},
		{"iptables-legacy without NET_RAW", "iptables-legacy", []uintptr{unix.CAP_NET_ADMIN}, 77, "NET_RAW"},
		{"nft without capabilities", "nft", nil, 77, "capabilities.add"},
		{"auto without capabilities", "auto", nil, 77, "capabilities.add"},
		{"iptables-nft without capabilities", "iptables-nft", nil, 77, "capabilities.add"},
		{"iptables-legacy without capabilities", "iptables-legacy", nil, 77, "capabilities.add"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := inhabited(t, false)
			lock := filepath.Join(open(t), "lock")
			for range 2 {
				var r slipway.Result
				p.Inside.Enter(t, func() {
					r = slipway.Command{
						Args: []string{"iptables-redirect", "--preset", "istio", "--backend", c.backend},
						Env:  []string{"XTABLES_LOCKFILE=" + lock}, SysProcAttr: as(c.capabilities...),
					}.Run(t)
				})
				expect(t, r, c.exit, c.says)
			}
			if c.exit == 0 {
				redirected(t, p)
			}
		})
	}
}

// open returns a folder that every user may write to.
func open(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "e2e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// bare runs slipway with nothing but itself and /proc in its root, which is read-only: what an image without a
// distribution has.
func bare(dir string) []string {
	const script = `set -e; mount -t tmpfs none "$0"; cp "$1" "$0/slipway"; mkdir "$0/proc"; mount --rbind /proc "$0/proc"
		mount -o remount,ro "$0"; shift; exec chroot "$0" /slipway "$@"`
	return []string{"unshare", "-m", "sh", "-c", script, dir}
}

func TestRedirectInABareReadOnlyRoot(t *testing.T) {
	needRoot(t, "network namespaces")
	t.Parallel()
	p := inhabited(t, false)
	run := func(options ...string) slipway.Result {
		return inside(t, p, slipway.Command{Args: append([]string{"iptables-redirect"}, options...), Prefix: bare(t.TempDir())})
	}
	expect(t, run("--preset", "istio", "--backend", "iptables"), 71, "find ip6tables-save", "--backend nft needs none")
	expect(t, run("--preset", "istio"), 0)
	redirected(t, p)
	expect(t, run("--preset", "istio"), 0, "unchanged")
	expect(t, run("--remove"), 0)
	clean(t, p)
}

// iptables-legacy has a lock. Where its file cannot be made, or somebody holds it, the exit code tells.
func TestRedirectAndTheLock(t *testing.T) {
	needRoot(t, "network namespaces")
	t.Parallel()
	p := inhabited(t, false)
	dir := t.TempDir()
	lock := filepath.Join(dir, "lock")
	command := func(file string, options ...string) slipway.Command {
		return slipway.Command{
			Args: append([]string{"iptables-redirect", "--preset", "istio", "--backend", "iptables-legacy"}, options...),
			Env:  []string{"XTABLES_LOCKFILE=" + file},
		}
	}
	expect(t, inside(t, p, command(filepath.Join(dir, "absent", "lock"))), 73, "XTABLES_LOCKFILE")

	file, err := os.Create(lock)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	expect(t, inside(t, p, command(lock, "--retries", "0")), 75, "lock", "--backend nft needs no lock")
	var waiting *slipway.Process
	p.Inside.Enter(t, func() { waiting = command(lock).Start(t) })
	waiting.AwaitStderr(t, "trying again")
	if err := unix.Flock(int(file.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	expect(t, waiting.Wait(t), 0)
	redirected(t, p)
}

// While an earlier run's redirect is live and the proxy is not up, slipway's own connections pass, and its name lookups
// would. Those of a user without the capability do not.
func TestOwnConnectionsPassALiveRedirect(t *testing.T) {
	needRoot(t, "network namespaces")
	for _, backend := range redirectBackends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := pod.New(t)
			p.Outside.Listen(t, pod.Answer{Who: "server", Ports: []int{80}})
			targets := []string{"tcp://203.0.113.10:80", "tcp://[2001:db8:10::10]:80"}
			chain := slipway.Command{Args: append(append([]string{"wait-for", "--timeout", "20s"}, targets...),
				"then", "iptables-redirect", "--preset", "istio", "--backend", backend)}
			for range 2 {
				expect(t, inside(t, p, chain), 0)
			}
			others := slipway.Command{Args: append([]string{"wait-for", "--timeout", "300ms"}, targets[0]), SysProcAttr: as()}
			expect(t, inside(t, p, others), 69, "refused")
		})
	}
}

// Another mesh's redirect is told before the first connection, and in the hint of the one that fails. A second redirect
// is a conflict.
func TestAnotherMeshIsRecognised(t *testing.T) {
	needRoot(t, "network namespaces")
	for name, c := range map[string]struct{ tools, chain, mesh, annotation string }{
		"istio by iptables-nft":     {"iptables-nft", "ISTIO_OUTPUT", "istio", "traffic.sidecar.istio.io/excludeOutboundPorts"},
		"istio by iptables-legacy":  {"iptables-legacy", "ISTIO_OUTPUT", "istio", "traffic.sidecar.istio.io/excludeOutboundPorts"},
		"istio by ip6tables-legacy": {"ip6tables-legacy", "ISTIO_INBOUND", "istio", "runAsUser: 1337"},
		"linkerd":                   {"iptables-legacy", "PROXY_INIT_OUTPUT", "linkerd", "config.linkerd.io/skip-outbound-ports"},
		"kuma":                      {"iptables-nft", "KUMA_MESH_OUTBOUND", "kuma", "traffic.kuma.io/exclude-outbound-ports"},
		"consul":                    {"ip6tables-nft", "CONSUL_PROXY_OUTPUT", "consul", "runAsUser: 5995"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pod.New(t)
			for _, command := range []string{"-N " + c.chain, "-A " + c.chain + " -p tcp -j REDIRECT --to-ports 15001", "-A OUTPUT -j " + c.chain} {
				args := append([]string{"env", "XTABLES_LOCKFILE=" + t.TempDir() + "/lock", c.tools, "-t", "nat"}, strings.Fields(command)...)
				if output, err := p.Inside.Output(t, args...); err != nil {
					t.Fatalf("%v: %v\n%s", args, err, output)
				}
			}
			to := "tcp://203.0.113.10:80"
			if strings.HasPrefix(c.tools, "ip6") {
				to = "tcp://[2001:db8:10::10]:80"
			}
			r := inside(t, p, slipway.Command{Args: []string{"wait-for", "--timeout", "300ms", to}})
			expect(t, r, 69, "another mesh redirects this pod", c.annotation)
			report(t, r, "refused", c.annotation)
			for _, backend := range redirectBackends {
				expect(t, redirect(t, p, "--preset", "linkerd", "--backend", backend), 78, c.mesh+" redirects this pod already")
			}
		})
	}
}

// A back end does not set its rules beside those of another one.
func TestOneBackendAtATime(t *testing.T) {
	needRoot(t, "network namespaces")
	t.Parallel()
	p := inhabited(t, false)
	for _, first := range redirectBackends {
		expect(t, redirect(t, p, "--preset", "istio", "--backend", first), 0)
		for _, second := range redirectBackends {
			if second != first {
				expect(t, redirect(t, p, "--preset", "istio", "--backend", second), 78, "--remove --backend "+first)
			}
		}
		redirected(t, p)
		expect(t, redirect(t, p, "--remove"), 0)
		clean(t, p)
	}
}

// Rules of others stay as they are.
func TestRulesOfOthersStay(t *testing.T) {
	needRoot(t, "network namespaces")
	t.Parallel()
	p := inhabited(t, false)
	for _, command := range []string{
		"nft add table inet other", "nft add chain inet other c", "nft add rule inet other c tcp dport 1 accept",
		"iptables-nft -t nat -A OUTPUT -p tcp --dport 2 -j RETURN", "ip6tables-nft -t nat -A PREROUTING -p tcp --dport 3 -j RETURN",
		"iptables-legacy -t nat -A OUTPUT -p tcp --dport 4 -j RETURN", "iptables-legacy -t mangle -A PREROUTING -p tcp --dport 5 -j RETURN",
	} {
		if output, err := p.Inside.Output(t, strings.Fields(command)...); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, output)
		}
	}
	rules := func() (lines []string) {
		for _, command := range []string{"nft list table inet other", "iptables-nft -t nat -S", "ip6tables-nft -t nat -S", "iptables-legacy -t nat -S", "iptables-legacy -t mangle -S"} {
			output, err := p.Inside.Output(t, strings.Fields(command)...)
			if err != nil {
				t.Fatalf("%s: %v\n%s", command, err, output)
			}
			for line := range strings.Lines(output) {
				if !strings.Contains(line, "SLIPWAY_") && !strings.HasPrefix(line, "#") {
					lines = append(lines, line)
				}
			}
		}
		return lines
	}
	before := strings.Join(rules(), "")
	for _, backend := range redirectBackends {
		for _, options := range [][]string{{"--preset", "istio", "--mode", "tproxy"}, {"--preset", "linkerd"}, {"--remove"}} {
			expect(t, redirect(t, p, append(options, "--backend", backend)...), 0)
			if after := strings.Join(rules(), ""); after != before {
				t.Errorf("%s %v: got\n%s\nwant\n%s", backend, options, after, before)
			}
		}
	}
}

// --verify proves by connections what works, says what could not be tried, and fails where connections go elsewhere.
func TestVerify(t *testing.T) {
	needRoot(t, "network namespaces")
	for _, backend := range redirectBackends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := pod.New(t)
			for _, mode := range []string{"redirect", "tproxy"} {
				r := redirect(t, p, "--preset", "istio", "--backend", backend, "--mode", mode, "--exclude-outbound-ports", "3306", "--verify")
				expect(t, r, 0)
				const all = `verified="IPv4 and IPv6: outbound, excluded uid 1337, excluded gid 1337, own mark, excluded outbound port 3306, ` +
					`inbound, excluded inbound port 15008"`
				if !strings.Contains(r.Report, all) || strings.Contains(r.Report, "unverified") {
					t.Errorf("%s: got the report\n%s\nwant %s", mode, r.Report, all)
				}
			}
			expect(t, redirect(t, p, "--preset", "istio", "--backend", backend), 0)
			var r slipway.Result
			p.Inside.Enter(t, func() {
				r = slipway.Command{
					Args:        []string{"iptables-redirect", "--preset", "istio", "--backend", backend, "--verify"},
					Env:         []string{"XTABLES_LOCKFILE=" + open(t) + "/lock"},
					SysProcAttr: as(unix.CAP_NET_ADMIN, unix.CAP_NET_RAW),
				}.Run(t)
			})
			expect(t, r, 0, "IPv4 and IPv6: outbound, own mark", "excluded uid 1337: no capability SETUID")

			p.Inside.Listen(t, pod.Answer{Who: "out", Ports: []int{15001}, Proxy: true})
			expect(t, redirect(t, p, "--preset", "istio", "--backend", backend, "--verify"), 0, "port 15001 is taken", "IPv4 and IPv6: inbound")
		})
	}
	t.Run("in vain", func(t *testing.T) {
		t.Parallel()
		p := pod.New(t)
		p.Outside.Listen(t, pod.Answer{Who: "server", Ports: []int{8080}})
		for _, command := range []string{
			"nft add table ip other", "nft add chain ip other c { type nat hook output priority -150 ; }",
			"nft add rule ip other c tcp dport 8080 dnat to 203.0.113.10:8080",
		} {
			if output, err := p.Inside.Output(t, strings.Fields(command)...); err != nil {
				t.Fatalf("%s: %v\n%s", command, err, output)
			}
		}
		expect(t, redirect(t, p, "--preset", "istio", "--verify"), 78, "outbound IPv4 (192.0.2.1:8080): arrived elsewhere")
	})
}

// --dry-run --diff tells what would change on this machine, and changes nothing.
func TestDryRunDiff(t *testing.T) {
	needRoot(t, "network namespaces")
	for _, backend := range redirectBackends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := pod.New(t)
			diff := func(options ...string) string {
				args := append([]string{"--dry-run", "--diff", "iptables-redirect", "--preset", "istio", "--backend", backend}, options...)
				r := inside(t, p, slipway.Command{Args: args})
				expect(t, r, 0)
				_, changes, _ := strings.Cut(r.Stdout, "would change here:\n")
				changes, _, _ = strings.Cut(changes, "needs:")
				return strings.TrimSpace(changes)
			}
			if got := diff(); !strings.Contains(got, "+ chain") || strings.Contains(got, "- ") && strings.Contains(got, "- chain") {
				t.Errorf("where no rules are: got\n%s", got)
			}
			clean(t, p)
			expect(t, redirect(t, p, "--preset", "istio", "--backend", backend), 0)
			if got := diff(); got != "nothing" {
				t.Errorf("where they are: got\n%s\nwant nothing", got)
			}
			got := diff("--exclude-outbound-ports", "22")
			for line := range strings.Lines(got) {
				if !strings.HasPrefix(strings.TrimSpace(line), "+ ") || !strings.Contains(line, "22") {
					t.Errorf("for another port: got\n%s\nwant the rules of port 22 alone", got)
					break
				}
			}
		})
	}
}

// What --dry-run prints is what is applied: loaded by nft and iptables-restore, it makes the same rules and routes.
func TestDryRunShowsWhatIsApplied(t *testing.T) {
	needRoot(t, "network namespaces")
	for _, backend := range redirectBackends {
		for _, s := range scenarios {
			t.Run(backend+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				options := append([]string{"iptables-redirect", "--backend", backend}, s.options...)
				shown := slipway.Run(t, append([]string{"--dry-run"}, options...)...)
				expect(t, shown, 0)
				var text strings.Builder
				for line := range strings.Lines(shown.Stdout) {
					if _, rule, ok := strings.Cut(line, "        | "); ok {
						text.WriteString(rule)
					}
				}
				loaded, applied := pod.New(t), pod.New(t)
				load(t, loaded, backend, text.String())
				for line := range strings.Lines(text.String()) {
					if command, ok := strings.CutPrefix(strings.TrimSpace(line), "# ip "); ok {
						loaded.Inside.IP(t, command)
					}
				}
				expect(t, inside(t, applied, slipway.Command{Args: options}), 0)
				if got, want := rulesOf(t, loaded, backend), rulesOf(t, applied, backend); got != want || !strings.Contains(strings.ToLower(got), "slipway") {
					t.Errorf("what was shown makes\n%s\nwhat was applied is\n%s", got, want)
				}
			})
		}
	}
}

// load loads rules into a pod, without slipway.
func load(t *testing.T, p *pod.Pod, backend, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules")
	commands := map[string]string{file: "nft -f " + file}
	write(t, file, text)
	if backend != "nft" {
		v4, v6, _ := strings.Cut(text, "# IPv6\n")
		write(t, file+"4", v4)
		write(t, file+"6", v6)
		commands = map[string]string{file + "4": backend + "-restore --noflush ", file + "6": "ip6" + strings.TrimPrefix(backend, "ip") + "-restore --noflush "}
	}
	for rules, command := range commands {
		if backend != "nft" {
			command = "env XTABLES_LOCKFILE=" + file + ".lock " + command + rules
		}
		if output, err := p.Inside.Output(t, strings.Fields(command)...); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, output)
		}
	}
}

// one is a set of one element, which nft makes a comparison when it reads it.
var one = regexp.MustCompile(`\{ ([^,{}]+) \}`)

// rulesOf lists what a back end has set, without counters and dates.
func rulesOf(t *testing.T, p *pod.Pod, backend string) string {
	t.Helper()
	commands := []string{
		"ip rule", "ip -6 rule", "ip route show table all", "ip -6 route show table all", "ip -6 address show lo", "nft list table inet slipway",
	}
	if backend != "nft" {
		commands = commands[:len(commands)-1]
		for _, table := range []string{"raw", "mangle", "nat"} {
			commands = append(commands, backend+"-save -t "+table, "ip6"+strings.TrimPrefix(backend, "ip")+"-save -t "+table)
		}
	}
	var text strings.Builder
	for _, command := range commands {
		output, err := p.Inside.Output(t, strings.Fields(command)...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, output)
		}
		for line := range strings.Lines(output) {
			line, _, _ = strings.Cut(line, " [")
			ours := strings.Contains(line, "SLIPWAY_") // tables of iptables that are empty may be there or not
			if strings.HasPrefix(command, "ip ") {
				ours = strings.Contains(line, " 133") || strings.Contains(line, "::6/128")
			}
			if ours || backend == "nft" && strings.HasPrefix(command, "nft") {
				text.WriteString(strings.TrimRight(line, "\n") + "\n")
			}
		}
	}
	return one.ReplaceAllString(text.String(), "$1")
}

// nft and iptables-restore take every golden file of the rules, one after the other in place of the one before.
func TestGoldenRulesLoad(t *testing.T) {
	needRoot(t, "network namespaces")
	t.Parallel()
	files, err := filepath.Glob("../internal/netfilter/testdata/*.nft")
	if err != nil || len(files) < 10 {
		t.Fatalf("got %d golden files, %v", len(files), err)
	}
	for _, backend := range redirectBackends {
		p := pod.New(t)
		for _, file := range files {
			text := "add table inet slipway\ndelete table inet slipway\n" + read(t, file)
			if backend != "nft" {
				base := strings.TrimSuffix(file, ".nft")
				text = read(t, base+".v4") + "# IPv6\n" + read(t, base+".v6")
			}
			load(t, p, backend, text)
			expect(t, redirect(t, p, "--remove"), 0)
		}
		clean(t, p)
	}
}
