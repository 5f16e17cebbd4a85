package e2e

import (
	"os"
	"testing"

	"github.com/slipway-init/slipway/e2e/internal/tools"
)

func TestMain(m *testing.M) { tools.Main(m, "e2e/deps.sh", tools.Missing()) }

// needRoot skips a test that only root can run, with the reason.
func needRoot(t *testing.T, why string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: " + why)
	}
}
