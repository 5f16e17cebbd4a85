package pod

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"
)

// Pod is a pod and its surroundings.
type Pod struct {
	Inside  *Namespace
	Outside *Namespace
}

// Addresses, of IPv4 and IPv6. The pod's is on eth0; the others are of servers outside, all of them behind one route.
var (
	Own      = Both{netip.MustParseAddr("10.77.0.2"), netip.MustParseAddr("fd77::2")}
	Gateway  = Both{netip.MustParseAddr("10.77.0.1"), netip.MustParseAddr("fd77::1")}
	Server   = Both{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("2001:db8:10::10")}
	Other    = Both{netip.MustParseAddr("198.51.100.20"), netip.MustParseAddr("2001:db8:20::20")}
	Resolver = Both{netip.MustParseAddr("203.0.113.53"), netip.MustParseAddr("2001:db8:10::53")}
	Loopback = Both{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}
	Guest    = Both{netip.MustParseAddr("10.88.0.2"), netip.MustParseAddr("fd88::2")} // behind the interface guest0 of the pod
)

// Both is an address in each family.
type Both struct{ V4, V6 netip.Addr }

// Of returns the address of family 4 or 6.
func (b Both) Of(family int) netip.Addr {
	if family == 4 {
		return b.V4
	}
	return b.V6
}

// New returns a pod with nothing in it, which ends with the test. It needs root.
func New(t testing.TB) *Pod {
	t.Helper()
	p := &Pod{Inside: newNamespace(t), Outside: newNamespace(t)}
	p.Inside.IP(t, "link set lo up")
	// A peer is made where a process of that namespace is, and moved by the path of the namespace.
	p.Inside.Enter(t, func() {
		holder := exec.Command("sleep", "600")
		p.Outside.Enter(t, func() {
			if err := holder.Start(); err != nil {
				t.Fatal(err)
			}
		})
		defer func() {
			_ = holder.Process.Kill()
			_ = holder.Wait()
		}()
		peer := "netns " + itoa(holder.Process.Pid)
		p.Inside.IP(t,
			"link add eth0 type veth peer name peer0 "+peer,
			"link add guest0 type veth peer name peer1 "+peer,
		)
	})
	p.Outside.IP(t,
		"link set lo up",
		"address add 10.77.0.1/24 dev peer0", "address add fd77::1/64 dev peer0 nodad", "link set peer0 up",
		"address add 10.88.0.2/24 dev peer1", "address add fd88::2/64 dev peer1 nodad", "link set peer1 up",
	)
	for _, addr := range []Both{Server, Other, Resolver} {
		p.Outside.IP(t, "address add "+addr.V4.String()+"/32 dev lo", "address add "+addr.V6.String()+"/128 dev lo nodad")
	}
	p.Inside.IP(t,
		"address add 10.77.0.2/24 dev eth0", "address add fd77::2/64 dev eth0 nodad", "link set eth0 up",
		"address add 10.88.0.1/24 dev guest0", "address add fd88::1/64 dev guest0 nodad", "link set guest0 up",
		"route add default via 10.77.0.1", "-6 route add default via fd77::1",
	)
	// What a guest sends to elsewhere goes through the pod: a router's table for what comes from its addresses.
	p.Outside.IP(t,
		"rule add from 10.88.0.2 lookup 88", "-6 rule add from fd88::2 lookup 88",
		"route add default via 10.88.0.1 dev peer1 table 88", "-6 route add default via fd88::1 dev peer1 table 88",
	)
	return p
}

// IP runs commands of ip(8) in the namespace.
func (n *Namespace) IP(t testing.TB, commands ...string) {
	t.Helper()
	for _, command := range commands {
		if output, err := n.Output(t, append([]string{"ip"}, strings.Fields(command)...)...); err != nil {
			t.Fatalf("ip %s: %v\n%s", command, err, output)
		}
	}
}

// Output runs a program in the namespace and returns what it printed.
func (n *Namespace) Output(t testing.TB, args ...string) (output string, err error) {
	t.Helper()
	n.Enter(t, func() {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		var text []byte
		text, err = cmd.CombinedOutput()
		output = string(text)
	})
	return output, err
}
