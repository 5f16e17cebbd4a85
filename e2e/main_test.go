package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/tools"
)

// TestMain refuses to run without the servers: in CI, and as root, who can install them, nothing may be skipped.
func TestMain(m *testing.M) {
	missing := tools.Missing()
	switch {
	case len(missing) == 0:
		code := m.Run()
		tools.Clean()
		os.Exit(code)
	case os.Geteuid() != 0 && os.Getenv("CI") == "":
		fmt.Printf("e2e is skipped: not installed: %s (root can run e2e/deps.sh)\n", strings.Join(missing, ", "))
	default:
		fmt.Printf("e2e cannot run: not installed: %s: run e2e/deps.sh\n", strings.Join(missing, ", "))
		os.Exit(1)
	}
}

// needRoot skips a test that only root can run, with the reason.
func needRoot(t *testing.T, why string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: " + why)
	}
}
