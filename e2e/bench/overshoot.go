package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"time"
)

// overshoot measures how long after a port has opened its waiters end. All waiters of a round run side by side and wait
// for the same time, each for a port of its own.
func (b *bench) overshoot() (outcome, error) {
	var out outcome
	waiters, notes, err := b.waiters()
	if err != nil {
		return out, err
	}
	type round struct {
		Wait      time.Duration            `json:"wait"`
		Overshoot map[string]time.Duration `json:"overshoot"`
	}
	var rounds []round
	var allowed []time.Duration
	late := make([][]time.Duration, len(waiters))
	for range b.rounds(24, 3) {
		// Between 1 and 3 s, because whole seconds would flatter a tick of one second.
		wait := time.Second + rand.N(2*time.Second)
		allowed = append(allowed, max(20*time.Millisecond, wait/50))
		overshoots, err := b.race(waiters, wait)
		if err != nil {
			return out, err
		}
		one := round{wait, make(map[string]time.Duration)}
		for i, overshoot := range overshoots {
			one.Overshoot[waiters[i].name] = overshoot
			late[i] = append(late[i], overshoot)
		}
		rounds = append(rounds, one)
	}
	out.Raw = rounds
	out.Table = [][]string{{fmt.Sprintf("overshoot, %d rounds", len(rounds)), "mean", "", "median", "95th percentile"}}
	for i, w := range waiters {
		out.Table = append(out.Table, []string{
			w.name, show(mean(late[i])), times(mean(late[i]), mean(late[0])), show(median(late[i])), show(percentile(late[i], 95)),
		})
	}
	out.Goals = []goal{atMost("mean of slipway, 20 ms or 2 % of the wait", mean(late[0]), mean(allowed))}
	out.Notes = notes
	return out, nil
}

// race starts all waiters, opens their ports after the wait, and returns how long after that each one ended.
func (b *bench) race(waiters []waiter, wait time.Duration) ([]time.Duration, error) {
	closed, err := ports(len(waiters))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(b.ctx, wait+time.Minute)
	defer cancel()
	opened := make([]time.Time, len(waiters))
	runs := make([]*process, len(waiters))
	for i, w := range waiters {
		if runs[i], err = launch(ctx, w.tcp(closed[i])); err != nil {
			return nil, err
		}
		defer runs[i].stop()
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for i, port := range closed {
		opened[i] = time.Now()
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			return nil, err
		}
		defer listener.Close()
	}
	overshoots := make([]time.Duration, len(waiters))
	for i, run := range runs {
		ended, err := run.wait()
		if err == nil && ended.Before(opened[i]) {
			err = errors.New("ended before the port opened")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", waiters[i].name, err)
		}
		overshoots[i] = ended.Sub(opened[i])
	}
	return overshoots, nil
}

// process is a command that runs beside others.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when ended and err are set
	ended  time.Time
	err    error
	cancel func() bool
}

// launch starts a command and notes the moment of its end. The end of ctx kills it.
func launch(ctx context.Context, cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.cancel = context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	go func() {
		p.err = cmd.Wait()
		p.ended = time.Now()
		close(p.exited)
	}()
	return p, nil
}

// wait waits for the end of the process and returns its moment.
func (p *process) wait() (time.Time, error) {
	<-p.exited
	return p.ended, p.err
}

// stop kills the process, if it has not ended, and waits for it.
func (p *process) stop() {
	p.cancel()
	_ = p.cmd.Process.Kill()
	<-p.exited
}
