package iptablesredirect

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/netfilter"
)

// options are what was asked for, as text.
type options struct {
	flags *pflag.FlagSet

	preset  string
	mode    string
	backend string
	verify  bool
	remove  bool

	outboundPort, inboundPort, dnsPort         uint16
	excludeUID, excludeGID                     []string
	includeInbound, excludeInbound, probePorts []string
	excludeSources                             []string
	includeOutbound, excludeOutbound           []string
	includeNetworks, excludeNetworks           []string
	excludeInterfaces, virtualInterfaces       []string
	dnsServers, loopbackSources                []string
	redirectSelf, dropInvalid                  bool
}

func (o *options) bind(fs *pflag.FlagSet) {
	o.flags = fs
	fs.StringVar(&o.preset, "preset", "", "a mesh's defaults: "+strings.Join(presetNames(), " or "))
	fs.Uint16Var(&o.outboundPort, "outbound-port", 0, "the proxy's port for connections of the pod; without it they are left alone")
	fs.Uint16Var(&o.inboundPort, "inbound-port", 0, "the proxy's port for connections to the pod; without it they are left alone")
	fs.StringVar(&o.mode, "mode", "redirect", "how inbound connections reach the proxy: redirect, or tproxy, which keeps their addresses")
	fs.StringSliceVar(&o.excludeUID, "exclude-uid", nil, "the proxy's numeric user, whose connections pass; ranges as 1000-1999")
	fs.StringSliceVar(&o.excludeGID, "exclude-gid", nil, "the proxy's numeric group, whose connections pass")
	fs.StringSliceVar(&o.includeInbound, "include-inbound-ports", nil, "inbound ports to redirect; all without it, or with *")
	fs.StringSliceVar(&o.excludeInbound, "exclude-inbound-ports", nil, "inbound ports to leave alone")
	fs.StringSliceVar(&o.probePorts, "probe-ports", nil, "ports that the kubelet probes, which are left alone, too")
	fs.StringSliceVar(&o.excludeSources, "exclude-inbound-cidrs", nil, "networks from which inbound connections are left alone")
	fs.StringSliceVar(&o.includeOutbound, "include-outbound-ports", nil, "outbound ports to redirect, besides include-outbound-cidrs; everything without both")
	fs.StringSliceVar(&o.excludeOutbound, "exclude-outbound-ports", nil, "outbound ports to leave alone, of TCP and UDP")
	fs.StringSliceVar(&o.includeNetworks, "include-outbound-cidrs", nil, "networks to which connections are redirected, of IPv4 and IPv6; * is all")
	fs.StringSliceVar(&o.excludeNetworks, "exclude-outbound-cidrs", nil, "networks to which connections are left alone")
	fs.StringSliceVar(&o.excludeInterfaces, "exclude-interfaces", nil, "interfaces that are left alone; a last + stands for any ending")
	fs.StringSliceVar(&o.virtualInterfaces, "virtual-interfaces", nil, "interfaces of guests behind the pod, whose connections are redirected as the pod's own")
	fs.Uint16Var(&o.dnsPort, "dns-port", 0, "the proxy's port for DNS, by UDP and TCP; without it DNS is left alone")
	fs.StringSliceVar(&o.dnsServers, "dns-servers", nil, "addresses of resolvers, to which alone DNS is redirected")
	fs.StringSliceVar(&o.loopbackSources, "loopback-sources", nil, "addresses that the proxy binds to when it connects to its application")
	fs.BoolVar(&o.redirectSelf, "redirect-self", false, "the proxy's connections to the pod's own address are inbound ones")
	fs.BoolVar(&o.dropInvalid, "drop-invalid", false, "drop packets that conntrack finds invalid, instead of answering with a reset")
	fs.StringVar(&o.backend, "backend", "auto", strings.Join(netfilter.Backends(), ", "))
	fs.BoolVar(&o.verify, "verify", false, "prove the redirect by connections, before the proxy is up")
	fs.BoolVar(&o.remove, "remove", false, "take away all that an earlier run has set")
}

