package netfilter

import (
	"net/netip"
	"slices"
)

// Names of the chains that others go to. Those of the hooks are "prerouting" and "output".
const (
	inboundChain     = "inbound"     // which connections to the pod go to the proxy
	proxyChain       = "proxy"       // connections of the proxy itself
	destinationChain = "destination" // which connections of the pod go to the proxy, by where they lead
	virtualChain     = "virtual"     // connections of a guest behind a virtual interface
	divertChain      = "divert"      // packets of connections that TPROXY took before
)

// Loopback addresses: traffic to them is between the pod's containers, and never redirected.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("::1/128")}

// Plan returns the rules for options that Check has found nothing wrong with. It is a pure function: the same options
// give the same rules.
//
// The order is istio's: what is excluded leaves first, then the proxy's own connections, then DNS, then the pod's
// connections to itself, then what is excluded or included by where it leads.
func Plan(o Options) Ruleset {
	p := planner{o}
	var chains []Chain
	add := func(c Chain) {
		if len(c.Rules) > 0 {
			chains = append(chains, c)
		}
	}
	if o.DNS != 0 {
		add(p.zonesPrerouting())
		add(p.zonesOutput())
	}
	if o.TProxy {
		add(p.divert())
		add(p.tproxyInbound())
	}
	add(p.manglePrerouting())
	if o.TProxy {
		add(p.mangleOutput())
	}
	if o.Outbound != 0 {
		add(p.destination())
		add(p.virtual())
	}
	if o.Inbound != 0 {
		add(p.inbound())
	}
	add(p.proxy())
	add(p.prerouting())
	add(p.output())
	r := Ruleset{Chains: chains, Policy: o.TProxy}
	for _, addr := range o.LoopbackSources {
		if addr.Is6() {
			r.Addresses = append(r.Addresses, addr)
		}
	}
	return r
}

type planner struct{ Options }

var (
	leave = Verdict{Action: Return}
	all   = []Ports{{1, 65535}}
)

func goTo(chain string) Verdict { return Verdict{Action: Goto, Chain: chain} }

// output decides on connections that processes of the pod open.
func (p planner) output() Chain {
	c := Chain{Table: NAT, Hook: Output, Name: "output"}
	c.add(Rule{Why: "connections of slipway pass", Mark: OwnMark, Verdict: leave})
	if p.Inbound != 0 && !p.TProxy {
		c.add(Rule{Why: "slipway proves the inbound redirect", Protocol: TCP, Mark: ProofMark, Verdict: goTo(inboundChain)})
	}
	for _, name := range p.ExcludeInterfaces {
		c.add(Rule{Why: "excluded interface", Out: name, Verdict: leave})
	}
	c.add(p.excludedPorts()...)
	if len(p.LoopbackSources) > 0 {
		c.add(Rule{Why: "from the proxy to its application", Out: "lo", Sources: hosts(p.LoopbackSources), Verdict: leave})
	}
	c.owned(Rule{Why: "connections of the proxy", Verdict: goTo(proxyChain)}, p.Options)
	if p.DNS != 0 {
		for _, protocol := range []Protocol{UDP, TCP} {
			c.add(Rule{
				Why: "DNS", Protocol: protocol, Ports: []Ports{{53, 53}}, Destinations: hosts(p.DNSServers),
				Verdict: Verdict{Action: Redirect, Port: p.DNS},
			})
		}
	}
	if p.Outbound == 0 {
		return c
	}
	if !slices.ContainsFunc(p.IncludeDestinations, func(n netip.Prefix) bool { return n.Addr().IsLoopback() }) {
		c.add(Rule{Why: "from the pod to itself", Out: "lo", Verdict: leave})
	}
	c.add(Rule{Why: "loopback", Destinations: loopback, Verdict: leave})
	c.add(Rule{Why: "by where it leads", Protocol: TCP, Verdict: goTo(destinationChain)})
	return c
}

// proxy decides on the proxy's own connections. They pass, but for one kind: the application has called a service that
// is this pod, and the proxy connects to the pod's own address. That is inbound traffic like any other.
func (p planner) proxy() Chain {
	c := Chain{Table: NAT, Name: proxyChain}
	if len(p.ProxyUIDs)+len(p.ProxyGIDs) == 0 {
		return c
	}
	if p.RedirectSelf && !p.TProxy {
		if p.DNS != 0 {
			c.add(Rule{Why: "the proxy asks a resolver in the pod", Protocol: TCP, Ports: []Ports{{53, 53}}, Verdict: leave})
		}
		c.add(Rule{Why: "the pod calls itself through the proxy", Out: "lo", NotDestinations: loopback, Protocol: TCP, Verdict: goTo(inboundChain)})
	}
	c.add(Rule{Why: "all else of the proxy passes", Verdict: leave})
	return c
}

