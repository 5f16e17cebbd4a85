package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
)

func TestStaticSecretsLeaveNothing(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	s := p.open()
	if !strings.Contains(p.receipt(), `"open": true`) {
		t.Errorf("while the run is under way the receipt is %s, want its token", p.receipt())
	}
	if _, err := s.Read(t.Context(), "secret/app", nil); err != nil {
		t.Fatal(err)
	}
	p.close(s, false)
	if got := f.living(); len(got) > 0 {
		t.Errorf("left on the server: %v", got)
	}
	if got := p.receipt(); got != "" {
		t.Errorf("left on the volume: %s", got)
	}
}

func TestASecondRunReusesCredentialsAndCertificates(t *testing.T) {
	for _, options := range [][]string{role, {"auth=token-file", "token-file=/token"}} {
		t.Run(options[0], func(t *testing.T) {
			f := newFake(t)
			p := newPod(t, f)
			p.write("token", "given\n")
			var passwords, keys []string
			var receipts []string
			for range 2 {
				s := p.open(options...)
				passwords = append(passwords, p.credential(s))
				issued, err := s.Write(t.Context(), "pki/issue/web", map[string]any{"common_name": "a.example.test"})
				if err != nil {
					t.Fatal(err)
				}
				keys = append(keys, issued.Data["private_key"].(string))
				p.close(s, false)
				receipts = append(receipts, p.receipt())
			}
			if passwords[0] != passwords[1] || keys[0] != keys[1] {
				t.Error("the second run got other secrets than the first")
			}
			if a, b := f.taken("database/creds/ro"), f.taken("pki/issue/web"); a != 1 || b != 1 {
				t.Errorf("taken: %d credentials and %d certificates, want 1 and 1", a, b)
			}
			if receipts[0] != receipts[1] || receipts[0] == "" {
				t.Errorf("the second run changed the receipt from\n%s\nto\n%s", receipts[0], receipts[1])
			}
			info, err := os.Stat(filepath.Join(p.root, "receipt"))
			if err != nil || info.Mode() != 0o600 {
				t.Errorf("got mode %v (%v), want 0600", info.Mode(), err)
			}
		})
	}
}

func TestACertificateAloneNeedsNoToken(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	for range 2 {
		s := p.open()
		if _, err := s.Write(t.Context(), "pki/issue/web", map[string]any{"common_name": "a.example.test"}); err != nil {
			t.Fatal(err)
		}
		p.close(s, false)
	}
	if got := f.taken("pki/issue/web"); got != 1 {
		t.Errorf("got %d certificates, want 1", got)
	}
	if got := f.living(); len(got) > 0 {
		t.Errorf("left on the server: %v", got)
	}
	s := p.open()
	p.close(s, false)
	if got := p.receipt(); got != "" {
		t.Errorf("a run that does not ask for the certificate left %s", got)
	}
}

func TestWhatIsNoLongerGoodIsRevokedAndTakenAnew(t *testing.T) {
	tests := []struct {
		name   string
		change func(f *fake, p *pod)
		login  []string
	}{
		{"a lease that nears its end", func(f *fake, p *pod) {
			p.edit(func(r *receipt) {
				r.Entries[0].Taken = r.Entries[0].Taken.Add(-500 * time.Second)
				r.Entries[0].Expires = r.Entries[0].Expires.Add(-500 * time.Second)
			})
		}, role},
		{"a token that nears its end", func(f *fake, p *pod) {
			p.edit(func(r *receipt) {
				r.Token.Taken = r.Token.Taken.Add(-3000 * time.Second)
				r.Token.Expires = r.Token.Expires.Add(-3000 * time.Second)
			})
		}, role},
		{"a run that was killed", func(f *fake, p *pod) { p.edit(func(r *receipt) { r.Open = true }) }, role},
		{"another role", func(*fake, *pod) {}, []string{"auth=kubernetes", "role=other", "jwt-file=/jwt"}},
		{"a lease that somebody revoked", func(f *fake, p *pod) { delete(f.leases, "database/creds/ro/1") }, role},
		{"a token that somebody revoked", func(f *fake, p *pod) {
			delete(f.tokens, "hvs.fake-1")
			delete(f.leases, "database/creds/ro/1")
		}, role},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			p := newPod(t, f)
			s := p.open()
			first := p.credential(s)
			p.close(s, false)
			test.change(f, p)
			s = p.open(test.login...)
			if second := p.credential(s); second == first {
				t.Error("the second run got the first one's credential")
			}
			p.close(s, false)
			if got, want := f.living(), []string{"database/creds/ro/2", "hvs.fake-2"}; !slices.Equal(got, want) {
				t.Errorf("got %v on the server, want %v", got, want)
			}
		})
	}
}

