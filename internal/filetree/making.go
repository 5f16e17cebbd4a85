package filetree

import (
	"context"
	"io/fs"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// Making is a step that makes what is missing and leaves alone what is there, unless a mode or an owner is asked for
// that differs: then it mends that.
type Making struct {
	What   string   // what it makes, for help: "directory"
	Mode   opt.Mode // of what is made; --mode changes it
	Keep   uint32   // the bits that stay as they are found where the mode does not name them
	Create func(path string, mode fs.FileMode) (created bool, err error)

	paths []string
	given *pflag.Flag // --mode, to tell a mode that was asked for from the default
	owner opt.Owner
}

// Flags implements step.Step.
func (m *Making) Flags(fs *pflag.FlagSet) {
	fs.StringSliceVar(&m.paths, "path", nil, m.What+" to create")
	m.given = fs.VarPF(&m.Mode, "mode", "", "mode of each "+m.What+", in octal")
	fs.Var(&m.owner, "owner", "numeric owner of each "+m.What+", UID:GID, UID or :GID")
}

// Effects implements step.Step.
func (m *Making) Effects() ([]step.Effect, error) {
	effects, err := Effects(step.Write, m.paths, false)
	if err != nil || !m.owner.Given() {
		return effects, err
	}
	owned, err := Effects(step.Own, m.paths, false)
	return append(effects, owned...), err
}

// Run implements step.Step.
func (m *Making) Run(ctx context.Context, env *step.Env) error {
	tally := Tally{Env: env}
	for _, path := range m.paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		path = filepath.Clean(env.Path(path))
		created, err := m.Create(path, m.Mode.FileMode())
		if err != nil {
			return err
		}
		mended, err := m.mend(env, path, created)
		if err != nil {
			return err
		}
		tally.Count(created || mended)
	}
	tally.Output()
	return nil
}

// mend gives path the owner and mode that were asked for, and what is new the default mode in spite of the umask.
func (m *Making) mend(env *step.Env, path string, created bool) (mended bool, err error) {
	if !created && !m.given.Changed && !m.owner.Given() {
		return false, nil
	}
	var want func(bits uint32, dir bool) uint32
	if created || m.given.Changed {
		want = func(bits uint32, _ bool) uint32 { return m.Mode.Bits() | bits&m.Keep }
	}
	mended, err = Mend(env, path, m.owner, want)
	return mended, fault.Output(err)
}
