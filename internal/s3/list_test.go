package s3

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
)

// listing answers with pages of keys, of size each, escaped as S3 does when it is asked to.
func listing(size int, keys ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		token, _ := hex.DecodeString(query.Get("continuation-token"))
		after := max(query.Get("start-after"), string(token))
		var entries strings.Builder
		count, last := 0, ""
		truncated := false
		for _, key := range keys {
			if !strings.HasPrefix(key, query.Get("prefix")) || key <= after {
				continue
			}
			if count == size {
				truncated = true
				break
			}
			fmt.Fprintf(&entries, "<Contents><Key>%s</Key><LastModified>2026-11-25T22:26:40.000Z</LastModified><ETag>&quot;e%d&quot;</ETag>"+
				"<Size>%d</Size><Owner><ID>i</ID><DisplayName>d</DisplayName></Owner><StorageClass>STANDARD</StorageClass></Contents>", url.QueryEscape(key), count, len(key))
			count, last = count+1, key
		}
		fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>models</Name><Prefix></Prefix>"+
			"<EncodingType>url</EncodingType><KeyCount>%d</KeyCount><IsTruncated>%v</IsTruncated>%s", count, truncated, entries.String())
		if truncated {
			fmt.Fprintf(w, "<NextContinuationToken>%s</NextContinuationToken>", hex.EncodeToString([]byte(last)))
		}
		_, _ = io.WriteString(w, "</ListBucketResult>")
	}
}

// keysOf returns what List gives.
func keysOf(c *Client, prefix, after string) ([]string, error) {
	keys := []string{}
	for entry, err := range c.List(ctx, prefix, after) {
		if err != nil {
			return keys, err
		}
		keys = append(keys, entry.Key)
	}
	return keys, nil
}

func TestList(t *testing.T) {
	all := []string{"a/", "a/\x01", "a/1", "a/2 +%", "a/ü", "b"}
	for _, test := range []struct {
		prefix, after string
		size          int
		want          []string
		asked         int
	}{
		{"", "", 1000, all, 1},
		{"a/", "", 2, all[:5], 3},
		{"a/", "a/1", 1000, all[3:5], 1},
		{"none/", "", 1000, nil, 1},
	} {
		f := serve(t, listing(test.size, all...)).plain()
		got, err := keysOf(f.open(t, Options{}), test.prefix, test.after)
		_, asked := f.last()
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", test.want) || err != nil || asked != test.asked {
			t.Errorf("%+v: got %q, %v after %d requests", test, got, err, asked)
		}
	}
}

func TestEntriesOfAList(t *testing.T) {
	f := serve(t, listing(1000, "k")).plain()
	for got, err := range f.open(t, Options{}).List(ctx, "", "") {
		want := Entry{"k", 1, `"e0"`, time.Date(2026, 11, 25, 22, 26, 40, 0, time.UTC), "STANDARD"}
		if got != want || err != nil {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

func TestAListThatNobodyReadsOnIsNotAskedFor(t *testing.T) {
	f := serve(t, listing(1, "a", "b", "c")).plain()
	for range f.open(t, Options{}).List(ctx, "", "") {
		break
	}
	if _, asked := f.last(); asked != 1 {
		t.Errorf("asked %d times, want 1", asked)
	}
}

func TestListsThatAreNone(t *testing.T) {
	page := func(inside string) string { return "<ListBucketResult>" + inside + "</ListBucketResult>" }
	for _, test := range []struct{ body, want string }{
		{"", "list s3://models/p/: the answer is no list: unexpected EOF"},
		{"hello", "list s3://models/p/: the answer is no list: unexpected EOF"},
		{"<html></html>", "list s3://models/p/: the answer is no list: it is a html"},
		{"<ListBucketResult><Contents>", "list s3://models/p/: the answer is no list: unexpected EOF"},
		{page("<Contents><Size>-1</Size></Contents>"), "list s3://models/p/: the answer is no list: -1 is no size"},
		{page("<Contents><Size>1</Size></Contents>"), "list s3://models/p/: the answer is no list: an object has no key"},
		{page("<Contents><Key>a</Key><LastModified>then</LastModified></Contents>"), "list s3://models/p/: the answer is no list: then is no time"},
		{page("<EncodingType>url</EncodingType><Contents><Key>%zz</Key></Contents>"), "list s3://models/p/: the answer is no list: %zz is no key"},
		{page("<IsTruncated>true</IsTruncated>"), "list s3://models/p/: the server says that there is more, and not where"},
		{page(strings.Repeat("<Contents><Key>a</Key></Contents>", maxEntries+1)), "list s3://models/p/: the answer is no list: it has over 10000 objects"},
		{page(strings.Repeat(" ", maxPage)), "list s3://models/p/: a page has over 8388608 bytes"},
		{page("") + "</a>", "list s3://models/p/: the answer is no list: it ends before it begins"},
	} {
		f := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, test.body) }).plain()
		if _, err := keysOf(f.open(t, Options{}), "p/", ""); err == nil || err.Error() != test.want || fault.KindOf(err) != fault.Data {
			t.Errorf("%.100s: got %v (%v), want %s", test.body, err, fault.KindOf(err), test.want)
		}
	}
}

