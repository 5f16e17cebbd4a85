package s3

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
)

func TestAlgorithms(t *testing.T) {
	for algorithm, want := range map[Algorithm]string{ // of "123456789", computed by the catalogue, OpenSSL and botocore
		CRC32: "y/Q5Jg==", CRC32C: "4waSgw==", CRC64NVME: "rosUhgp5mIg=",
		SHA1: "98O8HYCOBHMq32eZZczDTKeuNEE=", SHA256: "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
	} {
		h := algorithm.New()
		_, _ = io.WriteString(h, "123456789")
		if got := base64.StdEncoding.EncodeToString(h.Sum(nil)); got != want {
			t.Errorf("%s: got %s, want %s", algorithm, got, want)
		}
	}
}

func TestChecksumsOfAnAnswer(t *testing.T) {
	for _, test := range []struct {
		header map[string]string
		want   string
	}{
		{nil, "[]"},
		{map[string]string{"x-amz-checksum-crc32": "y/Q5Jg=="}, "[CRC32 y/Q5Jg==]"},
		{map[string]string{"x-amz-checksum-crc64nvme": "rosUhgp5mIg=", "x-amz-checksum-type": "FULL_OBJECT"}, "[CRC64NVME rosUhgp5mIg=]"},
		{map[string]string{"x-amz-checksum-crc32c": "4waSgw==-3", "x-amz-checksum-type": "COMPOSITE"}, "[CRC32C 4waSgw==-3]"},
		{map[string]string{"x-amz-checksum-crc32c": "4waSgw==-3", "x-amz-checksum-sha1": "98O8HYCOBHMqrcZZk2zTTn/z9Nc="}, "[SHA1 98O8HYCOBHMqrcZZk2zTTn/z9Nc= CRC32C 4waSgw==-3]"},
		{map[string]string{"x-amz-checksum-crc32": "4waSgw==", "x-amz-checksum-type": "COMPOSITE"}, "[]"},
		{map[string]string{"x-amz-checksum-crc32": "4waSgw==-0"}, "[]"},
		{map[string]string{"x-amz-checksum-crc32": "4waSgw==-10001"}, "[]"},
		{map[string]string{"x-amz-checksum-crc32": "4waSgw"}, "[]"},
		{map[string]string{"x-amz-checksum-crc64nvme": "y/Q5Jg=="}, "[]"},
		{map[string]string{"x-amz-checksum-xxhash3": "y/Q5Jg=="}, "[]"},
	} {
		header := http.Header{}
		for name, value := range test.header {
			header.Set(name, value)
		}
		if got := fmt.Sprint(checksumsOf(header)); got != test.want {
			t.Errorf("%v: got %s, want %s", test.header, got, test.want)
		}
	}
}

// composite returns the composite checksum of parts.
func composite(algorithm Algorithm, parts ...string) Checksum {
	all := algorithm.New()
	for _, part := range parts {
		h := algorithm.New()
		_, _ = io.WriteString(h, part)
		all.Write(h.Sum(nil))
	}
	return Checksum{algorithm, all.Sum(nil), len(parts)}
}

func TestVerifier(t *testing.T) {
	whole := func(algorithm Algorithm, text string) Checksum {
		h := algorithm.New()
		_, _ = io.WriteString(h, text)
		return Checksum{algorithm, h.Sum(nil), 0}
	}
	for _, algorithm := range algorithms {
		for _, test := range []struct {
			want    Checksum
			sizes   []int64
			text    string
			correct bool
		}{
			{whole(algorithm, "0123456789"), nil, "0123456789", true},
			{whole(algorithm, ""), nil, "", true},
			{whole(algorithm, "0123456789"), nil, "0123456780", false},
			{composite(algorithm, "0123", "4567", "89"), []int64{4, 4, 2}, "0123456789", true},
			{composite(algorithm, "0123456789"), []int64{10}, "0123456789", true},
			{composite(algorithm, ""), []int64{0}, "", true},
			{composite(algorithm, "0123", "4567", "89"), []int64{4, 3, 3}, "0123456789", false},
			{composite(algorithm, "0123", "4567", "89"), []int64{4, 4, 2}, "012345678", false},
			{composite(algorithm, "0123", "4567", "89"), []int64{4, 4, 2}, "01234567890", false},
			{composite(algorithm, "0123", "4567", "89"), []int64{4, 4, 2}, "1023456789", false},
			{composite(algorithm, "0123"), nil, "0123", false},
		} {
			for _, step := range []int{1, 3, 100} {
				v := test.want.Verifier(slices.Clone(test.sizes))
				for piece := range slices.Chunk([]byte(test.text), step) {
					if n, err := v.Write(piece); n != len(piece) || err != nil {
						t.Fatalf("got %d, %v", n, err)
					}
				}
				err := v.Check()
				if (err == nil) != test.correct || (err != nil && fault.KindOf(err) != fault.Data) {
					t.Errorf("%s %v %q by %d: got %v, want correct %v", test.want, test.sizes, test.text, step, err, test.correct)
				}
			}
		}
	}
}

