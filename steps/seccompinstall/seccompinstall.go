// Package seccompinstall is the step that puts a seccomp profile where a kubelet finds it.
package seccompinstall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/seccomp"
	"github.com/slipway-init/slipway/internal/step"
)

// Kind is seccomp-install.
var Kind = step.Kind{
	Name:  "seccomp-install",
	Short: "check a seccomp profile and put it where the kubelet finds it",
	Long: `Checks a seccomp profile and writes it below the kubelet's folder of profiles, from where other containers can have it.

    slipway seccomp-install /profiles/app.json
    slipway seccomp-install /profiles/app.json --localhost-profile team/app.json

In a plan:

    - seccomp-install: {file: /profiles/app.json, localhost-profile: team/app.json}

The output "localhostProfile" is what to write into a pod that shall be confined by it:

    securityContext:
      seccompProfile: {type: Localhost, localhostProfile: team/app.json}

The runtime looks for the profile when it starts such a container, and does not start it where there is none. So an init
container may install it for the other containers of its own pod; it must not have that profile itself.

**What is checked**: the form, which is that of the OCI runtime specification: every key, action, architecture, flag,
operator and number, and that Linux has each system call, on some architecture. Container runtimes pass over keys that they do not
know, such as those of Docker's form of profiles, and over system calls that they do not know; here both are faults. All faults are told
at once, with their lines. A profile that refuses nothing is a warning.

**--root** is /var/lib/kubelet/seccomp unless something else is given: the folder of that name below the kubelet's --root-dir. It has
to be there, mounted as a hostPath with type DirectoryOrCreate. --localhost-profile is a path below it, and the file's own name where it is not given;
no link leads out of the folder.

**A second run** changes nothing. A profile that differs is replaced in one rename: a container that starts meanwhile gets the old one or
the new one. Those that run keep what they have.

**Exit codes**: 65 if the profile is wrong; 66 if there is no file; 73 if it cannot be written there; 77 if it is not permitted; 78 if a link
is in its place.

**Privileges**: none but to write to the folder, which is root's: runAsUser: 0, with all capabilities dropped. A hostPath volume needs a
namespace whose Pod Security level is privileged.
`,
	Args: []string{"file"},
	New:  func() step.Step { return &install{root: "/var/lib/kubelet/seccomp"} },
}

type install struct {
	file, root string
	name       string // below root
}

// Flags implements step.Step.
func (s *install) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&s.file, "file", "", "file with the profile, in JSON")
	fs.StringVar(&s.root, "root", s.root, "the kubelet's folder of profiles")
	fs.StringVar(&s.name, "localhost-profile", "", "path of the profile below it (default the file's name)")
}

// Effects implements step.Step.
func (s *install) Effects() ([]step.Effect, error) {
	var faults []error
	fail := func(format string, args ...any) { faults = append(faults, fault.New(fault.Usage, format, args...)) }
	if s.file == "" {
		fail("no file is given")
	}
	if s.name == "" && s.file != "" {
		s.name = filepath.Base(s.file)
	}
	if s.name != "" && (!filepath.IsLocal(s.name) || path.Clean(s.name) != s.name || s.name == ".") {
		fail("localhost-profile %q is no path below the root, such as team/app.json", s.name)
	}
	if !filepath.IsAbs(s.root) {
		fail("root %q is not an absolute path", s.root)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return []step.Effect{
		{Verb: step.Read, Object: filepath.Clean(s.file)},
		{Verb: step.Write, Object: filepath.Join(s.root, s.name)},
	}, nil
}

// Run implements step.Step.
func (s *install) Run(ctx context.Context, env *step.Env) error {
	text, err := httpx.ReadFile(env, s.file)
	if err != nil {
		return err
	}
	profile, err := seccomp.Parse(s.file, text)
	if err != nil {
		return err
	}
	if profile.Toothless {
		env.Log.Warn("the profile refuses nothing", "file", s.file, "defaultAction", profile.DefaultAction)
	}
	root, err := os.OpenRoot(env.Path(s.root))
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Hint(fault.New(fault.CantCreate, "%s is not there", s.root),
			"mount it: a hostPath volume with the path %s and type: DirectoryOrCreate", s.root)
	}
	if err != nil {
		return fault.Output(err)
	}
	defer root.Close()
	if err := root.MkdirAll(path.Dir(s.name), 0o755); err != nil {
		return outside(fmt.Errorf("make the folder of %s below %s: %w", s.name, s.root, err))
	}
	changed, err := atomicfile.Write(ctx, env, s.name, bytes.NewReader(text), atomicfile.Attributes{Mode: 0o644, Root: root})
	if err != nil {
		return err
	}
	env.Output("localhostProfile", s.name)
	if !changed {
		env.Output(step.Skipped, "unchanged")
	}
	return nil
}

// outside returns the error of a folder that could not be made: one that a link leads out of the root is a Conflict.
func outside(err error) error {
	if told := fault.Output(err); fault.KindOf(told) != fault.Internal {
		return told
	}
	return fault.Hint(fault.As(fault.Conflict, err), "a link in the folder of profiles leads out of it: remove the link, or name another path")
}
