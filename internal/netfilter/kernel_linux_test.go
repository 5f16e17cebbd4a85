package netfilter

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// scratch returns a back end that works in a network namespace of its own, nil if this user may not make one.
func scratch(t testing.TB) *nft {
	t.Helper()
	made := make(chan *os.File)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		before, _ := os.Readlink("/proc/thread-self/ns/net")
		if unix.Unshare(unix.CLONE_NEWNET) != nil {
			made <- nil
			return
		}
		if after, err := os.Readlink("/proc/thread-self/ns/net"); err != nil || after == before {
			made <- nil // whatever that is, it is not our own
			return
		}
		file, _ := os.Open("/proc/thread-self/ns/net")
		made <- file
	}()
	file := <-made
	if file == nil {
		return nil
	}
	t.Cleanup(func() { _ = file.Close() })
	return &nft{options: []nftables.ConnOption{nftables.WithNetNSFd(int(file.Fd()))}}
}

// The kernel takes every golden ruleset, has it afterwards, and has nothing after its removal.
func TestKernelTakesTheRules(t *testing.T) {
	backend := scratch(t)
	if backend == nil {
		t.Log("an ordinary user makes no network namespace; the end-to-end tests need root, too")
		return
	}
	ctx := context.Background()
	all := cases(t)
	all["most"] = longest()
	for name, o := range all {
		if err := o.Check(); err != nil {
			t.Fatal(err)
		}
		rules := Plan(o)
		for _, want := range []bool{true, false} {
			if changed, err := backend.Apply(ctx, rules); err != nil || changed != want {
				t.Fatalf("%s: got %v, %v, want %v", name, changed, err, want)
			}
			if changes, err := backend.Diff(ctx, rules); err != nil || len(changes) > 0 {
				t.Errorf("%s: the kernel has others: %q, %v", name, changes, err)
			}
		}
	}
	if changed, err := backend.Apply(ctx, Ruleset{}); err != nil || !changed {
		t.Errorf("removal: got %v, %v", changed, err)
	}
	if f, err := backend.found(); err != nil || f.table || len(f.chains) > 0 {
		t.Errorf("after it: got %+v, %v", f, err)
	}
}

// longest has lists as long as they may be, of entries that cannot be merged.
func longest() Options {
	o := Options{Outbound: 1, Inbound: 2}
	for i := range most {
		n := uint16(2*i + 1)
		port, ids := Ports{n, n}, IDs{uint32(n), uint32(n)}
		v4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 0}), 24)
		v6 := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 13, 0xb8, byte(n >> 8), byte(n)}), 48)
		o.ProxyUIDs, o.ProxyGIDs = append(o.ProxyUIDs, ids), append(o.ProxyGIDs, ids)
		o.IncludeInbound, o.ExcludeInbound = append(o.IncludeInbound, port), append(o.ExcludeInbound, port)
		o.IncludeOutbound, o.ExcludeOutbound = append(o.IncludeOutbound, port), append(o.ExcludeOutbound, port)
		o.IncludeDestinations, o.ExcludeDestinations = append(o.IncludeDestinations, v4), append(o.ExcludeDestinations, v6)
		o.ExcludeSources = append(o.ExcludeSources, v6)
	}
	return o
}

