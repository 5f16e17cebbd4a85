package httpx

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// Do sends request and returns status and body of the answer. A body of more than limit bytes is Data.
func Do(client *http.Client, request *http.Request, limit int64) (int, []byte, error) {
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, Unanswered(request, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return 0, nil, fmt.Errorf("read the answer of %s: %w", request.URL.Host, err)
	}
	if int64(len(body)) > limit {
		return 0, nil, fault.New(fault.Data, "the answer of %s is over %d bytes", request.URL.Host, limit)
	}
	return response.StatusCode, body, nil
}

// Unanswered returns the error of a request that got no answer, as http.Client gives it, without the URL at its front: the
// query may say more than an error should. See Garbled for what is no HTTP; TLS where there is none is Data.
func Unanswered(request *http.Request, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return err // it names the address
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		err = fault.Hint(fault.As(fault.Data, err), "the server speaks HTTP without TLS: write http:// if that is meant")
	}
	return fmt.Errorf("ask %s: %w", request.URL.Host, Garbled(err))
}

// Garbled marks an error of package http that has no kind as IO: the other side does not speak HTTP or TLS as it should, and
// perhaps it is only starting. A redirect to what is no URL is Data, and not repeated: it may hold a token.
func Garbled(err error) error {
	switch {
	case err == nil, fault.KindOf(err) != fault.Internal:
		return err
	case strings.HasPrefix(err.Error(), "failed to parse Location header"): // of http.Client
		return fault.New(fault.Data, "the server redirects to what is no URL")
	}
	return fault.As(fault.IO, err)
}

// StatusKind returns the kind of a refusal by HTTP's status.
func StatusKind(status int) fault.Kind {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusProxyAuthRequired:
		return fault.Permission
	case status == http.StatusNotFound, status == http.StatusGone:
		return fault.NoInput
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusTooEarly, status >= 500:
		return fault.Temporary
	}
	return fault.Data
}

// Says returns what a server said, as the end of an error: one line of at most 200 bytes, ": Permission denied". It is
// empty for what is no text.
func Says(body []byte) string {
	const most = 200
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(body[:min(len(body), most)]), "")), " ")
	if text == "" || slices.ContainsFunc([]rune(text), func(r rune) bool { return r < ' ' }) {
		return ""
	}
	return ": " + text
}
