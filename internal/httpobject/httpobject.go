// Package httpobject reads one object of a web server, as package transfer wants it.
package httpobject

import (
	"context"
	"errors"
	"fmt"
	"net"
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
	e, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err
	}
	if _, marked := errors.AsType[*fault.Error](e.Err); marked {
		return e.Err
	}
	if e.Timeout() {
		if _, ok := errors.AsType[*net.OpError](e.Err); !ok {
			return fault.As(fault.Unavailable, e.Err)
		}
	}
	return e.Err
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
		first, last, size, err := contentRange(response.Header.Get("Content-Range"))
		if err != nil {
			return nil, err
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
	if r.Offset == 0 && size == "0" {
		response.Body.Close()
		answer.Body, answer.Length, answer.Size = http.NoBody, 0, 0
		return answer, nil
	}
	if r.Offset > 0 {
		return nil, transfer.ErrChanged // it is shorter than it was
	}
	return nil, fault.New(fault.Data, "the server refuses bytes from 0 on and says that the object has %q", size)
}

// contentRange reads "bytes FIRST-LAST/SIZE"; a size of "*" is Unknown.
func contentRange(text string) (first, last, size int64, err error) {
	wrong := fault.New(fault.Data, "the server's Content-Range %q is none", text)
	rest, ok := strings.CutPrefix(text, "bytes ")
	span, total, slash := strings.Cut(rest, "/")
	from, to, dash := strings.Cut(span, "-")
	if !ok || !slash || !dash {
		return 0, 0, 0, wrong
	}
	var errs [3]error
	first, errs[0] = strconv.ParseInt(from, 10, 64)
	last, errs[1] = strconv.ParseInt(to, 10, 64)
	size = transfer.Unknown
	if total != "*" {
		size, errs[2] = strconv.ParseInt(total, 10, 64)
	}
	if errors.Join(errs[:]...) != nil || first < 0 || last < first || size != transfer.Unknown && last >= size {
		return 0, 0, 0, wrong
	}
	return first, last, size, nil
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
	err := fault.New(kind(status), "the server answered %d %s", status, http.StatusText(status))
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fault.Hint(err, "give --username and --password-file, or a header such as --header Authorization=file:/var/run/secrets/token")
	case status == http.StatusNotFound, status == http.StatusGone:
		return fault.Hint(err, "is the path of the URL right?")
	}
	return fault.RetryAfter(err, retryAfter(response.Header))
}

// kind returns the kind of a status.
func kind(status int) fault.Kind {
	switch {
	case status == http.StatusNotFound, status == http.StatusGone:
		return fault.NoInput
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusProxyAuthRequired:
		return fault.Permission
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusTooEarly, status >= 500:
		return fault.Temporary
	}
	return fault.Data
}

// retryAfter reads the header of that name, in seconds or as a date: RFC 9110, section 10.2.3.
func retryAfter(header http.Header) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return time.Until(at)
	}
	return 0
}
