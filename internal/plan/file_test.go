package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-init/slipway/internal/plan"
)

func TestFileBecomesTree(t *testing.T) {
	const text = `
deadline: 5m
steps:
- make: {path: [/a, "/b,c"]}
- parallel:
  - copy: {from: x, to: y, header: [a, b]}
  - sequence:
    - make: {path: /d, recursive: true, timeout: 3s}
    - make: {path: /e}
- do: {command: [ls, then], replace: true}
`
	p, err := plan.ParseFile(kinds, "plan.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if p.Deadline != 5*time.Minute {
		t.Errorf("deadline: got %s", p.Deadline)
	}
	const want = `deadline: 5m0s
steps:
- make:
    path: [/a, '/b,c']
- parallel:
  - copy:
      from: x
      to: y
      header: [a, b]
  - sequence:
    - make:
        path: [/d]
        recursive: true
        timeout: 3s
    - make:
        path: [/e]
- do:
    command: [ls, then]
    replace: true
`
	got, err := p.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("(- got, + want):\n%s", diff)
	}
	again, err := plan.ParseFile(kinds, "again.yaml", got)
	if err != nil {
		t.Fatal(err)
	}
	if twice, _ := again.YAML(); string(twice) != string(got) {
		t.Errorf("the round trip changed the plan:\n%s", twice)
	}
}

func TestDeadlineMayBeAnAlias(t *testing.T) {
	p, err := plan.ParseFile(kinds, "p.yaml", []byte("steps:\n- make: {path: /a, timeout: &t 3s}\ndeadline: *t"))
	if err != nil || p.Deadline != 3*time.Second {
		t.Errorf("got %v, %v, want a deadline of 3s", p, err)
	}
}

func TestFileInJSON(t *testing.T) {
	p, err := plan.ParseFile(kinds, "plan.json", []byte("{\n\t\"steps\": [{\"make\": {\"path\": [\"/a\"], \"retries\": 3}}]}"))
	if err != nil {
		t.Fatal(err)
	}
	args, err := p.Args()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(args, " "), "make --path=/a --retries=3"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFileFaultsAreToldAtOnce(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"five", `
deadlin: 5m
steps:
- mkae: {path: /a}
- make: {paht: /a}
- copy: {from: x}
- parallel:
  - make: {path: /a, retries: lots}
  - copy: {from: a, to: b, to: c}
`, []string{
			`p.yaml:2:1: a plan has no key "deadlin" | did you mean deadline?`,
			`p.yaml:4:3: there is no step "mkae" | did you mean make?`,
			`p.yaml:5:10: make has no option paht | did you mean path?`,
			`p.yaml:6:3: copy: to is missing | say where to`,
			`p.yaml:8:31: make: retries: "lots" is not a number of retries: write 0 to 1000000, or forever`,
			`p.yaml:9:28: to is given twice, at p.yaml:9:21 before`,
		}},
		{"empty", "", []string{"p.yaml:1:1: the plan is empty"}},
		{"comment", "# nothing\n", []string{"p.yaml:1:1: the plan is empty"}},
		{"list", "- make: {}", []string{"p.yaml:1:1: the plan is a list, not a mapping"}},
		{"no steps", "deadline: 1s", []string{"p.yaml:1:1: the plan has no steps"}},
		{"empty steps", "steps: []", []string{"p.yaml:1:8: steps has no steps"}},
		{"deadline", "deadline: soon\nsteps:\n- make: {path: /a}", []string{`p.yaml:1:11: deadline: "soon" is not a duration such as 90s or 5m`}},
		{"lines", "steps:\n- make:\n    path: |\n      /a\n      /b", []string{`p.yaml:3:11: make: path has several lines | put commas between the items, or write a list`}},
		{"control", "steps:\n- make: {path: /a, \"p\\e[2J\": x}", []string{`p.yaml:2:20: make has no option "p\x1b[2J"`}},
		{"long", "steps:\n- " + strings.Repeat("m", 100) + ": {}", []string{`p.yaml:2:3: there is no step "` + strings.Repeat("m", 60) + `…"`}},
		{"indent", "steps:\n- make:\n  path: /a", []string{`p.yaml:3:3: a step has one key; "path" is a second | begin each step with a dash; indent its options below its name`}},
		{"value", "steps:\n- make: {path: {a: b}}", []string{"p.yaml:2:16: make: path is a mapping, not a plain value"}},
		{"null", "steps:\n- make: {path: }", []string{"p.yaml:2:16: make: path has no value"}},
		{"item", "steps:\n- make: {path: [[a]]}", []string{"p.yaml:2:17: make: an item of path is a list, not a plain value"}},
		{"second", "steps:\n- make: {path: /a}\n---\nsteps: []", []string{"p.yaml:3:1: a second document; a plan is one"}},
		{"conflict", "steps:\n- parallel:\n  - make: {path: /a}\n  - sequence:\n    - make: {path: /b}\n    - make: {path: /a}", []string{
			`p.yaml:6:7: make#3 and make (p.yaml:3:5) may run at the same time and both write /a | put one after the other with "then", or in a sequence`,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := plan.ParseFile(kinds, "p.yaml", []byte(test.text))
			wantFaults(t, err, test.want)
		})
	}
}

func TestFileSyntaxHasItsPlace(t *testing.T) {
	_, err := plan.ParseFile(kinds, "p.yaml", []byte("steps:\n- make: {path: [a\n- x"))
	if err == nil || !strings.HasPrefix(err.Error(), "p.yaml:") || strings.HasPrefix(err.Error(), "p.yaml:1:1") {
		t.Errorf("got %v", err)
	}
}

func TestAliasesUnfoldWithinBounds(t *testing.T) {
	p, err := plan.ParseFile(kinds, "p.yaml", []byte("steps:\n- make: &m {path: /a}\n- make: *m\n"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(p.Root); n != 2 {
		t.Errorf("got %d steps, want 2", n)
	}
	var bomb strings.Builder
	bomb.WriteString("steps:\n- parallel: &a0\n  - make: {path: /a}\n")
	for i := 1; i < 30; i++ {
		bomb.WriteString("- parallel: &a" + string(rune('A'+i)) + "\n")
		ref := "*a0"
		if i > 1 {
			ref = "*a" + string(rune('A'+i-1))
		}
		bomb.WriteString("  - parallel: " + ref + "\n  - parallel: " + ref + "\n")
	}
	if _, err := plan.ParseFile(kinds, "p.yaml", []byte(bomb.String())); err == nil {
		t.Error("a plan that unfolds without bounds was taken")
	}
}
