package convert_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-init/slipway/internal/convert"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/steps"
)

// TestGoldenFiles converts each testdata/NAME.in; NAME.yaml is what must come of it.
func TestGoldenFiles(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.in")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no input: %v", err)
	}
	for _, input := range inputs {
		t.Run(input, func(t *testing.T) {
			data, err := os.ReadFile(input)
			if err != nil {
				t.Fatal(err)
			}
			got := text(t, input, data)
			golden := strings.TrimSuffix(input, ".in") + ".yaml"
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, string(want)); diff != "" {
				t.Errorf("(- got, + want):\n%s", diff)
			}
		})
	}
}

func text(t *testing.T, name string, data []byte) string {
	t.Helper()
	r, err := convert.Text(steps.All(), convert.Auto, filepath.Base(name), data)
	if err != nil {
		t.Fatal(err)
	}
	if r.Plan == nil {
		var b strings.Builder
		for _, n := range r.Notes {
			b.WriteString("# " + n.String() + "\n")
		}
		return b.String()
	}
	yaml, err := r.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.ParseFile(steps.All(), "plan.yaml", yaml); err != nil {
		t.Errorf("the plan is none: %v\n%s", err, yaml)
	}
	return string(yaml)
}

// TestShell holds lines of shell against the chain that they become; with a note, nothing else may come of them.
func TestShell(t *testing.T) {
	tests := []struct{ script, chain, note string }{
		{"until nc -z db 5432; do sleep 1; done", "wait-for --target=tcp://db:5432", "waits without end"},
		{"until nc -zv -w1 db 5432 >/dev/null 2>&1; do echo wait; sleep 1; done", "wait-for --target=tcp://db:5432", "waits without end"},
		{"while ! nc -z ::1 80\ndo\n  sleep 1\ndone", "wait-for --target=tcp://[::1]:80", "waits without end"},
		{"until curl -fsS -m 3 http://a/x; do sleep 1; done", "wait-for --target=http://a/x --look-timeout=3s --status=200-399 --no-redirect=true", "waits without end"},
		{"until curl -kL https://a; do sleep 1; done", "wait-for --target=https://a --insecure-skip-tls-verify=true --status=100-599", "waits without end"},
		{"until wget -q --spider a:8080/x; do sleep 1; done", "wait-for --target=http://a:8080/x", "waits without end"},
		{"until pg_isready -h db -p 5433 -U me; do sleep 1; done", "wait-for --target=postgres://db:5433", "waits without end"},
		{"until redis-cli -h r ping; do sleep 1; done", "wait-for --target=redis://r", "waits without end"},
		{"until getent hosts a.b; do sleep 1; done", "wait-for --target=dns://a.b", "waits without end"},
		{"until [ -f /x/ready ]; do sleep 1; done", "wait-for --target=file:///x/ready", "waits without end"},
		{"until test -s /x/ready; do sleep 1; done", "wait-for --target=file:///x/ready --not-empty=true", "waits without end"},
		{"mkdir -p /a/b '/a/c d' && chown -R 1000:1000 /a", "mkdir --path=/a/b --path=/a/c d then chown --owner=1000:1000 --path=/a --recursive=true", ""},
		{"set -eu; chmod 0750 /a; touch /a/b # done", "chmod --mode=0750 --path=/a then touch --path=/a/b", ""},
		{"git clone --depth 1 -b v1 https://a/b.git /c", "git-clone --url=https://a/b.git --dir=/c --ref=v1", "leaves .git"},
		{"wget -O /a/b https://c/d", "http-fetch --url=https://c/d --dest=/a/b", "proves nothing"},
		{"aws s3 cp --recursive s3://bucket/a /b", "s3-fetch --url=s3://bucket/a/ --dest=/b", ""},

		{"until nc -z $DB 5432; do sleep 1; done", "", "is not carried over"},
		{"until nc -z db 5432 && nc -z b 1; do sleep 1; done", "", "not one plain command"},
		{"until nc -z db 5432; do rm -rf /x; sleep 1; done", "", "does more than wait"},
		{"while nc -z db 5432; do sleep 1; done", "", "succeeds"},
		{"until ! nc -z db 5432; do sleep 1; done", "", "fails"},
		{"until curl -u me:pw http://a; do sleep 1; done", "", "is not carried over"},
		{"nc -z db 5432", "", "looks once"},
		{"if true; then mkdir /a; fi", "", `"if" is not read`},
		{"for i in 1 2 3; do mkdir /a/$i; done; for x in; do if y; then z; fi; done", "", `"for" is not read`},
		{"case $x in a) mkdir /a;; esac", "", `"case" is not read`},
		{"mkdir /a || true", "", "is part of a pipe"},
		{"cat /a | tee /b", "", "is part of a pipe"},
		{"touch /a > /b", "", "is part of a pipe"},
		{"mkdir /a/*", "", "known only when it runs"},
		{"mkdir \"/a/$(hostname)\"", "", "known only when it runs"},
		{"mkdir /a/{b,c}", "", "known only when it runs"},
		{"mkdir a", "", "no absolute path"},
		{"mkdir -Z /a", "", "is not known"},
		{"chown app /a", "", "not a numeric id"},
		{"sleep 30", "", "is left out"},
		{"envsubst", "", "is not known"},
		{"mkdir '/a", "", "known only when it runs"},
		{"f() { mkdir /a; }", "", "is part of a pipe"},
	}
	for _, test := range tests {
		t.Run(test.script, func(t *testing.T) {
			r, err := convert.Text(steps.All(), convert.Shell, "x.sh", []byte(test.script))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if r.Plan != nil {
				args, err := r.Plan.Args()
				if err != nil {
					t.Fatal(err)
				}
				got = strings.Join(args, " ")
			}
			if got != test.chain {
				t.Errorf("got  %s\nwant %s\nnotes: %v", got, test.chain, r.Notes)
			}
			var notes string
			for _, n := range r.Notes {
				notes += n.String() + "\n"
			}
			if (test.note == "") != (notes == "") || !strings.Contains(notes, test.note) {
				t.Errorf("got the notes %q, want %q", notes, test.note)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	tests := []struct {
		source, args, chain, note string
	}{
		{convert.IstioInit, "-p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x § -b * -d 15090,15021,15020", "iptables-redirect --exclude-gid=1337 --exclude-inbound-ports=15090,15021,15020,15008 --exclude-uid=1337 --inbound-port=15006 --include-inbound-ports=* --include-outbound-cidrs=* --loopback-sources=127.0.0.6,::6 --mode=redirect --outbound-port=15001 --redirect-self=true", ""},
		{convert.IstioInit, "-b § --redirect-dns --capture-all-dns", "iptables-redirect --dns-port=15053 --exclude-gid=1337 --exclude-inbound-ports=15008 --exclude-uid=1337 --loopback-sources=127.0.0.6,::6 --outbound-port=15001", ""},
		{convert.IstioInit, "--cleanup-only", "iptables-redirect --remove=true", ""},
		{convert.IstioInit, "-p many", "", "outbound-port"},
		{convert.IstioInit, "--no-such=1 -p 1", "x", "nothing is made of it"},
		{convert.Linkerd, "-p 4143 -o 4140 -u 2102 --inbound-ports-to-ignore 4190,4191 --subnets-to-ignore=10.0.0.0/8", "iptables-redirect --exclude-inbound-cidrs=10.0.0.0/8 --exclude-inbound-ports=4190,4191 --exclude-uid=2102 --inbound-port=4143 --outbound-port=4140", ""},
		{convert.Linkerd, "-p 4143 --timeout-close-wait-secs 3600", "x", "nothing is made of it"},
		{convert.GitSync, "--repo=https://a/b.git --root=/git --link=site --one-time --ref=v1 --submodules=off", "git-clone --dir=/git/site --ref=v1 --url=https://a/b.git", "not a link"},
		{convert.GitSync, "-repo https://a/b -branch main -root /git -dest site -ssh", "git-clone --dir=/git/site --ref=main --submodules=true --url=https://a/b", "goes on"},
		{convert.GitSync, "--repo=https://a/b", "", "not both given"},
		{convert.Wait4x, "tcp db:5432 cache:6379 -t 1m", "wait-for --target=tcp://db:5432 --target=tcp://cache:6379 --timeout=1m", ""},
		{convert.Wait4x, "http http://a/ --expect-status-code 204 --invert-check", "wait-for --target=http://a/ --status=204 --not --timeout=10s", ""},
		{convert.Wait4x, "postgresql postgres://me:hunter2@db/x", "", "holds a password"},
		{convert.Wait4x, "mongodb mongodb://db", "", "does not know the protocol"},
		{convert.Wait4x, "tcp a:1 -- /app", "wait-for --target=tcp://a:1 --timeout=10s", "runs"},
	}
	for _, test := range tests {
		t.Run(test.source+" "+test.args, func(t *testing.T) {
			words := strings.Fields(test.args)
			for i := range words {
				words[i] = strings.ReplaceAll(words[i], "§", "")
			}
			r, err := convert.Words(steps.All(), test.source, words)
			if err != nil {
				t.Fatal(err)
			}
			var got, want string
			if r.Plan != nil {
				args, _ := r.Plan.Args()
				got = strings.Join(args, " ")
			}
			if test.chain != "" && test.chain != "x" {
				p, err := plan.ParseArgs(steps.All(), strings.Fields(test.chain))
				if err != nil {
					t.Fatal(err)
				}
				args, _ := p.Args()
				want = strings.Join(args, " ")
			}
			if got != want && test.chain != "x" {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			var notes string
			for _, n := range r.Notes {
				notes += n.String() + "\n"
			}
			if (test.note == "") != (notes == "") || !strings.Contains(notes, test.note) {
				t.Errorf("got the notes %q, want %q", notes, test.note)
			}
			if strings.Contains(notes, "hunter2") {
				t.Error("a note tells a password")
			}
		})
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	if _, err := convert.Text(steps.All(), convert.Manifest, "x", []byte("a: [")); fault.KindOf(err) != fault.Data {
		t.Errorf("got %v", err)
	}
	if _, err := convert.Text(steps.All(), convert.Manifest, "x", []byte("a: b")); fault.KindOf(err) != fault.Data {
		t.Errorf("got %v", err)
	}
	if _, err := convert.Words(steps.All(), convert.Shell, nil); fault.KindOf(err) != fault.Usage {
		t.Errorf("got %v", err)
	}
}

// FuzzText: whatever text comes, the plan that comes of it is one, its notes are comments, and its chain is the same plan.
func FuzzText(f *testing.F) {
	inputs, _ := filepath.Glob("testdata/*.in")
	for _, input := range inputs {
		data, err := os.ReadFile(input)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	for _, seed := range []string{
		"until nc -z a 1; do sleep 1; done", "mkdir -p '/a\u2028b' && touch \"/a\nb\"", "a: &a [*a]\nkind: x", "while ! [ -f /x ]; do :; done | cat", "case a in b) c;; esac; fi; done done {", "until", "until ;do done",
		"wget -O /a http://x; curl -o /b y", "echo \\", "chown 1:1 -- -a",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := convert.Text(steps.All(), convert.Auto, "x", []byte(text))
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				t.Fatal(err)
			}
			return
		}
		if r.Plan == nil {
			return
		}
		yaml, err := r.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := plan.ParseFile(steps.All(), "plan.yaml", yaml); err != nil {
			t.Fatalf("%v\n%s", err, yaml)
		}
	})
}
