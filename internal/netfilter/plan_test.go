package netfilter

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-init/slipway/internal/fault"
)

func ports(t testing.TB, texts ...string) []Ports       { return parsed(t, ParsePorts, texts) }
func ids(t testing.TB, texts ...string) []IDs           { return parsed(t, ParseIDs, texts) }
func nets(t testing.TB, texts ...string) []netip.Prefix { return parsed(t, ParsePrefix, texts) }
func addrs(t testing.TB, texts ...string) []netip.Addr  { return parsed(t, netip.ParseAddr, texts) }

func parsed[T any](t testing.TB, parse func(string) (T, error), texts []string) []T {
	t.Helper()
	var items []T
	for _, text := range texts {
		item, err := parse(text)
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, item)
	}
	return items
}

// cases are named as istio's capture tests name theirs, where there is one.
func cases(t testing.TB) map[string]Options {
	proxy := ids(t, "1337")
	base := Options{Outbound: 15001, Inbound: 15006, ProxyUIDs: proxy, ProxyGIDs: proxy}
	with := func(change func(*Options)) Options {
		o := base
		change(&o)
		return o
	}
	return map[string]Options{
		"inbound-ports-wildcard": with(func(o *Options) {
			o.ExcludeInbound, o.LoopbackSources, o.RedirectSelf = ports(t, "15008"), addrs(t, "127.0.0.6", "::6"), true
		}),
		"tproxy": with(func(o *Options) {
			o.TProxy, o.ExcludeInbound, o.LoopbackSources, o.RedirectSelf = true, ports(t, "15090", "15020-15021"), addrs(t, "127.0.0.6", "::6"), true
		}),
		"inbound-ports": with(func(o *Options) { o.IncludeInbound = ports(t, "32000-32001", "31000") }),
		"outbound-ports-include": with(func(o *Options) {
			o.IncludeOutbound, o.IncludeDestinations = ports(t, "443", "8000-8010"), nets(t, "10.0.0.0/8", "2001:db8::/32")
		}),
		"ip-range-exclude": with(func(o *Options) { o.ExcludeDestinations = nets(t, "1.1.0.0/16", "9.9.9.9", "2001:db8::/32") }),
		"ipv6-uid-gid":     with(func(o *Options) { o.ProxyUIDs, o.ProxyGIDs = ids(t, "3", "0", "4-9"), ids(t, "1", "2") }),
		"kube-virt-interfaces": with(func(o *Options) {
			o.VirtualInterfaces, o.ExcludeOutbound = []string{"eth1", "eth2"}, ports(t, "22")
		}),
		"exclude-interfaces":        with(func(o *Options) { o.ExcludeInterfaces = []string{"not-istio-nic", "tap+"} }),
		"dns-uid-gid":               with(func(o *Options) { o.DNS, o.RedirectSelf = 15053, true }),
		"dns-servers":               with(func(o *Options) { o.DNS, o.DNSServers = 15053, addrs(t, "127.0.0.53", "2001:db8::53") }),
		"drop-invalid":              with(func(o *Options) { o.DropInvalid = true }),
		"loopback-outbound-iprange": with(func(o *Options) { o.IncludeDestinations = nets(t, "127.1.2.3/32", "9.9.0.0/16") }),
		"many-ports": with(func(o *Options) {
			for port := uint16(1000); port < 1100; port += 2 {
				o.ExcludeOutbound = append(o.ExcludeOutbound, Ports{port, port})
			}
		}),
		"outbound-alone": {Outbound: 4140, ProxyUIDs: ids(t, "2102")},
		"inbound-alone":  {Inbound: 4143, ExcludeSources: nets(t, "10.1.0.0/16", "fd00::/8")},
		"dns-alone":      {DNS: 53, ProxyUIDs: ids(t, "101")},
	}
}

