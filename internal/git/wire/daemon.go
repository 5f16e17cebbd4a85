package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/slipway-init/slipway/internal/git/pktline"
)

// Daemon carries the protocol over a connection of its own to git-daemon(1): git://. Nothing is encrypted and nobody
// proves who they are.
type Daemon struct {
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Address string // host and port
	Path    string // of the repository, with its first slash

	conn net.Conn
	stop func() bool
}

// Open implements Transport.
func (d *Daemon) Open(ctx context.Context) (io.Reader, error) {
	_ = d.Close()
	conn, err := d.Dial(ctx, "tcp", d.Address)
	if err != nil {
		return nil, err
	}
	d.conn, d.stop = conn, closeAfter(ctx, conn)
	// The first zero byte ends the host's name for old servers; what is between the next two is for new ones.
	_, err = conn.Write(pktline.Append(nil, "%s %s\x00host=%s\x00\x00version=2\x00", service, d.Path, d.Address))
	return conn, err
}

// Send implements Transport.
func (d *Daemon) Send(_ context.Context, request []byte) (io.Reader, error) {
	_, err := d.conn.Write(request)
	return nil, err
}

// Close implements Transport.
func (d *Daemon) Close() error {
	if d.conn == nil {
		return nil
	}
	d.stop()
	_ = d.conn.Close() // it was read as far as it was wanted
	d.conn = nil
	return nil
}

// Explain implements Transport.
func (d *Daemon) Explain(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("git://%s: the server closed the connection: %w", d.Address, err)
	}
	return err
}

// closeAfter closes conn when ctx ends, so that nobody waits for it any more, until stop is called.
func closeAfter(ctx context.Context, conn io.Closer) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.Close() })
}
