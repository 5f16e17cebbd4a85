// Package apparmorload is the step that loads AppArmor profiles into the node's kernel.
package apparmorload

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/apparmor"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
)

// Kind is apparmor-load.
var Kind = step.Kind{
	Name:   "apparmor-load",
	Short:  "load AppArmor profiles into the node's kernel",
	Long:   long,
	Args:   []string{"path..."},
	Policy: step.Policy{Timeout: time.Minute},
	New:    func() step.Step { return &load{} },
}

const long = `Loads AppArmor profiles into the kernel, so that other containers of the pod, or other pods of the node, can have them.

    slipway apparmor-load /profiles/web.aa
    slipway apparmor-load /profiles --allow-name 'team-*'
    slipway apparmor-load /profiles/web.aa --remove

In a plan:

    - apparmor-load: {path: [/profiles], allow-name: ["team-*"]}

A PATH is a file, or a folder whose files are loaded all. Two kinds of files are told apart by themselves:

- **compiled policy** (by custom NAME.aa), which slipway writes to the kernel itself: it needs no other program. "slipway apparmor-compile"
  makes it, on a laptop or in CI.
- **text**, which takes apparmor_parser in the image, with the abstractions that the profile includes. What the parser leaves out because the
  kernel does not know it is a warning.

Containers that have the profile name it in their securityContext; the runtime looks for it when it starts them, and does not
start them where it is not loaded. So an init container may load it for the other containers of its own pod:

    securityContext:
      appArmorProfile: {type: Localhost, localhostProfile: team-web}

**What is compared**: the kernel's digest of each profile, and its mode. A profile that the kernel has just so is left alone; one that
differs is replaced at once, also for the processes that it confines. Afterwards the kernel is asked again, and has to have them all.

**--allow-name** says by patterns which profiles may be loaded at all; * in them stays between two slashes. Without it profiles that the kernel
does not have may be loaded, and others are not replaced: a profile of that name and with another content is somebody else's,
until a pattern says that it is yours.

**--complain** loads the profiles in complain mode: what they would refuse is written to the log, and happens. **--remove** removes the
profiles that stand in the files; those whose content differs only where --allow-name names them.

**A second run** changes nothing.

**Exit codes**: 65 if a profile is wrong, with its line, or no whole policy; 66 if there is no file; 71 if AppArmor is off, securityfs is not mounted,
the policy is for another kernel, or text comes without a parser; 73 if securityfs may only be read; 77 if it is not permitted; 78 if a profile is not
allowed, or is somebody else's.

**Privileges**: the capability MAC_ADMIN, and to run as user 0 or with the group 0, because the kernel's files are root's. The node's
/sys/kernel/security has to be mounted, as a hostPath. The default AppArmor profile of container runtimes denies writing there: the container
has appArmorProfile: {type: Unconfined}. All that needs a namespace whose Pod Security level is privileged.
`

type load struct {
	paths    []string
	allow    []string
	complain bool
	remove   bool
}

// Flags implements step.Step.
func (s *load) Flags(fs *pflag.FlagSet) {
	fs.StringSliceVar(&s.paths, "path", nil, "file with a profile, compiled or as text, or a folder of them")
	fs.StringSliceVar(&s.allow, "allow-name", nil, "pattern of the names that may be loaded, replaced and removed, such as team-*")
	fs.BoolVar(&s.complain, "complain", false, "load the profiles in complain mode")
	fs.BoolVar(&s.remove, "remove", false, "remove the profiles instead")
}

// compiled is how files of compiled policy are called by custom.
const compiled = ".aa"

// Effects implements step.Step.
func (s *load) Effects() ([]step.Effect, error) {
	var faults []error
	if len(s.paths) == 0 {
		faults = append(faults, fault.New(fault.Usage, "no path is given"))
	}
	if s.complain && s.remove {
		faults = append(faults, fault.New(fault.Usage, "--complain is for loading, and --remove removes"))
	}
	for _, pattern := range s.allow {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			faults = append(faults, fault.New(fault.Usage, "--allow-name %q is no pattern such as team-*", pattern))
		}
	}
	var effects []step.Effect
	text := false
	for i, name := range s.paths {
		if name == "" || strings.ContainsRune(name, 0) {
			faults = append(faults, fault.New(fault.Usage, "path %d is empty, or has a zero byte", i+1))
			continue
		}
		name = filepath.Clean(name)
		effects = append(effects, step.Effect{Verb: step.Read, Object: name}, step.Effect{Verb: step.Load, Object: "apparmor:" + name})
		text = text || filepath.Ext(name) != compiled
	}
	if len(s.paths) > 0 {
		effects = append(effects, step.Effect{Verb: step.Write, Object: apparmor.Directory + "/..."})
	}
	if text { // there may be text
		effects = append(effects, step.Effect{Verb: step.Execute, Object: apparmor.Parser})
	}
	return effects, errors.Join(faults...)
}

// Run implements step.Step.
func (s *load) Run(ctx context.Context, env *step.Env) error {
	kernel, err := apparmor.Open(env)
	if err != nil {
		return err
	}
	policies, err := s.read(ctx, env)
	if err != nil {
		return err
	}
	has, err := kernel.Profiles()
	if err != nil {
		return err
	}
	if s.remove {
		return s.removeAll(env, kernel, policies, has)
	}
	return s.loadAll(env, kernel, policies, has)
}

