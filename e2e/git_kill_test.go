package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-init/slipway/e2e/internal/gitrepo"
	"github.com/slipway-init/slipway/e2e/internal/servers"
)

// After a SIGKILL at any moment the directory is the old tree, the new one or absent, never a mixture. The next run ends
// right and leaves nothing beside it.
func TestGitKilledAtRandomMoments(t *testing.T) {
	t.Parallel()
	const kills, files = 100, 400
	root := servers.Dir(t)
	r := gitrepo.New(t)
	// Each generation has its number in every file, so that a mixture shows.
	commit := func(generation int) {
		for i := range files {
			r.Write(fmt.Sprintf("%d/%d", i%20, i), []byte(strings.Repeat(fmt.Sprintln("generation", generation), 200)), 0o644)
		}
		r.Write(fmt.Sprint("only-", generation), nil, 0o644)
		if generation > 0 {
			if err := os.Remove(filepath.Join(r.Dir, fmt.Sprint("only-", generation-1))); err != nil {
				t.Fatal(err)
			}
		}
		r.Commit(fmt.Sprint(generation))
		r.Publish(root, "repository")
	}
	// generation returns the number that the whole tree has; -1 is no tree.
	generation := func(dir string) int {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if os.IsNotExist(err) {
			return -1
		}
		var only []string
		for _, entry := range entries {
			if strings.HasPrefix(entry.Name(), "only-") {
				only = append(only, entry.Name())
			}
		}
		if len(only) != 1 {
			t.Fatalf("a mixture: %q", only)
		}
		var number int
		if _, err := fmt.Sscanf(only[0], "only-%d", &number); err != nil {
			t.Fatal(err)
		}
		want := strings.Repeat(fmt.Sprintln("generation", number), 200)
		for i := range files {
			if read(t, filepath.Join(dir, fmt.Sprintf("%d/%d", i%20, i))) != want {
				t.Fatalf("a mixture: file %d is not of generation %d", i, number)
			}
		}
		return number
	}

	commit(0)
	daemon := servers.StartGitDaemon(t, root)
	parent := inMemory(t)
	dir := filepath.Join(parent, "tree")
	clone := gitClone([]string{"git://" + daemon}, "repository", dir)
	longest := clone.Run(t)
	expect(t, longest, 0)
	died, seen := 0, make(map[string]int)
	for i := 1; i <= kills; i++ {
		if i%2 == 1 { // and every other time the same commit again, over what was killed
			commit(i/2 + 1)
		}
		if i%5 == 0 {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		before := generation(dir)
		run := clone.Start(t)
		moment := rand.N(longest.Elapsed)
		time.Sleep(moment)
		if err := run.Kill(); err != nil && err != os.ErrProcessDone {
			t.Fatal(err)
		}
		if run.Wait(t).Exit == 128+int(syscall.SIGKILL) {
			died++
		}
		switch after := generation(dir); after {
		case i/2 + 1, (i + 1) / 2:
			seen["new"]++
		case before:
			seen[map[bool]string{true: "absent", false: "old"}[before < 0]]++
		default:
			t.Fatalf("after SIGKILL at %s: generation %d, before it %d", moment, after, before)
		}
		if i%10 == 0 {
			expect(t, clone.Run(t), 0)
			if got := generation(dir); got != (i+1)/2 {
				t.Fatalf("the run after it left generation %d, want %d", got, (i+1)/2)
			}
			left := slices.DeleteFunc(names(t, parent), func(name string) bool {
				return strings.HasPrefix(name, "tree") || strings.HasSuffix(name, ".receipt")
			})
			if len(left) > 0 {
				t.Fatalf("left beside it: %q", left)
			}
		}
	}
	if died < kills/4 {
		t.Fatalf("only %d of %d runs were killed in time", died, kills)
	}
	t.Logf("%d of %d runs died; then there was the old tree %d times, the new one %d times, none %d times", died, kills, seen["old"], seen["new"], seen["absent"])
}
