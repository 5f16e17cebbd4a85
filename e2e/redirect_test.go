package e2e

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/pod"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

// redirectBackends are those that a node may have; each must do the same.
var redirectBackends = []string{"nft", "iptables-nft", "iptables-legacy"}

// Marks, as internal/netfilter has them.
const (
	ownMark    = 0x736c6970
	proofMark  = 0x736c7076
	tproxyMark = 1337
)

// fate is what becomes of a connection.
type fate string

const (
	passes fate = "passes" // as if there were no rules
	out    fate = "out"    // to the proxy's outbound port
	in     fate = "in"     // to the proxy's inbound port
	dns    fate = "dns"    // to the proxy's port for DNS
)

// journey is a connection, and what is to become of it.
type journey struct {
	name    string
	call    pod.Call // but for the addresses
	outside bool     // it comes from outside
	from    pod.Both // what it is bound to; zero is the kernel's choice
	to      pod.Both
	port    int
	fate    fate
	bare    string // the answer without rules; "" is that of who listens on the port there
	only    bool   // it has no way back without rules, and is made with them alone
}

// Users of the tests: an application, and the meshes' proxies.
const (
	application = 1000
	istio       = 1337
	linkerd     = 2102
)

func app(name string, to pod.Both, port int, fate fate) journey {
	return user(name, application, to, port, fate)
}

func user(name string, uid int, to pod.Both, port int, fate fate) journey {
	return journey{name: name, call: pod.Call{UID: uid, GID: application}, to: to, port: port, fate: fate}
}

func group(name string, gid int, to pod.Both, port int, fate fate) journey {
	return journey{name: name, call: pod.Call{UID: application, GID: gid}, to: to, port: port, fate: fate}
}

func inbound(name string, port int, fate fate) journey {
	return journey{name: name, outside: true, to: pod.Own, port: port, fate: fate}
}

// with changes a journey.
func (j journey) with(change func(*journey)) journey {
	change(&j)
	return j
}

func udp(j *journey)                   { j.call.Network = "udp" }
func marked(j *journey)                { j.call.Mark = ownMark }
func unheard(j *journey)               { j.bare = "refused" }
func from(b pod.Both) func(j *journey) { return func(j *journey) { j.from = b } }

// scenario is a set of options and what it does to connections.
type scenario struct {
	name        string
	options     []string
	transparent bool // the inbound proxy takes TPROXY's connections
	journeys    []journey
}

// Ports that servers outside, and the application in the pod, listen on.
var (
	serverPorts      = []int{22, 53, 80, 443, 3306, 4567, 4568, 4569, 8999, 9000, 9001, 9002, 9003, 30000, 30019, 30020}
	applicationPorts = []int{53, 4190, 4191, 4192, 8080, 8081, 9090, 9091, 9092, 15008, 15020, 15021, 15090}
)

func manyPorts() string {
	var items []string
	for port := 30000; port < 30020; port++ {
		items = append(items, strconv.Itoa(port), fmt.Sprintf("%d-%d", port+1000, port+1000))
	}
	return strings.Join(items, ",")
}

