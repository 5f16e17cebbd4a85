// Package vaultrender is the step that makes files from the secrets of a Vault or OpenBao server.
//
// options.go has what was asked for and checks it; documents.go renders all of it in memory; functions.go,
// certificate.go and tofile.go are what a template may call; plain.go has the files without a template.
package vaultrender

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/lookup"
	"github.com/slipway-init/slipway/internal/secret"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/vault"
)

// Kind is vault-render.
var Kind = step.Kind{
	Name:   "vault-render",
	Short:  "render secrets of Vault into files",
	Long:   long,
	Args:   []string{"template", "dest"},
	Policy: step.Policy{Timeout: 2 * time.Minute, Retries: 5, Backoff: 250 * time.Millisecond},
	New:    func() step.Step { return newStep(open) },
}

// session is what the step needs of a vault.Session; tests have another one.
type session interface {
	Read(ctx context.Context, path string, params url.Values) (*vault.Secret, error)
	Write(ctx context.Context, path string, data map[string]any) (*vault.Secret, error)
	List(ctx context.Context, path string) ([]string, error)
	KV(ctx context.Context, path string) (map[string]any, error)
	Token() string
	Keep()
	Close(ctx context.Context, failed bool) error
}

// opener logs in.
type opener func(ctx context.Context, env *step.Env, c *vault.Config) (session, error)

func open(ctx context.Context, env *step.Env, c *vault.Config) (session, error) {
	s, err := vault.Open(ctx, env, c)
	if err != nil {
		return nil, err
	}
	return s, nil
}

type rendering struct {
	options
	open opener
}

func newStep(open opener) step.Step {
	return &rendering{options: options{mode: 0o400}, open: open}
}

// Run does whatever can fail without the server first, so that a wrong template costs no login.
func (s *rendering) Run(ctx context.Context, env *step.Env) (err error) {
	if err := secret.NoCoreDump(); err != nil {
		env.Log.Warn("a crash could leave secrets in a core dump", "error", err)
	}
	if err := s.checkFileSystems(env); err != nil {
		return err
	}
	r := &run{rendering: s, ctx: ctx, env: env, stores: lookup.Open(ctx, env)}
	if err := r.load(); err != nil {
		return err
	}
	vaults, err := s.open(ctx, env, &s.vault)
	if err != nil {
		return err
	}
	defer func() {
		if left := vaults.Close(ctx, err != nil); left != nil {
			env.Log.Warn("the server still holds what this run took", "error", left)
		}
	}()
	r.vaults = vaults
	files, err := r.render()
	if err != nil {
		return err
	}
	return s.write(ctx, env, vaults, files)
}

// write puts all files in place, the token's among them.
func (s *rendering) write(ctx context.Context, env *step.Env, vaults session, files []atomicfile.Entry) error {
	if s.tokenSink != "" {
		sink := atomicfile.Attributes{Mode: 0o400, Owner: s.owner}
		files = append(files, atomicfile.Entry{Path: env.Path(s.tokenSink), Content: []byte(vaults.Token()), Attributes: sink})
	}
	changed, err := atomicfile.WriteSet(ctx, env, files)
	if err != nil {
		return err
	}
	if s.tokenSink != "" {
		vaults.Keep()
	}
	env.Output("files", strconv.Itoa(len(files)))
	if changed == 0 {
		env.Output(step.Skipped, "unchanged")
	}
	return nil
}
