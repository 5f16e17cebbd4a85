package s3

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
)

// What an answer says of the object, for errors.Is.
var (
	ErrChanged     = errors.New("the object has changed")            // 412: it is not the one of GetOptions.IfMatch any more
	ErrNotModified = errors.New("the object is the same as before")  // 304: it is the one of GetOptions.IfNoneMatch
	ErrRange       = errors.New("the object ends before that range") // 416; Error.Size has its size, where S3 says it
)

// Error is an answer that is no success.
type Error struct {
	Operation string // get, head or list
	Object    string // s3://bucket/key
	Status    int    // HTTP's
	Code      string // S3's, such as NoSuchKey; "" where there is none: an answer to HEAD has no body
	Message   string // S3's own words
	RequestID string // what S3's operators want to know
	// RetryAfter is how long S3 wants to be left alone; 0 where it does not say.
	RetryAfter time.Duration
	// Size is the object's with ErrRange, -1 where it is not known.
	Size int64

	head     bool
	region   string // where the bucket is
	endpoint string // what S3 says to ask instead
	class    string // the storage class of an object that is archived
	deleted  bool   // the version is a delete marker
}

// Error says what was asked and what S3 answered.
func (e *Error) Error() string {
	text := e.Operation + " " + e.Object + ": "
	switch message := strings.TrimSuffix(strings.TrimPrefix(httpx.Says([]byte(e.Message)), ": "), "."); {
	case e.Is(ErrChanged):
		text += ErrChanged.Error()
	case e.Is(ErrNotModified):
		text += ErrNotModified.Error()
	default:
		text += cmp.Or(e.Code, strings.ToLower(http.StatusText(e.Status)), "refused")
		if message != "" {
			text += ": " + message
		}
	}
	text += fmt.Sprintf(" (%d", e.Status)
	if e.RequestID != "" {
		text += ", request " + e.RequestID
	}
	return text + ")"
}

// Is makes the sentinels of this package known to errors.Is.
func (e *Error) Is(target error) bool {
	switch e.Status {
	case http.StatusPreconditionFailed:
		return target == ErrChanged
	case http.StatusNotModified:
		return target == ErrNotModified
	case http.StatusRequestedRangeNotSatisfiable:
		return target == ErrRange
	}
	return false
}

// maxRefusal bounds what is read of a refusal, in bytes.
const maxRefusal = 64 << 10

// refusal reads an answer that is no success, and closes it.
func (c *Client) refusal(q question, response *http.Response) *Error {
	defer response.Body.Close()
	header := response.Header
	e := &Error{
		Operation: q.operation, Object: c.name(q.name()), Status: response.StatusCode, RequestID: header.Get("X-Amz-Request-Id"),
		RetryAfter: httpx.RetryAfter(header.Get("Retry-After")), Size: -1,
		head: q.method == http.MethodHead, region: header.Get("X-Amz-Bucket-Region"), endpoint: header.Get("Location"),
		class: header.Get("X-Amz-Storage-Class"), deleted: header.Get("X-Amz-Delete-Marker") == "true",
	}
	if _, size, ok := strings.Cut(header.Get("Content-Range"), "*/"); ok {
		if n, err := strconv.ParseInt(size, 10, 64); err == nil {
			e.Size = n
		}
	}
	defer time.AfterFunc(patience, func() { response.Body.Close() }).Stop() // the status tells enough
	body, err := io.ReadAll(io.LimitReader(response.Body, maxRefusal))
	if err == nil {
		e.read(body)
	}
	e.Code, e.RequestID = line(e.Code), line(e.RequestID)
	return e
}

// read takes from an answer's body what it says: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html. A body
// that is not S3's is told, unless it is a page for a browser.
func (e *Error) read(body []byte) {
	var answer struct {
		XMLName  xml.Name `xml:"Error"`
		Code     string
		Message  string
		Region   string
		Endpoint string
		Request  string `xml:"RequestId"`
		Class    string `xml:"StorageClass"`
		Size     int64  `xml:"ActualObjectSize"`
	}
	answer.Size = -1
	if xml.Unmarshal(body, &answer) != nil {
		if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) {
			e.Message = string(body)
		}
		return
	}
	e.Code, e.Message = answer.Code, answer.Message
	e.region = cmp.Or(e.region, answer.Region)
	e.endpoint = cmp.Or(answer.Endpoint, e.endpoint)
	e.RequestID = cmp.Or(e.RequestID, answer.Request)
	e.class = cmp.Or(e.class, answer.Class)
	if e.Size < 0 {
		e.Size = answer.Size
	}
}

// line returns text as a word of an error.
func line(text string) string {
	return strings.TrimPrefix(httpx.Says([]byte(text)), ": ")
}

