package netfilter

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

// priorities are where a table's chains stand among those of others: iptables' own numbers. nft knows words for them,
// but "dstnat" in the output hook is newer than many a kernel's tools.
var priorities = map[Table]int{Raw: -300, Mangle: -150, NAT: -100}

// nftName returns a chain's name in the nft table.
func nftName(t Table, chain string) string { return t.String() + "-" + chain }

// nftType returns the type of a base chain. In mangle's output, a new mark must lead to a new route.
func (c Chain) nftType() string {
	switch {
	case c.Table == NAT:
		return "nat"
	case c.Table == Mangle && c.Hook == Output:
		return "route"
	}
	return "filter"
}

// String returns the hook's name in nft.
func (h Hook) String() string { return [...]string{"", "prerouting", "output"}[h] }

// NFT returns the ruleset as nft(8) reads it with -f. A load puts it in the place of what is there.
func (r Ruleset) NFT() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", TableName)
	for i, c := range r.Chains {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "\tchain %s {\n", nftName(c.Table, c.Name))
		if c.Hook != NoHook {
			fmt.Fprintf(&b, "\t\ttype %s hook %s priority %d; policy accept;\n", c.nftType(), c.Hook, priorities[c.Table])
		}
		for _, rule := range c.nftRules() {
			fmt.Fprintf(&b, "\t\t%s comment %q\n", rule.text, rule.comment())
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// nftRule is one rule of the nft table. What names networks is a rule for each family; all else is one for both.
type nftRule struct {
	Rule
	table  Table
	family family // 0 for both
	text   string // without its comment
}

// nftRules returns the chain's rules as they stand in the nft table.
func (c Chain) nftRules() []nftRule {
	var rules []nftRule
	for _, r := range c.Rules {
		if !r.addressed() {
			rules = append(rules, nftRule{Rule: r, table: c.Table, text: r.nftText(c.Table, 0)})
			continue
		}
		for _, f := range []family{ipv4, ipv6} {
			if narrowed, ok := r.narrowed(f); ok {
				rules = append(rules, nftRule{Rule: narrowed, table: c.Table, family: f, text: narrowed.nftText(c.Table, f)})
			}
		}
	}
	return rules
}

// comment says why the rule is there, and what it is: a rule that does something else has another one.
func (r nftRule) comment() string { return r.Why + " #" + digest(r.text) }

// digest names a text by its content.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// nftText returns a rule in nft's words, without its comment.
func (r Rule) nftText(table Table, f family) string {
	var words []string
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	ip := map[family]string{ipv4: "ip", ipv6: "ip6"}[f]
	if f != 0 {
		add("meta nfproto ipv%d", f)
	}
	if r.In != "" {
		add("iifname %q", nftPattern(r.In))
	}
	if r.Out != "" {
		add("oifname %q", nftPattern(r.Out))
	}
	if len(r.Sources) > 0 {
		add("%s saddr { %s }", ip, list(r.Sources))
	}
	if len(r.Destinations) > 0 {
		add("%s daddr { %s }", ip, list(r.Destinations))
	}
	if len(r.NotDestinations) > 0 {
		add("%s daddr != { %s }", ip, list(r.NotDestinations))
	}
	switch {
	case r.Protocol != AnyProtocol && len(r.SourcePorts)+len(r.Ports) == 0:
		add("meta l4proto %s", r.Protocol)
	default:
		if len(r.SourcePorts) > 0 {
			add("%s sport { %s }", r.Protocol, list(r.SourcePorts))
		}
		if len(r.Ports) > 0 {
			add("%s dport { %s }", r.Protocol, list(r.Ports))
		}
	}
	if len(r.UIDs) > 0 {
		add("meta skuid { %s }", list(r.UIDs))
	}
	if len(r.GIDs) > 0 {
		add("meta skgid { %s }", list(r.GIDs))
	}
	if r.Mark != 0 {
		add("meta mark %#x", r.Mark)
	}
	if r.NotMark != 0 {
		add("meta mark != %#x", r.NotMark)
	}
	if r.ConnMark != 0 {
		add("ct mark %#x", r.ConnMark)
	}
	switch r.State {
	case Invalid:
		add("ct state invalid")
	case Established:
		add("ct state established,related")
	}
	words = append(words, r.Verdict.nftText(table, ip))
	return strings.Join(words, " ")
}

func (v Verdict) nftText(table Table, ip string) string {
	switch v.Action {
	case Return:
		return "return"
	case Accept:
		return "accept"
	case Drop:
		return "drop"
	case Goto:
		return "goto " + nftName(table, v.Chain)
	case Redirect:
		return fmt.Sprintf("redirect to :%d", v.Port)
	case TProxy:
		return fmt.Sprintf("tproxy %s to :%d meta mark set %#x accept", ip, v.Port, TProxyMark)
	case SetMark:
		return fmt.Sprintf("meta mark set %#x", v.Value)
	case SaveMark:
		return "ct mark set meta mark"
	case RestoreMark:
		return "meta mark set ct mark"
	default: // SetZone
		return fmt.Sprintf("ct zone set %d", v.Value)
	}
}

// nftPattern returns an interface's name in nft's words, where a star stands for any ending.
func nftPattern(name string) string {
	if stem, ok := strings.CutSuffix(name, "+"); ok {
		return stem + "*"
	}
	return name
}

// list returns the items with commas between them.
func list[T fmt.Stringer](items []T) string {
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = item.String()
		if p, ok := any(item).(netip.Prefix); ok && p.IsSingleIP() {
			texts[i] = p.Addr().String()
		}
	}
	return strings.Join(texts, ", ")
}
