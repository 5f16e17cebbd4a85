package fetch

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
)

// options returns the options that args set.
func options(t *testing.T, args ...string) *Options {
	t.Helper()
	o := New()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	o.Flags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &o
}

func TestEffects(t *testing.T) {
	for _, test := range []struct {
		args []string
		many bool
		want []string
	}{
		{args: []string{"--dest=/d/f"}, want: []string{"write /d/f"}},
		{args: []string{"--dest=/d/"}, want: []string{"write /d/..."}},
		{args: []string{"--dest=/d"}, many: true, want: []string{"write /d/..."}},
		{args: []string{"--dest=/d", "--extract"}, want: []string{"write /d/..."}},
		{args: []string{"--dest=/d", "--extract=false"}, want: []string{"write /d"}},
		{args: []string{"--dest=/d/f", "--write-sha256"}, want: []string{"write /d/f", "write /d/f.sha256"}},
		{args: []string{"--dest=/d/", "--write-sha256"}, want: []string{"write /d/..."}},
		{args: []string{"--dest=/d", "--write-sha256"}, many: true, want: []string{"write /d/..."}},
		{args: []string{"--dest=/d/f", "--owner=7:8"}, want: []string{"write /d/f", "own /d/f"}},
		{args: []string{"--dest=/d", "--owner=7:8", "--extract"}, want: []string{"write /d/...", "own /d/..."}},
		{args: []string{"--dest=/d/f", "--sha256-file=/m/../sums"}, want: []string{"read /sums", "write /d/f"}},
		{args: []string{"--dest=/d/f", "--sha256-file=https://h/sums"}, want: []string{"write /d/f"}},
	} {
		effects, err := options(t, test.args...).Effects(test.many)
		if err != nil {
			t.Errorf("%v: %v", test.args, err)
			continue
		}
		var got []string
		for _, e := range effects {
			got = append(got, e.String())
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%v: got %q, want %q", test.args, got, test.want)
		}
	}
}

func TestEveryWrongOptionIsTold(t *testing.T) {
	for _, test := range []struct {
		args []string
		many bool
		want []string
	}{
		{args: nil, want: []string{"dest"}},
		{args: []string{"--dest=/d", "--connections=0"}, want: []string{"--connections 0 is not between 1 and 64"}},
		{
			args: []string{"--dest=/d", "--strip-components=1", "--force", "--extract-limits=ratio=2", "--include=a", "--exclude={"},
			want: []string{`--exclude "{" is not a pattern`, "there is but one object", "--strip-components is for --extract", "--force is for --extract", "--extract-limits is for --extract"},
		},
		{args: []string{"--dest=/d", "--exclude=a"}, want: []string{"there is but one object"}},
		{
			args: []string{"--dest=/d", "--extract=zip", "--write-sha256", "--strip-components=-1", "--sha256=" + strings.Repeat("a", 64), "--sha256-file=x"},
			want: []string{"both say what the digest is", "--extract leaves none", "--strip-components -1 is below 0"},
		},
		{args: []string{"--dest=/d", "--extract", "--sha256=" + strings.Repeat("a", 64)}, many: true, want: []string{"--extract is for one archive", "--sha256 is of one object"}},
	} {
		_, err := options(t, test.args...).Effects(test.many)
		if err == nil || fault.KindOf(err) != fault.Usage {
			t.Errorf("%v: got %v (%v), want usage faults", test.args, err, fault.KindOf(err))
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(test.want) {
			t.Errorf("%v: got %q, want %q", test.args, lines, test.want)
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v: got %q, want %q", test.args, err, want)
			}
		}
	}
}

func TestExtractTakesABoolean(t *testing.T) {
	for text, want := range map[string]string{"true": "auto", "false": "", "auto": "auto", "tar": "tar", "tar.gz": "tar.gz", "tar.zst": "tar.zst", "tar.bz2": "tar.bz2", "zip": "zip"} {
		var e extraction
		if err := e.Set(text); err != nil || e.String() != want {
			t.Errorf("%s: got %q, %v, want %q", text, &e, err, want)
		}
	}
	for _, text := range []string{"rar", "yes", ""} {
		if err := new(extraction).Set(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if o := options(t, "--extract", "--dest=/d"); o.extract.String() != "auto" {
		t.Errorf("--extract alone is %q", &o.extract)
	}
}

func TestPatternsMayHaveCommas(t *testing.T) {
	o := options(t, "--dest=/d", "--include=*.{json,bin}", "--include=*.md")
	if _, err := o.Effects(true); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"a.json": true, "b/a.bin": true, "a.md": true, "a.txt": false} {
		if o.filter.Match(name) != want {
			t.Errorf("%s: got %v", name, !want)
		}
	}
}
