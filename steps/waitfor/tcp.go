package waitfor

import "context"

// lookTCP connects. The connection is closed at once: a target that opens is there.
func lookTCP(ctx context.Context, e *eye, t target) error {
	conn, err := e.dial(ctx, "tcp", t.address())
	if err != nil {
		return err
	}
	return conn.Close()
}

// lookUnix connects to a stream socket in the file system.
func lookUnix(ctx context.Context, e *eye, t target) error {
	conn, err := e.dial(ctx, "unix", e.env.Path(t.Path))
	if err != nil {
		return err
	}
	return conn.Close()
}