// destination decides by where a connection of the pod, or of a guest behind it, leads.
func (p planner) destination() Chain {
	c := Chain{Table: NAT, Name: destinationChain}
	if len(p.ExcludeDestinations) > 0 {
		c.add(Rule{Why: "excluded network", Destinations: distinct(p.ExcludeDestinations), Verdict: leave})
	}
	redirect := Verdict{Action: Redirect, Port: p.Outbound}
	if len(p.IncludeOutbound) > 0 {
		c.add(Rule{Why: "included port", Protocol: TCP, Ports: merged(p.IncludeOutbound), Verdict: redirect})
	}
	if len(p.IncludeDestinations) > 0 {
		c.add(Rule{Why: "included network", Protocol: TCP, Destinations: distinct(p.IncludeDestinations), Verdict: redirect})
	}
	if len(p.IncludeOutbound)+len(p.IncludeDestinations) == 0 {
		c.add(Rule{Why: "outbound", Protocol: TCP, Verdict: redirect})
	}
	return c
}

// virtual decides on connections of a guest behind a virtual interface.
func (p planner) virtual() Chain {
	c := Chain{Table: NAT, Name: virtualChain}
	if len(p.VirtualInterfaces) == 0 {
		return c
	}
	c.add(p.excludedPorts()...)
	c.add(Rule{Why: "by where it leads", Protocol: TCP, Verdict: goTo(destinationChain)})
	return c
}

// excludedPorts returns the rules for excluded outbound ports.
func (p planner) excludedPorts() []Rule {
	if len(p.ExcludeOutbound) == 0 {
		return nil
	}
	var rules []Rule
	for _, protocol := range []Protocol{TCP, UDP} {
		rules = append(rules, Rule{Why: "excluded port", Protocol: protocol, Ports: merged(p.ExcludeOutbound), Verdict: leave})
	}
	return rules
}

// prerouting decides on connections that come in from elsewhere.
func (p planner) prerouting() Chain {
	c := Chain{Table: NAT, Hook: Prerouting, Name: "prerouting"}
	for _, name := range p.ExcludeInterfaces {
		c.add(Rule{Why: "excluded interface", In: name, Verdict: leave})
	}
	for _, name := range p.VirtualInterfaces {
		c.add(Rule{Why: "virtual interface", In: name, Verdict: goTo(virtualChain)})
	}
	if p.Inbound != 0 && !p.TProxy {
		c.add(Rule{Why: "inbound", Protocol: TCP, Verdict: goTo(inboundChain)})
	}
	if len(p.VirtualInterfaces) == 0 && (p.Inbound == 0 || p.TProxy) {
		c.Rules = nil // nothing but exclusions from nothing
	}
	return c
}

// inbound decides by port and source on connections to the pod.
func (p planner) inbound() Chain {
	c := Chain{Table: NAT, Name: inboundChain}
	if p.TProxy {
		return c
	}
	c.add(p.excludedInbound()...)
	c.add(Rule{Why: "inbound", Protocol: TCP, Ports: p.inboundPorts(), Verdict: Verdict{Action: Redirect, Port: p.Inbound}})
	return c
}

func (p planner) excludedInbound() []Rule {
	var rules []Rule
	if len(p.ExcludeInbound) > 0 {
		rules = append(rules, Rule{Why: "excluded port", Protocol: TCP, Ports: merged(p.ExcludeInbound), Verdict: leave})
	}
	if len(p.ExcludeSources) > 0 {
		rules = append(rules, Rule{Why: "excluded source", Sources: distinct(p.ExcludeSources), Verdict: leave})
	}
	return rules
}

// inboundPorts returns the included ports, nil for all.
func (p planner) inboundPorts() []Ports {
	if merged := merged(p.IncludeInbound); !slices.Equal(merged, all) {
		return merged
	}
	return nil
}

// manglePrerouting drops what is invalid, and lets TPROXY see what comes in.
func (p planner) manglePrerouting() Chain {
	c := Chain{Table: Mangle, Hook: Prerouting, Name: "prerouting"}
	if p.DropInvalid {
		c.add(Rule{Why: "invalid", State: Invalid, Verdict: Verdict{Action: Drop}})
	}
	if !p.TProxy {
		return c
	}
	for _, name := range slices.Concat(p.ExcludeInterfaces, p.VirtualInterfaces) {
		c.add(Rule{Why: "excluded or virtual interface", In: name, Verdict: leave})
	}
	c.add(Rule{Why: "remember that the proxy speaks for a client", Protocol: TCP, Mark: TProxyMark, Verdict: Verdict{Action: SaveMark}})
	c.add(Rule{Why: "inbound", Protocol: TCP, Verdict: goTo(inboundChain)})
	return c
}

