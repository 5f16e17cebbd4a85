package s3

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
)

// Entry is an object in a list.
type Entry struct {
	Key          string
	Size         int64
	ETag         string // with its quotes
	LastModified time.Time
	StorageClass string
}

const (
	// maxPage bounds one page of a list, in bytes: a thousand keys of 1 KiB, each byte escaped, have 3.5 MB.
	maxPage = 8 << 20
	// pagePatience is how long a page may take to come.
	pagePatience = 2 * time.Minute
	// maxEntries bounds the objects of a page. S3 sends 1,000.
	maxEntries = 10000
)

// List returns what the bucket has below prefix, behind the key after ("" is from the beginning), in S3's order: that of the
// keys' bytes. It asks for a page at a time, when the one before is used up, so that memory holds one page. An error ends it;
// after the last key that came it can be taken up again. Nothing there is no error. The errors are those of Get.
func (c *Client) List(ctx context.Context, prefix, after string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		next := ""
		for {
			page, err := c.page(ctx, prefix, after, next)
			if err == nil && page.Truncated && (page.Next == "" || page.Next == next) {
				err = fault.New(fault.Data, "list %s: the server says that there is more, and not where", c.name(prefix))
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, entry := range page.Entries {
				if !yield(entry, nil) {
					return
				}
			}
			if !page.Truncated {
				return
			}
			next = page.Next
		}
	}
}

// page asks for one page: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html.
func (c *Client) page(ctx context.Context, prefix, after, next string) (*page, error) {
	query := url.Values{"list-type": {"2"}, "encoding-type": {"url"}}
	if prefix != "" {
		query.Set("prefix", prefix)
	}
	if next != "" {
		query.Set("continuation-token", next)
	} else if after != "" {
		query.Set("start-after", after)
	}
	ctx, cancel := context.WithTimeout(ctx, pagePatience)
	defer cancel()
	response, err := c.ask(ctx, question{operation: "list", method: http.MethodGet, query: query, about: prefix})
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxPage+1))
	if err != nil {
		return nil, fmt.Errorf("list %s: read the answer: %w", c.name(prefix), err)
	}
	if len(body) > maxPage {
		return nil, fault.New(fault.Data, "list %s: a page has over %d bytes", c.name(prefix), maxPage)
	}
	page, err := parsePage(body)
	if err != nil {
		return nil, fault.New(fault.Data, "list %s: the answer is no list: %w", c.name(prefix), err)
	}
	return page, nil
}

// page is one of a list.
type page struct {
	Entries   []Entry
	Truncated bool   // there is more
	Next      string // the token to ask for it with

	escaped bool // the keys are escaped as in a query, because XML cannot say all that a key may have
}

// parsePage parses a ListBucketResult. It goes by the decoder's raw tokens, which take half the time and half the memory of
// its reflection.
func parsePage(body []byte) (*page, error) {
	var (
		p       page
		entry   *Entry
		text    []byte
		depth   int
		ended   bool
		decoder = xml.NewDecoder(bytes.NewReader(body))
	)
	for {
		token, err := decoder.RawToken()
		switch {
		case errors.Is(err, io.EOF) && ended:
			return &p, p.unescape()
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			if depth == 0 && (ended || token.Name.Local != "ListBucketResult") {
				return nil, fmt.Errorf("it is a %s", printable(token.Name.Local))
			}
			depth++
			text = text[:0]
			if depth == 2 && token.Name.Local == "Contents" {
				if len(p.Entries) == maxEntries {
					return nil, fmt.Errorf("it has over %d objects", maxEntries)
				}
				p.Entries = append(p.Entries, Entry{})
				entry = &p.Entries[len(p.Entries)-1]
			}
		case xml.CharData:
			text = append(text, token...)
		case xml.EndElement:
			switch {
			case depth == 2:
				p.set(token.Name.Local, string(text))
				entry = nil
			case depth == 3 && entry != nil:
				if err := entry.set(token.Name.Local, string(text)); err != nil {
					return nil, err
				}
			}
			text = text[:0]
			depth--
			ended = depth == 0
			if depth < 0 {
				return nil, errors.New("it ends before it begins")
			}
		}
	}
}

// set takes what stands beside the objects.
func (p *page) set(name, text string) {
	switch name {
	case "IsTruncated":
		p.Truncated = text == "true"
	case "NextContinuationToken":
		p.Next = text
	case "EncodingType":
		p.escaped = text == "url"
	}
}

// set takes what stands in an object.
func (e *Entry) set(name, text string) error {
	var err error
	switch name {
	case "Key":
		e.Key = text
	case "Size":
		if e.Size, err = strconv.ParseInt(text, 10, 64); err != nil || e.Size < 0 {
			return fmt.Errorf("%s is no size", printable(text))
		}
	case "ETag":
		e.ETag = text
	case "LastModified":
		if e.LastModified, err = time.Parse(time.RFC3339, text); err != nil {
			return fmt.Errorf("%s is no time", printable(text))
		}
	case "StorageClass":
		e.StorageClass = text
	}
	return nil
}

// unescape takes the escapes from the keys, if they have any, and refuses objects without a key.
func (p *page) unescape() error {
	for i := range p.Entries {
		e := &p.Entries[i]
		if p.escaped {
			key, err := url.QueryUnescape(e.Key)
			if err != nil {
				return fmt.Errorf("%s is no key", printable(e.Key))
			}
			e.Key = key
		}
		if e.Key == "" {
			return errors.New("an object has no key")
		}
	}
	return nil
}
