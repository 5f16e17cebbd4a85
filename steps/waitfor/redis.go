package waitfor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// lookRedis pings, after a login if there is a password. The path is the number of the database to select. Without a
// password, a server that asks for one is there: it has answered.
func lookRedis(ctx context.Context, e *eye, t target) error {
	conn, err := e.dial(ctx, "tcp", t.address())
	if err != nil {
		return err
	}
	defer conn.Close()
	if t.Scheme == "rediss" {
		if conn, err = e.secure(ctx, conn, t.host()); err != nil {
			return err
		}
	}
	// A reply to these commands is one line. A longer one is not Redis.
	r := &redis{conn, bufio.NewReaderSize(conn, 4096)}
	if e.password != "" {
		login := []string{"AUTH", e.password}
		if user := e.user(t, ""); user != "" {
			login = []string{"AUTH", user, e.password}
		}
		if err := r.expect("OK", login...); err != nil {
			return err
		}
	}
	if database := t.under(); database != "" {
		if err := r.expect("OK", "SELECT", database); err != nil {
			return e.unlessLocked(err)
		}
	}
	return e.unlessLocked(r.expect("PONG", "PING"))
}

// errLocked is the reply of a server that asks for a password.
var errLocked = errors.New("the server asks for a password")

// unlessLocked forgives a server that asks for a password when there is none to give.
func (e *eye) unlessLocked(err error) error {
	if errors.Is(err, errLocked) && e.password == "" {
		return nil
	}
	return err
}

// redis is a connection that speaks RESP.
type redis struct {
	net.Conn
	r *bufio.Reader
}

// expect sends a command and expects a simple string.
func (r *redis) expect(want string, command ...string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(command))
	for _, word := range command {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(r.Conn, b.String()); err != nil {
		return fmt.Errorf("send %s: %w", command[0], err)
	}
	line, err := r.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return fault.New(fault.Unsupported, "the answer to %s is not of Redis", command[0])
	}
	if err != nil {
		return fmt.Errorf("read the answer to %s: %w", command[0], err)
	}
	return redisReply(string(line), want)
}

// redisReply judges one line.
func redisReply(line, want string) error {
	line = strings.TrimRight(line, "\r\n")
	if line == "+"+want {
		return nil
	}
	message, failed := strings.CutPrefix(line, "-")
	if !failed {
		return fault.New(fault.Unsupported, "the answer is not of Redis: %s", strconv.Quote(shorten(line)))
	}
	message = printable(message)
	switch code, _, _ := strings.Cut(message, " "); {
	case code == "NOAUTH":
		return fault.Hint(fault.New(fault.Permission, "%w: %s", errLocked, message), "give it by --password-from")
	case code == "WRONGPASS", code == "NOPERM", code == "DENIED", strings.Contains(message, "invalid password"), strings.Contains(message, "AUTH"):
		return fault.Hint(fault.New(fault.Permission, "%s", message), "check --username and --password-from")
	}
	return fault.New(fault.Unavailable, "%s", message)
}
