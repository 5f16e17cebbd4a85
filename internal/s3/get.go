package s3

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
)

// GetOptions say what of an object is read, and of which one. The zero value is the whole of the newest.
type GetOptions struct {
	Offset, Length int64 // in bytes; no Length is all from Offset on
	Part           int   // instead of them: a part of those it was uploaded in, from 1

	IfMatch     string // an ETag with its quotes: another object is ErrChanged
	IfNoneMatch string // an ETag with its quotes: the same object is ErrNotModified
	VersionID   string
}

// Object is what S3 says of an object, and what it sends of it.
type Object struct {
	// Body is unread, and nothing is copied on its way: io.ErrUnexpectedEOF says that it ended early. The caller closes it. It
	// is nil after Head.
	Body io.ReadCloser
	// Size is the whole object's, in bytes; -1 where the server does not say.
	Size int64
	// Offset and Length are those of Body in the object. Length is -1 where the server does not say. A server that knows no
	// ranges sends everything, whatever was asked for: Offset is 0 then.
	Offset, Length int64

	ETag            string // with its quotes
	VersionID       string // "" in a bucket without versions
	LastModified    time.Time
	ContentType     string
	ContentEncoding string // as it was uploaded: nothing is decoded
	StorageClass    string // "" is STANDARD
	// Checksums are the whole object's, the cheapest first. They come with whole objects only, where the bucket has them.
	Checksums []Checksum
	// Parts is how many parts it was uploaded in, where GetOptions.Part was given; 0 where the server does not say.
	Parts int
}

// Get asks for an object. What does not exist is NoInput, what may not be read Permission; Temporary, Unavailable and IO may
// be mended by time. See Error for the rest. A server that sends another range than it was asked for is Data.
func (c *Client) Get(ctx context.Context, key string, o GetOptions) (*Object, error) {
	response, err := c.ask(ctx, question{operation: "get", method: http.MethodGet, object: true, key: key, query: o.query(), header: o.header()})
	if err != nil {
		return nil, err
	}
	object, err := objectOf(response, o)
	if err != nil {
		response.Body.Close()
		return nil, fmt.Errorf("get %s: %w", c.name(key), err)
	}
	object.Body = &body{response.Body, c, key}
	return object, nil
}

// body is http's, whose errors say whose they are.
type body struct {
	io.ReadCloser
	client *Client
	key    string
}

// Read reads. A body that is broken in a way that only package http knows is IO, as one that ends early.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, fmt.Errorf("read %s: %w", b.client.name(b.key), httpx.Garbled(err))
}

// Head asks what there is to say of an object, without its bytes. The errors are those of Get, but that S3 says less: an
// answer to HEAD has no body.
func (c *Client) Head(ctx context.Context, key string, o GetOptions) (*Object, error) {
	response, err := c.ask(ctx, question{operation: "head", method: http.MethodHead, object: true, key: key, query: o.query(), header: o.header()})
	if err != nil {
		return nil, err
	}
	response.Body.Close()
	object, err := objectOf(response, o)
	if err != nil {
		return nil, fmt.Errorf("head %s: %w", c.name(key), err)
	}
	return object, nil
}

// query returns the options that stand in the URL.
func (o GetOptions) query() url.Values {
	query := url.Values{}
	if o.VersionID != "" {
		query.Set("versionId", o.VersionID)
	}
	if o.Part > 0 {
		query.Set("partNumber", strconv.Itoa(o.Part))
	}
	return query
}

// header returns the options that are headers. Of a range S3 has no checksum but its parts', so none is asked for.
func (o GetOptions) header() http.Header {
	header := http.Header{}
	switch {
	case o.Length > 0:
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", o.Offset, o.Offset+o.Length-1))
	case o.Offset > 0:
		header.Set("Range", fmt.Sprintf("bytes=%d-", o.Offset))
	case o.Part == 0:
		header.Set("X-Amz-Checksum-Mode", "ENABLED")
	}
	if o.IfMatch != "" {
		header.Set("If-Match", o.IfMatch)
	}
	if o.IfNoneMatch != "" {
		header.Set("If-None-Match", o.IfNoneMatch)
	}
	return header
}

// objectOf reads the header of an answer, and holds it against what was asked.
func objectOf(response *http.Response, o GetOptions) (*Object, error) {
	header := response.Header
	object := &Object{
		Size: response.ContentLength, Length: response.ContentLength,
		ETag: header.Get("ETag"), VersionID: header.Get("X-Amz-Version-Id"), ContentType: header.Get("Content-Type"),
		// Uploads by signed pieces leave a word here with some servers that is no encoding of the object.
		ContentEncoding: strings.TrimPrefix(strings.TrimPrefix(header.Get("Content-Encoding"), "aws-chunked"), ","),
		StorageClass:    header.Get("X-Amz-Storage-Class"),
	}
	object.LastModified, _ = http.ParseTime(header.Get("Last-Modified"))
	object.Parts, _ = strconv.Atoi(header.Get("X-Amz-Mp-Parts-Count"))
	ranged := o.Offset > 0 || o.Length > 0
	if !ranged && o.Part == 0 {
		object.Checksums = checksumsOf(header)
	}
	if response.StatusCode != http.StatusPartialContent {
		return object, nil
	}
	text := header.Get("Content-Range")
	first, last, size, ok := httpx.ContentRange(text)
	if !ok {
		return nil, fault.New(fault.Data, "the server answered with a part of the object, and not with which (Content-Range: %s)", printable(text))
	}
	object.Offset, object.Length, object.Size = first, last-first+1, size
	switch {
	case !ranged && o.Part == 0:
		return nil, fault.New(fault.Data, "the server answered with bytes %d to %d instead of the whole object", first, last)
	case ranged && (first != o.Offset || (o.Length > 0 && last >= o.Offset+o.Length)):
		return nil, fault.New(fault.Data, "the server answered with bytes %d to %d, which nobody asked for", first, last)
	case response.ContentLength >= 0 && response.ContentLength != object.Length:
		return nil, fault.New(fault.Data, "the server answered with %d bytes and calls them bytes %d to %d", response.ContentLength, first, last)
	}
	return object, nil
}