// elsewhere reports whether the bucket is in another region.
func (e *Error) elsewhere() bool {
	if e.region == "" {
		return false
	}
	switch e.Status {
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	case http.StatusBadRequest:
		return e.head || e.Code == "AuthorizationHeaderMalformed" || e.Code == "IllegalLocationConstraintException"
	case http.StatusForbidden: // of those who may not know more, such as the anonymous
		return e.Code == "" || e.Code == "AccessDenied" || e.Code == "InvalidRegion"
	}
	return false
}

// untimely reports whether the clock may be what is wrong.
func (e *Error) untimely() bool {
	return e.Code == "RequestTimeTooSkewed" || e.Code == "RequestExpired" || e.head && e.Status == http.StatusForbidden
}

// expired reports whether the credentials may be what is wrong.
func (e *Error) expired() bool {
	switch e.Code {
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
		return true
	}
	return e.head && e.Code == "" && e.Status == http.StatusBadRequest
}

// explained returns e with its kind, and a hint where there is something to be done.
func (e *Error) explained(c *Client) error {
	err := fault.As(e.kind(), e)
	hint := func(format string, args ...any) error { return fault.Hint(err, format, args...) }
	kms := strings.HasPrefix(e.Code, "KMS.") || strings.Contains(e.Message, "kms:")
	switch {
	case kms:
		return hint("the object is encrypted by a key of KMS: the role needs kms:Decrypt on it, and the key must be enabled")
	case e.deleted:
		return hint("it was deleted: its newest version is a delete marker")
	case e.Code == "NoSuchBucket":
		return hint("look at the bucket's name and at the endpoint")
	case e.Code == "NoSuchVersion":
		return hint("that version was deleted for good, or is another object's")
	case e.Code == "InvalidAccessKeyId", e.Code == "XAdminUserNotFound":
		return hint("that access key does not exist there: was it deleted, or made for another server?")
	case e.Status == http.StatusNotFound:
		return hint("a key is exact, to the letter and the slash; a prefix ends in a slash")
	case e.Code == "SignatureDoesNotMatch":
		return hint("the secret key is another one's, or a proxy changes the request on its way")
	case e.Code == "RequestTimeTooSkewed":
		return hint("set the clock of this node")
	case e.expired() && e.Code != "":
		return hint("the session is over and there is no new one: who gives the credentials?")
	case e.Code == "InvalidObjectState":
		return hint("the object is archived (%s): restore it first, as by `aws s3api restore-object`", cmp.Or(e.class, "its storage class says so"))
	case strings.Contains(e.Message, "Server Side Encryption") && e.Status == http.StatusBadRequest,
		e.head && e.Status == http.StatusBadRequest && len(c.keyHeader) == 0 && c.locate(c.identity.Region()).scheme == "https":
		return hint("an object that is encrypted with its owner's key (SSE-C) is read with that key alone")
	case e.head && e.Status == http.StatusBadRequest:
		return hint("a server says no more to HEAD: look at the endpoint's scheme, and whether the session of the credentials is over")
	case e.Status == http.StatusForbidden && c.anonymous:
		return hint("the bucket is not everybody's: leave out --no-sign-request")
	case e.Status == http.StatusForbidden:
		return hint("the role needs s3:GetObject on the object. Without s3:ListBucket on the bucket S3 says the same of a key that does not exist")
	case e.region != "" && e.Status < 400 && e.Status >= 300, e.endpoint != "" && e.Status < 400 && e.Status >= 300:
		return hint("S3 refers to %s: name that region or endpoint if it is the one you want", cmp.Or(line(e.region), line(e.endpoint)))
	}
	return err
}

// kind returns the kind of e, by S3's code where HTTP's status does not tell.
func (e *Error) kind() fault.Kind {
	switch e.Code {
	case "SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "OperationAborted", "Throttling", "ThrottlingException",
		"RequestLimitExceeded", "KMS.ThrottlingException", "RequestThrottled", "BandwidthLimitExceeded":
		return fault.Temporary
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "AuthorizationHeaderMalformed", "RequestExpired",
		"XAdminUserNotFound", // Versity's InvalidAccessKeyId, which it calls 404
		"KMS.DisabledException", "KMS.NotFoundException", "KMS.KMSInvalidStateException", "KMS.AccessDeniedException":
		return fault.Permission
	case "InvalidObjectState":
		return fault.NoInput
	}
	switch e.Status {
	case http.StatusMethodNotAllowed: // of a version that is a delete marker
		if e.deleted {
			return fault.NoInput
		}
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return fault.Conflict
	case http.StatusBadRequest:
		if strings.Contains(e.Message, "Server Side Encryption") || e.head {
			return fault.Permission
		}
	}
	return httpx.StatusKind(e.Status)
}
