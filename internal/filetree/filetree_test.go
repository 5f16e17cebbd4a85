package filetree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// to returns a change of any bits to the given ones.
func to(bits uint32) func(uint32, bool) uint32 {
	return func(uint32, bool) uint32 { return bits }
}

// chmodAll returns a visitor that gives every entry the given bits.
func chmodAll(bits uint32) func(*Entry) error {
	return func(e *Entry) error {
		_, err := e.Chmod(to(bits))
		return err
	}
}

// recorder is an env whose ChownAt changes nothing and keeps what it was asked for.
func recorder() (env *step.Env, asked *[]string) {
	asked = new([]string)
	return &step.Env{ChownAt: func(_ int, name string, uid, gid int) error {
		*asked = append(*asked, fmt.Sprintf("%s %d:%d", filepath.Base(name), uid, gid))
		return nil
	}}, asked
}

func owner(t *testing.T, text string) opt.Owner {
	t.Helper()
	var o opt.Owner
	if err := o.Set(text); err != nil {
		t.Fatal(err)
	}
	return o
}

// tree makes files (names that end in "/" are directories, "a -> b" links) below a new directory with the mode 0755.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "tree")
	mkdir(t, root)
	for _, name := range names {
		if link, target, ok := strings.Cut(name, " -> "); ok {
			check(t, os.Symlink(target, filepath.Join(root, link)))
		} else if strings.HasSuffix(name, "/") {
			mkdir(t, filepath.Join(root, name))
		} else {
			check(t, os.WriteFile(filepath.Join(root, name), nil, 0o644))
		}
	}
	return root
}

func mkdir(t *testing.T, name string) {
	t.Helper()
	check(t, os.Mkdir(name, 0o755))
	check(t, os.Chmod(name, 0o755))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bitsOf returns the bits of name, "link" for a link.
func bitsOf(t *testing.T, name string) string {
	t.Helper()
	e, err := Find(name)
	check(t, err)
	if e.Link {
		return "link"
	}
	return fmt.Sprintf("%04o", e.Bits)
}

func TestWalkVisitsEachEntryOnceAndDirectoriesLast(t *testing.T) {
	root := tree(t, "a", "d/", "d/b", "d/e/", "d/e/c", "d/up -> ..", "loop -> loop", "dangling -> nowhere", "etc -> /etc")
	var visited []string
	walker := Walker{Recursive: true, Visit: func(e *Entry) error {
		name, _ := filepath.Rel(root, e.Path())
		visited = append(visited, name)
		return nil
	}}
	check(t, walker.Walk(t.Context(), root))
	after := func(dir, name string) {
		if slices.Index(visited, dir) < slices.Index(visited, name) {
			t.Errorf("got %s before %s: %q", dir, name, visited)
		}
	}
	after("d", "d/e")
	after("d/e", "d/e/c")
	after(".", "d")
	slices.Sort(visited)
	want := []string{".", "a", "d", "d/b", "d/e", "d/e/c", "d/up", "dangling", "etc", "loop"}
	if !slices.Equal(visited, want) {
		t.Errorf("got %q, want %q", visited, want)
	}
}

func TestWalkWithoutRecursionVisitsThePathAlone(t *testing.T) {
	root := tree(t, "a")
	check(t, (&Walker{Visit: chmodAll(0o700)}).Walk(t.Context(), root))
	if got := bitsOf(t, root) + " " + bitsOf(t, root+"/a"); got != "0700 0644" {
		t.Errorf("got %s, want 0700 0644", got)
	}
}

func TestWalkOfNothingIsNoInput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nothing")
	err := (&Walker{Recursive: true, Visit: chmodAll(0o700)}).Walk(t.Context(), path)
	if fault.KindOf(err) != fault.NoInput || err.Error() != "stat "+path+": no such file or directory" {
		t.Errorf("got %v (%v), want NoInput", err, fault.KindOf(err))
	}
}