// parts answers about the parts of an object as S3 does.
func parts(sizes ...int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("partNumber"))
		if n < 1 || n > len(sizes) {
			refuse(w, http.StatusRequestedRangeNotSatisfiable, "InvalidPartNumber", "The requested partnumber is not satisfiable")
			return
		}
		var first, all int64
		for i, size := range sizes {
			if i < n-1 {
				first += size
			}
			all += size
		}
		w.Header().Set("X-Amz-Mp-Parts-Count", strconv.Itoa(len(sizes)))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, first+sizes[n-1]-1, all))
		w.Header().Set("Content-Length", strconv.FormatInt(sizes[n-1], 10))
		w.WriteHeader(http.StatusPartialContent)
	}
}

func TestPartSizes(t *testing.T) {
	for _, test := range []struct {
		sizes   []int64
		size    int64 // of the object; 0 is their sum
		parts   int   // of the checksum; 0 is their number
		guess   string
		certain bool
		asked   int
		each    string
	}{
		{[]int64{10}, 0, 0, "[10]", true, 0, "[10]"},
		{[]int64{8, 2}, 0, 0, "[8 2]", true, 2, "[8 2]"},
		{[]int64{8, 7, 3}, 0, 0, "[8 7 3]", true, 2, "[8 7 3]"},
		{[]int64{8, 8, 8, 3}, 0, 0, "[8 8 8 3]", false, 2, "[8 8 8 3]"},
		{[]int64{8, 7, 9, 3}, 0, 0, "[8 8 8 3]", false, 2, "[8 7 9 3]"},
		{[]int64{8, 7, 8, 3}, 0, 0, "[8 7 8 3]", true, 6, "[8 7 8 3]"},
		{[]int64{8, 8, 3}, 20, 0, "[]", false, 1, "[]"},
		{[]int64{8, 8, 3}, 0, 4, "[]", false, 1, "[]"},
		{[]int64{8, 8, 3}, 0, maxParts + 1, "[]", false, 0, "[]"},
	} {
		f := serve(t, parts(test.sizes...)).plain()
		c := f.open(t, Options{})
		size, count := test.size, test.parts
		if count == 0 {
			count = len(test.sizes)
		}
		if size == 0 {
			for _, s := range test.sizes {
				size += s
			}
		}
		got, certain, err := c.PartSizes(ctx, "k", size, count, GetOptions{IfMatch: `"e"`})
		f.mu.Lock()
		asked := len(f.asked)
		f.mu.Unlock()
		if fmt.Sprint(got) != test.guess || certain != test.certain || asked != test.asked || err != nil {
			t.Errorf("%v: got %v, certain %v, %v after %d requests, want %s, %v, %d", test.sizes, got, certain, err, asked, test.guess, test.certain, test.asked)
		}
		if got, err := c.EachPartSize(ctx, "k", size, count, GetOptions{}); fmt.Sprint(got) != test.each || err != nil {
			t.Errorf("%v: got %v, %v, want %s", test.sizes, got, err, test.each)
		}
	}
}

func TestPartSizesOfAServerThatKnowsNone(t *testing.T) {
	f := serve(t, content(strings.Repeat("x", 100))).plain()
	if got, certain, err := f.open(t, Options{}).PartSizes(ctx, "k", 100, 3, GetOptions{}); got != nil || certain || err != nil {
		t.Errorf("got %v, %v, %v", got, certain, err)
	}
}
