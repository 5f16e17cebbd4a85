package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-init/slipway/e2e/internal/faultproxy"
)

// After a SIGKILL at any moment of a fetch there is nothing at the target, or the whole. The next run ends right, and
// continues: little is asked for twice.
func TestFetchKilledAtRandomMoments(t *testing.T) {
	t.Parallel()
	const size, rounds = 256 << 20, 100
	content := noise(40, size)
	for _, o := range origins(t) {
		if o.name == "minio" {
			continue // it costs the most and tells no more than the other S3 server
		}
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			o.put(t, "object", content)
			proxy := faultproxy.Start(t, o.addr)
			dir := t.TempDir()
			dest := filepath.Join(dir, "object")
			fetch := o.fetch(proxy.Addr, "object", dest, "--sha256", digest(content))
			longest := fetch.Run(t)
			expect(t, longest, 0)
			holds(t, dest, content)
			died, asked := 0, int64(0)
			for range rounds {
				if err := os.Remove(dest); err != nil {
					t.Fatal(err)
				}
				before := proxy.Counts()
				run := fetch.Start(t)
				moment := rand.N(longest.Elapsed)
				time.Sleep(moment)
				if err := run.Kill(); err != nil && err != os.ErrProcessDone {
					t.Fatal(err)
				}
				killed := run.Wait(t).Exit == 128+int(syscall.SIGKILL)
				if _, err := os.Stat(dest); err == nil {
					holds(t, dest, content)
				}
				if again := fetch.Run(t); again.Exit != 0 {
					t.Fatalf("the run after SIGKILL at %s: exit code %d\n%s", moment, again.Exit, again.Stderr)
				}
				holds(t, dest, content)
				alone(t, dir, "object")
				if t.Failed() {
					t.Fatalf("after SIGKILL at %s", moment)
				}
				if killed {
					died++
					asked += proxy.Counts().Asked - before.Asked
				}
			}
			if died < rounds/4 {
				t.Fatalf("only %d of %d runs were killed in time", died, rounds)
			}
			mean := float64(asked) / float64(died) / size
			t.Logf("%d of %d runs died; a whole run takes %s; asked for on average: %.3f times the object", died, rounds, longest.Elapsed.Round(time.Millisecond), mean)
			if mean >= 1.3 {
				t.Errorf("%.3f times the object was asked for, want less than 1.3", mean)
			}
		})
	}
}
