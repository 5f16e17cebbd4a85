package main

import (
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	for _, c := range []struct {
		all     []int
		p, want int
	}{
		{[]int{7}, 50, 7},
		{[]int{3, 1, 2}, 50, 2},
		{[]int{4, 3, 1, 2}, 50, 2},
		{[]int{5, 1, 4, 2, 3}, 95, 5},
		{[]int{1, 2}, 0, 1},
		{[]int{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, 90, 9},
	} {
		if got := percentile(c.all, c.p); got != c.want {
			t.Errorf("percentile(%v, %d): got %d, want %d", c.all, c.p, got, c.want)
		}
	}
}

func TestMeanAndDeviation(t *testing.T) {
	all := []time.Duration{2 * time.Second, 4 * time.Second, 4 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second, 7 * time.Second, 9 * time.Second}
	if got, want := mean(all), 5*time.Second; got != want {
		t.Errorf("mean: got %s, want %s", got, want)
	}
	if got, want := deviation(all), 2*time.Second; got != want {
		t.Errorf("deviation: got %s, want %s", got, want)
	}
	if mean(nil) != 0 || deviation(nil) != 0 {
		t.Errorf("of nothing: got %s and %s, want 0", mean(nil), deviation(nil))
	}
}

func TestGapsBetweenMoments(t *testing.T) {
	moments := []time.Duration{0, 100, 300, 1000, 1500}
	if got, want := between(moments, 100, 1500), []time.Duration{100, 300, 1000}; !reflect.DeepEqual(got, want) {
		t.Errorf("between: got %v, want %v", got, want)
	}
	if got, want := gaps(moments), []time.Duration{100, 200, 700, 500}; !reflect.DeepEqual(got, want) {
		t.Errorf("gaps: got %v, want %v", got, want)
	}
	if got := gaps(moments[:1]); got != nil {
		t.Errorf("gaps of one moment: got %v, want none", got)
	}
}

func TestFiguresForPeople(t *testing.T) {
	got := []string{
		show(812 * time.Microsecond), show(4213 * time.Microsecond), show(-12340 * time.Microsecond), show(1043 * time.Millisecond),
		times(int64(18), 10), times(int64(18), 0), count(7), count(14_196_898), count(1_000_000), megabytes(14_196_898),
	}
	want := []string{"812 µs", "4.21 ms", "-12.3 ms", "1.043 s", "1.8x", "-", "7", "14,196,898", "1,000,000", "14.20 MB"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestOutcomeIsPrintedAsColumns(t *testing.T) {
	var b strings.Builder
	outcome{
		Table: [][]string{{"median", "wall"}, {"µs", "1 ms"}, {""}, {"longer", "12 ms"}},
		Goals: []goal{atMost("wall", time.Second, 2*time.Second), atMost("CPU", 3*time.Second, 2*time.Second)},
		Notes: []string{"rough"},
	}.print(&b)
	want := `  median   wall
  µs       1 ms

  longer  12 ms
  goal: wall: at most 2.000 s: met (1.000 s)
  goal: CPU: at most 2.000 s: NOT MET (3.000 s)
  note: rough
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestGoalThatIsAShare(t *testing.T) {
	got := []goal{atMostTimes("wall", 40*time.Millisecond, "the agent's", 100*time.Millisecond, 1./2), atMostTimes("peak", int64(3), "that of one", 1, 2)}
	want := []goal{
		{Text: "wall: at most 0.50 of the agent's", Got: "0.40", Met: true},
		{Text: "peak: at most 2.00 of that of one", Got: "3.00"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestOwnerOfASymbol(t *testing.T) {
	modules := []string{"example.org/app", "go.yaml.in/yaml/v4", "gopkg.in/yaml.v3", "go.opentelemetry.io/otel", "go.opentelemetry.io/otel/sdk"}
	for symbol, want := range map[string]string{
		"main.main":                                                         "example.org/app",
		"example.org/app/steps/mkdir.Run":                                   "example.org/app",
		"example.org/application.Run":                                       nobody,
		"go.yaml.in/yaml/v4.Load":                                           "go.yaml.in/yaml/v4",
		"gopkg.in/yaml%2ev3.Load":                                           "gopkg.in/yaml.v3",
		"go.opentelemetry.io/otel/sdk/trace.(*span).End":                    "go.opentelemetry.io/otel/sdk",
		"go.opentelemetry.io/otel/codes.Code.String":                        "go.opentelemetry.io/otel",
		"type:.eq.go.yaml.in/yaml/v4.node":                                  "go.yaml.in/yaml/v4",
		"go:itab.*go.opentelemetry.io/otel/sdk/trace.span,io.Writer":        "go.opentelemetry.io/otel/sdk",
		"slices.SortFunc[go.shape.[]*go.yaml.in/yaml/v4.node,go.shape.int]": standard,
		"sync/atomic.(*Pointer[go.yaml.in/yaml/v4.node]).Load":              standard,
		"vendor/golang.org/x/net/http2/hpack.init":                          standard,
		"net/http.(*Transport).dialConn":                                    standard,
		"time.parse":                                                        standard,
		"runtime.mallocgc":                                                  goRuntime,
		"internal/runtime/maps.(*Map).Get":                                  goRuntime,
		"memeqbody":                                                         goRuntime,
		"go:func.*":                                                         nobody,
		"type:*":                                                            nobody,
		"github.com/unlisted/module.F":                                      nobody,
	} {
		if got := ownerOf(symbol, modules); got != want {
			t.Errorf("%s: got %q, want %q", symbol, got, want)
		}
	}
}

// The parts of a binary are all of it. (A test's own binary has no symbols.)
func TestDissect(t *testing.T) {
	b := &bench{ctx: t.Context()}
	path := filepath.Join(t.TempDir(), "hello")
	if err := b.build("hello", ".", "-w", path); err != nil {
		t.Fatal(err)
	}
	size, packed, err := weigh(path)
	if err != nil {
		t.Fatal(err)
	}
	if packed <= 0 || packed >= size {
		t.Errorf("gzip made %d bytes of %d", packed, size)
	}
	parts, err := dissect(path, size)
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	owners := make(map[string]bool)
	for _, p := range parts {
		sum += p.sum()
		owners[p.Owner] = true
	}
	if sum != size {
		t.Errorf("the parts are %d bytes, want %d", sum, size)
	}
	for _, owner := range []string{goRuntime, standard, nobody} {
		if !owners[owner] {
			t.Errorf("no part of %s among %+v", owner, parts)
		}
	}
}

func TestPortsAreFreeAndDiffer(t *testing.T) {
	found, err := ports(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, port := range found {
		seen[port] = true
	}
	if len(found) != 20 || len(seen) != 20 {
		t.Errorf("got %v, want 20 different ports", found)
	}
}

// A waiter that gives up before its port is open is told, not measured.
func TestRaceTellsThoseWhoGiveUp(t *testing.T) {
	b := &bench{ctx: t.Context()}
	loops, err := b.loops()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.race(loops[:1], 10*time.Millisecond); err != nil {
		t.Errorf("a loop that waits: %v", err)
	}
	quitter := waiter{name: "quitter", tcp: func(string) *exec.Cmd { return b.command("true") }}
	if _, err := b.race([]waiter{quitter}, 200*time.Millisecond); err == nil || err.Error() != "quitter: ended before the port opened" {
		t.Errorf("got %v, want that it ended before the port opened", err)
	}
	failing := waiter{name: "failing", tcp: func(string) *exec.Cmd { return b.command("false") }}
	if _, err := b.race([]waiter{failing}, 10*time.Millisecond); err == nil || err.Error() != "failing: exit status 1" {
		t.Errorf("got %v, want its exit status", err)
	}
}

func TestProgramIsTheOneThatIsNamed(t *testing.T) {
	t.Setenv("WAIT4X", "/opt/wait4x")
	t.Setenv("PATH", t.TempDir())
	t.Setenv("SLIPWAY_E2E_CACHE", t.TempDir())
	if got, err := program("wait4x", "WAIT4X"); err != nil || got != "/opt/wait4x" {
		t.Errorf("got %q, %v, want the named one", got, err)
	}
	if _, err := program("dockerize", "DOCKERIZE_NOT_SET"); err == nil {
		t.Error("got no error for a program that is not there")
	}
}

func TestUnknownSectionIsAnError(t *testing.T) {
	if _, err := choose([]string{"size", "speed"}); err == nil || err.Error() != `no section "speed"` {
		t.Errorf("got %v", err)
	}
	if got, err := choose([]string{"size", "start"}); err != nil || len(got) != 2 || got[0].name != "size" {
		t.Errorf("got %v, %v", got, err)
	}
}

// What iptables-restore reads is turned into what iptables is given, without the comments.
func TestParseRules(t *testing.T) {
	got := parseRules("ip6", "*nat\n:SLIPWAY_X - [0:0]\n-A OUTPUT -m comment --comment slipway -j SLIPWAY_X\n"+
		"-A SLIPWAY_X -m comment --comment \"a b #c\" -p tcp -j RETURN\nCOMMIT\n")
	want := [][]string{
		{"-w", "-t", "nat", "-N", "SLIPWAY_X"},
		{"-w", "-t", "nat", "-A", "OUTPUT", "-m", "comment", "--comment", "slipway", "-j", "SLIPWAY_X"},
		{"-w", "-t", "nat", "-A", "SLIPWAY_X", "-p", "tcp", "-j", "RETURN"},
	}
	if !slices.EqualFunc(got.rules, want, slices.Equal) {
		t.Errorf("got %q, want %q", got.rules, want)
	}
	if tool := got.tool("iptables-nft"); tool != "ip6tables-nft" {
		t.Errorf("got %s", tool)
	}
}
