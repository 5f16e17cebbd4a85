package plan_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-init/slipway/internal/plan"
)

func TestChainBecomesTree(t *testing.T) {
	tests := []struct{ chain, want string }{
		{"make /a", "make --path=/a"},
		{"make /a /b,c --path-x", ""},
		{"make /a and copy x y then do -- ls then and --replace", "make --path=/a and copy --from=x --to=y then do -- ls then and --replace"},
		{"copy --to=y x", "copy --from=x --to=y"},
		{"copy x --size 3 y --header a=b,c --header=d", "copy --from=x --to=y --header=a=b,c --header=d --size=3"},
		{"make --recursive /a", "make --path=/a --recursive=true"},
		{"make --path /a,/b", "make --path=/a --path=/b"},
		{"make --path=then --timeout 5s --retries forever --backoff=1s --name first", "make --path=then --timeout=5s --backoff=1s --name=first --retries=forever"},
		{"do --replace -- app --flag", "do --replace=true -- app --flag"},
		{"copy - y", "copy --from=- --to=y"},
	}
	for _, test := range tests {
		t.Run(test.chain, func(t *testing.T) {
			p, err := plan.ParseArgs(kinds, strings.Fields(test.chain))
			if test.want == "" {
				if err == nil {
					t.Fatal("got no fault, want one")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			args, err := p.Args()
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(args, " "); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestChainFaultsAreToldAtOnce(t *testing.T) {
	tests := []struct {
		chain string
		want  []string
	}{
		{"", []string{"argument 1: the chain is empty"}},
		{"mkae /a then coyp x y", []string{
			`argument 1: there is no step "mkae" | did you mean make?`,
			`argument 4: there is no step "coyp" | did you mean copy?`,
		}},
		{"make --recursiv /a and copy --to", []string{
			"argument 2: make has no option --recursiv | did you mean --recursive?",
			`argument 6: copy: --to has no value | a literal "then" or "and" is written --to=then`,
		}},
		{"then make /a and", []string{
			`argument 1: a step is missing before "then" | a literal "then" or "and" is written --option=then`,
			`argument 5: a step is missing at the end | a literal "then" or "and" is written --option=then`,
		}},
		{"copy x y z", []string{`argument 4: copy: one argument too many: "z" | usage: copy FROM TO [--option value]…`}},
		{"copy x y https://u:hunter2@h/p?token=hunter3", []string{`argument 4: copy: one argument too many: "https://h/…" | usage: copy FROM TO [--option value]…`}},
		{"copy x y --size 1 --size 2", []string{"argument 6: copy: size is given twice, at argument 4 before"}},
		{"copy --size=many x y", []string{`argument 2: copy: size: "many": invalid syntax`}},
		{"copy", []string{"argument 1: copy: from is missing", "argument 1: copy: to is missing | say where to"}},
		{"make -r /a", []string{`argument 2: make has no option "-r" | options are written --name value or --name=value`}},
		{"make -- /a", []string{`argument 2: make takes no "--" | write an argument that begins with a dash as --option=-value`}},
		{"do ls", []string{`argument 2: do: "ls" stands before the "--" | usage: do -- COMMAND… [--option value]…`}},
		{"make /a --retries -2 --timeout -1s --name a\tb", []string{
			`argument 3: make: retries: "-2" is not a number of retries: write 0 to 1000000, or forever`,
			"argument 5: make: timeout: -1s is less than nothing",
		}},
		{"make /a/b and make /a --recursive", []string{
			`argument 4: make#2 and make (argument 1) may run at the same time and both write /a/... | put one after the other with "then", or in a sequence`,
		}},
		{"make /a --recursive and copy x /a/b/c", []string{
			`argument 5: copy and make (argument 1) may run at the same time and both write /a/b/c | put one after the other with "then", or in a sequence`,
		}},
		{"make /a and make /ab and make /b/../a", []string{
			`argument 7: make#3 and make (argument 1) may run at the same time and both write /b/../a | put one after the other with "then", or in a sequence`,
		}},
		{"make /a /b and make /b /a", []string{ // of several paths, the first that the user wrote
			`argument 5: make#2 and make (argument 1) may run at the same time and both write /b | put one after the other with "then", or in a sequence`,
		}},
		{"do --replace then make /a", []string{"argument 1: do replaces the process and must be the last step, with none beside it"}},
		{"make /a and do --replace -- x", []string{"argument 4: do replaces the process and must be the last step, with none beside it"}},
	}
	for _, test := range tests {
		t.Run(test.chain, func(t *testing.T) {
			_, err := plan.ParseArgs(kinds, strings.Fields(test.chain))
			wantFaults(t, err, test.want)
		})
	}
}

func TestHelpIsWantedWhereItIsNoValue(t *testing.T) {
	tests := []struct{ chain, want string }{
		{"make --help", "make"},
		{"make /a then copy -h", "copy"},
		{"mkae /a then copy --no-such-option -h", "copy"},
		{"copy --from -h --to --help", ""},
		{"do -- app --help", ""},
	}
	for _, test := range tests {
		_, err := plan.ParseArgs(kinds, strings.Fields(test.chain))
		var help *plan.HelpWanted
		got := ""
		if errors.As(err, &help) {
			got = help.Step
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q (%v)", test.chain, got, test.want, err)
		}
	}
}

func TestStepsAreBounded(t *testing.T) {
	chain := strings.Split(strings.TrimSuffix(strings.Repeat("make /a then ", 3000), " then "), " ")
	_, err := plan.ParseArgs(kinds, chain)
	wantFaults(t, err, []string{"argument 6001: the plan has over 2000 steps"})
}

func TestPolicyComesFromOptions(t *testing.T) {
	p, err := plan.ParseArgs(kinds, strings.Fields("make /a --timeout 5s --retries 3 --backoff 200ms --name x then make /b --name x"))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for task := range p.Tasks() {
		ids = append(ids, task.ID)
	}
	if diff := cmp.Diff(ids, []string{"x", "x#2"}); diff != "" {
		t.Error(diff)
	}
	got := p.Root[0].(*plan.Task).Policy
	if got.Timeout != 5*time.Second || got.Retries != 3 || got.Backoff != 200*time.Millisecond {
		t.Errorf("got %+v", got)
	}
}
