package telemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// maxPending bounds the bytes of spans that wait for a collector. It leaves room for a batch below the 4 MiB that a
// gRPC server takes at once.
const maxPending = 2 << 20

// sender is an otlptrace.Client that stands between the SDK's exporter and the collector. It keeps what could not be
// sent for the next attempt, so that a collector that comes up late gets all, and at the end it spools the rest.
type sender struct {
	collector *collector
	log       *slog.Logger
	spool     spool

	life      context.Context         // of every request; ends with Shutdown's budget
	end       context.CancelCauseFunc // ends life
	stopProbe context.CancelFunc
	idle      chan struct{} // closed when the probe, and the sending of the spool after it, have ended

	mu      sync.Mutex // held during an upload: one at a time
	pending []*tracepb.ResourceSpans
	size    int   // of pending, in bytes
	last    error // why the last upload failed; nil when it did not
	lost    int   // spans that were refused, or dropped because too many were pending
	loss    error // why they were lost
}

func newSender(c *collector, log *slog.Logger, folder string) *sender {
	life, end := context.WithCancelCause(context.Background())
	return &sender{collector: c, log: log, spool: spool{folder}, life: life, end: end, idle: make(chan struct{})}
}

// Start implements otlptrace.Client. It waits for nothing: a goroutine asks the collector for a sign of life, and then
// sends what earlier runs have spooled.
func (s *sender) Start(ctx context.Context) error {
	if err := s.collector.Start(ctx); err != nil {
		return err
	}
	probing, stop := context.WithCancel(s.life)
	s.stopProbe = stop
	go func() {
		defer close(s.idle)
		if err := s.collector.probe(probing); err != nil && !s.collector.alive.Load() {
			s.log.Debug("the collector gives no sign of life", "error", err)
		}
		if s.collector.alive.Load() {
			s.spool.replay(s.life, s.log, s.collector.UploadTraces)
		}
	}()
	return nil
}

// UploadTraces implements otlptrace.Client. It never fails: what could not be sent is pending.
func (s *sender) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(spans)
	s.send(ctx)
	return nil
}

// keep adds spans to pending, and drops the oldest if that makes too many.
func (s *sender) keep(spans []*tracepb.ResourceSpans) {
	s.pending = append(s.pending, spans...)
	for _, span := range spans {
		s.size += proto.Size(span)
	}
	for s.size > maxPending && len(s.pending) > 1 {
		s.lost += count(s.pending[:1])
		s.loss = s.last
		s.size -= proto.Size(s.pending[0])
		s.pending = s.pending[1:]
	}
}

// send tries to send all that is pending.
func (s *sender) send(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	err := s.collector.UploadTraces(ctx, s.pending)
	switch {
	case err == nil:
		s.last = nil
	case partly(err):
		s.log.Warn("the collector took only a part of the spans", "error", err)
		s.last = nil
	case refused(err):
		s.lost += count(s.pending)
		s.loss = err
	case s.life.Err() != nil && s.last != nil:
		return // cut short; the earlier failure tells more
	case s.life.Err() != nil:
		s.last = context.Cause(s.life)
		return
	default:
		s.last = err
		return
	}
	s.pending, s.size = nil, 0
}

// finish calls flush, which uploads what is left and stops the sender, within the patience for a living collector,
// or the budget of a dead one.
func (s *sender) finish(ctx context.Context, patience time.Duration, flush func(context.Context)) {
	defer context.AfterFunc(ctx, func() { s.end(context.Cause(ctx)) })()
	dead := time.AfterFunc(deadBudget, func() {
		if !s.collector.alive.Load() {
			s.end(fmt.Errorf("no sign of life within %s", deadBudget))
		}
	})
	defer dead.Stop()
	slow := time.AfterFunc(patience, func() { s.end(fmt.Errorf("no answer within %s", patience)) })
	defer slow.Stop()
	flush(context.WithoutCancel(ctx))
	s.end(errors.New("the run has ended"))
}

// Stop implements otlptrace.Client. It is called after the last upload.
func (s *sender) Stop(ctx context.Context) error {
	s.stopProbe()
	<-s.idle
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	err := s.collector.Stop(ctx)
	s.collector.close()
	return err
}

// settle spools what is pending and tells how much was lost or kept.
func (s *sender) settle() {
	unsent := count(s.pending)
	if unsent+s.lost == 0 {
		return
	}
	attributes := []any{"collector", s.collector.name, "spans", unsent + s.lost, "error", cmp.Or(s.last, s.loss)}
	if unsent > 0 && s.spool.folder != "" {
		name, err := s.spool.keep(s.pending)
		if err != nil {
			attributes = append(attributes, "spool", err)
		} else {
			attributes = append(attributes, "kept", unsent, "spool", name)
		}
	}
	s.log.Warn("traces were not sent", attributes...)
}

// count returns the number of spans in resources.
func count(resources []*tracepb.ResourceSpans) int {
	n := 0
	for _, r := range resources {
		for _, scope := range r.GetScopeSpans() {
			n += len(scope.GetSpans())
		}
	}
	return n
}
