package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

const (
	// receiptVersion is the form of the file. A form that cannot be read is never overwritten.
	receiptVersion = 1
	// receiptMode keeps the file to the user that runs slipway: it holds what the targets hold.
	receiptMode = 0o600
	// maxReceipt bounds the file, in bytes.
	maxReceipt = 16 << 20
)

// receipt is what of a run outlives it on the server, and who holds it: this file. It is as secret as the files that a
// step renders, and stands beside them.
type receipt struct {
	Version int     `json:"slipway-vault-receipt"`
	Login   login   `json:"login"`
	Open    bool    `json:"open"`            // a run is under way, or was killed: what it took may not be told here, but hangs on Token
	Token   *grant  `json:"token,omitempty"` // nil where nothing hangs on a token of slipway's
	Entries []entry `json:"entries,omitempty"`

	path string
}

// entry is one answer of the server that is worth keeping: a dynamic secret with its lease, or a certificate with its
// key.
type entry struct {
	Key     string    `json:"key"`              // what was asked, see keyOf
	Path    string    `json:"path"`             // for people
	Taken   time.Time `json:"taken"`            // when it was asked for
	Expires time.Time `json:"expires,omitzero"` // zero is never
	Names   []string  `json:"names,omitempty"`  // of a certificate: what it was asked for with
	Secret  *Secret   `json:"secret"`
}

// leased reports whether the entry ends with the token that it was taken with.
func (e *entry) leased() bool { return e.Secret.LeaseID != "" || e.Secret.Auth != nil }

// good reports whether the entry can be used again: a third of its life is left, and a certificate is a whole one.
func (e *entry) good(now time.Time) bool {
	if !e.leased() {
		return goodAnswer(e.Secret, e.Names, now) == nil
	}
	return third(e.Taken, e.Expires, now)
}

// third reports whether a third of the time from taken to expires is left.
func third(taken, expires, now time.Time) bool {
	return expires.IsZero() || expires.Sub(now) >= expires.Sub(taken)/3 && now.Before(expires)
}

// resume looks at what an earlier run left. What is good the session goes on with: its token, and all that hangs on it.
// What is not is revoked.
func (s *Session) resume(ctx context.Context, name string) error {
	old, err := loadReceipt(s.env, name)
	if err != nil {
		return err
	}
	s.receipt = &receipt{Version: receiptVersion, Login: s.login, path: name}
	if old == nil {
		return nil
	}
	old.path = name
	if old.Login.Address != s.login.Address || old.Login.Namespace != s.login.Namespace {
		s.env.Log.Warn("the receipt is of another server: what it holds stays there until its lease ends", "receipt", name, "server", old.Login.Address)
		return nil
	}
	same := old.Login == s.login
	if same {
		s.receipt.Entries = old.filter(func(e *entry) bool { return e.leased() && s.given || !e.leased() && e.good(s.now()) })
	}
	if old.Token == nil {
		return nil
	}
	alive := false
	if same && old.usable(s.now()) {
		if alive, err = s.alive(ctx, old); err != nil {
			return err
		}
	}
	if !alive {
		return s.retire(ctx, old)
	}
	s.receipt, s.grant, s.reused = old, *old.Token, true
	s.receipt.Token = &s.grant
	s.client.SetToken(s.grant.Token)
	return nil
}

// usable reports whether everything that hangs on the receipt's token, and the token, can be used again. One lease that
// nears its end is enough for no: leases can be revoked one by one only where a policy allows it, but always together.
func (r *receipt) usable(now time.Time) bool {
	if r.Open || !third(r.Token.Taken, r.Token.Expires, now) {
		return false
	}
	r.Entries = slices.DeleteFunc(r.Entries, func(e entry) bool { return !e.leased() && !e.good(now) })
	return !slices.ContainsFunc(r.Entries, func(e entry) bool { return !e.good(now) })
}

// alive asks the server whether it knows the receipt's token and leases still: somebody may have revoked them. Where the
// policy forbids to ask for a lease, its date must do.
func (s *Session) alive(ctx context.Context, r *receipt) (bool, error) {
	client := s.client.WithRequestCallbacks(func(request *api.Request) { request.ClientToken = r.Token.Token })
	_, err := client.Logical().ReadWithContext(ctx, "auth/token/lookup-self")
	if status(err) == http.StatusForbidden {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask for the token of %s: %w", r.path, explain(err))
	}
	for _, e := range r.Entries {
		known, err := leaseKnown(ctx, client, &e)
		if err != nil || !known {
			return false, err
		}
	}
	return true, nil
}

