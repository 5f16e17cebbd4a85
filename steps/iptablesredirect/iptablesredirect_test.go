package iptablesredirect

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/steptest"
)

// That a second run changes nothing is for the end-to-end tests to see: here there is no network namespace to spare.
func TestConform(t *testing.T) {
	steptest.Conform(t, Kind, nil)
}

// preview returns the rules of options.
func preview(t *testing.T, options ...string) string {
	t.Helper()
	return steptest.Task(t, Kind, options).Step.(step.Previewer).Preview()
}

// The presets are short for what their meshes' init containers are given.
func TestPresets(t *testing.T) {
	for name, long := range map[string]steptest.Options{
		"istio": {
			"outbound-port=15001", "inbound-port=15006", "exclude-uid=1337", "exclude-gid=1337", "mode=redirect", "include-outbound-cidrs=*",
			"include-inbound-ports=*", "exclude-inbound-ports=15090", "exclude-inbound-ports=15021", "exclude-inbound-ports=15020",
			"exclude-inbound-ports=15008", "loopback-sources=127.0.0.6", "loopback-sources=::6", "redirect-self=true",
		},
		"linkerd": {
			"outbound-port=4140", "inbound-port=4143", "exclude-uid=2102", "exclude-inbound-ports=4190-4191", "exclude-inbound-ports=4567-4568",
			"exclude-outbound-ports=4567-4568",
		},
	} {
		if diff := cmp.Diff(preview(t, "preset="+name), preview(t, long...)); diff != "" {
			t.Errorf("%s (- short, + long):\n%s", name, diff)
		}
	}
}

// Excluded ports add to the preset's; all else replaces it.
func TestOptionsOverAPreset(t *testing.T) {
	got := preview(t, "preset=istio", "exclude-inbound-ports=9999", "probe-ports=8081", "exclude-outbound-ports=3306", "exclude-uid=42",
		"outbound-port=1", "redirect-self=false", "loopback-sources=127.0.0.9")
	for _, want := range []string{"{ 8081, 9999, 15008, 15020-15021, 15090 }", "dport { 3306 }", "skuid { 42 }", "skgid { 1337 }", "to :1 ", "to :15006 ", "{ 127.0.0.9 }"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	for _, gone := range []string{"skuid { 1337", ":15001", "127.0.0.6", "calls itself"} {
		if strings.Contains(got, gone) {
			t.Errorf("%q in\n%s", gone, got)
		}
	}
}

func TestBackendsPreviewTheirOwnRules(t *testing.T) {
	for backend, want := range map[string]string{"auto": "table inet slipway", "nft": "table inet slipway", "iptables": "*nat\n", "iptables-legacy": "# IPv6\n"} {
		if got := preview(t, "preset=linkerd", "backend="+backend); !strings.Contains(got, want) {
			t.Errorf("%s: no %q in\n%s", backend, want, got)
		}
	}
	if got := preview(t, "remove=true"); got != "" {
		t.Errorf("remove: got\n%s", got)
	}
}

func TestEffects(t *testing.T) {
	netfilter := step.Effect{Verb: step.Netfilter, Object: "inet"}
	for backend, want := range map[string][]step.Effect{
		"auto": {netfilter}, "nft": {netfilter},
		"iptables-nft": {netfilter, {Verb: step.Execute, Object: "iptables-nft-restore"}},
	} {
		if got := steptest.Task(t, Kind, steptest.Options{"preset=istio", "backend=" + backend}).Effects; !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", backend, got, want)
		}
	}
	want := []step.Effect{netfilter, {Verb: step.Dial, Object: "tcp://192.0.2.1:8080"}, {Verb: step.Dial, Object: "tcp://[2001:db8::1]:8080"}}
	if got := steptest.Task(t, Kind, steptest.Options{"preset=istio", "verify=true"}).Effects; !slices.Equal(got, want) {
		t.Errorf("verify: got %v, want %v", got, want)
	}
}

// All faults are told at once, each with the option's name.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		options steptest.Options
		want    []string
	}{
		{nil, []string{"nothing to redirect: give outbound-port, inbound-port or a preset"}},
		{steptest.Options{"outbound-port=1"}, []string{"give exclude-uid or exclude-gid"}},
		{steptest.Options{"preset=osm"}, []string{`preset "osm" is none of istio, linkerd`}},
		{steptest.Options{"preset=istio", "mode=TPROXY", "backend=ebpf"}, []string{`mode "TPROXY" is not redirect or tproxy`, `backend "ebpf" is none of auto, nft`}},
		{
			steptest.Options{"preset=istio", "exclude-uid=istio-proxy", "exclude-outbound-ports=http", "exclude-outbound-cidrs=db", "dns-servers=dns"},
			[]string{`exclude-uid: "istio-proxy" is not a numeric id`, `exclude-outbound-ports: "http" is not a port`, `exclude-outbound-cidrs: "db" is not a network`, `dns-servers: "dns" is not an IP address`},
		},
		{steptest.Options{"remove=true", "verify=true"}, []string{"verify is for rules that are there"}},
	} {
		err := steptest.Fault(t, Kind, test.options)
		if fault.KindOf(err) != fault.Usage {
			t.Errorf("%v: got a fault of kind %s", test.options, fault.KindOf(err))
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v: got %q, want %q", test.options, err, want)
			}
		}
	}
}
