// Package install is the step that copies slipway itself to where other containers find it.
package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// Kind is install.
var Kind = step.Kind{
	Name:  "install",
	Short: "copy slipway itself into a directory",
	Long: `Copies the running program to DIR/slipway. DIR is usually a volume that the containers of a pod share, so that an
application's own container, whose image knows nothing of slipway, can begin with it:

    slipway install /slipway

    # in the application's container:
    command: [/slipway/slipway, wait-for, "tcp://db:5432", then, exec, --replace, --, /app]

In a plan:

    - install: {dir: /slipway}

The program is one static file: it runs in any Linux image of the same architecture. The mode is exact, 0755 if none is
given, so that every user may run it; the volume must not be mounted noexec. DIR must be there.

The copy is written beside DIR/slipway, compared with the original byte by byte, synced and renamed: whoever runs it
while that happens runs the old program or the new one, and one that is running is no obstacle.

**A second run** changes nothing. Another version is replaced; the same program with another mode is mended in place.
The outputs are path, bytes and sha256.

**Exit codes**: 73 if the copy cannot be written, for example because the volume is full or read-only, or DIR does not
exist; 77 if that is not permitted; 78 if DIR/slipway is a symbolic link.

**Privileges**: the right to write to DIR.
`,
	Args: []string{"dir"},
	New:  func() step.Step { return &installation{mode: 0o755} },
}

// name is that of the copy, whatever the running program is called.
const name = "slipway"

type installation struct {
	dir  string
	mode opt.Mode
}

func (s *installation) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&s.dir, "dir", "", "directory to copy the program into")
	fs.Var(&s.mode, "mode", "mode of the copy, in octal")
}

func (s *installation) Effects() ([]step.Effect, error) {
	if s.dir == "" {
		return nil, fault.New(fault.Usage, "no dir is given")
	}
	return atomicfile.Effects("dir", filepath.Join(s.dir, name), opt.Owner{})
}

func (s *installation) Run(ctx context.Context, env *step.Env) error {
	program, err := running()
	if err != nil {
		return fmt.Errorf("open the running program: %w", err)
	}
	defer program.Close()
	path := filepath.Join(s.dir, name)
	changed, err := atomicfile.Write(ctx, env, env.Path(path), program, atomicfile.Attributes{Mode: s.mode})
	if err != nil {
		return err
	}
	size, digest, err := sum(program)
	if err != nil {
		return fmt.Errorf("read the running program: %w", err)
	}
	env.Output("path", path)
	env.Output("bytes", strconv.FormatInt(size, 10))
	env.Output("sha256", digest)
	if !changed {
		env.Output(step.Skipped, "unchanged")
	}
	return nil
}

// running opens the program that runs. On Linux it does so by /proc, which finds it even when its file has been removed
// or replaced since.
func running() (*os.File, error) {
	if runtime.GOOS == "linux" {
		return os.Open("/proc/self/exe")
	}
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

// sum returns the size and SHA-256 of program, from its beginning. Write has compared the copy with it.
func sum(program io.ReadSeeker) (size int64, digest string, err error) {
	if _, err := program.Seek(0, io.SeekStart); err != nil {
		return 0, "", err
	}
	hash := sha256.New()
	size, err = io.Copy(hash, program)
	return size, hex.EncodeToString(hash.Sum(nil)), err
}
