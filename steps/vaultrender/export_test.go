package vaultrender

import (
	"context"

	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/vault"
)

// Session is what a test has in place of a server.
type Session = session

// With returns the kind with sessions that login opens.
func With(login func(ctx context.Context) (Session, error)) step.Kind {
	kind := Kind
	kind.New = func() step.Step {
		return newStep(func(ctx context.Context, _ *step.Env, _ *vault.Config) (session, error) { return login(ctx) })
	}
	return kind
}

// Certificates returns how many certificates, authorities and keys are found in content.
func Certificates(content []byte) (leaves, authorities, keys int) {
	b := readBundle(content)
	for _, leaf := range b.leaves {
		b.chain(leaf)
	}
	return len(b.leaves), len(b.authorities), len(b.keys)
}
