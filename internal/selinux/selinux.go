// Package selinux knows the labels of SELinux: their form, and whether the policy of the running kernel knows one. See
// https://github.com/SELinuxProject/selinux-notebook/blob/main/src/security_context.md.
package selinux

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"syscall"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// Attribute is the extended attribute that holds a file's label. Its value ends in a zero byte, which some programs leave
// away.
const Attribute = "security.selinux"

// maxContext bounds a context, in bytes: the kernel takes no more than a page.
const maxContext = 4095

// The kernel's files. A folder that is empty, or none, is what a kernel without SELinux has.
const (
	directory = "/sys/fs/selinux"
	enforce   = directory + "/enforce"
	checks    = directory + "/context"
)

// Valid returns nil if text has the form of a context, USER:ROLE:TYPE or USER:ROLE:TYPE:LEVEL, and else a usage fault.
func Valid(text string) error {
	// Made at each call: one is checked a run, and to compile it would cost every start.
	form := regexp.MustCompile(`^[A-Za-z0-9_.-]+:[A-Za-z0-9_.-]+:[A-Za-z0-9_.-]+(:[A-Za-z0-9_.,:-]+)?$`)
	if len(text) > maxContext || !form.MatchString(text) {
		return fault.Hint(fault.New(fault.Usage, "%.80q is no context", text),
			"write USER:ROLE:TYPE or USER:ROLE:TYPE:LEVEL, such as system_u:object_r:container_file_t:s0")
	}
	return nil
}

// State is what the running kernel makes of labels.
type State string

// The states. In all of them labels can be written.
const (
	Off        State = "off" // nothing looks at labels: the kernel has no SELinux, or it is switched off, or not shown here
	Permissive State = "permissive"
	Enforcing  State = "enforcing"
)

// StateOf returns the state of the running kernel.
func StateOf(env *step.Env) State {
	content, err := os.ReadFile(env.Path(enforce))
	switch {
	case err != nil:
		return Off
	case len(content) > 0 && content[0] == '1':
		return Enforcing
	}
	return Permissive
}

// Check asks the policy of the running kernel whether it knows a context. Root may set any label, known or not, and files
// with one that is not are shut to everybody. It reports false where the kernel cannot be asked: because its files may
// not be written to here. A context that the policy does not know is Data.
func Check(env *step.Env, context string) (asked bool, err error) {
	f, err := os.OpenFile(env.Path(checks), os.O_RDWR, 0)
	if err != nil {
		return false, nil
	}
	defer f.Close()
	_, err = f.Write([]byte(context))
	switch {
	case errors.Is(err, syscall.EINVAL):
		return true, fault.Hint(fault.New(fault.Data, "the policy of this node does not know the context %s", context),
			"is a policy module missing there? seinfo and semanage on the node show its users, roles, types and levels")
	case errors.Is(err, fs.ErrPermission):
		return false, nil
	case err != nil:
		return false, fault.New(fault.IO, "ask the kernel for the context %s: %w", context, err)
	}
	return true, nil
}