func TestAListThatGoesInCircles(t *testing.T) {
	f := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>")
	}).plain()
	if _, err := keysOf(f.open(t, Options{}), "", ""); fault.KindOf(err) != fault.Data {
		t.Errorf("got %v", err)
	}
	if _, asked := f.last(); asked != 2 {
		t.Errorf("asked %d times, want 2", asked)
	}
}

func FuzzPage(f *testing.F) {
	f.Add([]byte("<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>a%20b</Key><Size>1</Size></Contents></ListBucketResult>"))
	f.Add([]byte("<?xml version='1.0'?><!DOCTYPE x><ListBucketResult/>"))
	f.Add([]byte("<ListBucketResult><Contents><Key>a<b>c</b></Key></Contents>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		page, err := parsePage(body)
		if err != nil {
			return
		}
		for _, entry := range page.Entries {
			if entry.Key == "" || entry.Size < 0 {
				t.Errorf("got %+v", entry)
			}
		}
	})
}

func BenchmarkPage(b *testing.B) {
	var body strings.Builder
	body.WriteString("<ListBucketResult><EncodingType>url</EncodingType>")
	for n := range 1000 {
		fmt.Fprintf(&body, "<Contents><Key>models/shard-%05d.bin</Key><LastModified>2026-11-25T22:26:40.000Z</LastModified><ETag>&quot;9c61d005586622bdb73a964f4e1a30ac&quot;</ETag>"+
			"<Size>65536</Size><StorageClass>STANDARD</StorageClass></Contents>", n)
	}
	body.WriteString("</ListBucketResult>")
	text := []byte(body.String())
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := parsePage(text); err != nil {
			b.Fatal(err)
		}
	}
}

// stuck is a transport whose answers begin and never end.
type stuck int

func (status stuck) RoundTrip(r *http.Request) (*http.Response, error) {
	ended := make(chan struct{})
	return &http.Response{
		StatusCode: int(status), Header: http.Header{}, Request: r,
		Body: &stuckBody{ctx: r.Context(), ended: ended, end: sync.OnceFunc(func() { close(ended) })},
	}, nil
}

// stuckBody is the body of such an answer.
type stuckBody struct {
	ctx   context.Context
	ended chan struct{}
	end   func()
}

func (b *stuckBody) Read([]byte) (int, error) {
	select {
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	case <-b.ended:
		return 0, http.ErrBodyReadAfterClose
	}
}

func (b *stuckBody) Close() error { b.end(); return nil }

func TestAnswersThatNeverEnd(t *testing.T) {
	f := serve(t, http.NotFound).plain()
	for status, want := range map[stuck]fault.Kind{http.StatusOK: fault.Unavailable, http.StatusForbidden: fault.Permission, http.StatusServiceUnavailable: fault.Temporary} {
		c := f.open(t, Options{Anonymous: true})
		synctest.Test(t, func(t *testing.T) {
			c.http = &http.Client{Transport: status}
			for _, err := range c.List(t.Context(), "p/", "") {
				if fault.KindOf(err) != want {
					t.Errorf("%d: got %v (%v), want %v", status, err, fault.KindOf(err), want)
				}
			}
		})
	}
}
