package kube

import (
	"fmt"
	"strings"
)

// Resource is one kind of object as the API server's paths and RBAC's rules name it.
type Resource struct {
	Group   string // "" is the core group
	Version string // empty is the version that the API server prefers
	Plural  string // "jobs"
}

// known are the kinds of Kubernetes' own that pods wait for. Their versions are stable, and those of no other group are
// asked for.
var known = map[string]Resource{
	"configmap":             {"", "v1", "configmaps"},
	"persistentvolumeclaim": {"", "v1", "persistentvolumeclaims"},
	"pod":                   {"", "v1", "pods"},
	"secret":                {"", "v1", "secrets"},
	"service":               {"", "v1", "services"},
	"daemonset":             {"apps", "v1", "daemonsets"},
	"deployment":            {"apps", "v1", "deployments"},
	"replicaset":            {"apps", "v1", "replicasets"},
	"statefulset":           {"apps", "v1", "statefulsets"},
	"cronjob":               {"batch", "v1", "cronjobs"},
	"job":                   {"batch", "v1", "jobs"},
}

// EndpointSlices are where the endpoints of a Service stand.
var EndpointSlices = Resource{"discovery.k8s.io", "v1", "endpointslices"}

// ResourceOf returns the resource that people call kind: "job" or "Jobs" for one of Kubernetes' own, and
// "certificates.cert-manager.io" for any other, which needs its group. The plural of a name that does not end in "s" is
// guessed by adding one. It reports false for a kind that is not known and has no group.
func ResourceOf(kind string) (Resource, bool) {
	kind, group, grouped := strings.Cut(strings.ToLower(kind), ".")
	singular := strings.TrimSuffix(kind, "s")
	if r, ok := known[singular]; ok && (!grouped || group == r.Group) {
		return r, true
	}
	return Resource{Group: group, Plural: singular + "s"}, kind != "" && group != ""
}

// Rule returns the rule of a Role, on one line, that lets one verb be done with the resource: with one object, or with all
// if name is empty.
func (r Resource) Rule(verb, name string) string {
	names := ""
	if name != "" {
		names = fmt.Sprintf("resourceNames: [%s], ", name)
	}
	return fmt.Sprintf("{apiGroups: [%q], resources: [%s], %sverbs: [%s]}", r.Group, r.Plural, names, verb)
}