// The rules of each case stand in testdata, for nft and for iptables-restore. UPDATE=1 writes them anew.
func TestGolden(t *testing.T) {
	for name, o := range cases(t) {
		t.Run(name, func(t *testing.T) {
			if err := o.Check(); err != nil {
				t.Fatal(err)
			}
			rules := Plan(o)
			for file, got := range map[string]string{
				name + ".nft": rules.NFT(), name + ".v4": rules.Restore(false), name + ".v6": rules.Restore(true),
			} {
				path := filepath.Join("testdata", file)
				if os.Getenv("UPDATE") != "" {
					if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(got, string(want)); diff != "" {
					t.Errorf("%s (- got, + want):\n%s", file, diff)
				}
			}
		})
	}
}

// A comment must come back from iptables-save as it was given, or no second run would be a skip.
func TestCommentsNeedNoEscapes(t *testing.T) {
	for name, o := range cases(t) {
		for _, c := range Plan(o).Chains {
			for _, r := range c.Rules {
				if strings.ContainsAny(r.Why, `'"\`) || r.Why == "" || len(r.Why) > 80 {
					t.Errorf("%s: the rule %+v has the comment %q", name, r, r.Why)
				}
			}
			if len(c.Rules) == 0 || len(iptablesName(c.Name)) > 28 {
				t.Errorf("%s: chain %s has %d rules, and a name of %d", name, c.Name, len(c.Rules), len(iptablesName(c.Name)))
			}
		}
	}
}

func TestCheck(t *testing.T) {
	proxy := ids(t, "1337")
	tests := []struct {
		options Options
		want    string
	}{
		{Options{}, "nothing to redirect: give outbound-port, inbound-port or a preset"},
		{Options{Outbound: 1}, "the proxy's own connections would be redirected to itself: give exclude-uid or exclude-gid"},
		{Options{DNS: 1}, "the proxy's own connections would be redirected to itself: give exclude-uid or exclude-gid"},
		{Options{Outbound: 1, ProxyUIDs: proxy, TProxy: true}, "mode tproxy is for inbound connections: give inbound-port"},
		{Options{Outbound: 1, Inbound: 1, ProxyUIDs: proxy, TProxy: true}, "mode tproxy needs a port for inbound connections alone"},
		{Options{Inbound: 1, RedirectSelf: true}, "redirect-self needs outbound-port and inbound-port"},
		{Options{Inbound: 1, DNSServers: addrs(t, "1.1.1.1")}, "dns-servers needs dns-port"},
		{Options{Inbound: 1, VirtualInterfaces: []string{"a"}}, "virtual-interfaces needs outbound-port"},
		{Options{Inbound: 1, ExcludeInterfaces: []string{"a-name-that-is-too-long"}}, `"a-name-that-is-too-long" is not the name of an interface`},
		{Options{Inbound: 1, ExcludeInterfaces: []string{`a"b`}}, `"a\"b" is not the name of an interface`},
		{Options{Inbound: 1, ExcludeInterfaces: []string{"+"}}, `"+" is not the name of an interface`},
		{Options{Inbound: 1, LoopbackSources: addrs(t, "fe80::1%eth0")}, "fe80::1%eth0 is not an address that a rule can name"},
		{Options{Inbound: 1, ExcludeInbound: make([]Ports, 501)}, "exclude-inbound-ports has 501 entries, over 500"},
		{Options{Inbound: 1, ExcludeInterfaces: []string{"eth0", "tap+"}}, ""},
	}
	for _, test := range tests {
		err := test.options.Check()
		if got := ""; err != nil {
			got = err.Error()
			if fault.KindOf(err) != fault.Usage || got != test.want {
				t.Errorf("got %q (%s), want %q", got, fault.KindOf(err), test.want)
			}
		} else if test.want != "" {
			t.Errorf("got no fault, want %q", test.want)
		}
	}
}

func TestParse(t *testing.T) {
	type parser struct {
		name string
		call func(string) (string, error)
	}
	port := parser{"port", func(s string) (string, error) { r, err := ParsePorts(s); return r.String(), err }}
	id := parser{"id", func(s string) (string, error) { r, err := ParseIDs(s); return r.String(), err }}
	network := parser{"network", func(s string) (string, error) { p, err := ParsePrefix(s); return p.String(), err }}
	for _, test := range []struct {
		parser     parser
		text, want string // "" is an error
	}{
		{port, "80", "80"},
		{port, "8000-8010", "8000-8010"},
		{port, "1-65535", "1-65535"},
		{port, "7-7", "7"},
		{port, "0", ""},
		{port, "65536", ""},
		{port, "9-8", ""},
		{port, "a", ""},
		{port, "", ""},
		{port, "1-", ""},
		{port, "-1", ""},
		{port, "80:90", ""},
		{id, "0", "0"},
		{id, "1000-1999", "1000-1999"},
		{id, "4294967294", "4294967294"},
		{id, "4294967295", ""},
		{id, "root", ""},
		{id, "-1", ""},
		{id, "", ""},
		{network, "10.1.2.3/8", "10.0.0.0/8"},
		{network, "10.1.2.3", "10.1.2.3/32"},
		{network, "2001:DB8::1", "2001:db8::1/128"},
		{network, "::/0", "::/0"},
		{network, "10.0.0.0/33", ""},
		{network, "::ffff:10.0.0.1", ""},
		{network, "fe80::1%eth0", ""},
		{network, "db", ""},
		{network, "", ""},
	} {
		got, err := test.parser.call(test.text)
		if (err != nil) != (test.want == "") || (err == nil && got != test.want) {
			t.Errorf("%s %q: got %q, %v, want %q", test.parser.name, test.text, got, err, test.want)
		}
		if err != nil && (!strings.Contains(err.Error(), "write ") || !strings.HasPrefix(err.Error(), `"`+test.text+`"`)) {
			t.Errorf("%s %q: the fault %q does not say what to write", test.parser.name, test.text, err)
		}
	}
}

// Routes are shown as ip(8) would set them.
func TestRoutes(t *testing.T) {
	if got := Plan(cases(t)["inbound-ports"]).Routes(); got != nil {
		t.Errorf("got %q, want none", got)
	}
	want := []string{
		"ip rule add fwmark 1337 lookup 133 priority 32765", "ip route add local default dev lo table 133",
		"ip -6 rule add fwmark 1337 lookup 133 priority 32765", "ip -6 route add local default dev lo table 133",
		"ip -6 address add ::6/128 dev lo nodad",
	}
	if got := Plan(cases(t)["tproxy"]).Routes(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMergedAndDistinct(t *testing.T) {
	if got, want := merged(ports(t, "10-20", "1", "2", "15-30", "40", "65535", "31")), ports(t, "1-2", "10-31", "40", "65535"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	got := distinct(nets(t, "10.1.0.0/16", "10.0.0.0/8", "10.0.0.0/8", "192.0.2.1", "::/0", "2001:db8::/32"))
	if want := nets(t, "10.0.0.0/8", "192.0.2.1", "::/0"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