func TestLinksAreNotFollowed(t *testing.T) {
	outside := tree(t, "secret")
	root := tree(t, "link -> "+outside, "file -> "+outside+"/secret")
	env, asked := recorder()
	var changed []bool
	walker := Walker{Recursive: true, Visit: func(e *Entry) error {
		c, err := e.Chmod(to(0o700))
		changed = append(changed, c)
		if err != nil {
			return err
		}
		_, err = e.Chown(env, owner(t, "4242"))
		return err
	}}
	check(t, walker.Walk(t.Context(), root))
	if got := bitsOf(t, outside) + " " + bitsOf(t, outside+"/secret"); got != "0755 0644" {
		t.Errorf("got %s outside, want 0755 0644", got)
	}
	if want := []bool{false, false, true}; !slices.Equal(changed, want) {
		t.Errorf("got %v changed, want the directory alone", changed)
	}
	slices.Sort(*asked)
	if want := []string{"file 4242:-1", "link 4242:-1", "tree 4242:-1"}; !slices.Equal(*asked, want) {
		t.Errorf("got %q given away, want %q", *asked, want)
	}
	if link, err := Find(root + "/link"); err != nil || fault.KindOf(link.NoLink()) != fault.Conflict {
		t.Errorf("got %v, %v; want a Conflict for a link", link, err)
	}
}

// TestDirectorySwappedForLink does at the worst moment what an attacker needs many tries for: between the look at a
// directory and its opening, and between its look and its change.
func TestDirectorySwappedForLink(t *testing.T) {
	outside := tree(t, "secret")
	root := tree(t, "victim/", "victim/mine", "file")
	swap := func(name string) {
		check(t, os.Rename(name, name+".old"))
		check(t, os.Symlink(outside, name))
	}
	walker := Walker{
		Recursive: true,
		Early: func(e *Entry) bool {
			if filepath.Base(e.Path()) == "victim" {
				swap(e.Path())
			}
			return false
		},
		Visit: func(e *Entry) error {
			if filepath.Base(e.Path()) == "file" {
				swap(e.Path())
			}
			_, err := e.Chmod(to(0o711))
			return err
		},
	}
	check(t, walker.Walk(t.Context(), root))
	got := []string{bitsOf(t, outside), bitsOf(t, outside+"/secret"), bitsOf(t, root+"/victim"), bitsOf(t, root+"/file")}
	if want := []string{"0755", "0644", "link", "link"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEntriesThatVanishAreSkipped(t *testing.T) {
	root := tree(t, "a", "b", "c", "d/", "d/x")
	visits := 0
	walker := Walker{Recursive: true, Visit: func(e *Entry) error {
		visits++
		if e.Path() == root {
			return nil
		}
		for _, name := range []string{"a", "b", "c", "d"} {
			check(t, os.RemoveAll(filepath.Join(root, name)))
		}
		_, err := e.Chmod(to(0o600))
		return err
	}}
	check(t, walker.Walk(t.Context(), root))
	if visits < 2 || visits > 3 { // d's visit follows that of d/x
		t.Errorf("got %d visits, want those before the removal and the root's", visits)
	}
}

// TestTreeThatChangesWhileWalked races a walk with one who makes, removes and swaps entries.
func TestTreeThatChangesWhileWalked(t *testing.T) {
	outside := tree(t, "secret")
	root := tree(t, "steady/")
	ctx, stop := context.WithCancel(t.Context())
	var churn sync.WaitGroup
	churn.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			name := filepath.Join(root, fmt.Sprint("n", i%7))
			_ = os.RemoveAll(name)
			if i%2 == 0 {
				_ = os.MkdirAll(name+"/x/y", 0o755)
			} else {
				_ = os.Symlink(outside, name)
			}
		}
	})
	for i := range 200 {
		walker := Walker{Recursive: true, Visit: chmodAll(0o700 + uint32(i%8))}
		if err := walker.Walk(t.Context(), root); err != nil {
			t.Errorf("walk %d: %v", i, err)
			break
		}
	}
	stop()
	churn.Wait()
	if got := bitsOf(t, outside) + " " + bitsOf(t, outside+"/secret"); got != "0755 0644" {
		t.Errorf("got %s outside, want 0755 0644", got)
	}
}