var scenarios = []scenario{
	{
		name: "istio",
		options: []string{
			"--preset", "istio", "--exclude-outbound-ports", "22,3306,9000-9002",
			"--exclude-outbound-cidrs", "198.51.100.0/24,2001:db8:20::/48",
		},
		journeys: []journey{
			app("a service", pod.Server, 80, out),
			app("another port", pod.Server, 443, out),
			app("excluded port", pod.Server, 22, passes),
			app("another excluded port", pod.Server, 3306, passes),
			app("before an excluded range", pod.Server, 8999, out),
			app("first of an excluded range", pod.Server, 9000, passes),
			app("within an excluded range", pod.Server, 9001, passes),
			app("last of an excluded range", pod.Server, 9002, passes),
			app("behind an excluded range", pod.Server, 9003, out),
			app("excluded network", pod.Other, 80, passes),
			app("UDP", pod.Server, 80, passes).with(udp),
			app("UDP to an excluded port", pod.Server, 22, passes).with(udp),
			app("the resolver, by UDP", pod.Resolver, 53, passes).with(udp),
			app("the resolver, by TCP", pod.Resolver, 53, out),
			user("the proxy", istio, pod.Server, 80, passes),
			group("the proxy's group", istio, pod.Server, 80, passes),
			user("a user before the proxy's", istio-1, pod.Server, 80, out),
			user("a user behind the proxy's", istio+1, pod.Server, 80, out),
			group("a group before the proxy's", istio-1, pod.Server, 80, out),
			group("a group behind the proxy's", istio+1, pod.Server, 80, out),
			user("root", 0, pod.Server, 80, out),
			app("slipway", pod.Server, 80, passes).with(marked),
			app("loopback", pod.Loopback, 8080, passes),
			app("the pod itself", pod.Own, 8080, passes),
			user("the proxy to loopback", istio, pod.Loopback, 8080, passes),
			user("the proxy to the pod", istio, pod.Own, 8080, in),
			group("the proxy's group to the pod", istio, pod.Own, 8080, in),
			user("the proxy to an excluded port of the pod", istio, pod.Own, 15090, passes),
			user("the proxy to its application", istio, pod.Own, 8080, passes).with(from(istioSource)),
			app("proof of the inbound redirect", pod.Server, 80, in).with(func(j *journey) { j.call.Mark = proofMark }),
			inbound("inbound", 8080, in),
			inbound("inbound to another port", 9090, in),
			inbound("inbound to a port without application", 7777, in).with(unheard),
			inbound("inbound to the tunnel", 15008, passes),
			inbound("inbound to merged metrics", 15020, passes),
			inbound("a probe", 15021, passes),
			inbound("inbound to the proxy's metrics", 15090, passes),
			inbound("inbound by UDP", 8080, passes).with(udp),
			inbound("inbound from far away", 8080, in).with(from(pod.Server)),
		},
	},
	{
		name:    "linkerd",
		options: []string{"--preset", "linkerd"},
		journeys: []journey{
			app("a service", pod.Server, 80, out),
			app("excluded port", pod.Server, 4567, passes),
			app("another excluded port", pod.Server, 4568, passes),
			app("behind the excluded ports", pod.Server, 4569, out),
			user("the proxy", linkerd, pod.Server, 80, passes),
			group("a group with the proxy's number", linkerd, pod.Server, 80, out),
			user("the proxy to the pod", linkerd, pod.Own, 8080, passes),
			app("the pod itself", pod.Own, 8080, passes),
			app("loopback", pod.Loopback, 8080, passes),
			app("slipway", pod.Server, 80, passes).with(marked),
			inbound("inbound", 8080, in),
			inbound("inbound to the control port", 4190, passes),
			inbound("inbound to the admin port", 4191, passes),
			inbound("inbound behind the excluded ports", 4192, in),
		},
	},
	{
		name: "chosen",
		options: []string{
			"--outbound-port", "15001", "--inbound-port", "15006", "--exclude-uid", "0,2000-2002", "--exclude-gid", "3000-3001,3005",
			"--include-inbound-ports", "8080,9090-9091", "--exclude-inbound-cidrs", "203.0.113.0/24,2001:db8:10::/48", "--probe-ports", "9091",
			"--include-outbound-ports", "443", "--include-outbound-cidrs", "198.51.100.0/24,2001:db8:20::/48", "--drop-invalid",
		},
		journeys: []journey{
			app("included port", pod.Server, 443, out),
			app("included network", pod.Other, 80, out),
			app("neither", pod.Server, 80, passes),
			user("user 0", 0, pod.Other, 80, passes),
			user("before the excluded users", 1999, pod.Other, 80, out),
			user("first of the excluded users", 2000, pod.Other, 80, passes),
			user("one of the excluded users", 2001, pod.Other, 80, passes),
			user("last of the excluded users", 2002, pod.Other, 80, passes),
			user("behind the excluded users", 2003, pod.Other, 80, out),
			group("before the excluded groups", 2999, pod.Other, 80, out),
			group("an excluded group", 3001, pod.Other, 80, passes),
			group("between the excluded groups", 3002, pod.Other, 80, out),
			group("another excluded group", 3005, pod.Other, 80, passes),
			inbound("included port, inbound", 8080, in),
			inbound("included range, inbound", 9090, in),
			inbound("a probe in the included range", 9091, passes),
			inbound("behind the included range, inbound", 9092, passes),
			inbound("from an excluded network", 8080, passes).with(from(pod.Server)),
			inbound("from another network", 8080, in).with(from(pod.Other)),
		},
	},
	{
		name: "many",
		options: []string{
			"--outbound-port", "15001", "--exclude-uid", "1337", "--exclude-outbound-ports", manyPorts(),
		},
		journeys: []journey{
			app("first of 40 excluded ports", pod.Server, 30000, passes),
			app("the 39th of them", pod.Server, 30019, passes),
			app("behind them", pod.Server, 30020, out),
			app("another", pod.Server, 80, out),
			inbound("inbound, which nobody redirects", 8080, passes),
		},
	},
	{
		name:    "dns",
		options: []string{"--preset", "istio", "--dns-port", "15053"},
		journeys: []journey{
			app("a query by UDP", pod.Resolver, 53, dns).with(udp),
			app("a query by TCP", pod.Resolver, 53, dns),
			app("a query to any server", pod.Server, 53, dns).with(udp),
			app("a query to a server in the pod", pod.Loopback, 53, dns).with(udp),
			user("a query of the proxy by UDP", istio, pod.Resolver, 53, passes).with(udp),
			user("a query of the proxy by TCP", istio, pod.Resolver, 53, passes),
			app("a query of slipway", pod.Resolver, 53, passes).with(udp).with(marked),
			app("no query", pod.Server, 80, out),
			app("loopback, no query", pod.Loopback, 8080, passes),
			inbound("a query to the pod", 53, passes).with(udp),
		},
	},
	{
		name: "dns of chosen servers",
		options: []string{
			"--outbound-port", "15001", "--exclude-uid", "1337", "--dns-port", "15053", "--dns-servers", "203.0.113.53,2001:db8:10::53",
		},
		journeys: []journey{
			app("a query by UDP", pod.Resolver, 53, dns).with(udp),
			app("a query by TCP", pod.Resolver, 53, dns),
			app("a query to another server", pod.Server, 53, passes).with(udp),
			user("a query of the proxy", istio, pod.Resolver, 53, passes).with(udp),
		},
	},
	{
		name:    "excluded interface",
		options: []string{"--preset", "istio", "--exclude-interfaces", "gue+"},
		journeys: []journey{
			app("out by the interface", pod.Guest, 80, passes),
			app("out by another", pod.Server, 80, out),
			inbound("in by the interface", 8080, passes).with(func(j *journey) { j.to = guestSide }),
			inbound("in by another", 8080, in),
		},
	},
	{
		name:    "virtual interface",
		options: []string{"--preset", "istio", "--virtual-interfaces", "guest0", "--exclude-outbound-ports", "22"},
		journeys: []journey{
			inbound("a guest's connection", 80, out).with(from(pod.Guest)).with(func(j *journey) { j.to, j.bare = beyond, "unanswered" }),
			inbound("in by another", 8080, in),
			app("a service", pod.Server, 80, out),
		},
	},
	{
		name:        "tproxy",
		options:     []string{"--preset", "istio", "--mode", "tproxy"},
		transparent: true,
		journeys: []journey{
			inbound("inbound", 8080, in),
			inbound("inbound from far away", 8080, in).with(from(pod.Server)),
			inbound("inbound to a port without application", 7777, in).with(unheard),
			inbound("a probe", 15021, passes),
			inbound("inbound by UDP", 8080, passes).with(udp),
			app("a service", pod.Server, 80, out),
			app("loopback", pod.Loopback, 8080, passes),
			app("the pod itself", pod.Own, 8080, passes),
			user("the proxy", istio, pod.Server, 80, passes),
			user("the proxy to the pod", istio, pod.Own, 8080, in),
			user("the proxy to loopback", istio, pod.Loopback, 8080, passes),
			user("the proxy to its application", istio, pod.Own, 8080, passes).with(from(istioSource)),
			user("the proxy to its application, as a client", istio, pod.Own, 8080, passes).with(from(pod.Gateway)).with(func(j *journey) {
				j.call.AnyFrom, j.call.Mark, j.only = true, tproxyMark, true
			}),
			app("slipway", pod.Server, 80, passes).with(marked),
		},
	},
}

