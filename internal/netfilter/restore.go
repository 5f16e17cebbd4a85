package netfilter

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// chainPrefix begins the names of slipway's chains among those of iptables.
const chainPrefix = "SLIPWAY_"

// iptablesName returns a chain's name in iptables.
func iptablesName(chain string) string { return chainPrefix + strings.ToUpper(chain) }

// Restore returns the ruleset of one family as iptables-restore(8) reads it with --noflush. It makes the chains, and
// presumes that none of them is there.
func (r Ruleset) Restore(v6 bool) string {
	f := ipv4
	if v6 {
		f = ipv6
	}
	return restoreInput(r.tables(f), nil)
}

// tables are what iptables has of slipway: of each table the chains with their rules, and which hooks lead to one.
type tables map[Table]*ownChains

// ownChains are slipway's chains in one table.
type ownChains struct {
	names []string                  // in order
	rules map[string][]iptablesRule // by the chain's name
	jumps map[string]int            // how many rules of a built-in chain lead to one of ours, "OUTPUT SLIPWAY_OUTPUT"
}

// iptablesRule is one rule as iptables has it.
type iptablesRule struct {
	comment string // why it is there, and what it is
	text    string // "-m comment --comment … -p tcp -j RETURN"
}

// make returns the chains of a table, to add to.
func (t tables) make(table Table) *ownChains {
	if t[table] == nil {
		t[table] = &ownChains{rules: make(map[string][]iptablesRule), jumps: make(map[string]int)}
	}
	return t[table]
}

// get returns the chains of a table, which may be none.
func (t tables) get(table Table) ownChains {
	if own := t[table]; own != nil {
		return *own
	}
	return ownChains{}
}

// tables returns what iptables shall have of the ruleset in one family.
func (r Ruleset) tables(f family) tables {
	t := make(tables)
	for _, c := range r.Chains {
		own, name := t.make(c.Table), iptablesName(c.Name)
		own.names = append(own.names, name)
		own.rules[name] = nil
		for _, rule := range c.Rules {
			if narrowed, ok := rule.narrowed(f); ok {
				own.rules[name] = append(own.rules[name], narrowed.iptablesRules()...)
			}
		}
		if c.Hook != NoHook {
			own.jumps[strings.ToUpper(c.Hook.String())+" "+name] = 1
		}
	}
	return t
}

// jumpComment marks the rules of built-in chains that lead to ours.
const jumpComment = "slipway"

