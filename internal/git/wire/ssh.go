package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/slipway-init/slipway/internal/fault"
)

// SSH carries the protocol over the standard streams of git-upload-pack on the server, started through SSH.
type SSH struct {
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Address string // host and port
	Path    string // of the repository, as the server's shell gets it
	// Config says who asks, and which host keys are right. There is no default for either.
	Config *ssh.ClientConfig
	Done   func() // is called at the end; nil is nothing

	client  *ssh.Client
	session *ssh.Session
	stdin   io.WriteCloser
	stderr  said
	stop    func() bool
}

// handshakeTime bounds how long a server may take to let the user in, unless the context ends before.
const handshakeTime = 30 * time.Second

// Open implements Transport.
func (s *SSH) Open(ctx context.Context) (io.Reader, error) {
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	_ = s.session.Setenv("GIT_PROTOCOL", "version=2") // a server that does not take it speaks version 0
	stdin, err := s.session.StdinPipe()
	if err != nil {
		return nil, err
	}
	s.stdin = stdin
	stdout, err := s.session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.session.Start(service + " " + Quoted(s.Path)); err != nil {
		return nil, fault.New(fault.Permission, "ssh %s: run %s: %w", s.Address, service, err)
	}
	return stdout, nil
}

// maxOutput is how much of a command's output is read, in bytes.
const maxOutput = 64 << 10

// Output runs a command on the server and returns what it writes, of 64 KiB at most.
func (s *SSH) Output(ctx context.Context, command string) ([]byte, error) {
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	stdout, err := s.session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.session.Start(command); err != nil {
		return nil, fault.New(fault.Permission, "ssh %s: run %.40q: %w", s.Address, command, err)
	}
	text, err := io.ReadAll(io.LimitReader(stdout, maxOutput+1))
	if len(text) > maxOutput {
		return nil, fault.New(fault.Data, "ssh %s: %.40q writes over %d bytes", s.Address, command, maxOutput)
	}
	if err := errors.Join(err, s.session.Wait()); err != nil {
		told := s.stderr.String()
		return nil, fault.New(Refusal(told), "ssh %s: run %.40q: %w: %s", s.Address, command, err, told)
	}
	return text, nil
}

// connect opens a session.
func (s *SSH) connect(ctx context.Context) error {
	s.hangUp()
	conn, err := s.Dial(ctx, "tcp", s.Address)
	if err != nil {
		return err
	}
	s.stop = closeAfter(ctx, conn)
	_ = conn.SetDeadline(time.Now().Add(handshakeTime)) // a connection that cannot have one is bounded by ctx
	c, channels, requests, err := ssh.NewClientConn(conn, s.Address, s.Config)
	if err != nil {
		_ = conn.Close()
		return s.refused(err)
	}
	_ = conn.SetDeadline(time.Time{})
	s.client = ssh.NewClient(c, channels, requests)
	session, err := s.client.NewSession()
	if err != nil {
		return fmt.Errorf("ssh %s: open a session: %w", s.Address, err)
	}
	s.session = session
	session.Stderr = &s.stderr
	return nil
}

// Quoted returns path as one word of a shell.
func Quoted(path string) string { return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'" }

// refused returns the error of a handshake that failed. What the checker of host keys says passes through.
func (s *SSH) refused(err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	told := fmt.Errorf("ssh %s: %w", s.Address, err)
	if strings.Contains(err.Error(), "unable to authenticate") {
		return fault.Hint(fault.As(fault.Permission, told), "is the public key known to the server, and the user %q right?", s.Config.User)
	}
	if strings.Contains(err.Error(), "no common algorithm") {
		return fault.As(fault.Permission, told)
	}
	return told
}

// Send implements Transport.
func (s *SSH) Send(_ context.Context, request []byte) (io.Reader, error) {
	_, err := s.stdin.Write(request)
	return nil, err
}

// Close implements Transport.
func (s *SSH) Close() error {
	s.hangUp()
	if s.Done != nil {
		s.Done()
	}
	return nil
}

// hangUp closes the connection, if there is one.
func (s *SSH) hangUp() {
	if s.client == nil {
		return
	}
	s.stop()
	_ = s.client.Close() // it was read as far as it was wanted
	s.client = nil
}

// Explain implements Transport: what the server wrote to its standard error tells more than the end of its output.
func (s *SSH) Explain(err error) error {
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	if s.client != nil {
		_ = s.session.Wait() // all that it wrote is here then; the end of the context ends this too
	}
	text := s.stderr.String()
	if text == "" {
		return fmt.Errorf("ssh %s: the server ended the session: %w", s.Address, err)
	}
	return fault.New(Refusal(text), "ssh %s: the server says: %s", s.Address, text)
}

// said keeps the beginning of what a server writes to its standard error.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	const most = 1000
	s.text.Write(p[:min(len(p), max(0, most-s.text.Len()))])
	return len(p), nil
}

// String returns the text as one line.
func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s.text.String(), ""))
	return strings.Join(strings.Fields(line), " ")
}
