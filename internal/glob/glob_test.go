package glob_test

import (
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/glob"
)

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		include, exclude string // separated by spaces
		yes, no          string
	}{
		{"", "", "a a/b .hidden", ""},
		{"*.json", "", "a.json d/e/b.json", "a.jsonl json/a d.json5/a"},
		{"/*.json", "", "a.json", "d/a.json"},
		{"models/*.bin", "", "models/a.bin", "models/d/a.bin a.bin x/models/a.bin"},
		{"models/**", "", "models models/a models/d/a", "model models2/a"},
		{"models", "", "models models/a x/models/a", "models2 amodels/a"},
		{"models/", "", "models/a", "models2/a"},
		{"**/config.{json,yaml}", "", "config.json d/e/config.yaml", "config.toml"},
		{"[a-c]?", "", "a1 d/b2", "d1 a a11"},
		{"", "*.md docs", "a", "README.md d/x.md docs/a x/docs/a"},
		{"a/** b", "a/x *.tmp", "a/y b/c", "a/x a/x/y a/y.tmp c"},
		{`a\*b`, "", "a*b", "axb"},
	} {
		filter, err := glob.New(strings.Fields(test.include), strings.Fields(test.exclude))
		if err != nil {
			t.Errorf("%v: %v", test, err)
			continue
		}
		if all := test.include+test.exclude == ""; filter.All() != all {
			t.Errorf("include %q, exclude %q: got all %v, want %v", test.include, test.exclude, !all, all)
		}
		for _, name := range strings.Fields(test.yes) {
			if !filter.Match(name) || !filter.Match("/"+name+"/") {
				t.Errorf("include %q, exclude %q: %q is not chosen", test.include, test.exclude, name)
			}
		}
		for _, name := range strings.Fields(test.no) {
			if filter.Match(name) {
				t.Errorf("include %q, exclude %q: %q is chosen", test.include, test.exclude, name)
			}
		}
	}
}

func TestWhatIsNoPatternIsAFaultEach(t *testing.T) {
	_, err := glob.New([]string{"[a", "ok"}, []string{"", "{a,b"})
	want := `--include "[a" is not a pattern such as *.json or models/**` + "\n" +
		`--exclude "" is not a pattern such as *.json or models/**` + "\n" +
		`--exclude "{a,b" is not a pattern such as *.json or models/**`
	if err == nil || err.Error() != want || fault.KindOf(err) != fault.Usage {
		t.Errorf("got %v, want %s", err, want)
	}
}