// Options to rules never panics, and the kernel takes whatever Check lets pass.
func FuzzPlan(f *testing.F) {
	for _, o := range cases(f) {
		f.Add(o.Outbound, o.Inbound, o.DNS, o.TProxy, o.RedirectSelf, o.DropInvalid, list(o.ProxyUIDs), list(o.ProxyGIDs), list(o.IncludeInbound),
			list(o.ExcludeInbound), list(o.IncludeOutbound), list(o.ExcludeOutbound), list(o.ExcludeSources), list(o.IncludeDestinations),
			list(o.ExcludeDestinations), strings.Join(o.ExcludeInterfaces, ", "), strings.Join(o.VirtualInterfaces, ", "), list(o.DNSServers), list(o.LoopbackSources))
	}
	backend := scratch(f)
	f.Fuzz(func(t *testing.T, outbound, inbound, dns uint16, tproxy, self, invalid bool, uids, gids, inIn, exIn, inOut, exOut, sources, inNet, exNet,
		exIf, virtual, servers, loopbacks string,
	) {
		o := Options{
			Outbound: outbound, Inbound: inbound, DNS: dns, TProxy: tproxy, RedirectSelf: self, DropInvalid: invalid,
			ProxyUIDs: valid(uids, ParseIDs), ProxyGIDs: valid(gids, ParseIDs), IncludeInbound: valid(inIn, ParsePorts),
			ExcludeInbound: valid(exIn, ParsePorts), IncludeOutbound: valid(inOut, ParsePorts), ExcludeOutbound: valid(exOut, ParsePorts),
			ExcludeSources: valid(sources, ParsePrefix), IncludeDestinations: valid(inNet, ParsePrefix), ExcludeDestinations: valid(exNet, ParsePrefix),
			ExcludeInterfaces: words(exIf), VirtualInterfaces: words(virtual),
		}
		for _, p := range valid(servers, ParsePrefix) {
			o.DNSServers = append(o.DNSServers, p.Addr())
		}
		for _, p := range valid(loopbacks, ParsePrefix) {
			o.LoopbackSources = append(o.LoopbackSources, p.Addr())
		}
		if o.Check() != nil {
			return
		}
		rules := Plan(o)
		text := rules.NFT() + rules.Restore(false) + rules.Restore(true)
		if backend == nil {
			return
		}
		if _, err := backend.Apply(t.Context(), rules); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if changes, err := backend.Diff(t.Context(), rules); err != nil || len(changes) > 0 {
			t.Fatalf("the kernel has others: %q, %v\n%s", changes, err, text)
		}
	})
}

// valid returns the items of a list that can be parsed.
func valid[T any](text string, parse func(string) (T, error)) []T {
	var items []T
	for _, word := range words(text) {
		if item, err := parse(word); err == nil {
			items = append(items, item)
		}
	}
	return items
}

func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// without answers every message of netlink with an error, as a kernel does that lacks something.
func without(errno unix.Errno) *nft {
	return &nft{options: []nftables.ConnOption{nftables.WithTestDial(func([]netlink.Message) ([]netlink.Message, error) {
		return nil, &netlink.OpError{Op: "receive", Err: errno}
	})}}
}

// What the kernel says of itself decides the exit code.
func TestKernelFaults(t *testing.T) {
	for errno, want := range map[unix.Errno]fault.Kind{
		unix.EPERM: fault.Permission, unix.EOPNOTSUPP: fault.Unsupported, unix.EPROTONOSUPPORT: fault.Unsupported, unix.EINVAL: fault.Unsupported,
		unix.ENOENT: fault.Unsupported, unix.ENOBUFS: fault.Temporary, unix.EBUSY: fault.Temporary,
	} {
		_, err := without(errno).Apply(t.Context(), Plan(cases(t)["tproxy"]))
		if fault.KindOf(err) != want || !errors.Is(err, errno) {
			t.Errorf("%v: got %v, of kind %s, want %s", errno, err, fault.KindOf(err), want)
		}
		if hint := fault.HintOf(err); (hint == "") != want.Transient() || len("hint: "+hint) >= 140 {
			t.Errorf("%v: got the hint %q of %d bytes", errno, hint, len(hint))
		}
	}
}

// tools returns an env with iptables tools that do nothing, for a script that answers for each of them.
func tools(t *testing.T, script string, names ...string) *step.Env {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return &step.Env{
		Getenv:  func(string) string { return dir },
		Environ: func() []string { return []string{"PATH=" + os.Getenv("PATH")} },
		Exec: func(_ context.Context, cmd *exec.Cmd) error {
			return cmd.Run()
		},
	}
}

