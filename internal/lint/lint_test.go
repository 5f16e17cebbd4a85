package lint_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/lint"
	"github.com/slipway-init/slipway/steps"
)

// sound is a pod without a fault; each planted fault is a change of its text.
const sound = `apiVersion: v1
kind: Pod
metadata: {name: shop, namespace: shop}
spec:
  hostNetwork: false
  securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
  initContainers:
  - name: prepare
    image: ghcr.io/slipway-init/slipway:v1@sha256:00
    args: [vault-render, /templates/a, /secrets/a, --address=https://vault:8200, --role=shop, --auth=kubernetes, --jwt-file=/token/token]
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    resources: {requests: {cpu: 10m}, limits: {memory: 64Mi}}
    volumeMounts:
    - {name: secrets, mountPath: /secrets}
    - {name: templates, mountPath: /templates}
    - {name: token, mountPath: /token}
  - name: redirect
    image: ghcr.io/slipway-init/slipway:v1@sha256:00
    args: [iptables-redirect, --preset=istio]
    securityContext:
      runAsUser: 0
      runAsNonRoot: false
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL], add: [NET_ADMIN]}
    resources: {requests: {cpu: 10m}, limits: {memory: 64Mi}}
  containers:
  - name: shop
    image: shop
    resources: {requests: {cpu: 100m}, limits: {memory: 128Mi}}
    volumeMounts:
    - {name: secrets, mountPath: /secrets}
  volumes:
  - {name: secrets, emptyDir: {medium: Memory}}
  - {name: templates, configMap: {name: t}}
  - {name: token, projected: {sources: [{serviceAccountToken: {path: token, audience: vault}}]}}
`