var (
	istioSource = pod.Both{V4: netip.MustParseAddr("127.0.0.6"), V6: netip.MustParseAddr("::6")}
	guestSide   = pod.Both{V4: netip.MustParseAddr("10.88.0.1"), V6: netip.MustParseAddr("fd88::1")}
	beyond      = pod.Both{V4: netip.MustParseAddr("192.0.2.99"), V6: netip.MustParseAddr("2001:db8:99::99")}
)

// example returns the options of iptables-redirect in an example's manifest.
func example(t *testing.T, file string) []string {
	t.Helper()
	_, rest, found := strings.Cut(read(t, filepath.Join("..", "examples", "mesh-redirect", file)), "- iptables-redirect\n")
	if !found {
		t.Fatalf("%s has no iptables-redirect", file)
	}
	var options []string
	for line := range strings.Lines(rest) {
		option, ok := strings.CutPrefix(strings.TrimSpace(line), "- ")
		if !ok {
			break
		}
		options = append(options, option)
	}
	return options
}

// examples are the manifests, which say what the meshes' own init containers are given.
func examples(t *testing.T) []scenario {
	t.Helper()
	return []scenario{
		{
			name: "example istio", options: example(t, "istio.yaml"),
			journeys: []journey{
				app("a service", pod.Server, 80, out),
				app("another port", pod.Server, 3306, out),
				app("UDP", pod.Resolver, 53, passes).with(udp),
				user("the proxy", istio, pod.Server, 80, passes),
				group("the proxy's group", istio, pod.Server, 80, passes),
				user("root", 0, pod.Server, 80, out),
				app("loopback", pod.Loopback, 8080, passes),
				app("the pod itself", pod.Own, 8080, passes),
				user("the proxy to the pod", istio, pod.Own, 8080, in),
				user("the proxy to its application", istio, pod.Own, 8080, passes).with(from(istioSource)),
				inbound("inbound", 8080, in),
				inbound("inbound to the tunnel", 15008, passes),
				inbound("inbound to merged metrics", 15020, passes),
				inbound("a probe", 15021, passes),
				inbound("inbound to the proxy's metrics", 15090, passes),
			},
		},
		{
			name: "example linkerd", options: example(t, "linkerd.yaml"),
			journeys: []journey{
				app("a service", pod.Server, 80, out),
				app("another port", pod.Server, 3306, out),
				user("the proxy", linkerd, pod.Server, 80, passes),
				user("another user", linkerd+1, pod.Server, 80, out),
				app("loopback", pod.Loopback, 8080, passes),
				app("the pod itself", pod.Own, 8080, passes),
				inbound("inbound", 8080, in),
				inbound("inbound to any port", 15020, in),
			},
		},
	}
}