// restoreInput returns what turns one state of our chains into another, nil for none: a transaction for each table, of
// which every packet sees all or nothing. A jump that is there stays, so that no packet misses its chain.
func restoreInput(want, have tables) string {
	var b strings.Builder
	for _, table := range []Table{Raw, Mangle, NAT} {
		if want[table] == nil && have[table] == nil {
			continue
		}
		to, from := want.get(table), have.get(table)
		stale := slices.DeleteFunc(slices.Clone(from.names), func(name string) bool { return slices.Contains(to.names, name) })
		fmt.Fprintf(&b, "*%s\n", table)
		for _, name := range slices.Concat(to.names, stale) {
			fmt.Fprintf(&b, ":%s - [0:0]\n", name) // makes a chain, or empties it
		}
		for _, jump := range keys(to.jumps, from.jumps) {
			hook, name, _ := strings.Cut(jump, " ")
			rule := fmt.Sprintf("%s -m comment --comment %s -j %s", hook, jumpComment, name)
			for range to.jumps[jump] - from.jumps[jump] {
				fmt.Fprintf(&b, "-A %s\n", rule)
			}
			for range from.jumps[jump] - to.jumps[jump] {
				fmt.Fprintf(&b, "-D %s\n", rule)
			}
		}
		for _, name := range to.names {
			for _, rule := range to.rules[name] {
				fmt.Fprintf(&b, "-A %s %s\n", name, rule.text)
			}
		}
		for _, name := range stale {
			fmt.Fprintf(&b, "-X %s\n", name)
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

// changes returns what tells one state of our chains from another, a line each.
func (t tables) changes(want tables) []string {
	var lines []string
	for _, table := range []Table{Raw, Mangle, NAT} {
		to, from := want.get(table), t.get(table)
		names := slices.Concat(to.names, from.names)
		for i, name := range names {
			if slices.Contains(names[:i], name) {
				continue
			}
			where := table.String() + " " + name
			if !slices.Contains(from.names, name) {
				lines = append(lines, "+ chain "+where)
			}
			if !slices.Contains(to.names, name) {
				lines = append(lines, "- chain "+where)
			}
			comments, texts := columns(to.rules[name])
			have, _ := columns(from.rules[name])
			lines = append(lines, listChanges(where, have, comments, texts)...)
		}
		for _, jump := range keys(to.jumps, from.jumps) {
			switch {
			case to.jumps[jump] > from.jumps[jump]:
				lines = append(lines, "+ jump from "+jump)
			case to.jumps[jump] < from.jumps[jump]:
				lines = append(lines, "- jump from "+jump)
			}
		}
	}
	return lines
}

func columns(rules []iptablesRule) (comments, texts []string) {
	for _, r := range rules {
		comments, texts = append(comments, r.comment), append(texts, r.text)
	}
	return comments, texts
}

// parseSave returns what iptables-save has printed of slipway's chains, and the names of all chains.
func parseSave(output string) (own tables, chains []string) {
	own = make(tables)
	table, known := Raw, false
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "*"):
			known = false
			for _, t := range []Table{Raw, Mangle, NAT} {
				if line == "*"+t.String() {
					table, known = t, true
				}
			}
		case strings.HasPrefix(line, ":"):
			name, _, _ := strings.Cut(line[1:], " ")
			chains = append(chains, name)
			if known && strings.HasPrefix(name, chainPrefix) {
				chain := own.make(table)
				chain.names = append(chain.names, name)
			}
		case known && strings.HasPrefix(line, "-A "):
			name, rule, _ := strings.Cut(line[len("-A "):], " ")
			comment := savedComment(rule)
			_, target, _ := strings.Cut(rule, " -j "+chainPrefix)
			switch {
			case strings.HasPrefix(name, chainPrefix):
				chain := own.make(table)
				chain.rules[name] = append(chain.rules[name], iptablesRule{comment: comment, text: rule})
			case target != "" && comment == jumpComment:
				own.make(table).jumps[name+" "+chainPrefix+target]++
			}
		}
	}
	return own, chains
}

// savedComment returns the comment of a rule that iptables-save has printed.
func savedComment(rule string) string {
	_, rest, found := strings.Cut(rule, "--comment ")
	if !found {
		return ""
	}
	if quoted, ok := strings.CutPrefix(rest, `"`); ok {
		comment, _, _ := strings.Cut(quoted, `"`)
		return comment
	}
	comment, _, _ := strings.Cut(rest, " ")
	return comment
}

