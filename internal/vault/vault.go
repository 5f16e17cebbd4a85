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
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

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

	mu      sync.Mutex
	receipt *receipt // nil without --receipt
	kept    bool     // by Keep
	used    map[string]bool
	taken   []string // keys of the entries of this session
}

// grant is a token, with what is known of it.
type grant struct {
	Token    string    `json:"token"`
	Accessor string    `json:"accessor,omitempty"` // what an operator finds in the server's audit log
	Taken    time.Time `json:"taken"`
	Expires  time.Time `json:"expires,omitzero"` // zero is never
	Batch    bool      `json:"batch,omitempty"`  // a batch token is kept by nobody, and cannot be revoked
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
	g := grant{Token: auth.ClientToken, Accessor: auth.Accessor, Taken: asked.Round(0)}
	if auth.LeaseDuration > 0 {
		g.Expires = g.Taken.Add(time.Duration(auth.LeaseDuration) * time.Second)
	}
	g.Batch = strings.HasPrefix(g.Token, "b.") || strings.HasPrefix(g.Token, "hvb.")
	return g
}

// Token returns the session's token, for a token sink; see Keep.
func (s *Session) Token() string { return s.grant.Token }

// Keep says that the token is held by somebody else too, a token sink, so that Close leaves it alive.
func (s *Session) Keep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = true
}

const (
	// closing bounds Close while its context lives.
	closing = 5 * time.Second
	// dying bounds Close once its context has ended: a step has a second to return.
	dying = 700 * time.Millisecond
)

// Close ends the session. Unless the run failed, the token stays alive where something hangs on it: leases that the
// receipt holds, or a sink (Keep). Else it is revoked, and with it the server revokes all leases that were taken with it.
// A token that was given (--token-file, VAULT_TOKEN) is never revoked; of a failed run its leases are, where its policy allows.
// A failed run that goes on with an earlier one's token, and has not tried to take more, leaves what that one took.
//
// It works with a ctx that has ended, for 700 ms at most. Its error is worth a warning and no more: what could not be
// revoked stands in the receipt for the next run, and ends by itself with its lease.
func (s *Session) Close(ctx context.Context, failed bool) error {
	ctx, cancel := afterwards(ctx)
	defer cancel()
	defer s.client.http.CloseIdleConnections()
	s.mu.Lock()
	defer s.mu.Unlock()
	if failed {
		return s.abandon(ctx)
	}
	return s.settle(ctx)
}

// Revoke undoes a session that Close has left something of: the leases are revoked, and the token that they hang on if
// it is slipway's. The receipt goes. Close arranges for it by Env.Undo, should the plan fail later.
func (s *Session) Revoke(ctx context.Context) error {
	ctx, cancel := afterwards(ctx)
	defer cancel()
	defer s.client.http.CloseIdleConnections()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revokeAll(ctx)
}

// afterwards returns a context for what is done at the end, even of a run that was ended.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := closing
	if ctx.Err() != nil {
		limit = dying
	}
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}

// settle ends a run that succeeded: what is in use stays, and all else goes.
func (s *Session) settle(ctx context.Context) error {
	if s.receipt == nil {
		if !s.kept {
			return s.revokeOwn(ctx)
		}
		s.env.Undo(s.Revoke)
		return nil
	}
	s.receipt.Entries = s.receipt.filter(func(e *entry) bool { return e.leased() || s.used[e.Key] })
	if !s.given && !s.kept && !s.holds() { // what is not used goes with the token
		if err := s.revokeOwn(ctx); err != nil {
			return err
		}
		s.receipt.Token = nil
		s.receipt.Entries = s.receipt.filter(func(e *entry) bool { return !e.leased() })
	}
	if s.kept || s.holds() {
		s.env.Undo(s.Revoke)
	}
	return errors.Join(s.dropUnused(ctx), s.receipt.keep(ctx, s.env))
}

// holds reports whether the receipt holds a lease that this run has used.
func (s *Session) holds() bool {
	return len(s.receipt.filter(func(e *entry) bool { return e.leased() && s.used[e.Key] })) > 0
}