// parse returns what was asked for, checked.
func (o *options) parse() (netfilter.Options, error) {
	var faults []error
	fail := func(format string, args ...any) { faults = append(faults, fault.New(fault.Usage, format, args...)) }
	if !slices.Contains(netfilter.Backends(), o.backend) {
		fail("backend %q is none of %s", o.backend, strings.Join(netfilter.Backends(), ", "))
	}
	if o.mode != "redirect" && o.mode != "tproxy" {
		fail("mode %q is not redirect or tproxy", o.mode)
	}
	chosen, known := presets[o.preset]
	if o.preset != "" && !known {
		fail("preset %q is none of %s", o.preset, strings.Join(presetNames(), ", "))
	}
	if o.remove {
		if o.verify {
			fail("verify is for rules that are there, and remove takes them away")
		}
		return netfilter.Options{}, errors.Join(faults...)
	}
	p := parser{preset: chosen, flags: o.flags, fail: fail}
	parsed := netfilter.Options{
		Outbound:            p.port("outbound-port", o.outboundPort),
		Inbound:             p.port("inbound-port", o.inboundPort),
		DNS:                 o.dnsPort,
		TProxy:              o.mode == "tproxy",
		ProxyUIDs:           items(&p, "exclude-uid", o.excludeUID, netfilter.ParseIDs),
		ProxyGIDs:           items(&p, "exclude-gid", o.excludeGID, netfilter.ParseIDs),
		IncludeInbound:      items(&p, "include-inbound-ports", o.includeInbound, anyPort),
		ExcludeInbound:      append(items(&p, "exclude-inbound-ports", o.excludeInbound, netfilter.ParsePorts), items(&p, "probe-ports", o.probePorts, netfilter.ParsePorts)...),
		ExcludeSources:      items(&p, "exclude-inbound-cidrs", o.excludeSources, netfilter.ParsePrefix),
		IncludeOutbound:     items(&p, "include-outbound-ports", o.includeOutbound, anyPort),
		ExcludeOutbound:     items(&p, "exclude-outbound-ports", o.excludeOutbound, netfilter.ParsePorts),
		ExcludeDestinations: items(&p, "exclude-outbound-cidrs", o.excludeNetworks, netfilter.ParsePrefix),
		ExcludeInterfaces:   o.excludeInterfaces,
		VirtualInterfaces:   o.virtualInterfaces,
		DNSServers:          items(&p, "dns-servers", o.dnsServers, netip.ParseAddr),
		LoopbackSources:     items(&p, "loopback-sources", o.loopbackSources, netip.ParseAddr),
		RedirectSelf:        p.flag("redirect-self", o.redirectSelf),
		DropInvalid:         o.dropInvalid,
	}
	if slices.Contains(o.includeNetworks, "*") {
		parsed.IncludeOutbound = nil // everything is redirected already
	} else {
		parsed.IncludeDestinations = items(&p, "include-outbound-cidrs", o.includeNetworks, netfilter.ParsePrefix)
	}
	if len(faults) == 0 {
		faults = append(faults, parsed.Check())
	}
	return parsed, errors.Join(faults...)
}

// anyPort is ParsePorts, and takes "*" for all ports.
func anyPort(text string) (netfilter.Ports, error) {
	if text == "*" {
		return netfilter.Ports{First: 1, Last: 65535}, nil
	}
	return netfilter.ParsePorts(text)
}

// parser reads options over a preset.
type parser struct {
	preset preset
	flags  *pflag.FlagSet
	fail   func(format string, args ...any)
}

// port returns a port that was given, or the preset's.
func (p *parser) port(name string, given uint16) uint16 {
	if values := p.preset[name]; len(values) > 0 && !p.flags.Changed(name) {
		n, _ := strconv.ParseUint(values[0], 10, 16) // ours, and tested
		return uint16(n)
	}
	return given
}

// flag returns a switch that was given, or the preset's.
func (p *parser) flag(name string, given bool) bool {
	if !p.flags.Changed(name) && len(p.preset[name]) > 0 {
		return p.preset[name][0] == "true"
	}
	return given
}

// items parses a list that was given, and the preset's: beside it, or in its place.
func items[T any](p *parser, name string, given []string, parse func(string) (T, error)) []T {
	texts := given
	if len(given) == 0 || slices.Contains(adding, name) {
		texts = slices.Concat(p.preset[name], given)
	}
	var parsed []T
	for _, text := range texts {
		item, err := parse(strings.TrimSpace(text))
		if err != nil {
			p.fail("%s: %w", name, plain(err, text))
			continue
		}
		parsed = append(parsed, item)
	}
	return parsed
}

// plain returns an error in the house's words: package netip's names its function.
func plain(err error, text string) error {
	if strings.HasPrefix(err.Error(), "ParseAddr") {
		return fmt.Errorf("%q is not an IP address", text)
	}
	return err
}