// planted are the faults: what is replaced, by what, the rule that must find it, and its line.
var planted = []struct {
	rule     string
	old, new string
	line     int
}{
	{"plan-fault", "vault-render, /templates", "vault-rendr, /templates", 10},
	{"plan-fault", "iptables-redirect, --preset=istio", "iptables-redirect, --preset=osm", 22},
	{"plan-unseen", "[iptables-redirect, --preset=istio]", "[run, /plan/p.yaml]", 22},
	{"redirect-before-network", "[vault-render,", "[iptables-redirect, --preset=istio, then, vault-render,", 10},
	{"redirect-host-network", "hostNetwork: false", "hostNetwork: true", 5},
	{"replace-in-init", "[iptables-redirect, --preset=istio]", "[iptables-redirect, --preset=istio, then, exec, --replace, --, /app]", 22},
	{"secret-in-words", "[iptables-redirect,", "[exec, --, curl, \"http://me:hunter2@x/\"] #", 22},
	{"unverified-tls", "--role=shop", "--role=shop, --insecure-skip-tls-verify", 10},
	{"unpinned-commit", "[iptables-redirect,", "[git-clone, https://x/y, /secrets/x, then, iptables-redirect,", 22},
	{"unproven-download", "[iptables-redirect,", "[http-fetch, https://x/y, /secrets/x, then, iptables-redirect,", 22},
	{"secret-on-disk", "emptyDir: {medium: Memory}", "emptyDir: {}", 37},
	{"secret-on-disk", "emptyDir: {medium: Memory}", "persistentVolumeClaim: {claimName: x}", 37},
	{"secret-unreadable", "    image: shop\n", "    image: shop\n    securityContext: {runAsUser: 1000}\n", 10},
	{"path-unmounted", "    - {name: templates, mountPath: /templates}\n", "", 10},
	{"path-unmounted", "name: secrets, mountPath: /secrets}\n    - {name: templates", "name: secrets, readOnly: true, mountPath: /secrets}\n    - {name: templates", 17},
	{"path-unmounted", "/secrets/a, --address", "/other/a, --address", 10},
	{"variable-unset", "[iptables-redirect,", "[write-file, /secrets/x, --from=env:TOKEN, then, iptables-redirect,", 20},
	{"image-unpinned", "slipway:v1@sha256:00\n    args: [vault", "slipway\n    args: [vault", 9},
	{"image-unpinned", "slipway:v1@sha256:00\n    args: [vault", "slipway:latest\n    args: [vault", 9},
	{"image-tag", "slipway:v1@sha256:00\n    args: [vault", "slipway:v1\n    args: [vault", 9},
	{"uid-clash", "    image: shop\n", "    image: shop\n    securityContext: {runAsUser: 1337}\n", 33},
	{"capability-missing", ", add: [NET_ADMIN]", "", 28},
	{"capability-missing", "add: [NET_ADMIN]", "add: [NET_RAW]", 28},
	{"capability-unneeded", "add: [NET_ADMIN]", "add: [NET_ADMIN, SYS_ADMIN]", 28},
	{"capability-not-root", "      runAsUser: 0\n", "", 6},
	{"pod-security", "      allowPrivilegeEscalation: false\n      readOnlyRootFilesystem: true\n      capabilities: {drop: [ALL]}\n", "      readOnlyRootFilesystem: true\n      capabilities: {drop: [ALL]}\n", 8},
	{"pod-security", "capabilities: {drop: [ALL]}\n", "capabilities: {drop: [NET_RAW]}\n", 14},
	{"pod-security", "capabilities: {drop: [ALL]}\n", "capabilities: {drop: [ALL]}\n      privileged: true\n", 15},
	{"pod-security", ", seccompProfile: {type: RuntimeDefault}", "", 8},
	{"pod-security", "runAsNonRoot: true, ", "", 8},
	{"pod-security", "runAsUser: 65532", "runAsUser: 0", 6},
	{"pod-security", "emptyDir: {medium: Memory}", "hostPath: {path: /x}", 37},
	{"pod-security-needed", "apiVersion: v1\n", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {pod-security.kubernetes.io/enforce: restricted}}\n---\napiVersion: v1\n", 24},
	{"writable-root", "      readOnlyRootFilesystem: true\n      capabilities: {drop: [ALL]}\n", "      capabilities: {drop: [ALL]}\n", 12},
	{"request-above-pod", "requests: {cpu: 10m}, limits: {memory: 64Mi}}\n    volumeMounts", "requests: {cpu: 200m}, limits: {memory: 64Mi}}\n    volumeMounts", 15},
	{"request-above-pod", "limits: {memory: 64Mi}}\n    volumeMounts", "limits: {memory: 1Gi}}\n    volumeMounts", 15},
	{"no-memory-limit", "requests: {cpu: 10m}, limits: {memory: 64Mi}}\n    volumeMounts", "requests: {cpu: 10m}}\n    volumeMounts", 8},
	{"token-audience", ", audience: vault", "", 39},
	{"token-audience", ", --jwt-file=/token/token", "", 10},
	{"restart-rules", "    resources: {requests: {cpu: 10m}, limits: {memory: 64Mi}}\n    volumeMounts", "    restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [75]}}]\n    resources: {requests: {cpu: 10m}, limits: {memory: 64Mi}}\n    volumeMounts", 15},
	{"restart-rules", "    resources: {requests: {cpu: 10m}, limits: {memory: 64Mi}}\n    volumeMounts", "    restartPolicy: Never\n    restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [1]}}]\n    resources: {requests: {cpu: 10m}, limits: {memory: 64Mi}}\n    volumeMounts", 16},
}

func check(t *testing.T, text string, disable ...string) []lint.Finding {
	t.Helper()
	findings, seen, err := lint.Check("pod.yaml", []byte(text), lint.Options{Kinds: steps.All(), Level: "restricted", Disable: disable})
	if err != nil || seen == 0 {
		t.Fatalf("%v, %d containers", err, seen)
	}
	return findings
}

func TestSoundPodHasNoFindings(t *testing.T) {
	if findings := check(t, sound); findings != nil {
		t.Errorf("got %+v", findings)
	}
}

