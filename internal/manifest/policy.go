package manifest

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-init/slipway/internal/kube"
	"github.com/slipway-init/slipway/internal/manifest/document"
)

// networkPolicy returns the egress that the steps need. A NetworkPolicy knows addresses and labels but no names, so a name
// narrows no more than it says: its namespace, if it is a Service's whole name.
func (b *builder) networkPolicy() document.Value {
	var rules []document.Value
	unknown, resolves := []string(nil), false
	for _, object := range dials(b.plan) {
		u, err := url.Parse(object)
		if err != nil || strings.HasPrefix(object, "unix:") {
			continue
		}
		if u.Scheme == "dns" {
			resolves = true
			continue
		}
		port, err := strconv.Atoi(u.Port())
		if err != nil || u.Scheme != "tcp" {
			resolves = true
			unknown = append(unknown, line("%s: only known when it runs; add a rule for it", object))
			continue
		}
		rule := document.Map()
		comment := line("%s; the port is that of the pod behind the Service", object)
		if address, err := netip.ParseAddr(u.Hostname()); err == nil {
			rule.Set("to", document.List(document.Map("ipBlock", document.Flow("cidr", netip.PrefixFrom(address, address.BitLen()).String()))))
			comment = line("%s", object)
		} else if resolves = true; namespace(u.Hostname()) != "" {
			rule.Set("to", document.List(namespaced(namespace(u.Hostname()))))
		} else {
			comment += "; narrow it with a podSelector or an ipBlock"
		}
		rule.Set("ports", document.List(document.Flow("protocol", "TCP", "port", port)))
		rules = append(rules, rule.Comment(comment))
	}
	if resolves {
		dns := document.Map("to", document.List(namespaced("kube-system")),
			"ports", document.List(document.Flow("protocol", "UDP", "port", 53), document.Flow("protocol", "TCP", "port", 53)))
		rules = append([]document.Value{dns.Comment("names")}, rules...)
	}
	spec := document.Map("podSelector", document.Map("matchLabels", b.labels()), "policyTypes", []string{"Egress"}, "egress", document.List(rules...))
	object := b.object("networking.k8s.io/v1", "NetworkPolicy", b.Name)
	object.Set("spec", spec)
	lines := append([]string{"it holds for the whole pod: add what the application itself connects to, and a collector of traces"}, unknown...)
	return object.Comment(strings.Join(lines, "\n"))
}

// namespaced selects the pods of a namespace.
func namespaced(namespace string) document.Value {
	return document.Map("namespaceSelector", document.Map("matchLabels", document.Flow("kubernetes.io/metadata.name", namespace)))
}

// namespace returns the namespace of a Service's name that says it is one: NAME.NAMESPACE.svc….
func namespace(host string) string {
	labels := strings.Split(host, ".")
	if i := slices.Index(labels, "svc"); i >= 2 {
		return labels[i-1]
	}
	return ""
}

// rbac returns the service account, and the least roles for the objects that steps wait for.
func (b *builder) rbac() []document.Value {
	account := b.account()
	all := []document.Value{b.object("v1", "ServiceAccount", account)}
	all[0].Set("automountServiceAccountToken", false)
	waits := make(map[string][]document.Value)
	var namespaces []string
	for t := range b.plan.Tasks() {
		if t.Kind.Name != "wait-for" {
			continue
		}
		for _, target := range values(t, "target") {
			namespace, rules := rulesOf(target)
			if rules == nil {
				continue
			}
			if waits[namespace] == nil {
				namespaces = append(namespaces, namespace)
			}
			waits[namespace] = append(waits[namespace], rules...)
		}
	}
	if namespaces == nil {
		all[0].Comment("no step asks the API server: the account has no rights, and needs none")
	}
	for _, namespace := range namespaces {
		metadata := document.Map("name", b.Name, "namespace", namespace, "labels", b.labels())
		all = append(all,
			document.Map("apiVersion", "rbac.authorization.k8s.io/v1", "kind", "Role", "metadata", metadata, "rules", document.List(waits[namespace]...)),
			document.Map("apiVersion", "rbac.authorization.k8s.io/v1", "kind", "RoleBinding", "metadata", metadata,
				"roleRef", document.Flow("apiGroup", "rbac.authorization.k8s.io", "kind", "Role", "name", b.Name),
				"subjects", document.List(document.Flow("kind", "ServiceAccount", "name", account, "namespace", namespace).
					Comment("the namespace is the pod's, if that is another one"))))
	}
	return all
}

// rulesOf returns what waiting for a target k8s://NAMESPACE/KIND/NAME may read, and where; nothing for other targets.
func rulesOf(target string) (namespace string, rules []document.Value) {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "k8s" {
		return "", nil
	}
	kind, object, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	resource, _ := kube.ResourceOf(kind)
	comment := ""
	if resource.Version == "" {
		comment = line("%s: check the group and the plural with kubectl api-resources", target)
	}
	rules = append(rules, rule(resource, "get", object).Comment(comment))
	if resource.Plural == "services" {
		rules = append(rules, rule(kube.EndpointSlices, "list", "").Comment("a Service's endpoints are found by a label, for which there is no narrower right"))
	}
	return u.Hostname(), rules
}

// rule returns what lets one verb be done with one object of a resource, or with all if there is no name.
func rule(r kube.Resource, verb, name string) document.Value {
	m := document.Map("apiGroups", []string{r.Group}, "resources", []string{r.Plural}, "verbs", []string{verb})
	if name != "" {
		m.Set("resourceNames", []string{name})
	}
	return m
}
