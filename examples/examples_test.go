// Package examples holds no code: its test reads every example as slipway and Kubernetes would, so that none can rot.
//
// examples_test.go has plans and folders, manifest_test.go what is read of Kubernetes' objects, readme_test.go the pages.
package examples

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/slipway-init/slipway/internal/cli"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/steps"
)

func TestEveryFolderHasAPageAndIsListed(t *testing.T) {
	list := read(t, "README.md")
	folders, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if !folder.IsDir() {
			continue
		}
		page := read(t, filepath.Join(folder.Name(), "README.md"))
		if !strings.HasPrefix(page, "# ") || !strings.Contains(page, "replaces") {
			t.Errorf("%s/README.md has no title, or does not tell what the example replaces", folder.Name())
		}
		if !strings.Contains(list, "]("+folder.Name()+"/)") {
			t.Errorf("README.md does not list %s", folder.Name())
		}
	}
}

// TestEveryFileIsChecked walks all YAML: what is neither a plan nor an object that is known here fails.
func TestEveryFileIsChecked(t *testing.T) {
	schema := compile(t)
	checked := 0
	for _, path := range files(t, ".yaml") {
		t.Run(path, func(t *testing.T) {
			checked++
			text := read(t, path)
			if isPlan(text) {
				checkPlan(t, schema, path, text)
				dryRun(t, []string{"run", path}, nil)
				return
			}
			checkManifest(t, path, text)
		})
	}
	if checked == 0 {
		t.Error("no file was checked")
	}
}

// isPlan reports whether a YAML text is a plan of slipway.
func isPlan(text string) bool {
	return strings.HasPrefix(text, "steps:") || strings.Contains(text, "\nsteps:")
}

// checkPlan holds a plan against the parser and the JSON Schema, both as it is and with faults in it.
func checkPlan(t *testing.T, schema *jsonschema.Schema, path, text string) *plan.Plan {
	t.Helper()
	p, err := plan.ParseFile(steps.All(), path, []byte(text))
	if err != nil {
		t.Fatalf("the parser refuses it:\n%v", err)
	}
	var document any
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(document); err != nil {
		t.Errorf("the schema refuses it:\n%v", err)
	}
	for name, spoilt := range spoil(t, document) {
		if schema.Validate(parse(t, spoilt)) == nil {
			t.Errorf("the schema takes %s:\n%s", name, spoilt)
		}
		if _, err := plan.ParseFile(steps.All(), path, spoilt); err == nil {
			t.Errorf("the parser takes %s:\n%s", name, spoilt)
		}
	}
	return p
}

// spoil returns a plan with one fault each, as JSON: for every object in it, one with a key that nobody knows, and
// for every list, one with an empty object more.
func spoil(t *testing.T, document any) map[string][]byte {
	t.Helper()
	faults := make(map[string][]byte)
	var visit func(node any, path string)
	visit = func(node any, path string) {
		switch node := node.(type) {
		case map[string]any:
			node["unheard-of"] = "x"
			faults["an unknown key in "+path] = encode(t, document)
			delete(node, "unheard-of")
			for key, value := range node {
				if list, ok := value.([]any); ok {
					node[key] = append(list[:len(list):len(list)], map[string]any{})
					faults["an empty object in "+path+"."+key] = encode(t, document)
					node[key] = list
				}
				visit(value, path+"."+key)
			}
		case []any:
			for _, value := range node {
				visit(value, path+"[]")
			}
		}
	}
	visit(document, "plan")
	return faults
}

// TestTemplatesRender renders every template of the examples with the environment of a pod.
func TestTemplatesRender(t *testing.T) {
	for _, path := range files(t, ".tmpl") {
		t.Run(path, func(t *testing.T) {
			dest := filepath.Join(t.TempDir(), "rendered")
			slipway(t, []string{"render", path, dest}, []string{"POD_NAME=kafka-1", "HOSTNAME=kafka-1", "NODE_NAME=node-7"})
			if rendered := read(t, dest); rendered == "" || strings.Contains(rendered, "{{") {
				t.Errorf("got %q", rendered)
			}
		})
	}
}

// dryRun shows what slipway would do; the test fails if it refuses.
func dryRun(t *testing.T, args, environ []string) {
	t.Helper()
	slipway(t, append([]string{"--dry-run"}, args...), environ)
}

// slipway runs a command line in this process; the test fails unless it succeeds.
func slipway(t *testing.T, args, environ []string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := cli.Main(context.Background(), cli.Process{
		Args: append([]string{"--report=", "--log-format=text"}, args...), Environ: environ,
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Kinds: steps.All(), Version: "test",
	})
	if code != 0 {
		t.Errorf("slipway %q: exit code %d\n%s", args, code, &errs)
	}
}

// compile returns the schema of a plan file.
func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("plan.json", parse(t, encode(t, cli.Schema(steps.All())))); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("plan.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// files returns the paths of all files below this folder whose names end so.
func files(t *testing.T, ending string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ending) {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func encode(t *testing.T, document any) []byte {
	t.Helper()
	data, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parse(t *testing.T, data []byte) any {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return document
}
