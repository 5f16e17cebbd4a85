package netfilter

import (
	"fmt"
	"net/netip"
	"slices"
)

// Ruleset is all that a redirect needs of the kernel, for both families. It is data: what prints it and what applies it
// must agree on it.
type Ruleset struct {
	Chains []Chain // the tables in the order of the enum Table; in each, a chain that is gone to stands before those that go
	// Policy says that packets with TProxyMark are routed to the pod itself, through TProxyTable.
	Policy bool
	// Addresses are IPv6 addresses that the loopback interface must have. (It has all of 127.0.0.0/8.)
	Addresses []netip.Addr
}

// rulePriority is the one that ip-rule(8) would choose for a first rule. The kernel would choose another one for each, and
// then not see that it has the rule already.
const rulePriority = 32765

// Routes returns what the ruleset needs besides its rules, as commands of ip(8); nil is nothing.
func (r Ruleset) Routes() []string {
	var commands []string
	if r.Policy {
		for _, ip := range []string{"ip", "ip -6"} {
			commands = append(commands,
				fmt.Sprintf("%s rule add fwmark %d lookup %d priority %d", ip, TProxyMark, TProxyTable, rulePriority),
				fmt.Sprintf("%s route add local default dev lo table %d", ip, TProxyTable))
		}
	}
	for _, addr := range r.Addresses {
		commands = append(commands, fmt.Sprintf("ip -6 address add %s/128 dev lo nodad", addr))
	}
	return commands
}

// Table is one of the kernel's tables that iptables has. For nft it is the type and the priority of a base chain.
type Table int

// The tables that rules stand in, in the order in which a packet meets them.
const (
	Raw Table = iota
	Mangle
	NAT
)

// String returns the table's name in iptables.
func (t Table) String() string { return [...]string{"raw", "mangle", "nat"}[t] }

// Hook is where the kernel enters a chain.
type Hook int

// The hooks. NoHook is of chains that others go to.
const (
	NoHook Hook = iota
	Prerouting
	Output
)

// Chain is a list of rules. A packet that meets its end goes on where the chain was entered from the kernel.
type Chain struct {
	Table Table
	Hook  Hook
	Name  string // "prerouting", "output" or a word of its own; unique within the table
	Rules []Rule
}

// Rule does something with the packets that all of its conditions hold for. A condition with its zero value holds for
// all.
type Rule struct {
	Why string // a comment for those who list the kernel's rules

	In, Out         string // the interface; a last "+" stands for any ending
	Sources         []netip.Prefix
	Destinations    []netip.Prefix
	NotDestinations []netip.Prefix
	Protocol        Protocol
	SourcePorts     []Ports
	Ports           []Ports // of the destination
	UIDs, GIDs      []IDs   // who owns the socket
	Mark, NotMark   uint32  // of the packet
	ConnMark        uint32  // of the connection
	State           State
	Verdict         Verdict
}

// Protocol is a transport protocol.
type Protocol int

// The protocols; AnyProtocol is the zero value.
const (
	AnyProtocol Protocol = iota
	TCP
	UDP
)

// String returns the protocol's name, "" for any.
func (p Protocol) String() string { return [...]string{"", "tcp", "udp"}[p] }

// State is what conntrack knows of a packet.
type State int

// The states; AnyState is the zero value.
const (
	AnyState State = iota
	Invalid
	Established // or related
)

// Verdict is what becomes of a packet.
type Verdict struct {
	Action Action
	Chain  string // for Goto: the name of a chain of the same table
	Port   uint16 // for Redirect and TProxy
	Value  uint32 // for SetMark and SetZone
}

// Action is a kind of verdict.
type Action int

// The actions.
const (
	Return      Action = iota // leave slipway's rules
	Accept                    // leave the table
	Drop                      // drop the packet
	Goto                      // go to Chain, and leave slipway's rules at its end
	Redirect                  // to Port of the pod itself
	TProxy                    // to the socket that listens on Port, addresses unchanged, with TProxyMark
	SetMark                   // mark the packet with Value, and go on
	SaveMark                  // mark the connection as the packet is, and go on
	RestoreMark               // mark the packet as the connection is, and go on
	SetZone                   // track the packet's connection in zone Value
)

// family is IPv4 or IPv6.
type family int

const (
	ipv4 family = 4
	ipv6 family = 6
)

func (f family) holds(addr netip.Addr) bool { return addr.Is4() == (f == ipv4) }

// of returns the networks of a family.
func (f family) of(prefixes []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(prefixes), func(p netip.Prefix) bool { return !f.holds(p.Addr()) })
}

// narrowed returns the rule with the networks of one family alone, and whether it can hold for that family's packets
// at all.
func (r Rule) narrowed(f family) (Rule, bool) {
	given := [2]bool{len(r.Sources) > 0, len(r.Destinations) > 0}
	r.Sources, r.Destinations, r.NotDestinations = f.of(r.Sources), f.of(r.Destinations), f.of(r.NotDestinations)
	return r, given == [2]bool{len(r.Sources) > 0, len(r.Destinations) > 0}
}

// addressed reports whether the rule names networks, so that it is another one for each family.
func (r Rule) addressed() bool {
	return len(r.Sources)+len(r.Destinations)+len(r.NotDestinations) > 0
}
