package apparmorload

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/apparmor"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/steptest"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// digests are those of the profiles in testdata/web.aa of package apparmor, as a kernel shows them. What a kernel does
// with them is for the end-to-end tests in virtual machines; here are its files, as it leaves them.
var digests = map[string][2]string{ // by folder: name and mode, digest
	"usr.sbin.worker.1":       {"/usr/sbin/worker complain", "e9e3e18d2ca19a8430f6779cf93ee9e09de7ba7831a8e6dd194297af2c3920d3"},
	"web.2":                   {"web enforce", "59492381939dfb1490a9c86cdde50f55d81bc9d05c866f6dc72ea889e364735d"},
	"web.2/profiles/helper.3": {"web//helper enforce", "26938ebdd23433aecadebf85e9b0f163fb13d3d9f02533535fbc344ae6f67188"},
	"web.2/profiles/upload.4": {"web//upload enforce", "9081e2248bc2a0c6b3d8f240e5e0bf762aab9c5c50cfe1364ae14d5a906291da"},
}

func put(t *testing.T, path, content string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.WriteFile(path, []byte(content), 0o644))
}

// node makes the files of a kernel that has no profiles, and a policy.
func node(t *testing.T, root string) steptest.Options {
	t.Helper()
	put(t, root+"/sys/module/apparmor/parameters/enabled", "Y\n")
	check(t, os.MkdirAll(root+apparmor.Directory+"/policy/profiles", 0o755))
	content, err := os.ReadFile("../../internal/apparmor/testdata/web.aa")
	check(t, err)
	put(t, root+"/profiles/web.aa", string(content))
	put(t, root+"/profiles/.hidden", "profile hidden {}")
	return steptest.Options{"path=/profiles"}
}

// loaded makes the files of a kernel that has the policy.
func loaded(t *testing.T, root string) steptest.Options {
	t.Helper()
	options := node(t, root)
	for folder, is := range digests {
		name, mode, _ := strings.Cut(is[0], " ")
		dir := root + apparmor.Directory + "/policy/profiles/" + folder
		put(t, dir+"/name", alone(name)+"\n")
		put(t, dir+"/mode", mode+"\n")
		put(t, dir+"/sha256", is[1]+"\n")
	}
	return options
}

func TestConform(t *testing.T) {
	steptest.Conform(t, Kind, nil,
		steptest.Case{Name: "loaded already", Setup: loaded},
		steptest.Case{Name: "nothing to remove", Options: steptest.Options{"remove=true"}, Setup: node},
	)
}

func run(t *testing.T, root string, options ...string) (outputs map[string]string, err error) {
	t.Helper()
	result := steptest.Run(context.Background(), steptest.Task(t, Kind, options), root)
	return steptest.Outputs(result), result.Err
}

func TestLoadedAlready(t *testing.T) {
	root := t.TempDir()
	outputs, err := run(t, root, loaded(t, root)...)
	if got, want := fmt.Sprint(outputs), "map[profiles:/usr/sbin/worker web web//helper web//upload skipped:unchanged]"; got != want || err != nil {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

// What is not allowed, and what is somebody else's, is neither loaded nor removed.
func TestForeign(t *testing.T) {
	root := t.TempDir()
	options := loaded(t, root)
	web := root + apparmor.Directory + "/policy/profiles/web.2/"
	for _, c := range []struct {
		changed string // a file of the kernel's
		options []string
		says    string
	}{
		{"", []string{"allow-name=web"}, "the profile /usr/sbin/worker is not among those of --allow-name"},
		{"", []string{"allow-name=*", "remove=true"}, "the profile /usr/sbin/worker is not among those of --allow-name"}, // * is no slash
		{"sha256", nil, "the kernel has a profile web with another content, which is not replaced"},
		{"mode", nil, "the kernel has a profile web with another content, which is not replaced"},
		{"profiles/upload.4/sha256", nil, "the kernel has a profile web//upload with another content"},
		{"sha256", []string{"remove=true"}, "the kernel has a profile web with another content, which is not removed"},
	} {
		var before []byte
		if c.changed != "" {
			var err error
			before, err = os.ReadFile(web + c.changed)
			check(t, err)
			put(t, web+c.changed, "other\n")
		}
		_, err := run(t, root, append(slices.Clone(options), c.options...)...)
		if fault.ExitCode(err) != 78 || !strings.Contains(fmt.Sprint(err), c.says) || fault.HintOf(err) == "" {
			t.Errorf("%v: got %v (%d), want %q", c.options, err, fault.ExitCode(err), c.says)
		}
		if c.changed != "" {
			put(t, web+c.changed, string(before))
		}
	}
	for _, name := range []string{".replace", ".remove"} {
		if _, err := os.Lstat(root + apparmor.Directory + "/" + name); err == nil {
			t.Errorf("%s was written", name)
		}
	}
}

func TestFaults(t *testing.T) {
	root := t.TempDir()
	options := node(t, root)
	check(t, os.Mkdir(root+"/empty", 0o755))
	put(t, root+"/cut.aa", "\x04\x08\x00version\x00\x02\x07\x00\x20\x00")
	for _, c := range []struct {
		options []string
		code    int
		says    string
	}{
		{[]string{"path=/missing"}, 66, "/missing"},
		{[]string{"path=/empty"}, 66, "/empty has no files"},
		{[]string{"path=/cut.aa"}, 65, "no whole compiled policy"},
		{[]string{"path=/profiles/web.aa", "path=/profiles"}, 65, "both have the profile"},
	} {
		if _, err := run(t, root, c.options...); fault.ExitCode(err) != c.code || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%v: got %v (%d), want %q (%d)", c.options, err, fault.ExitCode(err), c.says, c.code)
		}
	}
	put(t, root+"/profiles/text", "profile text {}\n")
	t.Setenv("PATH", "")
	if _, err := run(t, root, options...); fault.ExitCode(err) != 71 || !strings.Contains(fault.HintOf(err), "apparmor-compile") {
		t.Errorf("text without a parser: got %v", err)
	}
	if _, err := run(t, t.TempDir(), options...); fault.ExitCode(err) != 71 {
		t.Errorf("a kernel without AppArmor: got %v", err)
	}
	for _, options := range []steptest.Options{{}, {"path="}, {"path=/a", "allow-name=["}, {"path=/a", "complain=true", "remove=true"}} {
		if err := steptest.Fault(t, Kind, options); fault.KindOf(err) != fault.Usage {
			t.Errorf("%v: got %v", options, err)
		}
	}
}

func TestEffects(t *testing.T) {
	load := func(name string) step.Effect { return step.Effect{Verb: step.Load, Object: "apparmor:" + name} }
	read := func(name string) step.Effect { return step.Effect{Verb: step.Read, Object: name} }
	write := step.Effect{Verb: step.Write, Object: "/sys/kernel/security/apparmor/..."}
	for path, want := range map[string][]step.Effect{
		"/p/web.aa": {read("/p/web.aa"), load("/p/web.aa"), write},
		"/p/":       {read("/p"), load("/p"), write, {Verb: step.Execute, Object: "apparmor_parser"}},
	} {
		if got := steptest.Task(t, Kind, steptest.Options{"path=" + path}).Effects; !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
}

// alone returns a profile's name without its parent's, as the kernel's files have it.
func alone(name string) string {
	if at := strings.LastIndex(name, "//"); at >= 0 {
		return name[at+2:]
	}
	return name
}
