package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/slipway-init/slipway/internal/fault"
)

// maxMessage bounds what of a server's message goes into an error, in bytes: something else than Vault may answer, with a
// page of HTML.
const maxMessage = 300

// statuses are the kinds of the answers that have one by their number. Of the others those from 500 on are Temporary,
// and those from 400 on Data.
var statuses = map[int]fault.Kind{
	http.StatusUnauthorized:       fault.Permission,
	http.StatusForbidden:          fault.Permission,
	http.StatusNotFound:           fault.NoInput,
	http.StatusRequestTimeout:     fault.Temporary,
	http.StatusPreconditionFailed: fault.Temporary, // a replica that has not caught up
	http.StatusTooEarly:           fault.Temporary,
	http.StatusTooManyRequests:    fault.Temporary,
	472:                           fault.Temporary, // a standby of disaster recovery
	473:                           fault.Temporary, // a performance standby
}

// explain returns an error of the API's client in slipway's words: what the server said, and the kind that follows.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if marked, ok := errors.AsType[*fault.Error](err); ok {
		return marked
	}
	answer, ok := errors.AsType[*api.ResponseError](err)
	if !ok {
		return transport(err)
	}
	kind, ok := statuses[answer.StatusCode]
	switch {
	case ok:
	case answer.StatusCode >= 500:
		kind = fault.Temporary
	default:
		kind = fault.Data
	}
	explained := fault.New(kind, "%s (%d)", message(answer), answer.StatusCode)
	if answer.StatusCode == http.StatusServiceUnavailable && strings.Contains(explained.Error(), "sealed") {
		return fault.Hint(explained, "unseal the server: slipway tries again until its timeout")
	}
	return explained
}

// transport explains an error that is no answer of a Vault server.
func transport(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // the URL is told in other words
	}
	_, syntax := errors.AsType[*json.SyntaxError](err)
	switch {
	case syntax:
		return fault.Hint(fault.New(fault.Data, "the answer is not JSON: %w", err), "is there a Vault server at that address, and not a proxy?")
	case errors.Is(err, http.ErrSchemeMismatch):
		return fault.Hint(fault.As(fault.Permission, err), "the server speaks HTTP without TLS: write http:// if that is meant")
	case fault.KindOf(err) == fault.Internal:
		return fault.As(fault.Unavailable, err)
	case fault.KindOf(err) == fault.Permission:
		return fault.Hint(err, "name the CA of the server's certificate by --ca-file, and its name by --server-name if it differs from the address")
	}
	return err
}

// message returns what the server said, on one line.
func message(answer *api.ResponseError) string {
	text := strings.Join(strings.Fields(strings.Join(answer.Errors, "; ")), " ")
	text = strings.TrimPrefix(text, "1 error occurred: * ")
	if text == "" {
		text = "refused"
		if name := http.StatusText(answer.StatusCode); name != "" {
			text = strings.ToLower(name)
		}
	}
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return text
}

// status returns the number of the answer that err is, or 0.
func status(err error) int {
	if answer, ok := errors.AsType[*api.ResponseError](err); ok {
		return answer.StatusCode
	}
	return 0
}

// refused explains the error of an operation on a path: what failed, and for a refusal the line of policy that would
// help. The server refuses a token that has expired with the same words; the clock tells it apart.
func (s *Session) refused(o operation, path string, err error) error {
	explained := fmt.Errorf("%s %s: %w", o, path, explain(err))
	if status(err) != http.StatusForbidden {
		return explained
	}
	if !s.given && s.ended() {
		return fault.New(fault.Temporary, "%s %s: the token has expired meanwhile: %w", o, path, explain(err))
	}
	doubt := ""
	if s.given {
		doubt = ", or the token that was given is no longer valid"
	}
	return fault.Hint(explained, "the token's policy lacks: path %q { capabilities = [%s] }%s", path, o.capabilities(), doubt)
}

// ended reports whether the life of the session's token is over by the clock.
func (s *Session) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant.ended(s.now())
}

// operation is what is done at a path.
type operation string

const (
	read  operation = "read"
	write operation = "write"
	list  operation = "list"
)

// capabilities returns what a policy must grant for o, as it writes them.
func (o operation) capabilities() string {
	if o == write {
		return `"create", "update"`
	}
	return `"` + string(o) + `"`
}
