package fetch

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/slipway-init/slipway/internal/fault"
)

func TestDigestSet(t *testing.T) {
	hex := strings.Repeat("0aF1", 16)
	for text, ok := range map[string]bool{
		hex: true, "sha256:" + hex: true, strings.ToUpper(hex): true,
		"": false, "sha256:": false, hex[1:]: false, hex + "00": false, hex[1:] + "g": false, "sha512:" + hex: false, " " + hex: false, "sha256:sha256:" + hex: false,
	} {
		var d Digest
		if err := d.Set(text); (err == nil) != ok {
			t.Errorf("%q: got %v", text, err)
		} else if ok && d.String() != strings.ToLower(hex) {
			t.Errorf("%q: got %s", text, &d)
		} else if !ok && (d != nil || !strings.Contains(err.Error(), "64 hexadecimal digits")) {
			t.Errorf("%q: got %s, %v", text, &d, err)
		}
	}
	if none := new(Digest); none.String() != "" {
		t.Errorf("none is %q", none)
	}
}

func TestParseManifest(t *testing.T) {
	a, b := sha256.Sum256([]byte("a")), sha256.Sum256([]byte("b"))
	for _, test := range []struct {
		name, text string
		want       digests
		fault      string
	}{
		{name: "two spaces", text: fmt.Sprintf("%x  a\n%x  sub/b\n", a, b), want: digests{"a": a, "sub/b": b}},
		{name: "no line feed at the end", text: fmt.Sprintf("%x  a", a), want: digests{"a": a}},
		{name: "a star", text: fmt.Sprintf("%x *a\n", a), want: digests{"a": a}},
		{name: "one space", text: fmt.Sprintf("%x a\n", a), want: digests{"a": a}},
		{name: "a name with a star", text: fmt.Sprintf("%x  *a\n", a), want: digests{"*a": a}},
		{name: "a name with spaces", text: fmt.Sprintf("%x   a b \n", a), want: digests{" a b ": a}},
		{name: "Windows", text: fmt.Sprintf("%x  a\r\n%x  b\r\n", a, b), want: digests{"a": a, "b": b}},
		{name: "upper case", text: fmt.Sprintf("%X  a\n", a), want: digests{"a": a}},
		{name: "a dot before it", text: fmt.Sprintf("%x  ./a\n", a), want: digests{"a": a}},
		{name: "a tag", text: fmt.Sprintf("SHA256 (a) = %x\nSHA256 (x) = y) = %x\n", a, b), want: digests{"a": a, "x) = y": b}},
		{name: "escapes", text: fmt.Sprintf("\\%x  a\\nb\\\\c\\rd\n", a), want: digests{"a\nb\\c\rd": a}},
		{name: "escapes and a tag", text: fmt.Sprintf("\\SHA256 (a\\nb) = %x\n", a), want: digests{"a\nb": a}},
		{name: "a backslash that escapes nothing", text: fmt.Sprintf("%x  a\\nb\n", a), want: digests{"a\\nb": a}},
		{name: "a digest alone", text: fmt.Sprintf("%x\n", a), want: digests{"": a}},
		{name: "a digest, spaces and no name", text: fmt.Sprintf("%x  -\n", a), want: digests{"-": a}},
		{name: "comments", text: fmt.Sprintf("# of today\n\n%x  a\n", a), want: digests{"a": a}},
		{name: "twice the same", text: fmt.Sprintf("%x  a\n%x  a\n", a, a), want: digests{"a": a}},
		{name: "two digests of one name", text: fmt.Sprintf("%x  a\n%x *./a\n", a, b), fault: `line 2: there are two digests of "a"`},
		{name: "empty", fault: "it has no digest"},
		{name: "comments alone", text: "# nothing\n", fault: "it has no digest"},
		{name: "HTML", text: "<!DOCTYPE html>\n", fault: "line 1 is not of the form of sha256sum"},
		{name: "MD5", text: "d41d8cd98f00b204e9800998ecf8427e  a\n", fault: "line 1 is not"},
		{name: "SHA-512", text: fmt.Sprintf("%x  a\n%x%x  a\n", a, a, b), fault: "line 2 is not"},
		{name: "another tag", text: fmt.Sprintf("MD5 (a) = %x\n", a), fault: "line 1 is not"},
		{name: "a tag without an end", text: "SHA256 (a\n", fault: "line 1 is not"},
		{name: "an indented line", text: fmt.Sprintf("  %x  a\n", a), fault: "line 1 is not"},
		{name: "a line without an end", text: strings.Repeat("a", 2<<20), fault: "token too long"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseManifest([]byte(test.text))
			if test.fault != "" {
				if fault.KindOf(err) != fault.Data || !strings.Contains(err.Error(), test.fault) {
					t.Errorf("got %v, want %s", err, test.fault)
				}
				return
			}
			if err != nil || !maps.Equal(got, test.want) {
				t.Errorf("got %x, %v, want %x", got, err, test.want)
			}
		})
	}
}

func TestDigestOfANameInAManifest(t *testing.T) {
	a, b := sha256.Sum256([]byte("a")), sha256.Sum256([]byte("b"))
	for _, test := range []struct {
		name    string
		digests digests
		want    *[sha256.Size]byte
	}{
		{"x/y", digests{"x/y": a, "y": b}, &a},
		{"x/y", digests{"y": b}, &b},
		{"y", digests{"x/y": a}, nil},
		{"y", digests{"": a}, &a},
		{"y", digests{"": a, "x": b}, nil},
	} {
		f := &Fetching{Options: &Options{sha256File: "sums"}, digests: test.digests}
		got, err := f.digestOf(t.Context(), test.name)
		switch {
		case test.want != nil && (err != nil || !bytes.Equal(got, test.want[:])):
			t.Errorf("%s in %x: got %x, %v", test.name, test.digests, got, err)
		case test.want == nil && (fault.KindOf(err) != fault.Data || !strings.Contains(err.Error(), "sums has no digest of "+test.name)):
			t.Errorf("%s in %x: got %x, %v", test.name, test.digests, got, err)
		}
	}
}

// FuzzParseManifest holds what is read against what is written of it.
func FuzzParseManifest(f *testing.F) {
	digest := fmt.Sprintf("%x", sha256.Sum256(nil))
	for _, seed := range []string{
		digest, digest + "  a\n", digest + " *a\r\n", "\\" + digest + "  a\\nb\\\\\n", "SHA256 (a) = " + digest, "# x\n\n" + digest + "  ./a", "SHA256 () = " + digest,
		digest + "  " + digest, digest + "   *a", "\\\\" + digest, "SHA256 (a) = b", digest + "  ././a",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := parseManifest(text)
		if err != nil {
			if fault.KindOf(err) != fault.Data {
				t.Fatalf("%q: %v is of the kind %v", text, err, fault.KindOf(err))
			}
			return
		}
		if len(all) == 0 {
			t.Fatalf("%q: no digest and no error", text)
		}
		var again strings.Builder
		for name, digest := range all {
			if name == "" || strings.HasPrefix(name, "./") || !utf8.ValidString(name) {
				return // which slipway never writes
			}
			again.WriteString(manifestLine(digest[:], name))
		}
		if read, err := parseManifest([]byte(again.String())); err != nil || !maps.Equal(read, all) {
			t.Fatalf("%q: written again as %q it is %x, %v, and was %x", text, again.String(), read, err, all)
		}
	})
}
