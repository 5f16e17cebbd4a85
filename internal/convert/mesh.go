package convert

import (
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/manifest/document"
)

// istioOptions are the flags of istio-iptables that are options of iptables-redirect: docs/redirect.md has all.
var istioOptions = map[string]string{
	"envoy-port": "outbound-port", "inbound-capture-port": "inbound-port", "inbound-tunnel-port": "exclude-inbound-ports",
	"proxy-uid": "exclude-uid", "proxy-gid": "exclude-gid", "istio-inbound-interception-mode": "mode",
	"istio-inbound-ports": "include-inbound-ports", "istio-local-exclude-ports": "exclude-inbound-ports", "istio-exclude-interfaces": "exclude-interfaces",
	"istio-service-cidr": "include-outbound-cidrs", "istio-service-exclude-cidr": "exclude-outbound-cidrs",
	"istio-outbound-ports": "include-outbound-ports", "istio-local-outbound-ports-exclude": "exclude-outbound-ports", "kube-virt-interfaces": "virtual-interfaces",
}

var istioGrammar = grammar{
	short: map[string]string{
		"p": "envoy-port", "z": "inbound-capture-port", "e": "inbound-tunnel-port", "u": "proxy-uid", "g": "proxy-gid", "m": "istio-inbound-interception-mode",
		"b": "istio-inbound-ports", "d": "istio-local-exclude-ports", "c": "istio-exclude-interfaces", "i": "istio-service-cidr", "x": "istio-service-exclude-cidr",
		"q": "istio-outbound-ports", "o": "istio-local-outbound-ports-exclude", "k": "kube-virt-interfaces", "t": "inbound-tproxy-mark", "r": "inbound-tproxy-route-table",
		"n": "dry-run", "f": "restore-format",
	},
	bools: []string{
		"redirect-dns", "capture-all-dns", "drop-invalid", "run-validation", "cleanup-only", "skip-rule-apply", "dual-stack", "reconcile", "force-apply",
		"dry-run", "restore-format", "native-nftables", "iptables-trace-logging", "cni-mode", "host-nsenter-exec",
	},
}

// istio converts the arguments of istio-init.
func (c *converter) istio(words []word) {
	flags, rest, _ := istioGrammar.read(words)
	o := options{
		"outbound-port": {"15001"}, "inbound-port": {"15006"}, "exclude-uid": {"1337"}, "exclude-gid": {"1337"},
		"loopback-sources": {"127.0.0.6,::6"}, "redirect-self": {"true"},
	}
	tunnel, dns, all := "15008", false, false
	for _, f := range flags {
		option := istioOptions[f.name]
		switch {
		case f.name == "inbound-tunnel-port":
			tunnel = f.value
		case f.name == "istio-inbound-interception-mode":
			o[option] = []string{strings.ToLower(f.value)}
		case f.name == "istio-inbound-ports" && f.value == "":
			delete(o, "inbound-port") // none
			delete(o, "redirect-self")
		case f.name == "istio-service-cidr" && f.value == "":
			c.note(f.pos, "%s is empty: no network is redirected but what %s adds; without --include-outbound-cidrs all would be", f.name, "istio-outbound-ports")
		case f.value == "" && option != "":
		case option == "exclude-inbound-ports":
			o[option] = append(o[option], f.value)
		case option != "":
			o[option] = []string{f.value}
		case f.value == "false":
		case f.name == "redirect-dns":
			dns = true
		case f.name == "capture-all-dns":
			all = true
		case f.name == "drop-invalid":
			o["drop-invalid"] = []string{"true"}
		case f.name == "run-validation":
			o["verify"] = []string{"true"}
		case f.name == "cleanup-only":
			o = options{"remove": {"true"}}
		case slices.Contains([]string{"dual-stack", "skip-rule-apply", "reconcile", "force-apply", "native-nftables"}, f.name):
			// Always so.
		default:
			c.note(f.pos, "istio-iptables %s=%s: nothing is made of it, see docs/redirect.md", f.name, f.value)
		}
	}
	if o["remove"] == nil {
		o["exclude-inbound-ports"] = append(o["exclude-inbound-ports"], tunnel)
	}
	if dns {
		o["dns-port"] = []string{"15053"}
		if !all {
			c.note(place(words), "istio-iptables redirects DNS to the resolvers of resolv.conf alone: give them by --dns-servers")
		}
	}
	c.others(rest, "istio-iptables")
	c.step(place(words), o.words("iptables-redirect")...)
}

// linkerdOptions are the flags of linkerd2-proxy-init.
var linkerdOptions = map[string]string{
	"incoming-proxy-port": "inbound-port", "outgoing-proxy-port": "outbound-port", "proxy-uid": "exclude-uid", "proxy-gid": "exclude-gid",
	"ports-to-redirect": "include-inbound-ports", "inbound-ports-to-ignore": "exclude-inbound-ports", "outbound-ports-to-ignore": "exclude-outbound-ports",
	"subnets-to-ignore": "exclude-inbound-cidrs",
}

var linkerdGrammar = grammar{
	short: map[string]string{"p": "incoming-proxy-port", "o": "outgoing-proxy-port", "u": "proxy-uid", "g": "proxy-gid", "r": "ports-to-redirect", "w": "use-wait-flag"},
	bools: []string{"simulate", "use-wait-flag", "ipv6"},
}

// linkerd converts the arguments of linkerd-init.
func (c *converter) linkerd(words []word) {
	flags, rest, _ := linkerdGrammar.read(words)
	o := options{}
	for _, f := range flags {
		option := linkerdOptions[f.name]
		switch {
		case f.value == "" && option != "":
		case option != "":
			o[option] = append(o[option], f.value)
		case f.name == "use-wait-flag" || f.name == "ipv6" || f.name == "log-level" || f.name == "log-format":
			// Always so, or slipway's own.
		default:
			c.note(f.pos, "proxy-init %s=%s: nothing is made of it, see docs/redirect.md", f.name, f.value)
		}
	}
	c.others(rest, "proxy-init")
	c.step(place(words), o.words("iptables-redirect")...)
}

// others notes words that are no options.
func (c *converter) others(rest []word, program string) {
	for _, w := range rest {
		c.note(w.pos, "%s: the argument %q is not known", program, shorten(w.text))
	}
}

// options are a step's options.
type options map[string][]string

// words returns a step of a chain, its options sorted.
func (o options) words(step string) []string {
	words := []string{step}
	for name, values := range o {
		words = append(words, "--"+name+"="+strings.Join(values, ","))
	}
	slices.Sort(words[1:])
	return words
}

// place returns where words begin.
func place(words []word) document.Pos {
	if len(words) == 0 {
		return document.Pos{}
	}
	return words[0].pos
}
