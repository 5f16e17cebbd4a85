package main

import (
	"errors"
	"os/exec"
	"time"
)

// start measures what one start costs, beside the least that a Go program can cost.
func (b *bench) start() (outcome, error) {
	contenders := []struct {
		name string
		cmd  func() *exec.Cmd
	}{
		{"hello world, static Go", func() *exec.Cmd { return b.command(b.hello) }},
		{"slipway version", func() *exec.Cmd { return b.command(b.slipway, "version") }},
		{"slipway mkdir, there already", func() *exec.Cmd { return b.run("mkdir", b.dir) }},
	}
	type sample struct {
		Name  string  `json:"name"`
		Costs []cost  `json:"costs"`
		Peaks []int64 `json:"peaks"` // bytes
	}
	samples := make([]sample, len(contenders))
	var out outcome
	for range b.rounds(51, 5) {
		for i, c := range contenders {
			one, err := measure(c.cmd())
			if err != nil {
				return out, err
			}
			samples[i].Name, samples[i].Costs = c.name, append(samples[i].Costs, one)
		}
	}
	for range b.rounds(11, 3) {
		for i, c := range contenders {
			one, err := b.peak(c.cmd())
			if errors.Is(err, errNoTime) {
				out.Notes = []string{"no peaks: " + err.Error()}
				continue
			}
			if err != nil {
				return out, err
			}
			samples[i].Peaks = append(samples[i].Peaks, one)
		}
	}
	out.Raw = samples
	out.Table = [][]string{{"median", "wall", "", "CPU", "", "peak RSS", ""}}
	base := samples[0]
	for _, s := range samples {
		wall, cpu := median(walls(s.Costs)), median(cpus(s.Costs))
		row := []string{s.Name, show(wall), times(wall, median(walls(base.Costs))), show(cpu), times(cpu, median(cpus(base.Costs)))}
		if len(s.Peaks) > 0 {
			peak := median(s.Peaks)
			row = append(row, megabytes(peak), times(peak, median(base.Peaks)))
		}
		out.Table = append(out.Table, row)
	}
	for _, s := range samples[1:] {
		out.Goals = append(out.Goals, atMost("wall of "+s.Name, median(walls(s.Costs)), 15*time.Millisecond))
	}
	return out, nil
}
