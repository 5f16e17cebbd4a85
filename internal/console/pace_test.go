package console

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	const mega = 1_000_000
	type report struct {
		after time.Duration // since the one before
		done  int64
	}
	for _, test := range []struct {
		name    string
		reports []report
		total   int64
		want    string
	}{
		{name: "nothing"},
		{name: "the first report", reports: []report{{0, 10 * mega}}, total: 100 * mega},
		{name: "too soon to tell", reports: []report{{0, 0}, {time.Second, 10 * mega}}, total: 100 * mega},
		{name: "two seconds", reports: []report{{0, 0}, {2 * time.Second, 20 * mega}}, total: 100 * mega, want: "  10.0 M/s, 8s left"},
		{name: "what an earlier run had is not counted", reports: []report{{0, 50 * mega}, {2 * time.Second, 60 * mega}}, total: 100 * mega, want: "  5000.0 k/s, 8s left"},
		{name: "many small reports", reports: []report{{0, 0}, {time.Second, mega}, {time.Second, 2 * mega}, {time.Second, 9 * mega}}, total: 10 * mega, want: "  1000.0 k/s, 1s left"},
		{name: "slower now", reports: []report{{0, 0}, {2 * time.Second, 20 * mega}, {2 * time.Second, 22 * mega}}, total: 23 * mega, want: "  1000.0 k/s, 1s left"},
		{name: "stalled", reports: []report{{0, 0}, {2 * time.Second, 20 * mega}, {2 * time.Second, 20 * mega}}, total: 100 * mega},
		{name: "begun again", reports: []report{{0, 0}, {2 * time.Second, 20 * mega}, {time.Second, 0}}, total: 100 * mega},
		{name: "total unknown", reports: []report{{0, 0}, {2 * time.Second, 20 * mega}}, want: "  10.0 M/s"},
		{name: "more than the total", reports: []report{{0, 0}, {2 * time.Second, 20 * mega}}, total: 10 * mega, want: "  10.0 M/s"},
		{name: "longer than anybody waits", reports: []report{{0, 0}, {2 * time.Second, 2}}, total: 1 << 62, want: "  1/s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var p pace
			now, done := time.Unix(1, 0), int64(0)
			for _, r := range test.reports {
				now, done = now.Add(r.after), r.done
				p.add(now, done)
			}
			if got := p.String(done, test.total); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