// tproxyInbound is inbound for TPROXY. The kernel takes no NAT for it, so it stands in another table.
func (p planner) tproxyInbound() Chain {
	c := Chain{Table: Mangle, Name: inboundChain}
	c.add(Rule{Why: "from the proxy to its application, as a client", Mark: TProxyMark, Verdict: leave})
	if len(p.LoopbackSources) > 0 {
		c.add(Rule{Why: "from the proxy to its application", In: "lo", Sources: hosts(p.LoopbackSources), Verdict: leave})
	}
	c.add(Rule{Why: "from the pod to itself, past the proxy", In: "lo", NotMark: SelfMark, Verdict: leave})
	c.add(p.excludedInbound()...)
	c.add(Rule{Why: "a connection that goes on", Protocol: TCP, Ports: p.inboundPorts(), State: Established, Verdict: goTo(divertChain)})
	toProxy := Rule{
		Why: "inbound", NotDestinations: loopback, Protocol: TCP, Ports: p.inboundPorts(),
		Verdict: Verdict{Action: TProxy, Port: p.Inbound},
	}
	c.add(toProxy)
	// iptables' TPROXY drops what no socket takes; nft's goes on to the next rule.
	toProxy.Why, toProxy.Verdict = "no proxy listens", Verdict{Action: Drop}
	c.add(toProxy)
	return c
}

// divert has packets of established connections delivered here, whatever address they are for.
func (p planner) divert() Chain {
	c := Chain{Table: Mangle, Name: divertChain}
	c.add(Rule{Why: "deliver here", Verdict: Verdict{Action: SetMark, Value: TProxyMark}})
	c.add(Rule{Why: "deliver here", Verdict: Verdict{Action: Accept}})
	return c
}

// mangleOutput marks what the routing of TPROXY must know.
func (p planner) mangleOutput() Chain {
	c := Chain{Table: Mangle, Hook: Output, Name: "output"}
	for _, name := range p.ExcludeInterfaces {
		c.add(Rule{Why: "excluded interface", Out: name, Verdict: leave})
	}
	c.add(Rule{Why: "from the proxy to its application, as a client", Out: "lo", Protocol: TCP, Mark: TProxyMark, Verdict: leave})
	mark := Verdict{Action: SetMark, Value: SelfMark}
	if p.RedirectSelf {
		c.owned(Rule{Why: "the pod calls itself through the proxy", Out: "lo", NotDestinations: loopback, Protocol: TCP, Verdict: mark}, p.Options)
	}
	c.add(Rule{Why: "slipway proves the inbound redirect", Out: "lo", Protocol: TCP, Mark: ProofMark, Verdict: mark})
	c.add(Rule{Why: "the application answers whom the proxy spoke for", Protocol: TCP, ConnMark: TProxyMark, Verdict: Verdict{Action: RestoreMark}})
	return c
}

// zonesOutput and zonesPrerouting keep the halves of a captured DNS query apart, see upstreamZone.
func (p planner) zonesOutput() Chain {
	c := Chain{Table: Raw, Hook: Output, Name: "output"}
	query := Rule{Protocol: UDP, Ports: []Ports{{53, 53}}}
	upstream, client := Verdict{Action: SetZone, Value: upstreamZone}, Verdict{Action: SetZone, Value: clientZone}

	own := query
	own.Why, own.Mark, own.Verdict = "slipway asks a resolver", OwnMark, upstream
	c.add(own)
	asks := query
	asks.Why, asks.Verdict = "the proxy asks a resolver", upstream
	c.owned(asks, p.Options)
	c.owned(Rule{Why: "the proxy answers", Protocol: UDP, SourcePorts: []Ports{{p.DNS, p.DNS}}, Verdict: client}, p.Options)
	query.Why, query.Destinations, query.Verdict = "the pod asks", hosts(p.DNSServers), client
	c.add(query)
	return c
}

func (p planner) zonesPrerouting() Chain {
	c := Chain{Table: Raw, Hook: Prerouting, Name: "prerouting"}
	c.add(Rule{
		Why: "a resolver answers", Protocol: UDP, SourcePorts: []Ports{{53, 53}}, Sources: hosts(p.DNSServers),
		Verdict: Verdict{Action: SetZone, Value: upstreamZone},
	})
	return c
}

func (c *Chain) add(rules ...Rule) { c.Rules = append(c.Rules, rules...) }

// owned adds the rule for sockets of the proxy's users, and for those of its groups.
func (c *Chain) owned(r Rule, o Options) {
	if len(o.ProxyUIDs) > 0 {
		byUser := r
		byUser.UIDs = merged(o.ProxyUIDs)
		c.add(byUser)
	}
	if len(o.ProxyGIDs) > 0 {
		byGroup := r
		byGroup.GIDs = merged(o.ProxyGIDs)
		c.add(byGroup)
	}
}

// hosts returns addresses as networks.
func hosts(addrs []netip.Addr) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, addr := range addrs {
		prefixes = append(prefixes, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return distinct(prefixes)
}