// leaseKnown asks the server whether the lease of e lives.
func leaseKnown(ctx context.Context, client *api.Client, e *entry) (bool, error) {
	if e.Secret.LeaseID == "" {
		return true, nil
	}
	_, err := client.Logical().WriteWithContext(ctx, "sys/leases/lookup", map[string]any{"lease_id": e.Secret.LeaseID})
	switch code := status(err); {
	case err == nil || code == http.StatusForbidden:
		return true, nil
	case code == http.StatusBadRequest || code == http.StatusNotFound:
		return false, nil
	}
	return false, fmt.Errorf("ask for the lease of %s: %w", e.Path, explain(err))
}

// retire revokes the token of an earlier run, and with it all that was taken with it, told in the receipt or not.
func (s *Session) retire(ctx context.Context, old *receipt) error {
	if err := s.revokeToken(ctx, *old.Token); err != nil {
		return err
	}
	if !old.Token.Batch {
		return nil
	}
	client := s.client.WithRequestCallbacks(func(request *api.Request) { request.ClientToken = old.Token.Token })
	for _, e := range old.leases() {
		// It cannot be done by revoking the token, and ends with it all the same.
		if err := revokeLease(ctx, client, &e, s.now()); err != nil && fault.KindOf(err).Transient() {
			return err
		}
	}
	return nil
}

// adopt takes over, with a token that was given, the leases that an earlier run took with such a token.
func (s *Session) adopt(ctx context.Context) error {
	var adopted []entry
	for _, e := range s.receipt.Entries {
		if !e.leased() {
			adopted = append(adopted, e)
			continue
		}
		if !e.good(s.now()) {
			if err := revokeLease(ctx, s.client.Client, &e, s.now()); err != nil && fault.KindOf(err).Transient() {
				return err
			}
			continue
		}
		known, err := leaseKnown(ctx, s.client.Client, &e)
		if err != nil {
			return err
		}
		if known {
			adopted = append(adopted, e)
		}
	}
	s.receipt.Entries = adopted
	return nil
}

// known returns the secret that the receipt holds for key, or nil.
func (s *Session) known(key string) *Secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used[key] = true
	if s.receipt == nil {
		return nil
	}
	if e := s.receipt.entry(key); e != nil {
		return e.Secret
	}
	return nil
}

// intend writes down that something may be taken with the token that the receipt does not tell yet: if this process is
// killed before it does, the next run revokes the token, and with it what was taken.
func (s *Session) intend(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.receipt == nil || s.receipt.Token == nil || s.receipt.Open || s.grant.Batch {
		return nil
	}
	s.receipt.Open = true
	return s.receipt.save(ctx, s.env)
}

