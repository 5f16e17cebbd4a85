package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// needed are the programs that "deps.sh vm" installs.
var needed = []string{"/usr/bin/qemu-system-x86_64", "/sbin/apparmor_parser", "/usr/bin/secilc"}

func TestMain(m *testing.M) {
	var missing []string
	for _, program := range needed {
		if _, err := os.Stat(program); err != nil {
			missing = append(missing, program)
		}
	}
	tools.Main(m, "e2e/deps.sh vm", missing)
}

// kernels are Debian 12's own and that of its backports, as nodes have them.
var kernels = []string{"linux-image-cloud-amd64", "linux-image-6.12-cloud-amd64"}

// judge makes a subtest of each check of the guest: lines "PASS name" and "FAIL name: why", between which it may say more.
func judge(t *testing.T, said string) {
	t.Helper()
	checks := 0
	for line := range strings.Lines(said) {
		verdict, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if verdict != "PASS" && verdict != "FAIL" {
			continue
		}
		checks++
		name, why, _ := strings.Cut(rest, ": ")
		t.Run(name, func(t *testing.T) {
			if verdict == "FAIL" {
				t.Error(why)
			}
		})
	}
	if !strings.Contains(said, "\nDONE\n") || checks == 0 || t.Failed() {
		t.Errorf("the guest made %d checks and said:\n%s", checks, said)
	}
}

// slipway itself loads profiles, compiled and as text, into kernels that enforce them.
func TestAppArmor(t *testing.T) {
	features := "/etc/apparmor.d/abi/3.0"
	profiles := t.TempDir()
	compile := func(name, rules string) {
		path := filepath.Join(profiles, name)
		if err := os.WriteFile(path+".profile", []byte(rules), 0o644); err != nil {
			t.Fatal(err)
		}
		output(t, tools.Slipway(t), "apparmor-compile", path+".profile", path+".aa", "--features", features, "--strict")
	}
	rules := func(name, more string) string {
		return fmt.Sprintf("abi <abi/3.0>,\n\nprofile %s flags=(attach_disconnected, mediate_deleted) {\n  / r,\n  /** rix,\n  /{dev,proc}/** rw,\n  signal,\n%s}\n", name, more)
	}
	const allowed = "  /tmp/allowed/** w,\n"
	compile("web", rules("web", allowed))
	compile("web-changed", rules("web", ""))
	compile("two", rules("one", "  ^hat {\n    /tmp/** r,\n  }\n")+strings.TrimPrefix(rules("other", ""), "abi <abi/3.0>,\n"))
	for _, name := range kernels {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			for _, policy := range []string{"web", "web-changed", "two"} {
				d.add(t, "policy/"+policy+".aa", filepath.Join(profiles, policy+".aa"))
			}
			d.write("policy/text", []byte(rules("text", allowed)), 0o644)
			d.write("policy/wrong", []byte("profile wrong {\n  file,\n  netwrk,\n}\n"), 0o644)
			d.addProgram(t, "/sbin/apparmor_parser")
			for _, tree := range []string{"/etc/apparmor", "/etc/apparmor.d/abi", "/etc/apparmor.d/tunables", "/etc/apparmor.d/abstractions", "/usr/share/apparmor-features"} {
				d.addTree(t, tree)
			}
			judge(t, boot(t, kernel(t, name), d, "apparmor=1 security=apparmor guest=apparmor"))
		})
	}
	t.Run("off", func(t *testing.T) {
		d := newDisk(t)
		d.add(t, "policy/web.aa", filepath.Join(profiles, "web.aa"))
		judge(t, boot(t, kernel(t, kernels[0]), d, "apparmor=0 guest=off"))
	})
}

// A label that slipway sets is one that a policy enforces.
func TestSELinux(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "policy")
	output(t, "secilc", "-c", "33", "-o", policy, "-f", "/dev/null", "testdata/policy.cil")
	for _, name := range kernels {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			d.add(t, "policy/selinux", policy)
			judge(t, boot(t, kernel(t, name), d, "selinux=1 security=selinux enforcing=1 guest=selinux"))
		})
	}
}