// dropUnused revokes the leases that nobody asked for in this run. Where the policy does not allow it they stay in the
// receipt, and go with the token that they hang on.
func (s *Session) dropUnused(ctx context.Context) error {
	var faults []error
	for _, e := range s.receipt.filter(func(e *entry) bool { return e.leased() && !s.used[e.Key] }) {
		switch err := s.revokeLease(ctx, &e); {
		case err == nil:
			s.receipt.drop(e.Key)
		case fault.KindOf(err) != fault.Permission:
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// abandon ends a run that failed: what it took goes, and what an earlier run took stays if this one has tried to take
// nothing more. A request that failed may have taken a lease all the same, which goes with the token alone.
func (s *Session) abandon(ctx context.Context) error {
	switch {
	case s.given || s.grant.Batch:
		return s.revokeTaken(ctx)
	case s.reused && !s.receipt.Open:
		return nil
	}
	return s.revokeAll(ctx)
}

// revokeTaken revokes the leases of this run one by one, for a token that is not to be revoked or cannot be.
func (s *Session) revokeTaken(ctx context.Context) error {
	if s.receipt == nil {
		return nil
	}
	var faults []error
	for _, key := range s.taken {
		if e := s.receipt.entry(key); e != nil {
			if err := s.revokeLease(ctx, e); err != nil {
				faults = append(faults, err)
				continue
			}
			s.receipt.drop(key)
		}
	}
	return errors.Join(append(faults, s.receipt.keep(ctx, s.env))...)
}

// revokeAll revokes whatever the session and its receipt hold, and removes the receipt.
func (s *Session) revokeAll(ctx context.Context) error {
	var faults []error
	if s.receipt != nil && (s.given || s.grant.Batch) {
		for _, e := range s.receipt.Entries {
			faults = append(faults, s.revokeLease(ctx, &e))
		}
	}
	if err := errors.Join(append(faults, s.revokeOwn(ctx))...); err != nil || s.receipt == nil {
		return err
	}
	return s.receipt.remove(s.env)
}

// revokeOwn revokes the session's token, unless it was given.
func (s *Session) revokeOwn(ctx context.Context) error {
	if s.given {
		return nil
	}
	err := s.revokeToken(ctx, s.grant)
	if err == nil && !s.grant.Batch {
		s.grant.Token = ""
	}
	return err
}

// revokeToken revokes a token of slipway's own, which every policy allows that holds the default one. A token that the
// server no longer knows is a revoked one.
func (s *Session) revokeToken(ctx context.Context, g grant) error {
	if g.Token == "" || g.Batch || g.ended(s.now()) {
		return nil
	}
	client := s.client.WithRequestCallbacks(func(r *api.Request) { r.ClientToken = g.Token })
	_, err := client.Logical().WriteWithContext(ctx, "auth/token/revoke-self", nil)
	if status(err) == http.StatusForbidden {
		return nil
	}
	if err != nil {
		return fmt.Errorf("revoke the token with the accessor %s: %w", g.Accessor, explain(err))
	}
	return nil
}

// revokeLease revokes the lease of e, if it has one.
func (s *Session) revokeLease(ctx context.Context, e *entry) error {
	return revokeLease(ctx, s.client.Client, e, s.now())
}

// revokeLease revokes the lease of e, if it has one that lives. The default policy does not allow it.
func revokeLease(ctx context.Context, client *api.Client, e *entry, now time.Time) error {
	if e.Secret.LeaseID == "" || !e.Expires.IsZero() && !now.Before(e.Expires) {
		return nil
	}
	_, err := client.Logical().WriteWithContext(ctx, "sys/leases/revoke", map[string]any{"lease_id": e.Secret.LeaseID, "sync": true})
	if err == nil {
		return nil
	}
	return fault.Hint(fmt.Errorf("revoke the lease of %s: %w", e.Path, explain(err)),
		`the token's policy lacks: path "sys/leases/revoke" { capabilities = ["update"] }`)
}