// edit changes the receipt.
func (p *pod) edit(change func(*receipt)) {
	p.t.Helper()
	r, err := parseReceipt([]byte(p.receipt()))
	if err != nil {
		p.t.Fatal(err)
	}
	change(r)
	content, err := json.Marshal(r)
	if err != nil {
		p.t.Fatal(err)
	}
	p.write("receipt", string(content))
}

func TestAFailedRunTakesBackWhatItTook(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	s := p.open()
	p.credential(s)
	p.close(s, true)
	if got := f.living(); len(got) > 0 || p.receipt() != "" {
		t.Errorf("left: %v and %q", got, p.receipt())
	}
}

func TestAFailedRunLeavesWhatAnEarlierOneTook(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	s := p.open()
	p.credential(s)
	p.close(s, false)
	before := p.receipt()
	s = p.open()
	p.credential(s)
	p.close(s, true)
	if got, want := f.living(), []string{"database/creds/ro/1", "hvs.fake-1"}; !slices.Equal(got, want) || p.receipt() != before {
		t.Errorf("got %v, want %v, and the receipt as it was", got, want)
	}
	// One that has asked for more cannot know what it got.
	s = p.open()
	f.reply("database/creds/rw", 500, `{"errors":["lost"]}`)
	if _, err := s.Read(t.Context(), "database/creds/rw", nil); fault.KindOf(err) != fault.Temporary {
		t.Errorf("got %v, want a temporary failure", err)
	}
	p.close(s, true)
	if got := f.living(); len(got) > 0 || p.receipt() != "" {
		t.Errorf("left: %v and %q", got, p.receipt())
	}
}

func TestAGivenTokenIsNeverRevoked(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	p.environ["VAULT_TOKEN"] = "given"
	s := p.open("address=" + f.URL)
	p.credential(s)
	p.close(s, true)
	if got := f.living(); len(got) > 0 || p.receipt() != "" {
		t.Errorf("left: %v and %q", got, p.receipt())
	}
	if !f.tokens["given"] {
		t.Error("the given token was revoked")
	}
	f.revoking = false
	s = p.open("address=" + f.URL)
	p.credential(s)
	err := s.Close(t.Context(), true)
	if want := `revoke the lease of database/creds/ro: permission denied (403)`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if !strings.Contains(p.receipt(), "database/creds/ro/2") {
		t.Error("a lease that could not be revoked is not in the receipt")
	}
}

func TestATokenThatCannotBeToldIsRevoked(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	c := config(t, role...)
	c.Receipt = "/none/receipt"
	if _, err := Open(t.Context(), p.env, c); fault.KindOf(err) != fault.CantCreate || !strings.Contains(fault.HintOf(err), "--receipt") {
		t.Errorf("got %v (%s), want that the receipt cannot be created", err, fault.HintOf(err))
	}
	if got := f.living(); len(got) > 0 {
		t.Errorf("left on the server: %v", got)
	}
}

func TestABatchTokensLeasesAreRevokedOneByOne(t *testing.T) {
	login := `{"auth":{"client_token":"hvb.1","accessor":"","policies":["app"],"lease_duration":3600,"renewable":false,"token_type":"batch"}}`
	for _, failed := range []bool{true, false} {
		f := newFake(t)
		f.tokens["hvb.1"] = true
		f.reply("auth/kubernetes/login", 200, login)
		p := newPod(t, f)
		s := p.open()
		first := p.credential(s)
		p.close(s, failed)
		if got := slices.Contains(f.living(), "database/creds/ro/1"); got == failed {
			t.Errorf("failed: %v: the lease lives: %v", failed, got)
		}
		s = p.open()
		if again := p.credential(s) == first; again == failed {
			t.Errorf("failed: %v: the credential is used again: %v", failed, again)
		}
		p.close(s, false)
		// Another role does not go on with it.
		s = p.open("auth=kubernetes", "role=other", "jwt-file=/jwt")
		p.close(s, false)
		if got, want := f.living(), []string{"hvb.1"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v, which cannot be revoked", got, want)
		}
	}
}

