package fault

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
)

func TestExitGivesACodeUntilTheErrorIsMarkedAnew(t *testing.T) {
	killed := Exit(137, New(Temporary, "sh: killed by SIGKILL"))
	stop := &Signal{Signal: syscall.SIGTERM}
	for _, c := range []struct {
		name string
		err  error
		code int
		kind Kind
	}{
		{"alone", killed, 137, Temporary},
		{"wrapped", fmt.Errorf("exec: %w", killed), 137, Temporary},
		{"with a hint", Hint(killed, "out of memory"), 137, Temporary},
		{"of another kind", As(Unavailable, killed), 69, Unavailable},
		{"behind a timeout", New(Unavailable, "exec: %w: %w", errors.New("timed out"), killed), 69, Unavailable},
		{"behind a signal to slipway", New(Unavailable, "exec: %w: %w", stop, killed), 143, Unavailable},
		{"none", Exit(137, nil), 0, Internal},
	} {
		if got := ExitCode(c.err); got != c.code {
			t.Errorf("%s: got code %d, want %d", c.name, got, c.code)
		}
		if got := KindOf(c.err); c.err != nil && got != c.kind {
			t.Errorf("%s: got kind %v, want %v", c.name, got, c.kind)
		}
	}
	if got := HintOf(Exit(137, Hint(New(Temporary, "x"), "do this"))); got != "do this" {
		t.Errorf("got hint %q, want it kept", got)
	}
}
