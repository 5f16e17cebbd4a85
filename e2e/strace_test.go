package e2e

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/slipway"
	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// begins matches what strace -f puts before a call, and a call that an earlier line began.
var begins = regexp.MustCompile(`^\d+ +`)

// traced runs a command under strace and returns its system calls of one of strace's classes ("network"), or of a list
// ("openat,mkdirat"). The run must succeed.
func traced(t *testing.T, c slipway.Command, class string) []string {
	t.Helper()
	log := filepath.Join(t.TempDir(), "strace")
	c.Prefix = []string{
		tools.Installed(t, "strace"), "-f", "-qq", "-s", "256", "-e", "signal=none", "-e", "trace=" + class, "-o", log,
	}
	expect(t, c.Run(t), 0)
	var calls []string
	for line := range strings.Lines(read(t, log)) {
		call := begins.ReplaceAllString(strings.TrimSpace(line), "")
		// A thread that ends as strace looks at it leaves "???(".
		if !strings.HasPrefix(call, "<... ") && !strings.HasPrefix(call, "???(") {
			calls = append(calls, call)
		}
	}
	return calls
}
