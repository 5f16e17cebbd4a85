package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cost is what one run of a process took.
type cost struct {
	Wall time.Duration `json:"wall"` // from before its start until it was waited for
	CPU  time.Duration `json:"cpu"`  // user and system time
}

// measure runs a command to its end, which must be a success.
func measure(cmd *exec.Cmd) (cost, error) {
	var stderr bytes.Buffer
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	began := time.Now()
	err := cmd.Run()
	wall := time.Since(began)
	if err != nil {
		return cost{}, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return cost{Wall: wall, CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}

// walls returns the wall times of costs.
func walls(costs []cost) []time.Duration {
	return pick(costs, func(c cost) time.Duration { return c.Wall })
}

// cpus returns the CPU times of costs.
func cpus(costs []cost) []time.Duration {
	return pick(costs, func(c cost) time.Duration { return c.CPU })
}

func pick[A, B any](all []A, part func(A) B) []B {
	picked := make([]B, len(all))
	for i, a := range all {
		picked[i] = part(a)
	}
	return picked
}

// gnuTime is GNU time, of Debian's package time.
const gnuTime = "/usr/bin/time"

// errNoTime says that the peak of a process cannot be told.
var errNoTime = errors.New(gnuTime + " is not installed")

// peak runs a command to its end and returns its largest resident set, in bytes. It asks GNU time, because what
// wait4(2) tells of a child is never less than the parent's own peak: exec(2) keeps the mark of the memory it leaves,
// and a Go program's child starts in its parent's.
func (b *bench) peak(cmd *exec.Cmd) (int64, error) {
	if _, err := os.Stat(gnuTime); err != nil {
		return 0, errNoTime
	}
	file := filepath.Join(b.dir, "peak")
	timed := b.command(gnuTime, append([]string{"-f", "%M", "-o", file, cmd.Path}, cmd.Args[1:]...)...)
	timed.Env = cmd.Env
	if _, err := measure(timed); err != nil {
		return 0, err
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	kibibytes, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
	return kibibytes << 10, err
}

// median returns the middle of a list, which must not be empty: the lower one of two.
func median[N cmp.Ordered](all []N) N { return percentile(all, 50) }

// percentile returns the least element that p percent of a list do not exceed (nearest rank); the list must not be empty.
func percentile[N cmp.Ordered](all []N, p int) N {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

// mean returns the mean of a list; 0 for an empty one.
func mean(all []time.Duration) time.Duration {
	var sum time.Duration
	for _, d := range all {
		sum += d
	}
	return sum / time.Duration(max(1, len(all)))
}

// deviation returns the standard deviation of a list; 0 for an empty one.
func deviation(all []time.Duration) time.Duration {
	middle := mean(all)
	var squares float64
	for _, d := range all {
		squares += (d - middle).Seconds() * (d - middle).Seconds()
	}
	return time.Duration(math.Sqrt(squares/float64(max(1, len(all)))) * float64(time.Second))
}