// Every kind of connection goes where the options say, by each back end and in both families. Each is made without rules
// first: a test that cannot fail says nothing.
func TestRedirect(t *testing.T) {
	needRoot(t, "network namespaces")
	count := 0
	scenarios := append(examples(t), scenarios...)
	for _, s := range scenarios {
		count += len(s.journeys)
	}
	if count < 40 {
		t.Errorf("there are %d journeys for each family, want 40", count)
	}
	t.Logf("%d journeys for each of 2 families and %d back ends", count, len(redirectBackends))
	for _, backend := range redirectBackends {
		for _, s := range scenarios {
			t.Run(backend+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				p := inhabited(t, s.transparent)
				options := append([]string{"--backend", backend}, s.options...)
				s.travel(t, p, "without rules", func(fate) fate { return passes })
				expect(t, redirect(t, p, options...), 0)
				s.travel(t, p, withRules, func(f fate) fate { return f })
				if r := redirect(t, p, options...); r.Exit != 0 || !strings.Contains(r.Stderr, "unchanged") {
					t.Errorf("a second run: got %d, want that it is unchanged\n%s", r.Exit, r.Stderr)
				}
				expect(t, redirect(t, p, "--remove"), 0)
				clean(t, p)
				p.Inside.IP(t, sourceAddress)
				s.travel(t, p, "after their removal", func(fate) fate { return passes })
			})
		}
	}
}

