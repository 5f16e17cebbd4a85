package pktline_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/git/pktline"
)

func TestRoundTrip(t *testing.T) {
	b := pktline.Append(nil, "want %s\n", "x")
	b = pktline.AppendDelimiter(b)
	b = pktline.AppendFlush(pktline.Append(b, ""))
	if want := "000bwant x\n000100040000"; string(b) != want {
		t.Fatalf("got %q, want %q", b, want)
	}
	r := pktline.NewReader(bytes.NewReader(b))
	for _, want := range []struct {
		kind pktline.Kind
		line string
	}{{pktline.Data, "want x"}, {pktline.Delimiter, ""}, {pktline.Data, ""}, {pktline.Flush, ""}} {
		if kind, line, err := r.Line(); kind != want.kind || line != want.line || err != nil {
			t.Errorf("got %v %q %v, want %v", kind, line, err, want)
		}
	}
	if _, _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: got %v", err)
	}
}

func TestWhatIsWrong(t *testing.T) {
	for text, want := range map[string]fault.Kind{
		"<htm": fault.Data, "0003": fault.Data, "fff5": fault.Data, "-001": fault.Data, "00": fault.IO, "0009ab": fault.IO,
	} {
		if _, _, err := pktline.NewReader(strings.NewReader(text)).Next(); err == nil || fault.KindOf(err) != want {
			t.Errorf("%q: got %v, want %v", text, err, want)
		}
	}
	_, _, err := pktline.NewReader(strings.NewReader("0010ERR go\x1b[away")).Line()
	if remote, ok := errors.AsType[*pktline.RemoteError](err); !ok || strings.Contains(remote.Error(), "\x1b") {
		t.Errorf("got %v, want the server's words without what moves a cursor", err)
	}
}

func TestSideband(t *testing.T) {
	b := pktline.Append(nil, "\x01one ")
	b = pktline.Append(b, "\x02progress")
	b = pktline.AppendFlush(pktline.Append(b, "\x01two"))
	if got, err := io.ReadAll(pktline.NewSideband(pktline.NewReader(bytes.NewReader(b)))); string(got) != "one two" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	b = pktline.Append(pktline.Append(nil, "\x01one"), "\x03it broke\n")
	_, err := io.ReadAll(pktline.NewSideband(pktline.NewReader(bytes.NewReader(b))))
	if remote, ok := errors.AsType[*pktline.RemoteError](err); !ok || remote.Text != "it broke\n" {
		t.Errorf("got %v, want the server's words", err)
	}
	_, err = io.ReadAll(pktline.NewSideband(pktline.NewReader(strings.NewReader("0006\x01x"))))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("without a flush: got %v", err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("000bwant x\n000100040000"))
	f.Add([]byte("0010ERR go\x1b[away"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := pktline.NewReader(bytes.NewReader(text))
		for left := len(text); ; left -= 4 {
			if _, _, err := r.Line(); err != nil {
				return
			}
			if left <= 0 {
				t.Fatal("more packets than bytes")
			}
		}
	})
}
