// Package vault is slipway's side of a Vault or OpenBao server: a session logs in once, reads every secret once however
// many ask for it, and leaves nothing on the server that nobody holds.
//
// A step fills a Config from its options, opens a Session, reads, and closes it:
//
//	session, err := vault.Open(ctx, env, &config)
//	if err != nil {
//		return err
//	}
//	err = render(ctx, session)
//	return errors.Join(err, session.Close(ctx, err != nil))
//
// What a run takes from the server that outlives it (a dynamic secret, the token that its lease hangs on, a certificate)
// stands in the receipt before it is used, see Config.Receipt. The next run goes on with it while it is good, and
// revokes it when it is not, or when the run before was killed. docs/vault.md has the decisions.
//
// Nothing here waits or retries: errors carry the kind by which the runner decides that. No error holds a credential or
// a value of a secret.
package vault

import (
	"context"
	"net/url"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// Secret is an answer of the server, with the fields by the names that templates written for consul-template use.
type Secret struct {
	RequestID     string         `json:"request_id,omitempty"`
	LeaseID       string         `json:"lease_id,omitempty"`       // not empty for a dynamic secret
	LeaseDuration int            `json:"lease_duration,omitempty"` // in seconds
	Renewable     bool           `json:"renewable,omitempty"`
	Data          map[string]any `json:"data,omitempty"` // numbers are json.Number; of KV version 2 the pairs are in .Data.data
	Warnings      []string       `json:"warnings,omitempty"`
	Auth          *Auth          `json:"auth,omitempty"`
	WrapInfo      *WrapInfo      `json:"wrap_info,omitempty"`
}

// Auth is the token that an answer may hold.
type Auth struct {
	ClientToken   string            `json:"client_token,omitempty"`
	Accessor      string            `json:"accessor,omitempty"`
	Policies      []string          `json:"policies,omitempty"`
	Metadata      map[string]string `json:"metadata,omitempty"`
	LeaseDuration int               `json:"lease_duration,omitempty"` // in seconds
	Renewable     bool              `json:"renewable,omitempty"`
}

// WrapInfo is where a wrapped answer is.
type WrapInfo struct {
	Token           string `json:"token,omitempty"`
	Accessor        string `json:"accessor,omitempty"`
	TTL             int    `json:"ttl,omitempty"`           // in seconds
	CreationTime    string `json:"creation_time,omitempty"` // RFC 3339
	CreationPath    string `json:"creation_path,omitempty"`
	WrappedAccessor string `json:"wrapped_accessor,omitempty"`
}

// Session is a login that lasts until Close. Its methods may be called side by side.
type Session struct{}

// Open connects to the server and logs in, or goes on with what the receipt of an earlier run holds.
//
// Errors: Usage where options and VAULT_* variables together do not name a server and a login; NoInput, Permission or
// Data for files that they name; Permission for a login that was refused; Unavailable or Temporary for a server that
// cannot be reached, is sealed, a standby without a leader, or busy; Conflict for a file at Receipt that is no receipt.
func Open(ctx context.Context, env *step.Env, c *Config) (*Session, error) {
	return nil, fault.New(fault.Internal, "not built yet")
}

// Read returns the secret at path. It is asked for once a session, however many ask; params, such as version=2, are part of
// what is asked. For KV version 2 both secret/app and secret/data/app work, and the pairs stand in .Data.data. A dynamic
// secret whose lease stands in the receipt is not taken again.
//
// Errors: NoInput where there is nothing at path, with the names of its neighbours; Permission with the line of policy
// that would help as its hint; Data for a path that the server does not support; Temporary and Unavailable.
func (s *Session) Read(ctx context.Context, path string, params url.Values) (*Secret, error) {
	return nil, nil
}

// Write sends data to path, such as pki/issue/web or transit/decrypt/key, and returns the answer, nil if it is empty. The
// same data is sent to the same path once a session. A certificate or a dynamic secret that the receipt holds, and that
// is good still, is returned instead of a new one. Errors are those of Read.
func (s *Session) Write(ctx context.Context, path string, data map[string]any) (*Secret, error) {
	return nil, nil
}

// List returns the names below path, in the server's order; those of folders end in a slash. It is asked for once a
// session. For KV version 2 both secret/apps and secret/metadata/apps work. Errors are those of Read.
func (s *Session) List(ctx context.Context, path string) ([]string, error) {
	return nil, nil
}

// KV returns the pairs of a secret as they are wanted without a template: those in .Data.data of KV version 2, .Data
// of any other secret. Errors are those of Read.
func (s *Session) KV(ctx context.Context, path string) (map[string]any, error) {
	return nil, nil
}

// Token returns the session's token, for a token sink; see Keep.
func (s *Session) Token() string { return "" }

// Keep says that the token is held by somebody else too, a token sink, so that Close leaves it alive.
func (s *Session) Keep() {}

// Close ends the session. Unless the run failed, the token stays alive where something hangs on it: leases that the
// receipt holds, or a sink (Keep). Else it is revoked, and with it the server revokes all leases that were taken with it.
// A token that was given (--token-file, VAULT_TOKEN) is never revoked; of a failed run its leases are, where its policy allows.
//
// It works with a ctx that has ended, for at most two seconds. Its error is worth a warning: what could not be revoked
// stands in the receipt for the next run, and ends by itself with its lease.
func (s *Session) Close(ctx context.Context, failed bool) error { return nil }
