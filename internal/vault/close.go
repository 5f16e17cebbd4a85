package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/slipway-init/slipway/internal/fault"
)

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
	if g.Token == "" || g.Batch {
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