// sourceAddress adds the address that istio's proxy binds to, as the step does for that preset. (Of 127.0.0.0/8 all are
// there.)
const sourceAddress = "address replace ::6/128 dev lo nodad"

// inhabited returns a pod with its application, a proxy of either mesh, and servers outside.
func inhabited(t *testing.T, transparent bool) *pod.Pod {
	t.Helper()
	p := pod.New(t)
	p.Inside.IP(t, sourceAddress)
	p.Inside.Listen(t,
		pod.Answer{Who: "app", Ports: applicationPorts, UID: application},
		pod.Answer{Who: "out", Ports: []int{15001, 4140}, UID: istio, Proxy: true},
		pod.Answer{Who: "in", Ports: []int{15006, 4143}, UID: istio, Proxy: true, Transparent: transparent},
		pod.Answer{Who: "dns", Ports: []int{15053}, UID: istio},
	)
	p.Outside.Listen(t, pod.Answer{Who: "server", Ports: serverPorts})
	return p
}

// redirect runs iptables-redirect in the pod, with a lock of iptables of its own.
func redirect(t *testing.T, p *pod.Pod, options ...string) slipway.Result {
	t.Helper()
	return inside(t, p, slipway.Command{Args: append([]string{"iptables-redirect"}, options...)})
}

// inside runs slipway in the pod.
func inside(t *testing.T, p *pod.Pod, c slipway.Command) (r slipway.Result) {
	t.Helper()
	c.Env = append([]string{"XTABLES_LOCKFILE=" + t.TempDir() + "/lock"}, c.Env...)
	p.Inside.Enter(t, func() { r = c.Run(t) })
	return r
}

const withRules = "with rules"

// travel makes all journeys in both families and checks who answers.
func (s scenario) travel(t *testing.T, p *pod.Pod, when string, becomes func(fate) fate) {
	t.Helper()
	for _, family := range []int{4, 6} {
		for _, j := range s.journeys {
			if j.only && when != withRules {
				continue
			}
			to := netip.AddrPortFrom(j.to.Of(family), uint16(j.port))
			call := j.call
			call.From, call.To = j.from.Of(family), to
			start := p.Inside
			if j.outside {
				start = p.Outside
			}
			want := j.answer(to, becomes(j.fate))
			got := start.Call(call)
			if got != want {
				t.Errorf("%s, %s, to %s: got %q, want %q", when, j.name, to, got, want)
			}
		}
	}
}

// answer returns what a call of such a fate is answered.
func (j journey) answer(to netip.AddrPort, f fate) string {
	switch {
	case f == dns:
		return "dns 15053"
	case f != passes:
		return string(f) + " " + to.String()
	case j.bare != "":
		return j.bare
	}
	who := "server"
	if ours := slices.Contains([]pod.Both{pod.Own, pod.Loopback, guestSide}, j.to); ours {
		who = "app"
	}
	return fmt.Sprintf("%s %d", who, j.port)
}

// clean checks that nothing of slipway's is left in the pod.
func clean(t *testing.T, p *pod.Pod) {
	t.Helper()
	for _, command := range []string{
		"nft list ruleset", "iptables-legacy-save", "ip6tables-legacy-save", "ip rule", "ip -6 rule", "ip route show table all", "ip -6 route show table all",
		"ip address show lo",
	} {
		output, err := p.Inside.Output(t, strings.Fields(command)...)
		if err != nil {
			t.Errorf("%s: %v\n%s", command, err, output)
		}
		for line := range strings.Lines(output) {
			if strings.Contains(strings.ToLower(line), "slipway") || strings.Contains(line, "lookup 133") || strings.Contains(line, "table 133") || strings.Contains(line, "::6/128") {
				t.Errorf("%s: %s is left", command, line)
			}
		}
	}
}
