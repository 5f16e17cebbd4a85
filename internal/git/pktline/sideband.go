package pktline

import (
	"errors"
	"io"
)

// Sideband reads the data of a stream whose packets begin with the number of a band: 1 is data, 2 is what people would
// see of the progress, 3 is the server's last words. See gitprotocol-pack(5), "Packfile Data".
type Sideband struct {
	packets *Reader
	left    []byte
	err     error
}

// NewSideband returns the data that follows in packets, up to the flush that ends it.
func NewSideband(packets *Reader) *Sideband { return &Sideband{packets: packets} }

// Read implements io.Reader. The error is a *RemoteError when the server gave up.
func (s *Sideband) Read(p []byte) (int, error) {
	for len(s.left) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.left, s.err = s.next()
	}
	n := copy(p, s.left)
	s.left = s.left[n:]
	return n, nil
}

// next returns the data of the next packet that has any.
func (s *Sideband) next() ([]byte, error) {
	kind, payload, err := s.packets.Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF // there is a flush at the end
	case err != nil:
		return nil, err
	case kind != Data:
		return nil, io.EOF
	case len(payload) == 0:
		return nil, nil
	}
	switch payload[0] {
	case 1:
		return payload[1:], nil
	case 3:
		return nil, &RemoteError{Text: string(payload[1:])}
	}
	return nil, nil
}
