package kube

import "testing"

func TestKindsAreKnownByMoreThanOneName(t *testing.T) {
	for _, c := range []struct {
		kind  string
		want  Resource
		known bool
	}{
		{"job", Resource{"batch", "v1", "jobs"}, true},
		{"Jobs", Resource{"batch", "v1", "jobs"}, true},
		{"jobs.batch", Resource{"batch", "v1", "jobs"}, true},
		{"jobs.example.com", Resource{"example.com", "", "jobs"}, true},
		{"Certificate.cert-manager.io", Resource{"cert-manager.io", "", "certificates"}, true},
		{"policies.kyverno.io", Resource{"kyverno.io", "", "policies"}, true},
		{"widget", Resource{"", "", "widgets"}, false},
		{"", Resource{"", "", "s"}, false},
		{".example.com", Resource{"example.com", "", "s"}, false},
	} {
		if got, known := ResourceOf(c.kind); got != c.want || known != c.known {
			t.Errorf("%q: got %+v, %t, want %+v, %t", c.kind, got, known, c.want, c.known)
		}
	}
}

func TestRulesAreThoseOfARole(t *testing.T) {
	pod, _ := ResourceOf("pod")
	for _, c := range []struct{ got, want string }{
		{pod.Rule("get", "web-0"), `{apiGroups: [""], resources: [pods], resourceNames: [web-0], verbs: [get]}`},
		{EndpointSlices.Rule("list", ""), `{apiGroups: ["discovery.k8s.io"], resources: [endpointslices], verbs: [list]}`},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}
