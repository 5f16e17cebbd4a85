//go:build !linux

package netfilter

import (
	"context"
	"net"
	"runtime"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// Elsewhere than on Linux plans can be checked and shown, and not run.

// Proof is what connections have shown of a redirect.
type Proof struct{ Proved, Untested []string }

func unsupported() error {
	return fault.New(fault.Unsupported, "%s has no netfilter", runtime.GOOS)
}

// Open returns a fault.
func Open(*step.Env, string) (Backend, string, error) { return nil, "", unsupported() }

// Apply returns a fault.
func Apply(context.Context, Backend, Ruleset) (bool, error) { return false, unsupported() }

// Remove returns a fault.
func Remove(context.Context, *step.Env, string) (bool, error) { return false, unsupported() }

// Verify returns a fault.
func Verify(context.Context, Options) (Proof, error) { return Proof{}, unsupported() }

// Detect returns a fault.
func Detect() ([]Mesh, error) { return nil, unsupported() }

// Privileged returns false.
func Privileged() bool { return false }

// Dialer returns a dialer like any other.
func Dialer() *net.Dialer { return &net.Dialer{} }
