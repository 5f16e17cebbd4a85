package opt_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

func TestMode(t *testing.T) {
	tests := []struct {
		text, want string
		mode       os.FileMode
	}{
		{"0644", "0644", 0o644},
		{"644", "0644", 0o644},
		{"0o755", "0755", 0o755},
		{"1777", "1777", 0o777 | os.ModeSticky},
		{"6750", "6750", 0o750 | os.ModeSetuid | os.ModeSetgid},
		{"0", "0000", 0},
	}
	for _, test := range tests {
		var m opt.Mode
		if err := m.Set(test.text); err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if m.FileMode() != test.mode || m.String() != test.want {
			t.Errorf("%s: got %v, %s; want %v, %s", test.text, m.FileMode(), m.String(), test.mode, test.want)
		}
	}
	for _, text := range []string{"", "8", "0999", "rw-r--r--", "-1", "10000", "0x1ff", "0o", "1e3"} {
		m := opt.Mode(0o600)
		if err := m.Set(text); err == nil {
			t.Errorf("%q was taken as %s", text, m.String())
		} else if m != 0o600 {
			t.Errorf("%q changed the mode to %s", text, m.String())
		}
	}
}

func TestOwner(t *testing.T) {
	tests := []struct {
		text     string
		uid, gid int
	}{
		{"65532:65532", 65532, 65532},
		{"0", 0, -1},
		{":0", -1, 0},
		{"4294967294:1", 4294967294, 1},
	}
	for _, test := range tests {
		var o opt.Owner
		if err := o.Set(test.text); err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if uid, gid := o.IDs(); uid != test.uid || gid != test.gid || o.String() != test.text || !o.Given() {
			t.Errorf("%s: got %d, %d, %s", test.text, uid, gid, o.String())
		}
	}
	for _, text := range []string{"", ":", "root", "1:", "1:root", "-1", "4294967295", "4294967296", "1:2:3", " 1"} {
		var o opt.Owner
		if err := o.Set(text); err == nil {
			t.Errorf("%q was taken as %s", text, o.String())
		}
	}
}

func TestRefNeverRepeatsASecretThatWasGivenInItsPlace(t *testing.T) {
	for _, text := range []string{"hunter2", "pass:hunter2", "env:", "file:", ""} {
		var r opt.Ref
		err := r.Set(text)
		if err == nil {
			t.Errorf("%q was taken", text)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats the value: %v", err)
		}
	}
}

func TestRefReads(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "token"), []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "huge"), make([]byte, opt.MaxRef+1), 0o600); err != nil {
		t.Fatal(err)
	}
	env := &step.Env{Root: root, Getenv: func(name string) string { return map[string]string{"TOKEN": "from env"}[name] }}
	tests := []struct {
		text, want string
		kind       fault.Kind
	}{
		{"file:/token", "s3cret", 0},
		{"env:TOKEN", "from env", 0},
		{"env:MISSING", "", fault.NoInput},
		{"file:/missing", "", fault.NoInput},
		{"file:/huge", "", fault.Data},
	}
	for _, test := range tests {
		var r opt.Ref
		if err := r.Set(test.text); err != nil {
			t.Fatal(err)
		}
		got, err := r.Secret(env)
		if test.kind == 0 && (err != nil || got != test.want) {
			t.Errorf("%s: got %q, %v", test.text, got, err)
		}
		if test.kind != 0 && fault.KindOf(err) != test.kind {
			t.Errorf("%s: got %v, want %v", test.text, err, test.kind)
		}
	}
}

func FuzzMode(f *testing.F) {
	for _, seed := range []string{"0644", "1777", "0o755", "8", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var m, again opt.Mode
		if m.Set(text) != nil {
			return
		}
		if err := again.Set(m.String()); err != nil || again != m {
			t.Errorf("%q: %s comes back as %s, %v", text, m.String(), again.String(), err)
		}
	})
}

func FuzzOwner(f *testing.F) {
	for _, seed := range []string{"1:2", "1", ":2", "root", "4294967295"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var o, again opt.Owner
		if o.Set(text) != nil {
			return
		}
		if err := again.Set(o.String()); err != nil || again != o {
			t.Errorf("%q: %s comes back as %s, %v", text, o.String(), again.String(), err)
		}
	})
}
