package apparmor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// The kernel's files.
const (
	// Directory is where the kernel's files about AppArmor are, in securityfs.
	Directory = "/sys/kernel/security/apparmor"
	enabled   = "/sys/module/apparmor/parameters/enabled"
)

// Kernel is the kernel's side of AppArmor, by its files.
type Kernel struct{ env *step.Env }

// Open looks whether the kernel has AppArmor and shows it here. Unsupported says which of both is not so.
func Open(env *step.Env) (*Kernel, error) {
	state, err := os.ReadFile(env.Path(enabled))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.Hint(fault.New(fault.Unsupported, "the kernel has no AppArmor"),
			"choose nodes that have it: Debian, Ubuntu, SUSE and Google's Container-Optimized OS; a nodeSelector keeps the pod there")
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", enabled, fault.Cause(err))
	case strings.TrimSpace(string(state)) != "Y":
		return nil, fault.Hint(fault.New(fault.Unsupported, "AppArmor is off in this kernel"),
			"boot the node with apparmor=1 security=apparmor on the kernel's command line")
	}
	if _, err := os.Stat(env.Path(Directory)); err != nil {
		return nil, fault.Hint(fault.New(fault.Unsupported, "%s is not here: %w", Directory, fault.Cause(err)),
			"mount the node's /sys/kernel/security there, as a hostPath")
	}
	return &Kernel{env}, nil
}

// Loaded is a profile that the kernel has.
type Loaded struct {
	Mode   Mode
	digest map[string]string // by its kind; empty where the kernel shows none
}

// Profiles returns what the kernel has, by name.
func (k *Kernel) Profiles() (map[string]Loaded, error) {
	all := make(map[string]Loaded)
	err := collect(k.env.Path(filepath.Join(Directory, "policy/profiles")), "", all)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fault.Hint(fault.As(fault.Permission, err), privileges)
	}
	return all, err
}

// collect reads the profiles in a folder of securityfs, and those in them, which have their own names alone there.
func collect(dir, parent string, into map[string]Loaded) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list the kernel's profiles: %w", fault.Cause(err))
	}
	for _, entry := range entries {
		own := filepath.Join(dir, entry.Name())
		name, err := line(filepath.Join(own, "name"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return fmt.Errorf("read a profile's name: %w", err)
		}
		name = parent + name
		mode, err := line(filepath.Join(own, "mode"))
		if err != nil {
			return fmt.Errorf("read the mode of the profile %s: %w", name, err)
		}
		loaded := Loaded{Mode: Mode(mode), digest: make(map[string]string)}
		for _, kind := range []string{"sha1", "sha256"} {
			if digest, err := line(filepath.Join(own, kind)); err == nil && digest != "" {
				loaded.digest[kind] = digest
			}
		}
		into[name] = loaded
		if err := collect(filepath.Join(own, "profiles"), name+"//", into); err != nil {
			return err
		}
	}
	return nil
}

// Digested reports whether the kernel shows a digest of the profile.
func (l Loaded) Digested() bool { return len(l.digest) > 0 }

// Is reports whether the kernel has just this profile. Where it shows no digest nobody can tell.
func (l Loaded) Is(p *Profile) bool {
	if l.Mode != p.Mode || !l.Digested() {
		return false
	}
	for kind, digest := range p.digests() {
		if has, shown := l.digest[kind]; shown && has != digest {
			return false
		}
	}
	return true
}

// Load loads a policy: its profiles are added, or replaced while they confine processes, all or none.
func (k *Kernel) Load(p *Policy) error { return k.write(".replace", p.Bytes()) }

// Remove removes a profile with its children. Processes that it confines are free then.
func (k *Kernel) Remove(name string) error { return k.write(".remove", []byte(name)) }

const privileges = "the container needs the capability MAC_ADMIN, and to run as user 0 or with the group 0"

// write writes to one of the kernel's files, by one write(2), as it wants it.
func (k *Kernel) write(name string, content []byte) error {
	path := filepath.Join(Directory, name)
	f, err := os.OpenFile(k.env.Path(path), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.Write(content)
		err = errors.Join(err, f.Close())
	}
	return explain(path, err)
}

// explain says what the kernel's answer to a policy means. See aa_unpack and aa_replace_profiles in security/apparmor.
func explain(path string, err error) error {
	if err == nil {
		return nil
	}
	told := fmt.Errorf("write %s: %w", path, fault.Cause(err))
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return fault.Hint(fault.As(fault.Permission, told), privileges)
	case errors.Is(err, syscall.EROFS):
		return fault.Hint(fault.As(fault.CantCreate, told), "mount the node's /sys/kernel/security without readOnly")
	case errors.Is(err, syscall.EPROTONOSUPPORT):
		return fault.Hint(fault.As(fault.Unsupported, told), "the policy was compiled for another kernel: compile it with the features of this one")
	case errors.Is(err, syscall.EPROTO), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EBADMSG):
		return fault.Hint(fault.As(fault.Data, told), "the kernel cannot read the policy: compile it anew: slipway apparmor-compile")
	case errors.Is(err, syscall.ENOENT):
		return fault.As(fault.NoInput, told)
	}
	return told
}

// line reads a file of one line.
func line(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fault.Cause(err)
	}
	defer f.Close()
	const most = 64 << 10
	content, err := io.ReadAll(io.LimitReader(f, most))
	return strings.TrimSpace(string(content)), err
}
