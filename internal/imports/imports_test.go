// Package imports holds no code: its test keeps the house's walls where docs/layout.md says they stand.
package imports

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/slipway-init/slipway/"

// rule says which packages may import what.
type rule struct {
	from   string   // packages, by the beginning of their path in the module; "" is all
	except []string // of those
	forbid []string // imports, by the beginning of their path; "." is every package of the module
	allow  []string // of those
	why    string
}

var rules = []rule{
	{
		from: "internal/fault", forbid: []string{".", "third-party"},
		why: "every package says what went wrong in its words; it can depend on none",
	},
	{
		from: "internal/step", except: []string{"internal/step/opt", "internal/step/steptest"},
		forbid: []string{".", "third-party"}, allow: []string{"github.com/spf13/pflag"},
		why: "the contract of a step must be readable without any other package",
	},
	{
		from: "steps/", forbid: []string{module + "steps/"},
		why: "a step that needs another one is a plan",
	},
	{
		from: "steps/", forbid: []string{module + "internal/plan", module + "internal/run", module + "internal/cli", module + "internal/report", module + "internal/console", module + "internal/telemetry"},
		why: "a step knows its own work alone; the runner gives it its life",
	},
	{
		from: "internal/", forbid: []string{module + "steps"},
		why: "the catalogue is handed in as a value, so that everything can be tested with other kinds",
	},
	{
		from: "internal/", except: []string{
			"internal/plan", "internal/needs", "internal/run", "internal/console", "internal/report", "internal/cli", "internal/step/steptest",
			"internal/manifest", "internal/lint", "internal/convert",
		},
		forbid: []string{module + "internal/plan", module + "internal/run"},
		why:    "what steps share, and what sends the traces, stands below the plan and knows of none",
	},
	{
		from: "", except: []string{"internal/cli", "cmd/slipway-man"}, forbid: []string{"github.com/spf13/cobra"},
		why: "the command line is one package; whatever else needs words takes options",
	},
	{
		from: "", except: []string{"internal/telemetry"}, forbid: []string{"go.opentelemetry.io/otel/sdk", "go.opentelemetry.io/otel/exporters"},
		why: "others speak to OpenTelemetry's API, so that without a collector there is nothing behind it",
	},
	{
		from: "", except: []string{"internal/git/config"}, forbid: []string{"github.com/go-git/"},
		why: "one package holds the library at its edge; all but its light packages cost every start, see docs/git.md",
	},
	{
		from: "", except: []string{"internal/aws"}, forbid: []string{"github.com/aws/"},
		why: "one package holds the pod's AWS identity and signs for it; the SDK's service clients and its configuration loader cost every start, see docs/s3.md",
	},
	{
		from: "internal/aws", forbid: []string{"github.com/aws/aws-sdk-go-v2/config", "github.com/aws/aws-sdk-go-v2/service"},
		why: "they cost every start 1.2 ms and more, see docs/s3.md",
	},
	{
		from: "", forbid: []string{"github.com/minio/crc64nvme", "github.com/klauspost/cpuid"},
		why: "they ask the processor for all it can before main: internal/crc64nvme asks once it is used",
	},
	{
		from: "internal/s3", forbid: []string{module + "internal/transfer", module + "internal/store"},
		why: "S3 gives objects; who fetches them, and how many at a time, is not its business",
	},
	{
		from: "internal/store", forbid: []string{module + "internal/template", module + "internal/lookup", module + "steps"},
		why: "a store gives values; what asks for them is not its business",
	},
	{
		from: "", except: []string{"internal/netfilter"}, forbid: []string{
			"github.com/google/nftables", "github.com/coreos/go-iptables", "github.com/mdlayher/", "github.com/jsimonetti/",
		},
		why: "one package holds the kernel's tables",
	},
	{
		from: "internal/netfilter", forbid: []string{module}, allow: []string{module + "internal/fault", module + "internal/step"},
		why: "rules are made of options alone",
	},
	{
		from: "", except: []string{"internal/vault"}, forbid: []string{"github.com/hashicorp/vault"},
		why: "one package holds the client, which reads the process's environment and retries unless it is kept from it",
	},
	{
		from: "", except: []string{"internal/glob", "internal/git/worktree"}, forbid: []string{"github.com/bmatcuk/doublestar"},
		why: "one pattern means one thing, whatever step it is given to; those of .gitattributes are git's",
	},
	{
		from: "", except: []string{"internal/archive"}, forbid: []string{"archive/", "github.com/klauspost/compress/zstd"},
		why: "whoever unpacks by himself has none of its limits",
	},
	{
		from: "internal/run", forbid: []string{module + "internal/cli", module + "internal/console", module + "internal/report"},
		why: "the runner tells an observer; who looks on is not its business",
	},
	{
		from: "internal/plan", forbid: []string{module + "internal/run", module + "internal/cli"},
		why: "a plan is data; it is read and checked without anything that runs",
	},
}

func TestImportsStayWithinTheirWalls(t *testing.T) {
	command := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./...")
	command.Dir = "../.."
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	checked := 0
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		from := strings.TrimPrefix(words[0], module)
		for _, imported := range words[1:] {
			for _, r := range rules {
				if r.breaks(from, imported) {
					t.Errorf("%s imports %s: %s", from, imported, r.why)
				}
				checked++
			}
		}
	}
	if checked == 0 {
		t.Error("no import was checked")
	}
}

func (r rule) breaks(from, imported string) bool {
	if !strings.HasPrefix(from, r.from) || within(from, r.except) {
		return false
	}
	for _, forbidden := range r.forbid {
		var hit bool
		switch forbidden {
		case ".":
			hit = strings.HasPrefix(imported, module)
		case "third-party":
			first, _, _ := strings.Cut(imported, "/")
			hit = strings.Contains(first, ".") && !strings.HasPrefix(imported, module)
		default:
			hit = strings.HasPrefix(imported, forbidden)
		}
		if hit && !within(imported, r.allow) {
			return true
		}
	}
	return false
}

func within(path string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

func TestRulesCatchWhatTheyForbid(t *testing.T) {
	tests := []struct{ from, imported string }{
		{"internal/fault", module + "internal/step"},
		{"internal/step", "go.opentelemetry.io/otel/trace"},
		{"steps/mkdir", module + "steps/chown"},
		{"steps/mkdir", module + "internal/run"},
		{"internal/plan", "github.com/spf13/cobra"},
		{"internal/plan", module + "steps"},
		{"internal/cli", module + "steps/mkdir"},
		{"internal/telemetry", module + "internal/run"},
		{"internal/filetree", module + "internal/plan"},
		{"internal/store/aws", "github.com/aws/aws-sdk-go-v2/aws"},
		{"internal/aws", "github.com/aws/aws-sdk-go-v2/config"},
		{"internal/run", "go.opentelemetry.io/otel/sdk/trace"},
	}
	for _, test := range tests {
		caught := false
		for _, r := range rules {
			caught = caught || r.breaks(test.from, test.imported)
		}
		if !caught {
			t.Errorf("%s may import %s", test.from, test.imported)
		}
	}
}
