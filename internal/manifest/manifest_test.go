package manifest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/lint"
	"github.com/slipway-init/slipway/internal/manifest"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/steps"
)

const pinned = "ghcr.io/slipway-init/slipway@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// cases are chains, with the options that are not the default. Each has its golden file.
var cases = []struct {
	name    string
	options manifest.Options
	chain   string
}{
	{"wait", manifest.Options{}, "wait-for tcp://db:5432 http://vector:8686/health"},
	{"password", manifest.Options{}, "wait-for postgres://db/shop --username shop --password-from env:PGPASSWORD --ca-file /ca/ca.crt"},
	{"vault", manifest.Options{}, "vault-render /templates/db.ctmpl /secrets/db.env --address https://vault.vault.svc:8200 --role shop and render /templates/app.tmpl /config/app.conf"},
	{"wait-for-objects", manifest.Options{As: manifest.Pod, AppImage: "registry.example.com/shop:1", With: []string{"rbac", "networkpolicy"}}, `wait-for k8s://shop/job/migrate k8s://shop/service/db?min=2 k8s://pki/certificates.cert-manager.io/web?condition=Ready`},
	{"vault-pod", manifest.Options{As: manifest.Pod, AppImage: "registry.example.com/shop:1", With: []string{"vaultpolicy", "rbac", "networkpolicy"}}, `vault-render --inline {{with§secret§"secret/app"}}{{.Data.password}}{{end}} --dest /secrets/app --address https://vault.vault.svc:8200 --role shop --auth kubernetes`},
	{"model-job", manifest.Options{As: manifest.Job, With: []string{"podfailurepolicy", "iampolicy", "networkpolicy"}}, "s3-fetch s3://models/llama/ /models/llama --region eu-west-1 then http-fetch https://10.1.2.3/tokens.json /models/tokens.json"},
	{"restart-rules", manifest.Options{As: manifest.Pod, With: []string{"restartrules"}}, "git-clone https://git.example.com/team/site.git /site --username bot --password-file /keys/pass"},
	{"clone-ssh", manifest.Options{As: manifest.Deployment, AppImage: "registry.example.com/site:2"}, "git-clone ssh://git@git.example.com/team/site.git /site/www --ssh-key /keys/id --known-hosts /hosts/known_hosts"},
	{"split", manifest.Options{}, "wait-for tcp://db:5432 and mkdir /data/logs then chown 1000:1000 /data/logs then touch /data/ready then iptables-redirect --preset istio"},
	{"split-parallel", manifest.Options{}, "mkdir /data/a and chown 1000 /data/b and iptables-redirect --preset linkerd and touch /data/c then touch /data/d"},
	{"single", manifest.Options{Single: true}, "wait-for tcp://db:5432 then iptables-redirect --preset istio"},
	{"crossing", manifest.Options{}, "wait-for file:///run-files/ready and write-file /run-files/ready --content x --owner 1000"},
	{"barrier", manifest.Options{}, "wait-for file:///barrier/ready unix:///sockets/app.sock"},
	{"exec", manifest.Options{}, "mkdir /work/a then exec -- /bin/migrate --all"},
	{"component", manifest.Options{As: manifest.Kustomize, With: []string{"restartrules"}}, "mkdir /var/log/app then write-file /secrets/token --from env:TOKEN"},
	{"secret-beside", manifest.Options{}, "write-file /config/secrets/token --from env:TOKEN then write-file /config/app --content x"},
	{"root-folder", manifest.Options{UID: 1000, GID: 2000, Name: "prepare"}, "mkdir /config and chmod 0750 /data"},
}

// make returns the manifest of a case.
func makeManifest(t *testing.T, p *plan.Plan, o manifest.Options) string {
	t.Helper()
	text, err := manifest.Make(p, defaults(o))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func defaults(o manifest.Options) manifest.Options {
	if o.As == "" {
		o.As = manifest.InitContainers
	}
	if o.Name == "" {
		o.Name = "slipway"
	}
	if o.Image == "" {
		o.Image = pinned
	}
	if o.UID == 0 {
		o.UID, o.GID = 65532, 65532
	}
	o.Audience = "vault"
	return o
}

// parse reads a chain; § is a space within a word.
func parse(t *testing.T, chain string) *plan.Plan {
	t.Helper()
	words := strings.Fields(chain)
	for i := range words {
		words[i] = strings.ReplaceAll(words[i], "§", " ")
	}
	p, err := plan.ParseArgs(steps.All(), words)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestManifestsAreThoseOfTheGoldenFiles also lints them: what slipway prints it must not complain of, but for notes.
func TestManifestsAreThoseOfTheGoldenFiles(t *testing.T) {
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			p := parse(t, test.chain)
			got := makeManifest(t, p, test.options)
			if again := makeManifest(t, parse(t, test.chain), test.options); again != got {
				t.Error("a second time it is another one")
			}
			file := filepath.Join("testdata", test.name+".yaml")
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, string(want)); diff != "" {
				t.Errorf("(- got, + want):\n%s", diff)
			}
			checkLint(t, file, got)
		})
	}
}

func checkLint(t *testing.T, file, text string) {
	t.Helper()
	findings, seen, err := lint.Check(file, []byte(text), lint.Options{Kinds: steps.All(), Level: "restricted"})
	if err != nil || seen == 0 {
		t.Fatalf("lint: %v, %d containers", err, seen)
	}
	for _, f := range findings {
		if f.Rule.Severity != lint.Note {
			t.Errorf("lint: %+v", f)
		}
	}
}

