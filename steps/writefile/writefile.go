// Package writefile is the step that writes a file whose content is given.
package writefile

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// Kind is write-file.
var Kind = step.Kind{
	Name:  "write-file",
	Short: "write a file from text, a variable or another file",
	Long: `Writes PATH with the content that is given, byte for byte: no line feed is added.

    slipway write-file /config/role --content primary
    slipway write-file /config/token --from env:TOKEN --owner 65532:65532
    slipway write-file /config/app.conf --from file:/defaults/app.conf --mode 0644

In a plan:

    - write-file:
        path: /config/app.conf
        content: |
          listen = 8080
          workers = 4

Either --content or --from says what the content is. A secret belongs into --from: --content stands in the pod's
manifest, in the process list and in --dry-run, while --from stands there as a reference alone. What it refers to may
have 1 MiB, and a variable may not be empty.

The mode is exact: the umask takes nothing away. It is 0644, but with --from it is 0400 unless --mode says otherwise,
because the content may be a secret. Without --owner a new file belongs to the user that slipway runs as.

The file is written beside PATH, read back, synced and renamed: whoever looks at PATH, even after a SIGKILL, sees the
old file, the new one or none. The directory must be there. A symbolic link is neither followed nor replaced.

**A second run** changes nothing. A file with other content is replaced; one with the right content and another mode or
owner is mended in place. The outputs are bytes and, if its mode lets everybody read the file, sha256.

**Exit codes**: 66 if the file or variable of --from does not exist; 65 if the file has over 1 MiB; 73 if PATH cannot be
written, for example because it is a directory, the file system is full or read-only, or its directory does not exist;
77 if that is not permitted; 78 if PATH is a symbolic link.

**Privileges**: the right to write to the directory. --owner with another user needs the capability CHOWN; a pod's
securityContext.fsGroup often makes it unnecessary.
`,
	Args: []string{"path"},
	New:  func() step.Step { return &file{mode: public} },
}

// The modes of a file when none is given.
const (
	public opt.Mode = 0o644 // of a content that stands in the plan
	secret opt.Mode = 0o400 // of one that is referred to
)

type file struct {
	path    string
	content string
	inline  *pflag.Flag // --content, which may be given and empty
	from    opt.Ref
	mode    opt.Mode
	given   *pflag.Flag // --mode, to tell a mode that was asked for from the default
	owner   opt.Owner
}

func (s *file) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&s.path, "path", "", "file to write")
	fs.StringVar(&s.content, "content", "", "its content; not for secrets")
	s.inline = fs.Lookup("content")
	fs.Var(&s.from, "from", "where its content is: file:PATH or env:NAME")
	s.given = fs.VarPF(&s.mode, "mode", "", "mode of the file, in octal; with --from the default is 0400")
	fs.Var(&s.owner, "owner", "numeric owner of the file, UID:GID, UID or :GID")
}

func (s *file) Effects() ([]step.Effect, error) {
	var faults []error
	if s.inline.Changed == s.from.Given() {
		faults = append(faults, fault.New(fault.Usage, "give either content or from"))
	}
	effects := s.from.Effects()
	written, err := atomicfile.Effects("path", s.path, s.owner)
	return append(effects, written...), errors.Join(append(faults, err)...)
}

// Secrets returns the file if its content is referred to and not everybody may read it.
func (s *file) Secrets() []string {
	if !s.from.Given() || (s.given.Changed && s.mode.Bits()&0o004 != 0) {
		return nil
	}
	return []string{filepath.Clean(s.path)}
}

func (s *file) Run(ctx context.Context, env *step.Env) error {
	content, mode := []byte(s.content), s.mode
	if s.from.Given() {
		var err error
		if content, err = s.from.Read(env); err != nil {
			return err
		}
		if !s.given.Changed {
			mode = secret
		}
	}
	return atomicfile.Put(ctx, env, env.Path(s.path), content, atomicfile.Attributes{Mode: mode, Owner: s.owner})
}