func TestPlantedFaultsAreFound(t *testing.T) {
	found := make(map[string]bool)
	for _, test := range planted {
		t.Run(test.rule+" "+test.new, func(t *testing.T) {
			if !strings.Contains(sound, test.old) {
				t.Fatalf("the pod has no %q", test.old)
			}
			text := strings.Replace(sound, test.old, test.new, 1)
			var got []int
			for _, f := range check(t, text) {
				if f.Rule.ID == test.rule {
					got = append(got, f.Pos.Line)
					if f.Message == "" || f.Pos.File != "pod.yaml" || f.Pos.Column == 0 || f.Hint == "" && f.Rule.ID != "plan-fault" {
						t.Errorf("got %+v", f)
					}
				}
			}
			if !slices.Contains(got, test.line) {
				t.Errorf("found at lines %v, want %d:\n%s", got, test.line, text)
			}
			found[test.rule] = true
			for _, f := range check(t, text, test.rule) {
				if f.Rule.ID == test.rule {
					t.Errorf("--disable did not: %+v", f)
				}
			}
		})
	}
	for _, rule := range lint.Rules() {
		if !found[rule.ID] {
			t.Errorf("no fault is planted for %s", rule.ID)
		}
	}
}

// The containers are found wherever they are, and however they are known.
func TestSlipwayIsRecognised(t *testing.T) {
	tests := []struct {
		name, text string
		want       int
	}{
		{"list", "kind: List\nitems:\n- kind: Pod\n  spec: {containers: [{name: a, image: x/slipway, args: [mkdir, /a]}]}\n", 1},
		{"cron job", "kind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{name: a, image: x, args: [mkdir, /a]}]}}}}}\n", 1},
		{"unheard-of kind", "kind: Rollout\nspec: {template: {spec: {containers: [{name: a, image: x, command: [/tools/slipway, mkdir, /a]}]}}}\n", 1},
		{"variable", "kind: Pod\nspec: {containers: [{name: a, image: x, env: [{name: SLIPWAY_PLAN, value: \"steps: [{mkdir: {path: /a}}]\"}]}]}\n", 1},
		{"stanza", "initContainers: [{name: a, image: x/slipway, args: [--log-level=debug, mkdir, /a]}]\n", 1},
		{"patch", "kind: Component\npatches:\n- patch: |\n    kind: Deployment\n    spec: {template: {spec: {initContainers: [{name: a, image: slipway, args: [mkdir, /a]}]}}}\n", 1},
		{"documents", "kind: Service\n---\n---\nkind: Pod\nspec: {containers: [{name: a, image: x/slipway:1, args: [mkdir, /a]}]}\n", 1},
		{"another's", "kind: Pod\nspec: {containers: [{name: a, image: busybox, args: [mkdir]}, {name: b, image: y, command: [slipwayer]}]}\n", 0},
		{"alias", "x: &a {containers: [{name: a, image: slipway, args: [mkdir, /a]}]}\nkind: Pod\nspec: *a\n", 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			findings, seen, err := lint.Check("x.yaml", []byte(test.text), lint.Options{Kinds: steps.All(), Level: "restricted"})
			if err != nil || seen != test.want {
				t.Errorf("got %d containers, %v, want %d", seen, err, test.want)
			}
			for _, f := range findings {
				if f.Rule.ID == "plan-fault" {
					t.Errorf("got %+v", f)
				}
			}
		})
	}
}