// A group of steps within a group is no chain: the plan stands in a variable, which says the same.
func TestPlanThatNoChainSaysStandsInAVariable(t *testing.T) {
	const text = "deadline: 5m\nsteps:\n- parallel:\n  - sequence:\n    - mkdir: {path: /a/b}\n    - touch: {path: /a/b/c}\n  - mkdir: {path: /d/e}\n"
	p, err := plan.ParseFile(steps.All(), "p.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got := makeManifest(t, p, manifest.Options{})
	if !strings.Contains(got, "- name: SLIPWAY_PLAN\n    value: |\n      deadline: 5m0s\n") || strings.Contains(got, "args:") {
		t.Errorf("got %s", got)
	}
	checkLint(t, "p.yaml", got)
	chain, err := plan.ParseFile(steps.All(), "p.yaml", []byte("deadline: 5m\nsteps:\n- mkdir: {path: /a/b}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := makeManifest(t, chain, manifest.Options{}); !strings.Contains(got, "args:\n  - --deadline=5m0s\n  - mkdir\n  - /a/b\n") {
		t.Errorf("got %s", got)
	}
}

func TestWordsThatCouldBeMistakenKeepTheirOption(t *testing.T) {
	p, err := plan.ParseArgs(steps.All(), []string{"mkdir", "--path=then", "--path=/-x"})
	if err != nil {
		t.Fatal(err)
	}
	// then is a relative path: no volume can be mounted for it.
	if _, err := manifest.Make(p, defaults(manifest.Options{})); fault.KindOf(err) != fault.Usage {
		t.Errorf("got %v", err)
	}
}

func TestWhatNoPodCouldRunIsRefused(t *testing.T) {
	tests := []struct {
		chain   string
		options manifest.Options
		want    string
	}{
		{"mkdir a/b", manifest.Options{}, "which no volume can be mounted for"},
		{"touch /etc/x", manifest.Options{}, "a volume for /etc would hide what is there"},
		{"touch /x", manifest.Options{}, "a volume for / would hide"},
		{"wait-for tls://a:1 --ca-file /etc/ca.pem", manifest.Options{}, "a volume for /etc would hide"},
		{"seccomp-install /profiles/a.json", manifest.Options{}, "works on the node"},
		{"apparmor-load /profiles/a", manifest.Options{}, "works on the node"},
		{"exec --replace -- /app", manifest.Options{}, "an init container has to end"},
		{"mkdir /a/b", manifest.Options{As: "daemon"}, "is no form"},
		{"mkdir /a/b", manifest.Options{With: []string{"everything"}}, "is not known"},
		{"mkdir /a/b", manifest.Options{As: manifest.Deployment}, "no application"},
		{"mkdir /a/b", manifest.Options{With: []string{manifest.PodFailurePolicy}}, "only a Job has one"},
		{"mkdir /a/b", manifest.Options{As: manifest.Kustomize, With: []string{manifest.RBAC}}, "holds no objects"},
		{"mkdir /a/b", manifest.Options{Name: "Not_a_name"}, "is no name of an object"},
		{"mkdir /a/b", manifest.Options{Image: "a b"}, "is no image"},
		{"mkdir /a/b", manifest.Options{UID: -1}, "is root or no user"},
	}
	for _, test := range tests {
		t.Run(test.chain+" "+test.want, func(t *testing.T) {
			_, err := manifest.Make(parse(t, test.chain), defaults(test.options))
			if err == nil || fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), test.want) || fault.HintOf(err) == "" {
				t.Errorf("got %v (hint %q), want %q", err, fault.HintOf(err), test.want)
			}
		})
	}
}

// FuzzMake holds that whatever chain is taken gives a manifest that can be read, and that no text of it breaks out of a
// comment: every container of it is linted.
func FuzzMake(f *testing.F) {
	for _, test := range cases {
		f.Add(strings.ReplaceAll(test.chain, " ", "\n"))
	}
	f.Add("mkdir\n/a\u2028b: c/d\nthen\nchown\n1\n/x\u0085y/z")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := plan.ParseArgs(steps.All(), strings.Split(text, "\n"))
		if err != nil {
			return
		}
		for _, as := range manifest.Forms() {
			o := defaults(manifest.Options{As: as, AppImage: "app@sha256:00"})
			if as != manifest.Kustomize {
				o.With = []string{"networkpolicy", "rbac", "vaultpolicy", "iampolicy"}
			}
			made, err := manifest.Make(p, o)
			if err != nil {
				if fault.KindOf(err) != fault.Usage {
					t.Fatal(err)
				}
				return
			}
			if _, seen, err := lint.Check("made.yaml", made, lint.Options{Kinds: steps.All(), Level: "restricted"}); err != nil || seen == 0 {
				t.Fatalf("%v, %d containers\n%s", err, seen, made)
			}
		}
	})
}

func ExampleMake() {
	p, _ := plan.ParseArgs(steps.All(), []string{"touch", "/data/ready"})
	text, _ := manifest.Make(p, defaults(manifest.Options{}))
	fmt.Println(strings.Split(string(text), "\n")[1])
	// Output: - name: slipway
}
