package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/plan"
)

// FuzzArgs checks that a chain that is taken comes back from Args and from YAML as the same plan, and that one that is
// not gives faults.
func FuzzArgs(f *testing.F) {
	for _, seed := range []string{
		"make /a", "make /a and copy x y then do -- ls then", "copy x --header=a,b --header c y", "make --path=then,\"a,b\"",
		"then and", "make --timeout 5s --retries forever /a", "copy x y --size 3 --name n", "do --replace -- x", "make --path=", "-- --",
	} {
		f.Add(strings.ReplaceAll(seed, " ", "\n"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := plan.ParseArgs(kinds, strings.Split(text, "\n"))
		if err != nil {
			if err.Error() == "" {
				t.Error("a fault without words")
			}
			return
		}
		args, err := p.Args()
		if err != nil && strings.Contains(text, "\r") {
			return
		}
		if err != nil {
			t.Fatalf("a chain that was taken is no chain: %v", err)
		}
		again, err := plan.ParseArgs(kinds, args)
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		if twice, _ := again.Args(); !slices.Equal(args, twice) {
			t.Fatalf("got %q, want %q", twice, args)
		}
		fileRoundTrip(t, p)
	})
}

// FuzzFile checks that a file that is taken comes back from YAML as the same plan.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"steps:\n- make: {path: /a}\n", "deadline: 5m\nsteps:\n- parallel:\n  - make: {path: [a, b]}\n  - sequence:\n    - copy: {from: x, to: y}\n",
		`{"steps": [{"do": {"command": ["a", "then"]}}]}`, "steps:\n- make: &a {path: /a}\n- make: *a\n", "steps: [", "a: &a [*a]", "steps:\n- copy: {from: |\n    x\n    y\n   , to: \"\\t\"}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := plan.ParseFile(kinds, "p.yaml", []byte(text))
		if err != nil {
			if err.Error() == "" {
				t.Error("a fault without words")
			}
			return
		}
		fileRoundTrip(t, p)
	})
}

func fileRoundTrip(t *testing.T, p *plan.Plan) {
	t.Helper()
	data, err := p.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := plan.ParseFile(kinds, "again.yaml", data)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	twice, err := again.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if string(twice) != string(data) {
		t.Fatalf("got %s\nwant %s", twice, data)
	}
}
