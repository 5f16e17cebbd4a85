package waitfor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
)

// lookHTTP makes one request and judges status and body.
func lookHTTP(ctx context.Context, e *eye, t target) error {
	request, err := http.NewRequestWithContext(ctx, e.method, t.URL.String(), nil)
	if err != nil {
		return fault.New(fault.Internal, "make a request for %s", t)
	}
	request.Header = e.headers.Clone()
	request.Host = e.headers.Get("Host") // "" means the URL's
	response, err := e.client.Do(request)
	if failure, ok := errors.AsType[*url.Error](err); ok {
		return unanswered(failure.Err) // without the URL, whose query may hold a token
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := e.judgeStatus(response); err != nil {
		return err
	}
	return e.judgeBody(response.Body)
}

// unanswered returns why there was no answer, without what the server may have put into that: net/http quotes a redirect
// that it cannot read, which may hold a token, and a malformed answer, which may be long.
func unanswered(err error) error {
	switch {
	case strings.HasPrefix(err.Error(), "failed to parse Location header"):
		return fault.New(fault.Unavailable, "it redirects to what is not a URL")
	case fault.KindOf(err) == fault.Internal:
		return fault.New(fault.Unavailable, "%s", printable(err.Error()))
	}
	return err
}

// judgeStatus returns nil for a status that was asked for. Being kept out does not say that the target is gone.
func (e *eye) judgeStatus(response *http.Response) error {
	text := printable(response.Status)
	switch code := response.StatusCode; {
	case e.status.has(code):
		return nil
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fault.Hint(fault.New(fault.Permission, "status %s", text),
			"give credentials by --header-from, or accept the status by --status")
	case code >= 300 && code < 400 && e.noRedirect:
		return fault.Hint(gone("status %s", text), "accept the status by --status, or follow the redirect")
	default:
		return gone("status %s", text)
	}
}

// judgeBody reads no more of the body than it needs.
func (e *eye) judgeBody(body io.Reader) error {
	if e.bodyRegex.Regexp == nil && !e.jsonPath.given() {
		return nil
	}
	content, err := io.ReadAll(io.LimitReader(body, maxContent+1))
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	if len(content) > maxContent {
		return fault.New(fault.Unavailable, "the body is over %d bytes", maxContent)
	}
	if want := e.bodyRegex.Regexp; want != nil && !want.Match(content) {
		return gone("the body does not match %s", want)
	}
	if e.jsonPath.given() {
		e.judging.Lock() // one at a time: JSON takes forty times its size while it is judged
		defer e.judging.Unlock()
		return e.jsonPath.check(content)
	}
	return nil
}

// httpClient returns the env's client with the options. Each look has a connection of its own, because one that was kept
// would say that a server is there which takes no new ones.
func (s *waitFor) httpClient(env *step.Env, config *tls.Config) *http.Client {
	client := httpx.Derive(env.HTTP, func(transport *http.Transport) {
		transport.TLSClientConfig = config.Clone()
		transport.DisableKeepAlives = true
	})
	if s.noRedirect {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return client
}
