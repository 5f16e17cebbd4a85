package manifest

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/manifest/document"
	"github.com/slipway-init/slipway/internal/needs"
	"github.com/slipway-init/slipway/internal/plan"
)

// downward are the variables that tell traces of the pod, see docs/telemetry.md.
var downward = []struct{ name, field string }{
	{"K8S_POD_NAME", "metadata.name"},
	{"K8S_POD_UID", "metadata.uid"},
	{"K8S_NAMESPACE_NAME", "metadata.namespace"},
	{"K8S_NODE_NAME", "spec.nodeName"},
}

// containers returns the slipway containers.
func (b *builder) containers() ([]document.Value, error) {
	var all []document.Value
	taken := make(map[string]bool)
	for i, s := range b.shares {
		c, err := b.container(b.containerName(i, s, taken), s)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// container returns the container of one share.
func (b *builder) container(name string, s share) (document.Value, error) {
	c := document.Map("name", name, "image", b.Image)
	words, text, err := b.command(s)
	if err != nil {
		return c, err
	}
	if words != nil {
		c.Set("args", document.Words(words))
	}
	if b.with(RestartRules) {
		c.Set("restartPolicy", "Never")
		c.Set("restartPolicyRules", document.List(document.Map("action", "Restart", "exitCodes", document.Flow("operator", "In", "values", again()))))
	}
	c.Set("env", b.env(s, text))
	c.Set("securityContext", b.security(s.capabilities))
	c.Set("resources", document.Map(
		"requests", document.Flow("cpu", "10m", "memory", "16Mi"),
		"limits", document.Flow("memory", "64Mi")))
	c.Set("terminationMessagePolicy", "FallbackToLogsOnError")
	if mounts := b.mounts(s); !mounts.Empty() {
		c.Set("volumeMounts", mounts)
	}
	return c.Comment(strings.Join(append(slices.Clone(s.why), b.remarks(s)...), "\n")), nil
}

// remarks say what the container needs that a manifest cannot give.
func (b *builder) remarks(s share) []string {
	var lines []string
	p := &plan.Plan{Root: s.nodes}
	for _, command := range needs.Of(p).Executes {
		lines = append(lines, line("runs %s: the image must have it, which slipway's own has not", command))
	}
	redirects := slices.ContainsFunc(b.shares, func(s share) bool { return slices.Contains(names(s.capabilities), "NET_ADMIN") })
	if redirects && len(needs.Of(p).Dials) > 0 && !slices.Contains(names(s.capabilities), "NET_ADMIN") {
		lines = append(lines, "without NET_ADMIN its connections are redirected, too, should the pod's init containers run again: --single avoids that")
	}
	return lines
}

// command returns the arguments that make slipway run a share or, where a chain cannot say it, the plan as a text.
func (b *builder) command(s share) (words []string, text string, err error) {
	p := &plan.Plan{Root: s.nodes, Deadline: b.plan.Deadline}
	chain, err := p.Args()
	if err != nil {
		data, err := p.YAML()
		return nil, string(data), err
	}
	words = positional(p, chain)
	if p.Deadline > 0 {
		words = append([]string{"--deadline=" + p.Deadline.String()}, words...)
	}
	return words, "", nil
}

// positional returns a chain with its arguments by position, where they may stand there: the reader's eyes are spared
// what the step's name says already.
func positional(p *plan.Plan, chain []string) []string {
	var words []string
	next := 0
	for t := range p.Tasks() {
		if next < len(chain) && (chain[next] == "then" || chain[next] == "and") && next > 0 {
			words = append(words, chain[next])
			next++
		}
		one, err := (&plan.Plan{Root: plan.Sequence{t}}).Args()
		if err != nil || next+len(one) > len(chain) {
			return chain
		}
		words = append(words, positions(t, one)...)
		next += len(one)
	}
	again, err := plan.ParseArgs(kindsOf(p), words)
	if err != nil {
		return chain
	}
	if twice, err := again.Args(); err != nil || !slices.Equal(twice, chain) {
		return chain
	}
	return words
}

// positions returns the words of one step with its arguments by position.
func positions(t *plan.Task, words []string) []string {
	if len(t.Kind.Args) == 0 || t.Kind.Args[0] == "--" || slices.Contains(words, "--") {
		return words
	}
	byPosition := []string{words[0]}
	rest := words[1:]
	for _, arg := range t.Kind.Args {
		prefix := "--" + strings.TrimSuffix(arg, "...") + "="
		var kept []string
		found := false
		for _, word := range rest {
			value, ok := strings.CutPrefix(word, prefix)
			if !ok || value == "" || value == "then" || value == "and" || strings.HasPrefix(value, "-") {
				kept = append(kept, word)
				continue
			}
			byPosition, found = append(byPosition, value), true
		}
		rest = kept
		if !found {
			break
		}
	}
	return append(byPosition, rest...)
}

// env returns the container's variables: the pod's names for traces, the plan, and the secrets that options refer to.
func (b *builder) env(s share, text string) document.Value {
	var variables []document.Value
	for _, d := range downward {
		variables = append(variables, document.Map("name", d.name, "valueFrom", document.Flow("fieldRef", document.Flow("fieldPath", d.field))))
	}
	if text != "" {
		variables = append(variables, document.Map("name", "SLIPWAY_PLAN", "value", document.Block(text)))
	}
	comment := line("a Secret that must exist: %s-env", b.Name)
	for _, name := range References(s.tasks()) {
		reference := document.Flow("name", b.Name+"-env", "key", name)
		variables = append(variables, document.Map("name", name, "valueFrom", document.Flow("secretKeyRef", reference)).Comment(comment))
		comment = ""
	}
	return document.List(variables...)
}

// References returns the variables that options of tasks refer to as env:NAME, sorted.
func References(tasks []*plan.Task) []string {
	var found []string
	for _, t := range tasks {
		t.Options.VisitAll(func(flag *pflag.Flag) {
			texts := []string{flag.Value.String()}
			switch {
			case flag.Value.Type() == "ref":
			case strings.HasSuffix(flag.Name, "-from"):
				texts = values(t, flag.Name)
			default:
				return
			}
			for _, text := range texts {
				if _, reference, ok := strings.Cut("="+text, "=env:"); ok && flag.Value.Type() == "ref" {
					found = append(found, reference)
				} else if i := strings.LastIndex(text, "env:"); i > 0 && (text[i-1] == '=' || text[i-1] == ' ') {
					found = append(found, text[i+len("env:"):])
				}
			}
		})
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// security returns the narrowest context. Kubernetes gives capabilities to root alone.
func (b *builder) security(capabilities []needs.Capability) document.Value {
	drop := document.Flow("drop", []string{"ALL"})
	m := document.Map("runAsNonRoot", true, "runAsUser", b.UID, "runAsGroup", b.GID)
	if len(capabilities) > 0 {
		m = document.Map("runAsNonRoot", false, "runAsUser", 0, "runAsGroup", 0)
		drop.Set("add", names(capabilities))
	}
	m.Set("allowPrivilegeEscalation", false)
	m.Set("readOnlyRootFilesystem", true)
	m.Set("capabilities", drop)
	m.Set("seccompProfile", document.Flow("type", "RuntimeDefault"))
	return m
}

// mounts returns the mounts of the volumes that a share uses.
func (b *builder) mounts(s share) document.Value {
	var mounts []document.Value
	for _, v := range b.volumes {
		used, writable := b.uses(s, v)
		if !used {
			continue
		}
		m := document.Flow("name", v.name, "mountPath", v.folder)
		if !writable {
			m.Set("readOnly", true)
		}
		mounts = append(mounts, m)
	}
	return document.List(mounts...)
}
