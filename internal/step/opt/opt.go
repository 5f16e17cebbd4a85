// Package opt holds the option types that steps share. Each is parsed once, at the edge, into the type that the step
// works with; each tells the JSON Schema of its form.
package opt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// Schemer is an option type that tells the JSON Schema (2020-12) of the values it takes.
type Schemer interface{ JSONSchema() map[string]any }

// Mode is a file mode in octal, such as 0644, 644 or 0o644, with the set-user-ID, set-group-ID and sticky bits as
// chmod(1) writes them: 1777.
type Mode fs.FileMode

// String returns the mode in octal with a leading zero.
func (m *Mode) String() string { return fmt.Sprintf("%04o", unixMode(fs.FileMode(*m))) }

// Set parses an octal mode.
func (m *Mode) Set(text string) error {
	digits := strings.TrimPrefix(text, "0o")
	bits, err := strconv.ParseUint(digits, 8, 16)
	if err != nil || bits > 0o7777 {
		return fmt.Errorf("%q is not an octal mode such as 0644", text)
	}
	*m = Mode(goMode(uint32(bits)))
	return nil
}

// Type returns "mode".
func (*Mode) Type() string { return "mode" }

// JSONSchema implements Schemer.
func (*Mode) JSONSchema() map[string]any {
	return map[string]any{"type": []string{"string", "integer"}, "pattern": "^(0o)?[0-7]{1,5}$"}
}

// FileMode returns m as the type that package os takes.
func (m Mode) FileMode() fs.FileMode { return fs.FileMode(m) }

// Bits returns m as system calls take it: 0o7777 at most.
func (m Mode) Bits() uint32 { return unixMode(fs.FileMode(m)) }

// unixMode returns m's permission and special bits as Unix has them.
func unixMode(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	for flag, bit := range special {
		if m&flag != 0 {
			bits |= bit
		}
	}
	return bits
}

// goMode is the inverse of unixMode.
func goMode(bits uint32) fs.FileMode {
	m := fs.FileMode(bits & 0o777)
	for flag, bit := range special {
		if bits&bit != 0 {
			m |= flag
		}
	}
	return m
}

var special = map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000}

// Owner is a numeric owner, "UID:GID", "UID" or ":GID". Names are not taken: they mean what the image's /etc/passwd
// says, which is not what the pod's volume says. The zero value changes nothing; see Given.
type Owner struct {
	uid, gid       int
	hasUID, hasGID bool
}

// String returns the owner as it was given, "" when it was not.
func (o *Owner) String() string {
	switch {
	case o.hasUID && o.hasGID:
		return fmt.Sprintf("%d:%d", o.uid, o.gid)
	case o.hasUID:
		return strconv.Itoa(o.uid)
	case o.hasGID:
		return fmt.Sprintf(":%d", o.gid)
	}
	return ""
}

// Set parses "UID:GID", "UID" or ":GID".
func (o *Owner) Set(text string) error {
	var parsed Owner
	uid, gid, colon := strings.Cut(text, ":")
	var err error
	if uid != "" {
		if parsed.uid, err = id(uid); err != nil {
			return err
		}
		parsed.hasUID = true
	}
	if gid != "" {
		if parsed.gid, err = id(gid); err != nil {
			return err
		}
		parsed.hasGID = true
	}
	if text == "" || (colon && gid == "") {
		return fmt.Errorf("%q is not an owner such as 65532:65532, 65532 or :65532", text)
	}
	*o = parsed
	return nil
}

// id parses one user or group id; 2^32-1 means "unchanged" to chown(2) and is refused.
func id(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 1<<32-1 {
		return 0, fmt.Errorf("%q is not a numeric id: write 65532, not a name", text)
	}
	return int(n), nil
}

// Type returns "owner".
func (*Owner) Type() string { return "owner" }

// JSONSchema implements Schemer.
func (*Owner) JSONSchema() map[string]any {
	return map[string]any{"type": []string{"string", "integer"}, "pattern": `^([0-9]+(:[0-9]+)?|:[0-9]+)$`}
}

// Given reports whether an owner was given at all.
func (o Owner) Given() bool { return o.hasUID || o.hasGID }

// IDs returns the user and group id as os.Lchown takes them: -1 leaves one as it is.
func (o Owner) IDs() (uid, gid int) {
	uid, gid = -1, -1
	if o.hasUID {
		uid = o.uid
	}
	if o.hasGID {
		gid = o.gid
	}
	return uid, gid
}

// MaxRef bounds what a Ref may hold, in bytes: 1 MiB, as much as a Kubernetes Secret.
const MaxRef = 1 << 20

// Ref is a reference to a secret or to content, "file:PATH" or "env:NAME": the value itself never stands in a plan, on
// a command line or in dry-run.
type Ref struct{ scheme, name string }

// String returns the reference, never the value.
func (r *Ref) String() string {
	if r.scheme == "" {
		return ""
	}
	return r.scheme + ":" + r.name
}

// Set parses "file:PATH" or "env:NAME".
func (r *Ref) Set(text string) error {
	scheme, name, ok := strings.Cut(text, ":")
	if !ok || name == "" || (scheme != "file" && scheme != "env") {
		return errors.New("not a reference: write file:PATH or env:NAME, never the value itself")
	}
	*r = Ref{scheme, name}
	return nil
}

// Type returns "ref".
func (*Ref) Type() string { return "ref" }

// JSONSchema implements Schemer.
func (*Ref) JSONSchema() map[string]any {
	return map[string]any{"type": "string", "pattern": "^(file|env):.+"}
}

// Given reports whether a reference was given at all.
func (r Ref) Given() bool { return r.scheme != "" }

// Effects returns the reading of the file that r names, if it names one.
func (r Ref) Effects() []step.Effect {
	if r.scheme != "file" {
		return nil
	}
	return []step.Effect{{Verb: step.Read, Object: r.name}}
}

// Read returns the value: the whole file, or the variable. A variable that is not set or empty is NoInput, a
// file of over MaxRef bytes is Data.
func (r Ref) Read(env *step.Env) ([]byte, error) {
	switch r.scheme {
	case "env":
		value := env.Getenv(r.name)
		if value == "" {
			return nil, fault.Hint(fault.New(fault.NoInput, "the environment variable %s is not set or empty", r.name),
				"set it in the container's env, for example by valueFrom.secretKeyRef")
		}
		return []byte(value), nil
	case "file":
		// Without waiting for a writer, if somebody has put a named pipe there.
		f, err := os.OpenFile(env.Path(r.name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", r.name, errors.Unwrap(err))
		}
		defer f.Close()
		value, err := io.ReadAll(io.LimitReader(f, MaxRef+1))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", r.name, err)
		}
		if len(value) > MaxRef {
			return nil, fault.New(fault.Data, "read %s: over %d bytes", r.name, MaxRef)
		}
		return value, nil
	}
	return nil, fault.New(fault.Internal, "an empty reference was read")
}

// Secret returns the value without the line feed that editors leave at the end of a file: a password, a token.
func (r Ref) Secret(env *step.Env) (string, error) {
	value, err := r.Read(env)
	return string(bytes.TrimRight(value, "\r\n")), err
}
