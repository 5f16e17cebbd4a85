package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/slipway-init/slipway/internal/cli"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/steps"
)

// compile returns the schema of all steps.
func compile(t testing.TB) *jsonschema.Schema {
	t.Helper()
	data, err := json.Marshal(cli.Schema(steps.All()))
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	if err := compiler.AddResource("slipway.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("slipway.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestSchemaAgreesWithTheParser holds what an editor says against what slipway says.
func TestSchemaAgreesWithTheParser(t *testing.T) {
	schema := compile(t)
	tests := []struct {
		text string
		want bool
	}{
		{`{"steps": [{"mkdir": {"path": ["/a"]}}]}`, true},
		{`{"steps": [{"mkdir": {"path": "/a", "mode": "0755", "owner": "1:2", "timeout": "5s", "retries": "forever"}}]}`, true},
		{`{"steps": [{"mkdir": {"path": "/a", "mode": 755, "owner": 1000, "retries": 3}}], "deadline": "1h30m"}`, true},
		{`{"steps": [{"parallel": [{"mkdir": {"path": "/a"}}, {"sequence": [{"mkdir": {"path": "/b"}}]}]}]}`, true},
		{`{"steps": []}`, false},
		{`{}`, false},
		{`{"steps": [{"mkdri": {"path": "/a"}}]}`, false},
		{`{"steps": [{"mkdir": {"paht": "/a"}}]}`, false},
		{`{"steps": [{"mkdir": {"path": "/a"}, "touch": {"path": "/b"}}]}`, false},
		{`{"steps": [{"mkdir": {"path": "/a", "mode": "rwx"}}]}`, false},
		{`{"steps": [{"mkdir": {"path": "/a", "owner": "root"}}]}`, false},
		{`{"steps": [{"mkdir": {"path": "/a", "timeout": "soon"}}]}`, false},
		{`{"steps": [{"mkdir": {"path": "/a", "timeout": 5}}]}`, false},
		{`{"steps": [{"mkdir": {"path": []}}]}`, false},
		{`{"steps": [{"mkdir": {"path": {"a": "b"}}}]}`, false},
		{`{"steps": [{"parallel": []}]}`, false},
		{`{"steps": [{"mkdir": {"path": "/a"}}], "deadlin": "5m"}`, false},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			document, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(test.text)))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(document); (err == nil) != test.want {
				t.Errorf("the schema says %v", err)
			}
			if _, err := plan.ParseFile(steps.All(), "p.json", []byte(test.text)); (err == nil) != test.want {
				t.Errorf("the parser says %v", err)
			}
		})
	}
}

// FuzzDuration holds the schema's pattern of a duration against what the parser takes.
func FuzzDuration(f *testing.F) {
	for _, seed := range []string{"5s", "1h30m", "0", "1.5h", ".5s", "1.s", "-1s", "+1s", "5", "1µs", "1d", "", "s", "00", "1h1"} {
		f.Add(seed)
	}
	definitions := cli.Schema(steps.All())["properties"].(map[string]any)
	pattern := regexp.MustCompile(definitions["deadline"].(map[string]any)["pattern"].(string))
	f.Fuzz(func(t *testing.T, text string) {
		d, err := time.ParseDuration(text)
		taken := err == nil && d >= 0
		if pattern.MatchString(text) && !taken && (err == nil || len(text) < 15) {
			t.Errorf("the schema takes %q: %v, %v", text, d, err)
		}
		if taken && !pattern.MatchString(text) && text[0] != '+' && text[0] != '-' && d != 0 {
			t.Errorf("the schema refuses %q, %v", text, d)
		}
		quoted, _ := json.Marshal(text)
		_, err = plan.ParseFile(steps.All(), "p.json", fmt.Appendf(nil, `{"steps": [{"mkdir": {"path": "/a", "timeout": %s}}]}`, quoted))
		if taken && err != nil {
			t.Errorf("the parser refuses %q: %v", text, err)
		}
	})
}