func TestOddNamesAndDepth(t *testing.T) {
	long := strings.Repeat("é", 127) + "x" // 255 bytes
	root := tree(t, "line\nfeed", " ", "-R", long, "\xff\xfe")
	// Five hundred levels of 255 bytes are far beyond what one path may hold, so they are made one by one.
	dir, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	check(t, err)
	deep := strings.Repeat("d", 255)
	for range 500 {
		check(t, unix.Mkdirat(dir, deep, 0o755))
		next, err := unix.Openat(dir, deep, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		check(t, err)
		check(t, unix.Close(dir))
		dir = next
	}
	var stat unix.Stat_t
	walker := Walker{Recursive: true, Visit: chmodAll(0o751)}
	check(t, walker.Walk(t.Context(), root))
	check(t, unix.Fstat(dir, &stat))
	check(t, unix.Close(dir))
	if got := uint32(stat.Mode) & 0o7777; got != 0o751 {
		t.Errorf("got %04o at the bottom, want 0751", got)
	}
	entries, err := os.ReadDir(root)
	check(t, err)
	for _, e := range entries {
		if got := bitsOf(t, filepath.Join(root, e.Name())); got != "0751" {
			t.Errorf("%q: got %s, want 0751", e.Name(), got)
		}
	}
}

func TestWalkEndsWithItsContext(t *testing.T) {
	root := tree(t, "a", "b", "c", "d", "e")
	ctx, cancel := context.WithCancel(t.Context())
	visits := 0
	walker := Walker{Recursive: true, Visit: func(*Entry) error {
		visits++
		cancel()
		return nil
	}}
	if err := walker.Walk(ctx, root); !errors.Is(err, context.Canceled) || visits != 1 {
		t.Errorf("got %v after %d visits, want the context's end after one", err, visits)
	}
}

func TestVisitsErrorEndsTheWalk(t *testing.T) {
	root := tree(t, "a", "b", "c")
	boom := errors.New("boom")
	visits := 0
	walker := Walker{Recursive: true, Visit: func(*Entry) error { visits++; return boom }}
	if err := walker.Walk(t.Context(), root); !errors.Is(err, boom) || visits != 1 {
		t.Errorf("got %v after %d visits, want boom after one", err, visits)
	}
}

// TestMemoryIsBounded walks a directory whose names alone would take more than the limit. They are links to a few files,
// which are made faster than as many files.
func TestMemoryIsBounded(t *testing.T) {
	const names, links, limit = 100_000, 25_000, 8 << 20
	root := tree(t)
	var first string
	for i := range names {
		name := fmt.Sprintf("%s/%0200d", root, i)
		if i%links != 0 {
			check(t, os.Link(first, name))
			continue
		}
		first = name
		check(t, os.WriteFile(name, nil, 0o644))
	}
	heap := func() uint64 {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapInuse
	}
	runtime.GC()
	var seen, peak uint64
	before := heap()
	walker := Walker{Recursive: true, Visit: func(e *Entry) error {
		if seen++; seen%5000 == 0 {
			peak = max(peak, heap())
		}
		_, err := e.Chmod(to(0o700))
		return err
	}}
	check(t, walker.Walk(t.Context(), root))
	if seen != names+1 {
		t.Errorf("got %d entries, want %d", seen, names+1)
	}
	if peak > before+limit {
		t.Errorf("the heap grew by %d KiB, want at most %d", (peak-before)>>10, limit>>10)
	}
}

func TestWhatIsRightIsNotTouched(t *testing.T) {
	root := tree(t, "a", "link -> a")
	check(t, os.Chmod(root+"/a", 0o755))
	ctime := func() (times []unix.Timespec) {
		for _, name := range []string{root, root + "/a", root + "/link"} {
			var stat unix.Stat_t
			check(t, unix.Lstat(name, &stat))
			times = append(times, stat.Ctim)
		}
		return times
	}
	before := ctime()
	env := &step.Env{ChownAt: func(int, string, int, int) error { return unix.EPERM }} // as for a user without CHOWN
	mine := owner(t, fmt.Sprintf("%d:%d", os.Geteuid(), groupOf(t, root)))
	changes := 0
	walker := Walker{Recursive: true, Visit: func(e *Entry) error {
		owned, err := e.Chown(env, mine)
		if err != nil {
			return err
		}
		changed, err := e.Chmod(to(0o755))
		if owned || changed {
			changes++
		}
		return err
	}}
	check(t, walker.Walk(t.Context(), root))
	if after := ctime(); changes != 0 || !reflect.DeepEqual(after, before) {
		t.Errorf("got %d changes and ctimes %v, want none and %v", changes, after, before)
	}
}

func groupOf(t *testing.T, name string) int {
	t.Helper()
	e, err := Find(name)
	check(t, err)
	return e.GID
}

func TestChownFaults(t *testing.T) {
	root := tree(t, "a")
	for errno, want := range map[error]fault.Kind{
		unix.EPERM: fault.Permission, unix.EINVAL: fault.Unsupported, unix.EROFS: fault.CantCreate, unix.EIO: fault.IO,
	} {
		env := &step.Env{ChownAt: func(int, string, int, int) error { return errno }}
		e, err := Find(root + "/a")
		check(t, err)
		_, err = e.Chown(env, owner(t, "4242:4242"))
		if got := fault.KindOf(err); got != want || !strings.Contains(err.Error(), root+"/a") {
			t.Errorf("%v: got %v (%v), want %v", errno, err, got, want)
		}
		if hint := fault.HintOf(err); errno == unix.EPERM && !strings.Contains(hint, "CHOWN") {
			t.Errorf("got hint %q, want one that names the capability", hint)
		}
	}
}

func TestChownIgnoresInterruptions(t *testing.T) {
	root := tree(t, "a")
	calls := 0
	env := &step.Env{ChownAt: func(int, string, int, int) error {
		if calls++; calls < 3 {
			return unix.EINTR
		}
		return nil
	}}
	e, err := Find(root + "/a")
	check(t, err)
	if changed, err := e.Chown(env, owner(t, "4242")); err != nil || !changed || calls != 3 {
		t.Errorf("got %v, %v after %d calls, want a change after 3", changed, err, calls)
	}
}

func TestEffects(t *testing.T) {
	got, err := Effects(step.Own, []string{"/data/", "a/../b", "/"}, true)
	want := []step.Effect{{Verb: step.Own, Object: "/data/..."}, {Verb: step.Own, Object: "b/..."}, {Verb: step.Own, Object: "/..."}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if got, err := Effects(step.Write, []string{"/data/"}, false); err != nil || got[0].Object != "/data" {
		t.Errorf("got %v, %v, want /data", got, err)
	}
	for _, paths := range [][]string{nil, {""}, {"a", "b\x00c"}} {
		if _, err := Effects(step.Write, paths, false); fault.KindOf(err) != fault.Usage {
			t.Errorf("%q: got %v, want a usage fault", paths, err)
		}
	}
	if _, err := Effects(step.Write, []string{"", "\x00"}, false); strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("got %q, want both faults", err)
	}
}

func TestTally(t *testing.T) {
	var outputs, progress []string
	env := &step.Env{
		Output: func(key, value string) { outputs = append(outputs, key+"="+value) },
		Report: func(done, _ int64) { progress = append(progress, fmt.Sprint(done)) },
	}
	tally := Tally{Env: env}
	for i := range 2500 {
		tally.Count(i%2 == 0)
	}
	tally.Output()
	(&Tally{Env: env}).Output()
	if want := []string{"changed=1250", "skipped=unchanged"}; !slices.Equal(outputs, want) {
		t.Errorf("got outputs %q, want %q", outputs, want)
	}
	if want := []string{"1000", "2000"}; !slices.Equal(progress, want) {
		t.Errorf("got progress %q, want %q", progress, want)
	}
}
