package httpx_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slipway-init/slipway/internal/httpx"
)

func TestContentRange(t *testing.T) {
	type result struct {
		first, last, size int64
		ok                bool
	}
	for text, want := range map[string]result{
		"bytes 0-0/1":                    {0, 0, 1, true},
		"bytes 5-9/10":                   {5, 9, 10, true},
		"bytes 5-9/*":                    {5, 9, -1, true},
		"bytes 0-9223372036854775806/*":  {0, 1<<63 - 2, -1, true},
		"bytes 007-9/10":                 {7, 9, 10, true},
		"":                               {},
		"bytes":                          {},
		"bytes */10":                     {},
		"bytes 0-9":                      {},
		"bytes 5/10":                     {},
		"bytes 9-5/10":                   {},
		"bytes 5-10/10":                  {},
		"bytes -5-9/10":                  {},
		"bytes +5-9/10":                  {},
		"bytes 0x5-9/10":                 {},
		"bytes 1_0-19/20":                {},
		"bytes 5-9/-1":                   {},
		"bytes 5-9/":                     {},
		"bytes 5-9/10, 11-12/20":         {},
		"bytes 0-9223372036854775808/*":  {},
		"bytes  5-9/10":                  {},
		"octets 5-9/10":                  {},
		"bytes 5 - 9/10":                 {},
		"bytes 0-99999999999999999999/*": {},
	} {
		var got result
		if got.first, got.last, got.size, got.ok = httpx.ContentRange(text); got != want {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 0-0/1", "bytes 5-9/*", "bytes */10", "bytes 9-5/10", "bytes 0-9223372036854775807/*", "bytes -1-2/3", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, last, size, ok := httpx.ContentRange(text)
		if !ok {
			return
		}
		if first < 0 || last < first || size < -1 || size >= 0 && last >= size {
			t.Fatalf("%q: got %d-%d/%d", text, first, last, size)
		}
		again := fmt.Sprintf("bytes %d-%d/%d", first, last, size)
		if size < 0 {
			again = fmt.Sprintf("bytes %d-%d/*", first, last)
		}
		if f, l, s, ok := httpx.ContentRange(again); !ok || f != first || l != last || s != size {
			t.Fatalf("%q: written as %q it is %d-%d/%d, %v", text, again, f, l, s, ok)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		date := func(after time.Duration) string { return time.Now().UTC().Add(after).Format(http.TimeFormat) }
		for text, want := range map[string]time.Duration{
			"": 0, "soon": 0, "1.5": 0, "0": 0, "-3": 0, "7": 7 * time.Second,
			"3600": time.Hour, "3601": time.Hour, "9223372036854775807": time.Hour, "99999999999999999999": 0,
			date(90 * time.Second): 90 * time.Second, date(-time.Minute): 0, date(48 * time.Hour): time.Hour,
			strings.Repeat("9", 1<<16): 0,
		} {
			if got := httpx.RetryAfter(text); got != want {
				t.Errorf("%.40q: got %s, want %s", text, got, want)
			}
		}
	})
}
