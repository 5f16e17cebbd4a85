// Package pktline reads and writes git's pkt-lines: four hexadecimal digits with the length of the whole, and a payload.
// See gitprotocol-common(5). go-git's reader knows no delimiter packets, which protocol version 2 has.
package pktline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/slipway-init/slipway/internal/fault"
)

// MaxPayload is the most that a packet may hold, in bytes.
const MaxPayload = 65516

// Kind tells packets apart.
type Kind uint8

// The kinds of packets. Those without data are special lengths.
const (
	Data        Kind = iota
	Flush            // 0000: the end of a message
	Delimiter        // 0001: the end of a section of it
	ResponseEnd      // 0002: the end of an answer on a stateless connection
)

// Reader reads packets.
type Reader struct {
	r   io.Reader
	buf [MaxPayload]byte
}

// NewReader returns a Reader of r. It reads no further than the packets that were asked for.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next returns the next packet; its payload is valid until the next call. At the end of the stream, between two packets,
// the error is io.EOF; in a packet it is io.ErrUnexpectedEOF.
func (r *Reader) Next() (Kind, []byte, error) {
	head := r.buf[:4]
	if _, err := io.ReadFull(r.r, head); err != nil {
		return 0, nil, err
	}
	length, err := strconv.ParseUint(string(head), 16, 16)
	if err != nil {
		return 0, nil, fault.New(fault.Data, "the server's answer is not git's: it has %q where a length should be", head)
	}
	switch {
	case length < 3:
		return Kind(length + 1), nil, nil
	case length == 3 || length > MaxPayload+4:
		return 0, nil, fault.New(fault.Data, "the server's answer is not git's: a packet of %d bytes", length)
	}
	payload := r.buf[:length-4]
	if _, err := io.ReadFull(r.r, payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return Data, payload, nil
}

// Line is Next for packets with text: it returns the text without its line feed. A packet that begins with "ERR " is
// the server's refusal, and its text the error's.
func (r *Reader) Line() (Kind, string, error) {
	kind, payload, err := r.Next()
	if err != nil || kind != Data {
		return kind, "", err
	}
	line := string(bytes.TrimSuffix(payload, []byte("\n")))
	if text, ok := bytes.CutPrefix(payload, []byte("ERR ")); ok {
		return 0, "", &RemoteError{Text: string(bytes.TrimSpace(text))}
	}
	return Data, line, nil
}

// RemoteError is what a server says went wrong on its side.
type RemoteError struct{ Text string }

// Error returns the server's words, made fit for a line.
func (e *RemoteError) Error() string { return fmt.Sprintf("the server says: %s", printable(e.Text)) }

// printable makes text fit for one line of a log: at most 300 bytes, without control characters.
func printable(text string) string {
	const most = 300
	clean := bytes.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, []byte(text[:min(len(text), most)]))
	return string(bytes.TrimSpace(bytes.ToValidUTF8(clean, nil)))
}

// Append appends a packet with the given text to b and returns it.
func Append(b []byte, format string, args ...any) []byte {
	at := len(b)
	b = fmt.Appendf(append(b, "0000"...), format, args...)
	copy(b[at:], fmt.Sprintf("%04x", len(b)-at))
	return b
}

// AppendFlush appends a flush packet.
func AppendFlush(b []byte) []byte { return append(b, "0000"...) }

// AppendDelimiter appends a delimiter packet.
func AppendDelimiter(b []byte) []byte { return append(b, "0001"...) }