// Without nf_tables in the kernel, auto takes the iptables tools that work, and says why. Without those, or without the
// permission, it says so.
func TestAutoWithoutNFTables(t *testing.T) {
	const works = `case "$1" in --version) echo iptables v1.8.9;; *) echo "-P OUTPUT ACCEPT";; esac`
	missing := without(unix.EOPNOTSUPP)
	backend, why, err := open(tools(t, works, "iptables-legacy", "ip6tables-legacy"), "auto", missing)
	if err != nil || backend.Name() != "iptables-legacy" || !strings.Contains(why, "the kernel has no nf_tables") {
		t.Errorf("got %v because %q, %v", backend, why, err)
	}
	_, _, err = open(tools(t, "echo broken >&2; exit 3", "iptables-legacy", "iptables"), "auto", missing)
	if fault.KindOf(err) != fault.Unsupported || !strings.Contains(fault.HintOf(err), "nf_tables") {
		t.Errorf("without tools that work: got %v, hint %q", err, fault.HintOf(err))
	}
	if _, _, err := open(tools(t, works, "iptables-legacy"), "auto", without(unix.EPERM)); fault.KindOf(err) != fault.Permission {
		t.Errorf("without permission: got %v", err)
	}
}

// If IPv4 fails after IPv6 was set, IPv6 gets back what it had.
func TestSecondFamilyFails(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	script := fmt.Sprintf(`case "$0 $1" in
*--version) echo iptables v1.8.9;;
*-save*) ;;
*/ip6tables*-restore*) { echo ip6; cat; } >>%[1]s;;
*/iptables*-restore*) echo "Another app is currently holding the xtables lock" >&2; exit 4;;
esac`, log)
	var names []string
	for _, tool := range []string{"", "-save", "-restore"} {
		names = append(names, "iptables-legacy"+tool, "ip6tables-legacy"+tool)
	}
	backend := newIPTables(tools(t, script, names...), "iptables-legacy")
	backend.ipv6 = true
	changed, err := backend.Apply(t.Context(), Plan(cases(t)["outbound-alone"]))
	if fault.KindOf(err) != fault.Temporary || !changed {
		t.Errorf("got %v, %v, want a temporary fault", changed, err)
	}
	content, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	inputs := strings.Split(string(content), "ip6\n")[1:]
	if len(inputs) != 2 || !strings.Contains(inputs[0], "-A SLIPWAY_OUTPUT") || strings.Contains(inputs[1], "-A ") || !strings.Contains(inputs[1], "-X SLIPWAY_OUTPUT") {
		t.Errorf("IPv6 got %q, want the rules and their removal", inputs)
	}
}

func TestToolFaults(t *testing.T) {
	for _, test := range []struct {
		status  int
		message string
		want    fault.Kind
	}{
		{4, "Another app is currently holding the xtables lock. Perhaps you want to use the -w option?", fault.Temporary},
		{4, "Fatal: can't open lock file /run/xtables.lock: Read-only file system", fault.CantCreate},
		{3, "iptables-legacy v1.8.9: can't initialize iptables table `nat': Permission denied (you must be root)", fault.Permission},
		{4, "iptables-nft: Could not fetch rule set generation id: Permission denied (you must be root)", fault.Permission},
		{3, "iptables v1.8.9 (legacy): can't initialize iptables table `nat': Table does not exist (do you need to insmod?)", fault.Unsupported},
		{1, "iptables/1.8.9 Failed to initialize nft: Protocol not supported", fault.Unsupported},
		{2, "unknown option \"--noflush\"", fault.Unsupported},
		{4, "iptables: Resource temporarily unavailable.", fault.Temporary},
	} {
		err := toolFault("iptables-restore", test.status, "# Warning: tables present\n"+test.message+"\nTry --help\n")
		if fault.KindOf(err) != test.want || !strings.Contains(err.Error(), test.message) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, of kind %s, want %s", err, fault.KindOf(err), test.want)
		}
	}
}

func TestLastOf(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8": "10.255.255.255", "192.0.2.1": "192.0.2.1", "0.0.0.0/0": "255.255.255.255", "10.0.0.128/25": "10.0.0.255",
		"2001:db8::/33": "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff", "::/0": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	} {
		if got := lastOf(nets(t, text)[0]).String(); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// Networks that touch are one interval: the kernel takes no two that share an end.
func TestNetworkElements(t *testing.T) {
	elements := networkElements(distinct(nets(t, "10.0.0.0/9", "10.128.0.0/9", "11.0.0.0/8", "255.0.0.0/8")))
	var got []string
	for _, e := range elements {
		got = append(got, fmt.Sprint(e.Key, e.IntervalEnd))
	}
	if want := []string{"[10 0 0 0] false", "[12 0 0 0] true", "[255 0 0 0] false"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