func TestWithoutAReceiptALeaseKeepsItsToken(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	c := config(t, role...)
	c.Receipt = ""
	s, err := Open(t.Context(), p.env, c)
	if err != nil {
		t.Fatal(err)
	}
	p.credential(s)
	p.close(s, false)
	if got, want := f.living(), []string{"database/creds/ro/1", "hvs.fake-1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := p.undos[0](t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.living(); len(got) > 0 {
		t.Errorf("left on the server: %v", got)
	}
}

func TestCloseWorksForARunThatWasEnded(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	s := p.open()
	p.credential(s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Close(ctx, true); err != nil {
		t.Fatal(err)
	}
	if got := f.living(); len(got) > 0 || p.receipt() != "" {
		t.Errorf("left: %v and %q", got, p.receipt())
	}
}

func TestASinkKeepsTheToken(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	s := p.open()
	s.Keep()
	p.close(s, false)
	if got, want := f.living(), []string{"hvs.fake-1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	s = p.open()
	if got, want := s.Token(), "hvs.fake-1"; got != want {
		t.Errorf("got token %s, want %s", got, want)
	}
	p.close(s, false) // without a sink now
	if got := f.living(); len(got) > 0 || p.receipt() != "" {
		t.Errorf("left: %v and %q", got, p.receipt())
	}
}

func TestAnUnusedLeaseIsRevokedWhereThePolicyAllows(t *testing.T) {
	for _, allowed := range []bool{true, false} {
		f := newFake(t)
		f.revoking = allowed
		p := newPod(t, f)
		s := p.open()
		p.credential(s)
		s.Keep()
		p.close(s, false)
		s = p.open()
		s.Keep()
		p.close(s, false)
		if got := slices.Contains(f.living(), "database/creds/ro/1"); got == allowed {
			t.Errorf("allowed %v: the lease lives: %v", allowed, got)
		}
		if got := strings.Contains(p.receipt(), "database/creds/ro/1"); got == allowed {
			t.Errorf("allowed %v: the lease is in the receipt: %v", allowed, got)
		}
	}
}

func TestAPlanThatFailsLaterGivesBackWhatCloseLeft(t *testing.T) {
	for _, options := range [][]string{role, {"token-file=/token"}} {
		f := newFake(t)
		p := newPod(t, f)
		p.write("token", "given")
		s := p.open(options...)
		p.credential(s)
		p.close(s, false)
		for _, undo := range p.undos {
			if err := undo(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := f.living(); len(p.undos) != 1 || len(got) > 0 || p.receipt() != "" {
			t.Errorf("%v: after %d undos: %v and %q", options, len(p.undos), got, p.receipt())
		}
	}
}

func TestASessionThatLeavesNothingHasNothingToUndo(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	s := p.open()
	p.close(s, false)
	if len(p.undos) > 0 {
		t.Errorf("got %d undos", len(p.undos))
	}
}

// dyingTransport works for some requests, and whose answer to the last of them is lost; further ones are not
// even sent. It is what the server sees of a client that is killed.
type dyingTransport struct {
	http.RoundTripper
	left *int
}

var errKilled = errors.New("killed")

func (d dyingTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	*d.left--
	if *d.left < 0 {
		return nil, errKilled
	}
	response, err := d.RoundTripper.RoundTrip(request)
	if err == nil && *d.left == 0 {
		response.Body.Close()
		return nil, errKilled
	}
	return response, err
}

// Derive implements httpx.Deriver.
func (d dyingTransport) Derive(change func(*http.Transport)) http.RoundTripper {
	clone := d.RoundTripper.(*http.Transport).Clone()
	change(clone)
	return dyingTransport{clone, d.left}
}

// TestNothingIsLeftAfterAKillAndTheNextRun kills a run after each of its requests, on a volume that an earlier run has
// used or not. What the next run leaves on the server is what its receipt holds. The one exception is a login whose
// answer was lost: nobody knows its token, and no lease hangs on it.
func TestNothingIsLeftAfterAKillAndTheNextRun(t *testing.T) {
	run := func(p *pod) error {
		s, err := Open(context.Background(), p.env, config(p.t, role...))
		if err != nil {
			return err
		}
		for _, path := range []string{"secret/app", "database/creds/ro", "database/creds/ro?second=1"} {
			if _, err := s.Read(context.Background(), path, nil); err != nil {
				return err // killed: without Close
			}
		}
		return s.Close(context.Background(), false)
	}
	for _, earlier := range []bool{false, true} {
		killed := 0
		for n := 1; ; n++ {
			f := newFake(t)
			p := newPod(t, f)
			if earlier {
				s := p.open()
				p.credential(s)
				p.close(s, false)
			}
			f.paths()
			left, alive := n, p.env.HTTP
			p.env.HTTP = &http.Client{Transport: dyingTransport{alive.Transport, &left}}
			err := run(p)
			p.env.HTTP = alive
			if err == nil {
				break // it needs fewer than n requests
			}
			killed++
			requests := f.paths()
			last := requests[len(requests)-1]
			if err := run(p); err != nil {
				t.Fatalf("killed after %v: the next run: %v", requests, err)
			}
			r, err := parseReceipt([]byte(p.receipt()))
			if err != nil {
				t.Fatal(err)
			}
			held := []string{r.Token.Token}
			for _, e := range r.Entries {
				held = append(held, e.Secret.LeaseID)
			}
			if strings.HasSuffix(last, "/login") {
				held = append(held, "hvs.fake-1")
			}
			slices.Sort(held)
			if got := f.living(); !slices.Equal(got, held) {
				t.Errorf("earlier run: %v, killed after %v: got %v on the server, want %v", earlier, requests, got, held)
			}
		}
		if killed < 4 {
			t.Errorf("only %d kills", killed)
		}
	}
}

func TestAReceiptThatIsNoneIsLeftAlone(t *testing.T) {
	for _, content := range []string{" ", "db=postgres\n", `{"slipway-vault-receipt":2}`, `{"slipway-vault-receipt":1,"entries":[{"key":"x"}]}`} {
		f := newFake(t)
		p := newPod(t, f)
		p.write("receipt", content)
		_, err := Open(t.Context(), p.env, config(t, role...))
		if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "/receipt is no receipt") {
			t.Errorf("%q: got %v, want a conflict that names the file", content, err)
		}
		if got := p.receipt(); got != content {
			t.Errorf("got %q, want it as it was", got)
		}
		if got := f.living(); len(got) > 0 {
			t.Errorf("left on the server: %v", got)
		}
	}
}

func TestAReceiptThatACrashOfTheMachineEmptiedIsNone(t *testing.T) {
	for _, content := range []string{"", "\x00\x00\x00"} {
		p := newPod(t, newFake(t))
		p.write("receipt", content)
		p.close(p.open(), false)
	}
}

func TestAReceiptIsNotFollowedThroughALink(t *testing.T) {
	f := newFake(t)
	p := newPod(t, f)
	if err := os.Symlink("/etc/passwd", filepath.Join(p.root, "receipt")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), p.env, config(t, role...)); fault.KindOf(err) != fault.CantCreate {
		t.Errorf("got %v, want that it cannot be there", err)
	}
}

func TestAReceiptOfAnotherServerIsNotSentThere(t *testing.T) {
	f, other := newFake(t), newFake(t)
	p := newPod(t, f)
	s := p.open()
	p.credential(s)
	p.close(s, false)
	other.counts["login"] = 100
	s = p.open(append([]string{"address=" + other.URL}, role...)...)
	p.close(s, false)
	for _, r := range other.requests {
		if r.Token == "hvs.fake-1" {
			t.Errorf("the other server was sent the token: %v", r)
		}
	}
	if !strings.Contains(p.log.String(), "the receipt is of another server") {
		t.Errorf("got log %q, want a warning", p.log)
	}
}

func TestALeaseThatItsTokenOutlivesNot(t *testing.T) {
	f := newFake(t)
	f.tokenTTL, f.tokenMax, f.leaseTTL = 60, 300, 600
	p := newPod(t, f)
	s := p.open()
	p.credential(s)
	p.close(s, false)
	if !strings.Contains(p.log.String(), `the lease ends early, with the token that it was taken with: give the role a longer token_max_ttl" path=database/creds/ro lease=10m0s token=5m0s`) {
		t.Errorf("got log %q, want a warning", p.log)
	}
	r, err := parseReceipt([]byte(p.receipt()))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Entries[0].Expires, r.Token.Expires; !got.Equal(want) {
		t.Errorf("the lease ends at %s, want %s", got, want)
	}
	if strings.Contains(p.log.String(), "dynamic-password") || strings.Contains(p.log.String(), "hvs.") {
		t.Errorf("a secret is in the log: %s", p.log)
	}
}

// A token that ends before its lease is renewed: the next run goes on with both after the life that the login gave.
func TestATokenIsRenewedForItsLease(t *testing.T) {
	f := newFake(t)
	f.tokenTTL = 10
	p := newPod(t, f)
	s := p.open()
	p.credential(s)
	if _, err := s.Read(t.Context(), "database/creds/ro?again=1", nil); err != nil {
		t.Fatal(err)
	}
	p.close(s, false)
	renewals := slices.DeleteFunc(f.paths(), func(path string) bool { return path != "auth/token/renew-self" })
	if len(renewals) != 1 {
		t.Errorf("the token was renewed %d times for two leases of one life, want once", len(renewals))
	}
	if p.log.Len() > 0 {
		t.Errorf("got log %s, want none", p.log)
	}
	p.edit(func(r *receipt) { // as a minute later
		for _, at := range []*time.Time{&r.Token.Taken, &r.Token.Expires, &r.Entries[0].Taken, &r.Entries[0].Expires} {
			*at = at.Add(-time.Minute)
		}
	})
	s = p.open()
	p.credential(s)
	p.close(s, false)
	if got := f.taken("login"); got != 1 {
		t.Errorf("two runs logged in %d times, want once", got)
	}
}

// A server that cannot renew now makes the run fail, to be tried again, and takes back what it gave.
func TestATokenThatCannotBeRenewedNow(t *testing.T) {
	f := newFake(t)
	f.tokenTTL = 10
	p := newPod(t, f)
	s := p.open()
	f.reply("auth/token/renew-self", 503, `{"errors":["busy"]}`)
	_, err := s.Read(t.Context(), "database/creds/ro", nil)
	if got, want := fault.KindOf(err), fault.Temporary; got != want || err.Error() != "renew the token: busy (503)" {
		t.Errorf("got %v of kind %s, want %s", err, got, want)
	}
	p.close(s, true)
	if got := f.living(); len(got) > 0 {
		t.Errorf("left on the server: %v", got)
	}
}

func FuzzParseReceipt(f *testing.F) {
	for _, seed := range []string{
		"", "{}", `{"slipway-vault-receipt":1}`,
		`{"slipway-vault-receipt":1,"login":{"address":"https://v","method":"jwt"},"open":true,"token":{"token":"t","taken":"2026-11-23T05:00:00Z"}}`,
		`{"slipway-vault-receipt":1,"entries":[{"key":"read a","path":"a","taken":"2026-11-23T05:00:00Z","secret":{"lease_id":"a/1","data":{"n":1e400}}}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		r, err := parseReceipt(content)
		if err != nil {
			return
		}
		now := time.Unix(1795411390, 0)
		if r.Token != nil {
			r.usable(now)
		}
		r.filter(func(e *entry) bool { return e.good(now) })
		written, err := json.Marshal(r)
		if err != nil {
			t.Skip() // a date that JSON cannot hold
		}
		again, err := parseReceipt(written)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, written)
		}
		if rewritten, _ := json.Marshal(again); !bytes.Equal(rewritten, written) {
			t.Errorf("got %s, want %s", rewritten, written)
		}
	})
}