// record keeps what is worth it in the receipt, before it is used.
func (s *Session) record(ctx context.Context, e entry) error {
	if !e.leased() && goodAnswer(e.Secret, e.Names, s.now()) != nil {
		return nil // a static secret: there is nothing to keep
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.leased() {
		if err := s.date(ctx, &e); err != nil {
			return err
		}
	}
	s.taken = append(s.taken, e.Key)
	if s.receipt == nil {
		s.kept = s.kept || e.leased()
		return nil
	}
	s.receipt.Entries = append(s.receipt.Entries, e)
	return s.receipt.save(context.WithoutCancel(ctx), s.env) // what has been taken must be told, even now
}

// date sets when a leased entry ends: with its lease, or with the token that it hangs on, which gets a longer life for it
// where its role allows that.
func (s *Session) date(ctx context.Context, e *entry) error {
	seconds := e.Secret.LeaseDuration
	if e.Secret.LeaseID == "" {
		seconds = e.Secret.Auth.LeaseDuration
	}
	if seconds > 0 {
		e.Expires = e.Taken.Add(time.Duration(seconds) * time.Second)
	}
	if s.cutsShort(e) {
		if err := s.renew(ctx, e.Expires); err != nil {
			return err
		}
	}
	if s.cutsShort(e) {
		s.env.Log.Warn("the lease ends early, with the token that it was taken with: give the role a longer token_max_ttl",
			"path", e.Path, "lease", e.Expires.Sub(e.Taken).String(), "token", s.grant.Expires.Sub(e.Taken).Round(time.Second).String())
	}
	if end := s.grant.Expires; !end.IsZero() && (e.Expires.IsZero() || end.Before(e.Expires)) {
		e.Expires = end
	}
	return nil
}

// cutsShort reports whether the token takes more than a tenth of its life from the lease of e.
func (s *Session) cutsShort(e *entry) bool {
	return !s.grant.Expires.IsZero() && e.Expires.Sub(s.grant.Expires) > e.Expires.Sub(e.Taken)/10
}

// renew gives the session's token a life until then, or as near to it as its role allows: a role whose tokens end soon
// bounds how long one lives whose login was killed. A refusal leaves the token as it is.
func (s *Session) renew(ctx context.Context, until time.Time) error {
	if s.given || s.grant.Batch || !s.grant.Renews {
		return nil
	}
	asked := s.now().Round(0)
	increment := int(math.Ceil(until.Sub(asked).Seconds()))
	answer, err := s.client.Logical().WriteWithContext(ctx, "auth/token/renew-self", map[string]any{"increment": increment})
	switch {
	case err != nil && fault.KindOf(explain(err)).Transient():
		return fmt.Errorf("renew the token: %w", explain(err))
	case err != nil || answer == nil || answer.Auth == nil:
		return nil
	}
	longer := asked.Add(time.Duration(answer.Auth.LeaseDuration) * time.Second)
	if longer.After(s.grant.Expires) {
		s.grant.Taken, s.grant.Expires = asked, longer
	}
	return nil
}

// entry returns the entry of that key, or nil.
func (r *receipt) entry(key string) *entry {
	i := slices.IndexFunc(r.Entries, func(e entry) bool { return e.Key == key })
	if i < 0 {
		return nil
	}
	return &r.Entries[i]
}

// drop forgets the entry of that key.
func (r *receipt) drop(key string) {
	r.Entries = slices.DeleteFunc(r.Entries, func(e entry) bool { return e.Key == key })
}

// leases returns the entries that hang on a token.
func (r *receipt) leases() []entry { return r.filter((*entry).leased) }

func (r *receipt) filter(keep func(*entry) bool) []entry {
	var kept []entry
	for _, e := range r.Entries {
		if keep(&e) {
			kept = append(kept, e)
		}
	}
	return kept
}

// save writes the receipt.
func (r *receipt) save(ctx context.Context, env *step.Env) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fault.As(fault.Internal, err)
	}
	// The sooner it is there, the shorter the moment in which a kill leaves a token without a holder.
	attributes := atomicfile.Attributes{Mode: opt.Mode(receiptMode), Unsynced: true}
	_, err = atomicfile.Write(ctx, env, env.Path(r.path), bytes.NewReader(append(content, '\n')), attributes)
	if err != nil {
		return fault.Hint(fmt.Errorf("keep the receipt: %w", err),
			"--receipt names another file, on a volume that lasts as long as the pod")
	}
	return nil
}

// keep ends a run: the receipt holds what outlives it, and goes if that is nothing.
func (r *receipt) keep(ctx context.Context, env *step.Env) error {
	r.Open = false
	if r.Token == nil && len(r.Entries) == 0 {
		return r.remove(env)
	}
	return r.save(ctx, env)
}

// remove removes the receipt.
func (r *receipt) remove(env *step.Env) error {
	err := os.Remove(env.Path(r.path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Output(fmt.Errorf("remove the receipt %s: %w", r.path, fault.Cause(err)))
	}
	return nil
}

// loadReceipt reads a receipt, nil if there is none. What is no receipt is somebody else's file, or one of another
// release of slipway, and stays.
func loadReceipt(env *step.Env, name string) (*receipt, error) {
	f, err := os.OpenFile(env.Path(name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the receipt %s: %w", name, fault.Cause(err))
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxReceipt+1))
	if err != nil {
		return nil, fmt.Errorf("read the receipt %s: %w", name, fault.Cause(err))
	}
	if len(bytes.Trim(content, "\x00")) == 0 {
		return nil, nil // what a crash of the machine leaves of a file that was not synced
	}
	r, err := parseReceipt(content)
	if err != nil {
		return nil, fault.Hint(fault.New(fault.Conflict, "%s is no receipt that this slipway can read: %w", name, err),
			"name another file by --receipt, or remove this one: what it tells of stays on the server until its lease ends")
	}
	return r, nil
}

// parseReceipt parses a receipt. Its errors hold nothing of the content.
func parseReceipt(content []byte) (*receipt, error) {
	if len(content) > maxReceipt {
		return nil, fmt.Errorf("it has over %d bytes", maxReceipt)
	}
	var r receipt
	if err := decode(content, &r); err != nil {
		return nil, errors.New("it is not of its form")
	}
	if r.Version != receiptVersion {
		return nil, fmt.Errorf("its version is %d, not %d", r.Version, receiptVersion)
	}
	if r.Token != nil && r.Token.Token == "" {
		return nil, errors.New("its token is empty")
	}
	for _, e := range r.Entries {
		if e.Key == "" || e.Secret == nil {
			return nil, errors.New("an entry lacks its key or its secret")
		}
	}
	return &r, nil
}