// A plan in a variable or a ConfigMap has its faults at the lines where they stand.
func TestFaultsOfPlansInManifestsHaveTheirLines(t *testing.T) {
	const text = `kind: ConfigMap
metadata: {name: plans}
data:
  plan.yaml: |
    steps:
    - mkdir: {path: /data/a}
    - mkdri: {path: /data/a}
---
kind: Pod
spec:
  containers:
  - name: a
    image: slipway
    args: [run, /plan/plan.yaml]
    volumeMounts: [{name: p, mountPath: /plan}]
  - name: b
    image: slipway
    env:
    - name: SLIPWAY_PLAN
      value: |
        steps:
        - touch: {pth: /data/a}
  volumes: [{name: p, configMap: {name: plans}}]
`
	var lines []int
	for _, f := range check(t, text) {
		if f.Rule.ID == "plan-fault" {
			lines = append(lines, f.Pos.Line)
		}
	}
	if !slices.Contains(lines, 7) || !slices.Contains(lines, 22) {
		t.Errorf("got faults at %v, want 7 and 22", lines)
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	o := lint.Options{Kinds: steps.All(), Level: "restricted"}
	for text, want := range map[string]string{
		"a: [": "x.yaml:", "a: b\n c: d": "x.yaml:2:", strings.Repeat("a: [1,2]\n", 1<<19): "over", "kind: Pod\nspec: \"\xff\"": "x.yaml",
	} {
		if _, _, err := lint.Check("x.yaml", []byte(text), o); err == nil || fault.KindOf(err) != fault.Data || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	for _, o := range []lint.Options{{Level: "none"}, {Level: "restricted", Disable: []string{"no-such-rule"}}} {
		if _, _, err := lint.Check("x.yaml", nil, o); fault.KindOf(err) != fault.Usage {
			t.Errorf("got %v", err)
		}
	}
}

// FuzzCheck: whatever is read gives findings with places, within bounds.
func FuzzCheck(f *testing.F) {
	f.Add(sound)
	f.Add("a: &a [*a]\n")
	f.Add("a: &a {containers: [{name: x}], b: *a}\nc: [*a, *a]\n")
	for _, test := range planted {
		f.Add(strings.Replace(sound, test.old, test.new, 1))
	}
	f.Fuzz(func(t *testing.T, text string) {
		findings, _, err := lint.Check("x.yaml", []byte(text), lint.Options{Kinds: steps.All(), Level: "restricted"})
		if err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
		for _, f := range findings {
			if f.Message == "" || f.Pos.Line < 1 {
				t.Errorf("got %+v", f)
			}
		}
		var b bytes.Buffer
		for _, format := range lint.Formats() {
			if err := lint.Write(&b, format, "test", findings); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestSARIFIsValid holds the output against the standard's own schema (testdata/README says where it is from).
func TestSARIFIsValid(t *testing.T) {
	schema := sarifSchema(t)
	all := strings.Replace(strings.Replace(sound, "emptyDir: {medium: Memory}", "emptyDir: {}", 1), "slipway:v1@sha256:00", "slipway", 1)
	for _, findings := range [][]lint.Finding{nil, check(t, all)} {
		var b bytes.Buffer
		if err := lint.Write(&b, "sarif", "v1.2.3", findings); err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(&b)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(document); err != nil {
			t.Error(err)
		}
	}
	for _, spoilt := range []string{`{}`, `{"version": "2.1.0"}`, `{"version": "2.1.0", "runs": [{}]}`, `{"version": "2.0.0", "runs": []}`} {
		document, _ := jsonschema.UnmarshalJSON(strings.NewReader(spoilt))
		if schema.Validate(document) == nil {
			t.Errorf("the schema takes %s", spoilt)
		}
	}
}

func sarifSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := os.ReadFile("testdata/sarif-schema-2.1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("sarif.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("sarif.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestJSONIsAList(t *testing.T) {
	for _, findings := range [][]lint.Finding{nil, check(t, strings.Replace(sound, "emptyDir: {medium: Memory}", "emptyDir: {}", 1))} {
		var b bytes.Buffer
		if err := lint.Write(&b, "json", "test", findings); err != nil {
			t.Fatal(err)
		}
		var list []map[string]any
		if err := json.Unmarshal(b.Bytes(), &list); err != nil || list == nil || len(list) != len(findings) {
			t.Errorf("got %s, %v", &b, err)
		}
	}
}

func TestPageListsEveryRule(t *testing.T) {
	page, err := os.ReadFile("../../docs/lint.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range lint.Rules() {
		if row := "| `" + rule.ID + "` | " + string(rule.Severity) + " | " + rule.Text + " |"; !strings.Contains(string(page), row) {
			t.Errorf("docs/lint.md has no row %s", row)
		}
	}
}
