package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
)

// HTTP carries the protocol over HTTP, "smart" as git calls it: each message is a request of its own. It follows no
// redirect to another host, whatever is in it: that is the client's rule.
type HTTP struct {
	Client *http.Client
	URL    *url.URL // of the repository; without user and password
	// Authorize adds to a request what proves who asks; nil is nothing.
	Authorize func(*http.Request)

	base *url.URL // URL, or where the first answer came from
	body io.ReadCloser
}

const service = "git-upload-pack"

// Open implements Transport.
func (h *HTTP) Open(ctx context.Context) (io.Reader, error) {
	u := h.URL.JoinPath("info/refs")
	u.RawQuery = "service=" + service
	response, err := h.do(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind != "application/x-"+service+"-advertisement" {
		return nil, errors.Join(fault.Hint(
			fault.New(fault.Data, "%s: it is no git server that answers, but something of the type %.60q", httpx.Redact(h.URL), kind),
			"look at the URL in a browser: it may be that of a page, or of a proxy that asks for a login; git's old \"dumb\" HTTP is not spoken"),
			h.Close())
	}
	// A server may send the client on to the repository's new name; what follows goes there at once.
	h.base = h.URL
	if at, ok := strings.CutSuffix(response.Request.URL.Path, "/info/refs"); ok {
		moved := *response.Request.URL
		moved.Path, moved.RawPath, moved.RawQuery = at, "", ""
		h.base = &moved
	}
	return h.body, nil
}

// Send implements Transport.
func (h *HTTP) Send(ctx context.Context, request []byte) (io.Reader, error) {
	response, err := h.do(ctx, http.MethodPost, h.base.JoinPath(service), request)
	if err != nil {
		return nil, err
	}
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind != "application/x-"+service+"-result" {
		return nil, errors.Join(fault.New(fault.Data, "%s: the answer is of the type %.60q, not git's", httpx.Redact(h.URL), kind), h.Close())
	}
	return h.body, nil
}

// Close implements Transport.
func (h *HTTP) Close() error {
	if h.body != nil {
		_ = h.body.Close() // it was read as far as it was wanted
		h.body = nil
	}
	return nil
}

// Explain implements Transport.
func (h *HTTP) Explain(err error) error { return err }

func (h *HTTP) do(ctx context.Context, method string, u *url.URL, body []byte) (*http.Response, error) {
	_ = h.Close()
	request, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fault.New(fault.Usage, "%s: it is no URL to ask", httpx.Redact(h.URL))
	}
	request.Header.Set("Git-Protocol", "version=2")
	request.Header.Set("User-Agent", "git/"+Agent) // some servers answer git alone
	if body != nil {
		request.Header.Set("Content-Type", "application/x-"+service+"-request")
		request.Header.Set("Accept", "application/x-"+service+"-result")
	}
	if h.Authorize != nil {
		h.Authorize(request)
	}
	response, err := h.Client.Do(request)
	if err != nil {
		return nil, httpx.Unanswered(request, err)
	}
	h.body = response.Body
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer h.Close()
	return nil, h.refused(response)
}

// refused returns the error of a status other than 200.
func (h *HTTP) refused(response *http.Response) error {
	err := fmt.Errorf("%s: the server answers %s", httpx.Redact(h.URL), response.Status)
	switch code := response.StatusCode; {
	case code == http.StatusUnauthorized && h.Authorize == nil:
		return fault.Hint(fault.As(fault.Permission, err), "give --username and --password-file, or another of the ways that the help lists")
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fault.Hint(fault.As(fault.Permission, err), "the server knows the repository but not this user: look at the token, its age and its scopes")
	case code == http.StatusNotFound, code == http.StatusGone:
		return fault.Hint(fault.As(fault.NoInput, err), "there is no such repository, or it is private and no valid token is given")
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= 500:
		return fault.As(fault.Temporary, err)
	}
	return fault.As(fault.Data, err)
}
