package seccomp

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
)

const good = `{
  "defaultAction": "SCMP_ACT_ERRNO",
  "defaultErrnoRet": 38,
  "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
  "flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
  "syscalls": [
    {"names": ["read", "openat2", "futex_time64", "socketcall"], "action": "SCMP_ACT_ALLOW"},
    {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [
      {"index": 0, "value": 18446744073709551615, "op": "SCMP_CMP_EQ"},
      {"index": 5, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}
    ]},
    {"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}
  ],
  "listenerPath": "/run/agent.sock"
}
`

func TestParse(t *testing.T) {
	p, err := Parse("app.json", []byte(good))
	if err != nil || *p != (Profile{DefaultAction: "SCMP_ACT_ERRNO", Rules: 3}) {
		t.Errorf("got %+v, %v", p, err)
	}
	p, err = Parse("log.json", []byte(`{"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}`))
	if err != nil || !p.Toothless {
		t.Errorf("one that refuses nothing: got %+v, %v", p, err)
	}
}

// Every fault is told with its line, and all of them at once.
func TestFaults(t *testing.T) {
	for _, c := range []struct{ from, to, says string }{
		{`"SCMP_ACT_ERRNO",`, `"SCMP_ACT_DENY",`, `app.json:2: "SCMP_ACT_DENY" is no action; there are SCMP_ACT_ALLOW, SCMP_ACT_ERRNO, `},
		{`"SCMP_ACT_ERRNO",`, `"SCMP_ACT_NOTIFY",`, "app.json:2: SCMP_ACT_NOTIFY cannot be the default"},
		{`"SCMP_ACT_ERRNO",`, `7,`, "app.json:2: 7 is no action"},
		{`"defaultAction": "SCMP_ACT_ERRNO",`, ``, "app.json:1: there is no defaultAction"},
		{`38`, `4096`, "app.json:3: 4096 is no whole number from 0 to 4095"},
		{`38`, `-1`, "app.json:3: -1 is no whole number"},
		{`38`, `1.5`, "app.json:3: 1.5 is no whole number"},
		{`"SCMP_ARCH_AARCH64"`, `"amd64"`, `app.json:4: "amd64" is no architecture`},
		{`_SPEC_ALLOW`, `_SPECTRE`, `app.json:5: "SECCOMP_FILTER_FLAG_SPECTRE" is no flag`},
		{`openat2`, `opneat2`, `app.json:7: there is no system call "opneat2"`},
		{`"openat2"`, `null`, `app.json:7: there is no system call null`},
		{`"names": ["read", "openat2", "futex_time64", "socketcall"]`, `"names": []`, "app.json:7: names has no system call"},
		{`"names": ["read", "openat2", "futex_time64", "socketcall"]`, `"name": "read"`, `app.json:7: the key "name" is of Docker's form`},
		{`"flags"`, `"archMap"`, `app.json:5: the key "archMap" is of Docker's form`},
		{`"flags"`, `"flagz"`, `app.json:5: there is no key "flagz"; there are defaultAction, `},
		{`"flags"`, `"architectures"`, `app.json:5: the key "architectures" stands here twice`},
		{`"index": 5`, `"index": 6`, "app.json:10: 6 is no whole number from 0 to 5"},
		{`"index": 5, `, ``, "app.json:10: there is no index"},
		{`SCMP_CMP_MASKED_EQ`, `SCMP_CMP_EQ`, "app.json:10: SCMP_CMP_EQ takes no valueTwo"},
		{`18446744073709551615`, `18446744073709551616`, "app.json:9: 18446744073709551616 is no whole number"},
		{`"action": "SCMP_ACT_ALLOW"},`, `"action": "SCMP_ACT_ALLOW", "errnoRet": 1},`, "app.json:7: SCMP_ACT_ALLOW returns no error number"},
		{`"listenerPath": "/run/agent.sock"`, `"listenerMetadata": "x"`, "app.json:12: SCMP_ACT_NOTIFY needs a listenerPath"},
		{`"names": ["mount"], `, ``, "app.json:12: names has no system call"},
		{`, "action": "SCMP_ACT_NOTIFY"`, ``, "app.json:12: there is no action"},
		{"\n}\n", "\n", "app.json:14: it is no JSON: unexpected EOF"},
		{`"syscalls": [`, `"syscalls": [,`, "app.json:6: it is no JSON: "},
		{good, "[]", "app.json:1: there should be an object here"},
		{good, good + "{}", "app.json:16: there is something behind the profile"},
		{good, strings.Repeat("[", 100), "app.json:1: it is nested over 16 deep"},
		{good, strings.Repeat(" ", MaxProfile+1), "app.json: it is over 1048576 bytes"},
	} {
		text := strings.Replace(good, c.from, c.to, 1)
		_, err := Parse("app.json", []byte(text))
		if err == nil || !strings.Contains(err.Error(), c.says) || fault.KindOf(err) != fault.Data {
			t.Errorf("%.60s → %.60s: got %v, want %q", c.from, c.to, err, c.says)
		}
	}
	text := strings.NewReplacer("openat2", "opneat2", "AARCH64", "AARCH46", "personality", "personalty").Replace(good)
	if _, err := Parse("app.json", []byte(text)); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("three faults: got %v", err)
	}
}

func TestKnown(t *testing.T) {
	for name, want := range map[string]bool{"read": true, "_llseek": true, "": false, "read\nwrite": false, "rea": false, "ead": false} {
		if got := Known(name); got != want {
			t.Errorf("%q: got %t", name, got)
		}
	}
	names := strings.Fields(syscalls)
	if !slices.IsSorted(names) || len(names) < 500 {
		t.Errorf("%d names, sorted: %t", len(names), slices.IsSorted(names))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [null], "args": [{"index": true}]}]}`))
	examples, err := filepath.Glob("../../examples/*/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, example := range examples {
		text, err := os.ReadFile(example)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse("fuzz.json", text)
		if err != nil && fault.KindOf(err) != fault.Data {
			t.Errorf("got %v, of kind %v", err, fault.KindOf(err))
		}
		if err == nil && p.DefaultAction == "" {
			t.Error("a profile without a default action is right")
		}
	})
}
