package pack_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-init/slipway/internal/git/object"
	"github.com/slipway-init/slipway/internal/git/pack"
)

func temporary(t testing.TB) func() (*os.File, error) {
	dir := t.TempDir()
	return func() (*os.File, error) {
		f, err := os.CreateTemp(dir, "")
		if err == nil {
			err = os.Remove(f.Name())
		}
		return f, err
	}
}

func TestQuick(t *testing.T) {
	for _, repo := range strings.Fields(os.Getenv("QUICK")) {
		cmd := exec.Command("git", "-C", repo, "pack-objects", "--stdout", "--all", "--revs", "-q")
		if os.Getenv("REF") == "" {
			cmd.Args = append(cmd.Args, "--delta-base-offset")
		}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		f, _ := os.Create(filepath.Join(t.TempDir(), "x.pack"))
		p, err := pack.Receive(context.Background(), bytes.NewReader(out), f, pack.Options{Checksum: true, Temporary: temporary(t)})
		if err != nil {
			t.Fatal(err)
		}
		list, _ := exec.Command("git", "-C", repo, "cat-file", "--batch-check", "--batch-all-objects").Output()
		r := p.NewReader(temporary(t))
		n := 0
		for line := range strings.Lines(string(list)) {
			w := strings.Fields(line)
			id, _ := object.ParseID(w[0])
			o, err := r.Object(id)
			if err != nil {
				t.Error(w, err)
				continue
			}
			n++
			if o.Type.String() != w[1] {
				t.Error(w, o.Type)
			}
			h := object.NewHasher(object.SHA1)
			h.Reset(o.Type, o.Size)
			o.WriteTo(h)
			if got, _ := h.ID(); got != id {
				t.Error(w, got)
			}
		}
		t.Log(repo, n, p.Len())
	}
}
