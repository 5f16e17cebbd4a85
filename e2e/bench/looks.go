package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// How long the looks are counted, and from when on the late ones.
const (
	lookTime = 10 * time.Second
	lateFrom = 5 * time.Second
)

// unready is a server that is never ready and notes when it was asked.
type unready struct {
	mu    sync.Mutex
	asked []time.Time
}

// ServeHTTP implements http.Handler.
func (u *unready) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	u.mu.Lock()
	u.asked = append(u.asked, time.Now())
	u.mu.Unlock()
	w.WriteHeader(http.StatusServiceUnavailable)
}

// moments returns when the server was asked, from the first time on.
func (u *unready) moments() []time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	var moments []time.Duration
	for _, at := range u.asked {
		moments = append(moments, at.Sub(u.asked[0]))
	}
	return moments
}

// looks counts how often each waiter asks a server that is not ready: a thousand pods may wait for one.
func (b *bench) looks() (outcome, error) {
	var out outcome
	waiters, notes, err := b.waiters()
	if err != nil {
		return out, err
	}
	out.Notes = append(notes, "a loop with a sleep of 2 s asks 0.5 times a second")
	var names []string
	var servers []*unready
	var runs []*process
	for _, w := range waiters {
		if w.http == nil {
			continue
		}
		server := &unready{}
		web := httptest.NewServer(server)
		defer web.Close()
		_, port, err := net.SplitHostPort(web.Listener.Addr().String())
		if err != nil {
			return out, err
		}
		run, err := launch(b.ctx, w.http(port))
		if err != nil {
			return out, err
		}
		defer run.stop()
		names, servers, runs = append(names, w.name), append(servers, server), append(runs, run)
	}
	select {
	case <-time.After(lookTime + time.Second/2): // the half second is for the start
	case <-b.ctx.Done():
		return out, b.ctx.Err()
	}
	out.Table = [][]string{{"looks per second", "first second", "gaps", "after 5 s", "gaps"}}
	raw := make(map[string][]time.Duration)
	for i, server := range servers {
		select {
		case <-runs[i].exited:
			return out, fmt.Errorf("%s ended although the server was not ready: %v", names[i], runs[i].err)
		default:
		}
		moments := server.moments()
		raw[names[i]] = moments
		first, late := between(moments, 0, time.Second), between(moments, lateFrom, lookTime)
		rate := float64(len(late)) / (lookTime - lateFrom).Seconds()
		out.Table = append(out.Table, []string{
			names[i], fmt.Sprint(len(first)), spread(gaps(first)), fmt.Sprintf("%.1f", rate), spread(gaps(late)),
		})
		if i == 0 {
			out.Goals = []goal{
				{"slipway in the first second: at most 50", fmt.Sprint(len(first)), len(first) <= 50},
				{"slipway after 5 s: at most 4 a second", fmt.Sprintf("%.1f", rate), rate <= 4},
				{"slipway's gaps after 5 s differ, by jitter", "deviation " + show(deviation(gaps(late))), deviation(gaps(late)) > time.Millisecond},
			}
		}
	}
	out.Raw = raw
	return out, nil
}

// between returns the moments from one on, before another.
func between(moments []time.Duration, from, to time.Duration) []time.Duration {
	var found []time.Duration
	for _, m := range moments {
		if m >= from && m < to {
			found = append(found, m)
		}
	}
	return found
}

// gaps returns the times between moments.
func gaps(moments []time.Duration) []time.Duration {
	var found []time.Duration
	for i := 1; i < len(moments); i++ {
		found = append(found, moments[i]-moments[i-1])
	}
	return found
}

// spread returns the mean of gaps with the standard deviation: "22.4 ms ± 1.3 ms".
func spread(gaps []time.Duration) string {
	if len(gaps) == 0 {
		return "-"
	}
	return show(mean(gaps)) + " ± " + show(deviation(gaps))
}
