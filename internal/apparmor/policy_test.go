package apparmor

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// web returns testdata/web.profile as apparmor_parser 3.0.8 compiles it with the features of abi/3.0:
//
//	apparmor_parser -QKS --kernel-features=/etc/apparmor.d/abi/3.0 --policy-features=/etc/apparmor.d/abi/3.0 web.profile >web.aa
func web(t testing.TB) []byte {
	t.Helper()
	content, err := os.ReadFile("testdata/web.aa")
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestParse(t *testing.T) {
	p, err := Parse(web(t))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.String(), "/usr/sbin/worker (complain), web (enforce), web//helper (enforce), web//upload (enforce)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	p.Complain()
	again, err := Parse(p.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := again.String(), "/usr/sbin/worker (complain), web (complain), web//helper (complain), web//upload (complain)"; got != want {
		t.Errorf("in complain mode: got %s, want %s", got, want)
	}
	for i := range p.Profiles {
		if own, theirs := p.Profiles[i].digests(), again.Profiles[i].digests(); own["sha1"] != theirs["sha1"] || own["sha256"] != theirs["sha256"] {
			t.Errorf("%s: the digests differ", p.Profiles[i].Name)
		}
	}
	if !p.Profiles[2].Child() || p.Profiles[1].Child() {
		t.Error("a child is one with a parent")
	}
}

func TestParseOfWhatIsNone(t *testing.T) {
	whole := web(t)
	for name, content := range map[string][]byte{
		"empty":        nil,
		"text":         []byte("profile web {}\n"),
		"a header":     whole[:17],
		"cut off":      whole[:len(whole)-1],
		"half":         whole[:len(whole)/2],
		"more":         append(bytes.Clone(whole), 4),
		"namespace":    bytes.Replace(whole, []byte("\x04\x08\x00profile\x00"), []byte("\x04\x0a\x00namespace\x00\x05\x03\x00ns\x00\x04\x08\x00profile\x00"), 1),
		"bad name":     bytes.Replace(whole, []byte("/usr/sbin/worker"), []byte("/usr/sbin\nworker"), 1),
		"other's ns":   bytes.Replace(whole, []byte("/usr/sbin/worker"), []byte(":ns://sbin/worker"[:16]), 1),
		"bad mode":     bytes.Replace(whole, []byte("\x02\x01\x00\x00\x00"), []byte("\x02\x09\x00\x00\x00"), 1),
		"much too big": make([]byte, MaxPolicy+1),
	} {
		if p, err := Parse(content); err == nil || fault.KindOf(err) != fault.Data {
			t.Errorf("%s: got %+v, %v, want a Data fault", name, p, err)
		}
	}
	if Compiled([]byte("profile web {}")) || !Compiled(whole) {
		t.Error("text is told from compiled policy")
	}
}

// securityfs makes a root with the kernel's files, as Linux 6.12 has them.
func securityfs(t *testing.T, files map[string]string) *step.Env {
	t.Helper()
	env := &step.Env{Root: t.TempDir()}
	for name, content := range files {
		path := env.Path(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return env
}

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		files map[string]string
		says  string
	}{
		{nil, "has no AppArmor"},
		{map[string]string{enabled: "N\n"}, "AppArmor is off"},
		{map[string]string{enabled: "Y\n"}, "is not here"},
	} {
		if _, err := Open(securityfs(t, c.files)); fault.KindOf(err) != fault.Unsupported || !strings.Contains(err.Error(), c.says) || fault.HintOf(err) == "" {
			t.Errorf("got %v, want %q", err, c.says)
		}
	}
}

func TestProfiles(t *testing.T) {
	p, err := Parse(web(t))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{enabled: "Y\n"}
	folders := map[string]string{
		"/usr/sbin/worker": "usr.sbin.worker.1", "web": "web.2", "web//helper": "web.2/profiles/helper.3", "web//upload": "web.2/profiles/upload.4",
	}
	for i := range p.Profiles {
		own := &p.Profiles[i]
		dir := Directory + "/policy/profiles/" + folders[own.Name] + "/"
		files[dir+"name"], files[dir+"mode"], files[dir+"attach"] = alone(own.Name)+"\n", string(own.Mode)+"\n", own.Name+"\n"
		files[dir+"sha256"] = own.digests()["sha256"] + "\n"
	}
	files[Directory+"/policy/profiles/web.2/mode"] = "complain\n"
	files[Directory+"/policy/profiles/web.2/profiles/helper.3/sha256"] = strings.Repeat("0", 64)
	k, err := Open(securityfs(t, files))
	if err != nil {
		t.Fatal(err)
	}
	has, err := k.Profiles()
	if err != nil || len(has) != 4 {
		t.Fatalf("got %v, %v", has, err)
	}
	for i, want := range []bool{true, false, false, true} {
		if got := has[p.Profiles[i].Name].Is(&p.Profiles[i]); got != want {
			t.Errorf("%s: got %t, want %t", p.Profiles[i].Name, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(web(f))
	f.Add(web(f)[:200])
	f.Fuzz(func(t *testing.T, content []byte) {
		p, err := Parse(content)
		if err != nil {
			if fault.KindOf(err) != fault.Data {
				t.Errorf("got %v", err)
			}
			return
		}
		p.Complain()
		again, err := Parse(p.Bytes())
		if err != nil || len(again.Profiles) != len(p.Profiles) {
			t.Errorf("in complain mode it is no policy: %v", err)
		}
	})
}

// alone returns a profile's name without its parent's, as the kernel's files have it.
func alone(name string) string {
	if at := strings.LastIndex(name, "//"); at >= 0 {
		return name[at+2:]
	}
	return name
}
