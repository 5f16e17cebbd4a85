package httpx_test

import (
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/httpx"
)

func TestSaysIsOneShortLine(t *testing.T) {
	for body, want := range map[string]string{
		"":                             "",
		"Permission\n denied ":         ": Permission denied",
		"\x00\x01":                     "",
		strings.Repeat("x", 300):       ": " + strings.Repeat("x", 200),
		strings.Repeat("x", 199) + "é": ": " + strings.Repeat("x", 199),
	} {
		if got := httpx.Says([]byte(body)); got != want {
			t.Errorf("%q: got %q, want %q", body, got, want)
		}
	}
}
