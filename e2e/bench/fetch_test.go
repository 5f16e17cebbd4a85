package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A contest notes each contender's runs, and one that fetches something else is told, not measured.
func TestContestLooksAtWhatWasFetched(t *testing.T) {
	b := &bench{ctx: t.Context(), quick: true, dir: t.TempDir(), dest: t.TempDir()}
	s, err := b.newStore([]lot{{name: "3 MB", path: "big", size: 3e6}, {name: "2 x 1 kB", path: "small", files: 2, size: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	copying := contender{name: "cp", fetch: func(l lot, dest string) *exec.Cmd {
		return b.command("sh", "-c", `cp -r "$0"/. "$1" 2>/dev/null || cp "$0" "$1"`, filepath.Join(s.root, l.path), dest)
	}}
	all, err := s.contest([]contender{copying})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"3 MB", "2 x 1 kB"} {
		if got := all[i]; got.Name != "cp" || got.Lot != want || len(got.Costs) != 1 {
			t.Errorf("got %+v, want one run of %s", got, want)
		}
	}
	if left, err := os.ReadDir(b.dest); err != nil || len(left) > 0 {
		t.Errorf("got %v, %v left, want nothing", left, err)
	}
	lying := contender{name: "liar", fetch: func(_ lot, dest string) *exec.Cmd {
		return b.command("sh", "-c", `echo other >"$0" 2>/dev/null || echo other >"$0/0000"`, dest)
	}}
	if _, err := s.contest([]contender{lying}); err == nil || !strings.HasPrefix(err.Error(), "liar of 3 MB: ") {
		t.Errorf("got %v, want that the liar fetched something else", err)
	}
}

func TestJudgeComparesWithBothRivals(t *testing.T) {
	of := func(name string, wall, cpu time.Duration, peak int64) *fetched {
		return &fetched{Lot: "2 GiB", Dest: "disk", Name: name, Costs: []cost{{wall, cpu}}, Peaks: []int64{peak}}
	}
	all := []*fetched{
		of("own", 9*time.Second, 4*time.Second, 30e6), of("own, no digest", 8*time.Second, 3*time.Second, 30e6),
		of("rival", 10*time.Second, 3*time.Second, 20e6), of("rival, checked", 11*time.Second, 5*time.Second, 20e6),
	}
	table, goals := judge(all, make([]contender, 4))
	if got, want := table[1], []string{"own", "2 GiB", "disk", "9.000 s", "1.0x", "4.000 s", "1.0x", "30.00 MB"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	var met []bool
	for _, g := range goals {
		met = append(met, g.Met)
	}
	if want := []bool{true, false, false, true, true}; !reflect.DeepEqual(met, want) {
		t.Errorf("got %v of %+v, want %v", met, goals, want)
	}
}
