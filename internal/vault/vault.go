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
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

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
type Session struct {
	env    *step.Env
	client *connection
	login  login
	grant  grant // the session's token
	given  bool  // the token was given, and is not ours to revoke
	reused bool  // the token is that of an earlier run, whose receipt was good
	now    func() time.Time

	flights flights
	mounts  mounts

	mu      sync.Mutex // of what follows, and of the grant once the session is open
	receipt *receipt   // nil without --receipt
	kept    bool       // by Keep
	used    map[string]bool
	taken   []string // keys of the entries of this session
}

// grant is a token, with what is known of it.
type grant struct {
	Token    string    `json:"token"`
	Accessor string    `json:"accessor,omitempty"` // what an operator finds in the server's audit log
	Taken    time.Time `json:"taken"`              // or renewed
	Expires  time.Time `json:"expires,omitzero"`   // zero is never
	Renews   bool      `json:"renews,omitempty"`   // it can be given a longer life
	Batch    bool      `json:"batch,omitempty"`    // a batch token is kept by nobody, and cannot be revoked
}

// ended reports whether the token's life is over.
func (g grant) ended(now time.Time) bool { return !g.Expires.IsZero() && !now.Before(g.Expires) }

// Open connects to the server and logs in, or goes on with what the receipt of an earlier run holds.
//
// Errors: Usage where options and VAULT_* variables together do not name a server and a login; NoInput, Permission or
// Data for files that they name; Permission for a login that was refused; Unavailable or Temporary for a server that
// cannot be reached, is sealed, a standby without a leader, or busy; Conflict for a file at Receipt that is no receipt.
func Open(ctx context.Context, env *step.Env, c *Config) (*Session, error) {
	client, err := connect(env, c)
	if err != nil {
		return nil, err
	}
	m, err := c.method(env)
	if err != nil {
		return nil, err
	}
	s := &Session{env: env, client: client, login: c.login(client.at, client.Namespace(), m), given: m.name == tokenFile, now: time.Now, used: map[string]bool{}}
	if err := s.open(ctx, c, m); err != nil {
		client.http.CloseIdleConnections()
		return nil, err
	}
	return s, nil
}

// open gets the session its token: that of the receipt, or one by the method m. Before anything else is done with a new
// token it stands in the receipt, so that it has a holder even if this process is killed now.
func (s *Session) open(ctx context.Context, c *Config, m method) error {
	if c.Receipt != "" {
		if err := s.resume(ctx, c.Receipt); err != nil {
			return err
		}
	}
	if s.reused {
		return nil
	}
	before := s.now()
	answer, err := s.authenticate(ctx, c, m)
	if err != nil {
		return err
	}
	s.grant = grantOf(answer, before)
	s.client.SetToken(s.grant.Token)
	if s.receipt == nil {
		return nil
	}
	if s.given {
		return s.adopt(ctx)
	}
	s.receipt.Token = &s.grant
	s.receipt.Open = !s.grant.Batch
	if err := s.receipt.save(ctx, s.env); err != nil {
		ctx, cancel := afterwards(ctx)
		defer cancel()
		return errors.Join(err, s.revokeOwn(ctx))
	}
	return nil
}

// grantOf returns the token of a login that was asked for at that time.
func grantOf(auth *api.SecretAuth, asked time.Time) grant {
	g := grant{Token: auth.ClientToken, Accessor: auth.Accessor, Taken: asked.Round(0), Renews: auth.Renewable}
	if auth.LeaseDuration > 0 {
		g.Expires = g.Taken.Add(time.Duration(auth.LeaseDuration) * time.Second)
	}
	g.Batch = strings.HasPrefix(g.Token, "b.") || strings.HasPrefix(g.Token, "hvb.")
	return g
}

// Token returns the session's token, for a token sink; see Keep.
func (s *Session) Token() string { return s.grant.Token }
