package netfilter

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/slipway-init/slipway/internal/fault"
)

// Options say which connections go to the proxy. The zero value redirects nothing.
type Options struct {
	Outbound uint16 // the proxy's port for connections of the pod; 0 leaves them alone
	Inbound  uint16 // the proxy's port for connections to the pod; 0 leaves them alone
	TProxy   bool   // inbound connections keep their addresses (TPROXY), instead of REDIRECT

	ProxyUIDs, ProxyGIDs []IDs // whose connections are the proxy's own and pass

	// Inbound ports to redirect, all when none is given; and those that are left alone.
	IncludeInbound, ExcludeInbound []Ports
	ExcludeSources                 []netip.Prefix // from where inbound connections are left alone
	// Outbound ports and networks to redirect, which add to each other; all when none is given.
	IncludeOutbound     []Ports
	IncludeDestinations []netip.Prefix
	ExcludeOutbound     []Ports        // outbound ports that are left alone, of TCP and UDP
	ExcludeDestinations []netip.Prefix // networks to which outbound connections are left alone
	ExcludeInterfaces   []string       // neither in nor out; a last "+" stands for any ending
	VirtualInterfaces   []string       // what comes in there is of a guest behind the pod, and redirected as outbound
	LoopbackSources     []netip.Addr   // what the proxy binds to when it connects to its own application; passes
	RedirectSelf        bool           // the proxy's connections to the pod's own address go to Inbound
	DropInvalid         bool           // packets that conntrack finds invalid are dropped, not answered by a reset
	DNS                 uint16         // the proxy's port for DNS, UDP and TCP; 0 leaves DNS alone
	DNSServers          []netip.Addr   // to which queries are redirected; to all servers when none is given
}

// Nowhere returns where Verify connects to, unless the options leave those addresses alone. RFC 5737 and RFC 3849 keep
// them for documentation: what is not redirected gets nowhere.
func Nowhere() []netip.AddrPort {
	return []netip.AddrPort{netip.AddrPortFrom(nowhere(ipv4), 8080), netip.AddrPortFrom(nowhere(ipv6), 8080)}
}

func nowhere(f family) netip.Addr {
	if f == ipv4 {
		return netip.AddrFrom4([4]byte{192, 0, 2, 1})
	}
	return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: 1})
}

// most bounds each list: as many rules or set elements as the kernel takes in one message.
const most = 500

// Check returns what is wrong with the options, as usage faults.
func (o *Options) Check() error {
	var faults []error
	fail := func(format string, args ...any) { faults = append(faults, fault.New(fault.Usage, format, args...)) }
	if o.Outbound == 0 && o.Inbound == 0 && o.DNS == 0 {
		fail("nothing to redirect: give outbound-port, inbound-port or a preset")
	}
	if (o.Outbound != 0 || o.DNS != 0) && len(o.ProxyUIDs)+len(o.ProxyGIDs) == 0 {
		fail("the proxy's own connections would be redirected to itself: give exclude-uid or exclude-gid")
	}
	if o.TProxy && o.Inbound == 0 {
		fail("mode tproxy is for inbound connections: give inbound-port")
	}
	if o.TProxy && o.Inbound == o.Outbound {
		fail("mode tproxy needs a port for inbound connections alone")
	}
	if o.RedirectSelf && (o.Inbound == 0 || o.Outbound == 0) {
		fail("redirect-self needs outbound-port and inbound-port")
	}
	if len(o.DNSServers) > 0 && o.DNS == 0 {
		fail("dns-servers needs dns-port")
	}
	if len(o.VirtualInterfaces) > 0 && o.Outbound == 0 {
		fail("virtual-interfaces needs outbound-port")
	}
	for _, name := range slices.Concat(o.ExcludeInterfaces, o.VirtualInterfaces) {
		if err := checkInterface(name); err != nil {
			faults = append(faults, err)
		}
	}
	for _, addr := range slices.Concat(o.DNSServers, o.LoopbackSources) {
		if !addr.IsValid() || addr.Zone() != "" || addr.Is4In6() {
			fail("%s is not an address that a rule can name", addr)
		}
	}
	for _, list := range []struct {
		name    string
		entries int
	}{
		{"exclude-uid", len(o.ProxyUIDs)},
		{"exclude-gid", len(o.ProxyGIDs)},
		{"include-inbound-ports", len(o.IncludeInbound)},
		{"exclude-inbound-ports", len(o.ExcludeInbound)},
		{"exclude-inbound-cidrs", len(o.ExcludeSources)},
		{"include-outbound-ports", len(o.IncludeOutbound)},
		{"exclude-outbound-ports", len(o.ExcludeOutbound)},
		{"include-outbound-cidrs", len(o.IncludeDestinations)},
		{"exclude-outbound-cidrs", len(o.ExcludeDestinations)},
		{"exclude-interfaces", len(o.ExcludeInterfaces)},
		{"virtual-interfaces", len(o.VirtualInterfaces)},
		{"loopback-sources", len(o.LoopbackSources)},
		{"dns-servers", len(o.DNSServers)},
	} {
		if list.entries > most {
			fail("%s has %d entries, over %d", list.name, list.entries, most)
		}
	}
	return errors.Join(faults...)
}

// checkInterface refuses what the kernel would not take as an interface's name, see dev_valid_name in net/core/dev.c.
func checkInterface(name string) error {
	stem := strings.TrimSuffix(name, "+")
	if stem == "" || len(name) > 15 || stem == "." || stem == ".." ||
		strings.ContainsFunc(stem, func(r rune) bool {
			return r == '/' || r == ':' || r == '+' || r == '*' || r == '"' || r == '\\' || r > unicode.MaxASCII || !unicode.IsGraphic(r) || r == ' ' || r == '!'
		}) {
		return fault.New(fault.Usage, "%q is not the name of an interface", name)
	}
	return nil
}