// read reads all policies, compiles those that are text, and checks their names.
func (s *load) read(ctx context.Context, env *step.Env) ([]*apparmor.Policy, error) {
	var policies []*apparmor.Policy
	from := make(map[string]string)
	files, err := s.files(env)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		policy, err := s.policy(ctx, env, file)
		if err != nil {
			return nil, err
		}
		for _, p := range policy.Profiles {
			if other, twice := from[p.Name]; twice {
				return nil, fault.New(fault.Data, "%s and %s both have the profile %s", other, file, p.Name)
			}
			from[p.Name] = file
			if len(s.allow) > 0 && !s.allowed(p.Name) {
				return nil, fault.Hint(fault.New(fault.Conflict, "%s: the profile %s is not among those of --allow-name", file, p.Name),
					"add a pattern for it, if it is meant to be loaded")
			}
		}
		policies = append(policies, policy)
	}
	return policies, nil
}

// files returns the files of all paths: those of a folder in the order of their names, without hidden ones.
func (s *load) files(env *step.Env) ([]string, error) {
	var files []string
	for _, given := range s.paths {
		info, err := os.Stat(env.Path(given))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", given, fault.Cause(err))
		}
		if !info.IsDir() {
			files = append(files, given)
			continue
		}
		entries, err := os.ReadDir(env.Path(given))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", given, fault.Cause(err))
		}
		before := len(files)
		for _, entry := range entries {
			name := filepath.Join(given, entry.Name())
			// A ConfigMap's files are links into a hidden folder.
			if info, err := os.Stat(env.Path(name)); err == nil && info.Mode().IsRegular() && !strings.HasPrefix(entry.Name(), ".") {
				files = append(files, name)
			}
		}
		if len(files) == before {
			return nil, fault.New(fault.NoInput, "%s has no files", given)
		}
	}
	return files, nil
}

// policy returns the compiled policy of a file.
func (s *load) policy(ctx context.Context, env *step.Env, file string) (*apparmor.Policy, error) {
	content, err := httpx.ReadFile(env, file)
	if err != nil {
		return nil, err
	}
	if !apparmor.Compiled(content) {
		compiler := apparmor.Compiler{Env: env}
		var warnings []string
		if content, warnings, err = compiler.Compile(ctx, file); err != nil {
			return nil, err
		}
		for _, warning := range warnings {
			env.Log.Warn("the parser warns", "file", file, "warning", warning)
		}
	}
	policy, err := apparmor.Parse(content)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if s.complain {
		policy.Complain()
	}
	return policy, nil
}

// allowed reports whether a pattern names a profile, or the one that it is a hat or child of.
func (s *load) allowed(name string) bool {
	parent, _, _ := strings.Cut(name, "//")
	return slices.ContainsFunc(s.allow, func(pattern string) bool {
		matched, _ := path.Match(pattern, parent) // Effects has seen that it is one
		return matched
	})
}

// loadAll loads the policies that the kernel does not have just so.
func (s *load) loadAll(env *step.Env, kernel *apparmor.Kernel, policies []*apparmor.Policy, has map[string]apparmor.Loaded) error {
	var differing []*apparmor.Policy
	var names []string
	for _, policy := range policies {
		differs := false
		for i := range policy.Profiles {
			p := &policy.Profiles[i]
			names = append(names, p.Name)
			loaded, there := has[p.Name]
			if there && loaded.Is(p) {
				continue
			}
			if there && !s.allowed(p.Name) {
				return foreign(p.Name, "replaced")
			}
			differs = true
		}
		if differs {
			differing = append(differing, policy)
		}
	}
	env.Output("profiles", strings.Join(names, " "))
	if len(differing) == 0 {
		env.Output(step.Skipped, "unchanged")
		return nil
	}
	for _, policy := range differing {
		if err := kernel.Load(policy); err != nil {
			return err
		}
	}
	if err := verify(kernel, differing); err != nil {
		return err
	}
	env.Output("loaded", strconv.Itoa(len(differing)))
	return nil
}

// foreign is the fault of a profile that is somebody else's, as far as anybody can tell.
func foreign(name, done string) error {
	return fault.Hint(fault.New(fault.Conflict, "the kernel has a profile %s with another content, which is not %s", name, done),
		"if it is yours, say so: --allow-name %s", name)
}

// verify asks the kernel for what was loaded.
func verify(kernel *apparmor.Kernel, policies []*apparmor.Policy) error {
	has, err := kernel.Profiles()
	if err != nil {
		return err
	}
	for _, policy := range policies {
		for i := range policy.Profiles {
			p := &policy.Profiles[i]
			loaded, there := has[p.Name]
			if !there || loaded.Mode != p.Mode || loaded.Digested() && !loaded.Is(p) {
				return fault.New(fault.Conflict, "the kernel took the profile %s, and has another one of that name now: does somebody else load it?", p.Name)
			}
		}
	}
	return nil
}

// removeAll removes the profiles of the policies, children with their parents.
func (s *load) removeAll(env *step.Env, kernel *apparmor.Kernel, policies []*apparmor.Policy, has map[string]apparmor.Loaded) error {
	remove := make(map[string]bool)
	for _, policy := range policies {
		for i := range policy.Profiles {
			p := &policy.Profiles[i]
			loaded, there := has[p.Name]
			if there && !loaded.Is(p) && !s.allowed(p.Name) {
				return foreign(p.Name, "removed")
			}
			if there && !p.Child() {
				remove[p.Name] = true
			}
		}
	}
	if len(remove) == 0 {
		env.Output(step.Skipped, "none of the profiles is loaded")
		return nil
	}
	names := slices.Sorted(maps.Keys(remove))
	for _, name := range names {
		if err := kernel.Remove(name); err != nil && fault.KindOf(err) != fault.NoInput {
			return err
		}
	}
	env.Output("removed", strings.Join(names, " "))
	return nil
}
