package run

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
)

// taskSpan is the span of one task.
type taskSpan struct {
	trace.Span
	failed *atomic.Int64 // client spans below it that failed
	begun  *atomic.Int64 // client spans below it
}

// room reports whether there may be one more client span below it.
func (s taskSpan) room() bool { return s.begun.Add(1) <= maxClientSpans }

func (e *execution) tracer() trace.Tracer {
	if e.Tracer == nil {
		return noop.NewTracerProvider().Tracer("")
	}
	return e.Tracer
}

// startSpan starts the span of t: its name is the kind's, so that names stay few; the task's own name is an attribute.
func (e *execution) startSpan(ctx context.Context, t *plan.Task) (context.Context, taskSpan) {
	ctx, span := e.tracer().Start(ctx, t.Kind.Name, trace.WithAttributes(
		attribute.String("slipway.task.id", t.ID),
		attribute.String("slipway.step.name", t.Kind.Name),
	))
	return ctx, taskSpan{Span: span, failed: new(atomic.Int64), begun: new(atomic.Int64)}
}

// retry adds the event of one failed attempt.
func (s taskSpan) retry(r Retry) {
	if !s.IsRecording() {
		return
	}
	attributes := []attribute.KeyValue{
		attribute.Int("slipway.retry.attempt", r.Attempt),
		attribute.String("error.type", fault.KindOf(r.Err).String()),
		attribute.String("exception.message", r.Err.Error()),
		attribute.Float64("slipway.retry.delay", r.Delay.Seconds()),
	}
	if r.Part != "" {
		attributes = append(attributes, attribute.String("slipway.retry.part", r.Part))
	}
	s.AddEvent("retry", trace.WithAttributes(attributes...))
}

// end ends the span with what became of the task. Only a task that failed by itself has the status of an error, so that a
// trace shows the culprit and not its neighbours; those have an error.type of their own.
func (s taskSpan) end(result TaskResult) {
	if s.IsRecording() {
		s.SetAttributes(
			attribute.String("slipway.task.state", string(result.State)),
			attribute.Int("slipway.task.attempts", result.Attempts),
		)
		for _, o := range result.Outputs {
			s.SetAttributes(attribute.String("slipway.output."+o.Key, o.Value))
		}
		if more := s.begun.Load() - maxClientSpans; more > 0 {
			s.SetAttributes(attribute.Int64("slipway.client_spans.left_out", more))
		}
		switch result.State {
		case Done:
			s.SetStatus(codes.Ok, "")
		case Failed:
			s.SetAttributes(attribute.String("error.type", fault.KindOf(result.Err).String()))
			s.SetStatus(codes.Error, result.Err.Error())
		case Cancelled:
			s.SetAttributes(attribute.String("error.type", string(Cancelled)))
		}
	}
	s.End()
}
