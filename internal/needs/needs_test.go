package needs_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-init/slipway/internal/needs"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/step"
)

func TestNeedsComeFromEffects(t *testing.T) {
	p := &plan.Plan{Root: plan.Sequence{
		&plan.Task{ID: "wait-for", Effects: []step.Effect{{Verb: step.Dial, Object: "tcp://db:5432"}, {Verb: step.Read, Object: "/ca.pem"}}},
		plan.Parallel{
			&plan.Task{ID: "chown", Effects: []step.Effect{{Verb: step.Own, Object: "/data/..."}, {Verb: step.Own, Object: "/data/sub"}}},
			&plan.Task{ID: "redirect", Effects: []step.Effect{{Verb: step.Netfilter, Object: "inet"}}},
			&plan.Task{ID: "write", Effects: []step.Effect{{Verb: step.Write, Object: "/etc/app/a"}, {Verb: step.Write, Object: "/etc/app/b/c"}}},
			&plan.Task{ID: "exec", Effects: []step.Effect{{Verb: step.Replace, Object: "/app"}}},
		},
	}}
	got := needs.Of(p)
	want := needs.Needs{
		Capabilities: []needs.Capability{{Name: "CHOWN", Why: "chown: own /data/..."}, {Name: "NET_ADMIN", Why: "redirect: netfilter inet"}},
		Dials:        []string{"tcp://db:5432"},
		Reads:        []string{"/ca.pem"},
		Writes:       []string{"/data/...", "/data/sub", "/etc/app/a", "/etc/app/b/c"},
		Executes:     []string{"/app"},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(- got, + want):\n%s", diff)
	}
	if diff := cmp.Diff(got.Volumes(), []string{"/data", "/etc/app"}); diff != "" {
		t.Errorf("volumes (- got, + want):\n%s", diff)
	}
}

func TestVolumesLieNotInOneAnother(t *testing.T) {
	n := needs.Needs{Writes: []string{"/a/b/x", "/a/bc/x", "/a/b/c/d/x", "made/y", "other", "/z/y/..."}}
	if diff := cmp.Diff(n.Volumes(), []string{".", "/a/b", "/a/bc", "/z/y"}); diff != "" {
		t.Errorf("volumes (- got, + want):\n%s", diff)
	}
}
