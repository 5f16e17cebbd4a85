// Package httpobject reads one object of a web server, as package transfer wants it.
package httpobject

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/transfer"
)

// Object is an object of a web server. It implements transfer.Source.
type Object struct {
	Client *http.Client
	URL    *url.URL
	Header http.Header // of every request, such as Authorization; nil is none
}

// String returns the URL without password and query.
func (o *Object) String() string { return httpx.Redact(o.URL) }

// Identity returns the URL as String does, with a few digits of a digest of the query if there is one: enough to tell two from
// each other, and too few to tell what it is.
func (o *Object) Identity() string {
	if o.URL.RawQuery == "" {
		return o.String()
	}
	return fmt.Sprintf("%s %.4x", o, sha256.Sum256([]byte(o.URL.RawQuery)))
}

// Get implements transfer.Source. A version is what If-Range takes: a strong ETag, or a date that is old enough to be one.
// The server's refusals are NoInput (404, 410), Permission (401, 403, 407), Temporary (429, 5xx) and Data.
func (o *Object) Get(ctx context.Context, r transfer.Range, version string) (*transfer.Answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, o.URL.String(), nil)
	if err != nil {
		return nil, fault.As(fault.Usage, err)
	}
	request.Header = o.Header.Clone()
	if request.Header == nil {
		request.Header = make(http.Header)
	}
	request.Host = request.Header.Get("Host") // which package http takes from there alone; "" is that of the URL
	// The bytes that are wanted are those that the server has. Some servers tell the encoding of a file that is stored so,
	// such as x.tar.gz; it stays as it is.
	request.Header.Set("Accept-Encoding", "identity")
	if r.Length > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", r.Offset, r.Offset+r.Length-1))
		if version != "" {
			request.Header.Set("If-Range", version)
		}
	}
	response, err := o.Client.Do(request)
	if err != nil {
		return nil, told(err)
	}
	answer, err := o.answer(response, r, version)
	if err != nil {
		response.Body.Close()
		return nil, err
	}
	return answer, nil
}

// Unchanged reports whether the object still has that version, without its bytes.
func (o *Object) Unchanged(ctx context.Context, version string) (bool, error) {
	// A range of one byte, for servers that would send the whole object to whom their version is not known.
	answer, err := o.Get(ctx, transfer.Range{Length: 1}, version)
	if errors.Is(err, transfer.ErrChanged) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	answer.Body.Close()
	return answer.Version == version, nil
}

// Tune sets t for objects that are fetched in parts: over connections of their own, which HTTP/2 does not have, and as
// they are.
func Tune(t *http.Transport, connections int) {
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.ForceAttemptHTTP2 = false
	t.DisableCompression = true
	t.MaxIdleConnsPerHost = connections
	t.ResponseHeaderTimeout = 30 * time.Second
}

// told returns err without the URL before it, which the caller names.
func told(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return httpx.Garbled(err)
}

// answer reads the header of a response.
func (o *Object) answer(response *http.Response, r transfer.Range, version string) (*transfer.Answer, error) {
	answer := &transfer.Answer{Body: response.Body, Length: response.ContentLength, Size: response.ContentLength, Version: validator(response.Header)}
	switch response.StatusCode {
	case http.StatusOK:
		if version != "" && answer.Version != version {
			return nil, transfer.ErrChanged // which is how a server answers If-Range of another version
		}
	case http.StatusPartialContent:
		text := response.Header.Get("Content-Range")
		first, last, size, ok := httpx.ContentRange(text)
		switch {
		case !ok:
			return nil, fault.New(fault.Data, "the server's Content-Range %q is none", text)
		case r.Length == 0:
			return nil, fault.New(fault.Data, "the whole object was asked for, and the server answered with bytes %d to %d", first, last)
		}
		if answer.Length != transfer.Unknown && answer.Length != last-first+1 {
			return nil, fault.New(fault.Data, "the server's Content-Range is of %d bytes, and its Content-Length %d", last-first+1, answer.Length)
		}
		answer.Offset, answer.Length, answer.Size = first, last-first+1, size
	case http.StatusRequestedRangeNotSatisfiable:
		return o.empty(response, r, answer)
	default:
		return nil, refusal(response)
	}
	return answer, nil
}

// empty is the answer to a range of an object that has no bytes: RFC 9110, section 14.1.2, has no range for it.
func (o *Object) empty(response *http.Response, r transfer.Range, answer *transfer.Answer) (*transfer.Answer, error) {
	size := strings.TrimPrefix(response.Header.Get("Content-Range"), "bytes */")
	whole, err := strconv.ParseInt(size, 10, 64)
	if r.Offset == 0 && size == "0" {
		response.Body.Close()
		answer.Body, answer.Length, answer.Size = http.NoBody, 0, 0
		return answer, nil
	}
	if r.Offset > 0 && (size == "" || err == nil && whole <= r.Offset) {
		return nil, transfer.ErrChanged // it is shorter than it was
	}
	return nil, fault.New(fault.Data, "the server refuses bytes from %d on and says that the object has %q", r.Offset, size)
}

// validator returns what If-Range may name: RFC 9110, section 13.1.5. A date is strong enough if the object is older than a
// minute by the server's own clock: section 8.8.2.2.
func validator(header http.Header) string {
	if tag := header.Get("ETag"); strings.HasPrefix(tag, `"`) {
		return tag
	}
	modified, err := http.ParseTime(header.Get("Last-Modified"))
	if err != nil {
		return ""
	}
	sent, err := http.ParseTime(header.Get("Date"))
	if err != nil || sent.Sub(modified) < time.Minute {
		return ""
	}
	return header.Get("Last-Modified")
}

// refusal is the fault of a status that is no answer.
func refusal(response *http.Response) error {
	status := response.StatusCode
	err := fault.New(httpx.StatusKind(status), "the server answered %s", strings.TrimSpace(fmt.Sprint(status, " ", http.StatusText(status))))
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fault.Hint(err, "give --username and --password-file, or a header such as --header-from 'Authorization=Bearer file:/var/run/secrets/token'")
	case status == http.StatusNotFound, status == http.StatusGone:
		return fault.Hint(err, "is the path of the URL right?")
	}
	return fault.RetryAfter(err, httpx.RetryAfter(response.Header.Get("Retry-After")))
}
