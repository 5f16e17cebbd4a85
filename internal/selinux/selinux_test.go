package selinux

import (
	"os"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

func TestValid(t *testing.T) {
	for _, text := range []string{
		"system_u:object_r:container_file_t", "system_u:object_r:container_file_t:s0", "system_u:object_r:container_file_t:s0:c1,c2",
		"u:r:t:s0-s15:c0.c1023", "unconfined_u:unconfined_r:unconfined_t:SystemLow-SystemHigh",
	} {
		if err := Valid(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{
		"", "t", "u:r", "u:r:", ":r:t", "u:r:t:", "u:r:t s0", "u:r:t\n", "u:r:t\x00", "ü:r:t", strings.Repeat("u", 4096) + ":r:t",
	} {
		if err := Valid(text); fault.KindOf(err) != fault.Usage || fault.HintOf(err) == "" {
			t.Errorf("%.20q: got %v", text, err)
		}
	}
}

func TestState(t *testing.T) {
	env := &step.Env{Root: t.TempDir()}
	if got := StateOf(env); got != Off {
		t.Errorf("got %s", got)
	}
	if err := os.MkdirAll(env.Path(directory), 0o755); err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]State{"": Permissive, "0": Permissive, "1": Enforcing, "1\n": Enforcing} {
		if err := os.WriteFile(env.Path(enforce), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := StateOf(env); got != want {
			t.Errorf("%q: got %s, want %s", content, got, want)
		}
	}
	if asked, err := Check(env, "u:r:t"); asked || err != nil {
		t.Errorf("without the kernel's file: got %t, %v", asked, err)
	}
}

func FuzzValid(f *testing.F) {
	f.Add("system_u:object_r:container_file_t:s0:c1,c2")
	f.Fuzz(func(t *testing.T, text string) {
		if Valid(text) == nil && (strings.Count(text, ":") < 2 || strings.ContainsAny(text, "\x00\n ")) {
			t.Errorf("%q has the form of a context", text)
		}
	})
}