// keys returns the keys of both maps, sorted.
func keys(a, b map[string]int) []string {
	var all []string
	for _, m := range []map[string]int{a, b} {
		for key := range m {
			all = append(all, key)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// multiportLimit is how many ports one multiport match takes; a range counts for two.
const multiportLimit = 15

// iptablesRules returns a rule of one family in iptables' words: one for each combination of what iptables cannot list.
func (r Rule) iptablesRules() []iptablesRule {
	all := []Rule{r}
	all = spread(all, orNone(r.Sources), func(one *Rule, p []netip.Prefix) { one.Sources = p })
	all = spread(all, orNone(r.Destinations), func(one *Rule, p []netip.Prefix) { one.Destinations = p })
	all = spread(all, portGroups(r.SourcePorts), func(one *Rule, p []Ports) { one.SourcePorts = p })
	all = spread(all, portGroups(r.Ports), func(one *Rule, p []Ports) { one.Ports = p })
	all = spread(all, orNone(r.UIDs), func(one *Rule, i []IDs) { one.UIDs = i })
	all = spread(all, orNone(r.GIDs), func(one *Rule, i []IDs) { one.GIDs = i })
	rules := make([]iptablesRule, len(all))
	for i, one := range all {
		rules[i] = one.iptablesRule()
	}
	return rules
}

// spread returns each rule once for each group, which set puts into it.
func spread[T any](rules []Rule, groups [][]T, set func(*Rule, []T)) []Rule {
	var all []Rule
	for _, r := range rules {
		for _, group := range groups {
			set(&r, group)
			all = append(all, r)
		}
	}
	return all
}

// orNone returns the items one by one, or once none.
func orNone[T any](items []T) [][]T {
	if len(items) == 0 {
		return [][]T{nil}
	}
	return slices.Collect(slices.Chunk(items, 1))
}

// portGroups returns the ranges in groups that one match takes, or once none.
func portGroups(ranges []Ports) [][]Ports {
	var groups [][]Ports
	room := 0
	for _, r := range ranges {
		size := 1
		if r.First != r.Last {
			size = 2
		}
		if room < size {
			groups = append(groups, nil)
			room = multiportLimit
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], r)
		room -= size
	}
	if groups == nil {
		return [][]Ports{nil}
	}
	return groups
}

// iptablesRule returns a rule whose lists have one entry at most, but for ports.
func (r Rule) iptablesRule() iptablesRule {
	var words []string
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if r.In != "" {
		add("-i %s", r.In)
	}
	if r.Out != "" {
		add("-o %s", r.Out)
	}
	prefix := func(p []netip.Prefix, format string) {
		if len(p) > 0 {
			add(format, p[0])
		}
	}
	prefix(r.Sources, "-s %s")
	prefix(r.Destinations, "-d %s")
	prefix(r.NotDestinations, "! -d %s")
	if r.Protocol != AnyProtocol {
		add("-p %s", r.Protocol)
	}
	ports := func(p []Ports, one, several string) {
		switch {
		case len(p) == 1:
			add("--%s %s", one, p[0].text(":"))
		case len(p) > 1:
			texts := make([]string, len(p))
			for i := range p {
				texts[i] = p[i].text(":")
			}
			add("-m multiport --%s %s", several, strings.Join(texts, ","))
		}
	}
	ports(r.SourcePorts, "sport", "sports")
	ports(r.Ports, "dport", "dports")
	if len(r.UIDs) > 0 {
		add("-m owner --uid-owner %s", r.UIDs[0])
	}
	if len(r.GIDs) > 0 {
		add("-m owner --gid-owner %s", r.GIDs[0])
	}
	if r.Mark != 0 {
		add("-m mark --mark %#x", r.Mark)
	}
	if r.NotMark != 0 {
		add("-m mark ! --mark %#x", r.NotMark)
	}
	if r.ConnMark != 0 {
		add("-m connmark --mark %#x", r.ConnMark)
	}
	switch r.State {
	case Invalid:
		add("-m conntrack --ctstate INVALID")
	case Established:
		add("-m conntrack --ctstate ESTABLISHED,RELATED")
	}
	text := strings.Join(append(words, r.Verdict.iptablesText()), " ")
	comment := r.Why + " #" + digest(text)
	return iptablesRule{comment: comment, text: fmt.Sprintf("-m comment --comment %q %s", comment, text)}
}

func (v Verdict) iptablesText() string {
	switch v.Action {
	case Return:
		return "-j RETURN"
	case Accept:
		return "-j ACCEPT"
	case Drop:
		return "-j DROP"
	case Goto:
		return "-g " + iptablesName(v.Chain)
	case Redirect:
		return fmt.Sprintf("-j REDIRECT --to-ports %d", v.Port)
	case TProxy:
		return fmt.Sprintf("-j TPROXY --on-port %d --tproxy-mark %#x/0xffffffff", v.Port, TProxyMark)
	case SetMark:
		return fmt.Sprintf("-j MARK --set-mark %#x", v.Value)
	case SaveMark:
		return "-j CONNMARK --save-mark"
	case RestoreMark:
		return "-j CONNMARK --restore-mark"
	default: // SetZone
		return fmt.Sprintf("-j CT --zone %d", v.Value)
	}
}
