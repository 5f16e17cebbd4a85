package cli

import (
	"bytes"
	"context"
	"log/slog"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/console"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/report"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/telemetry"
)

var levels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}

// execute runs a plan that has been checked, or shows it for --dry-run.
func (a *app) execute(ctx context.Context, p *plan.Plan) error {
	if a.options.deadline > 0 {
		p.Deadline = a.options.deadline
	}
	if a.options.dryRun {
		return a.dryRun(ctx, p)
	}
	screen := console.New(a.Stderr, console.Format(a.options.logFormat), levels[a.options.logLevel])
	result := a.run(ctx, p, screen)
	screen.Close()
	a.ran = true
	if result.Err != nil && result.Task == nil {
		a.tell(result.Err) // no step's own line has told it: a signal before the first one
	}
	if result.Err == nil && result.Replace != nil {
		return a.become(ctx, result.Replace)
	}
	return result.Err
}

// run runs a plan with trace and report.
func (a *app) run(ctx context.Context, p *plan.Plan, screen *console.Console) run.Result {
	log := screen.Log()
	traced, trace := telemetry.Start(ctx, telemetry.Options{
		Getenv: a.getenv, Log: log, Version: a.Version, Spool: a.options.telemetrySpool,
	})
	dial, done := dialer(p, log)
	defer done()
	runner := &run.Runner{
		World: run.World{
			Log:     log,
			Environ: a.Environ,
			Dial:    dial,
			Streams: run.Streams{In: a.Stdin, Out: screen.Output(a.Stdout), Err: screen.Output(a.Stderr)},
		},
		Tracer:   trace.Tracer(),
		Observer: screen,
	}
	result := runner.Run(traced, p)
	if a.options.report != "" {
		if err := report.Write(a.options.report, report.Compose(p, result, trace.TraceID())); err != nil {
			level := slog.LevelWarn
			if a.options.report == report.DefaultPath {
				level = slog.LevelDebug // outside a pod nobody made it
			}
			log.Log(ctx, level, "no report", "error", err.Error())
		}
	}
	if path := a.options.traceparentFile; path != "" {
		if err := writeTraceparent(context.WithoutCancel(ctx), path, trace.Carrier()); err != nil {
			log.Warn("no traceparent file", "error", err.Error())
		}
	}
	trace.Shutdown(context.WithoutCancel(ctx), fault.ExitCode(result.Err), result.Err)
	return result
}

// writeTraceparent hands the trace's context on to the application.
func writeTraceparent(ctx context.Context, path string, carrier []byte) error {
	_, err := atomicfile.Write(ctx, &step.Env{}, path, bytes.NewReader(carrier), atomicfile.Attributes{Mode: 0o644})
	return err
}

// become makes the process the command that the last step named, unless a signal came since: the command would never
// hear of it.
func (a *app) become(ctx context.Context, r *run.Replacement) error {
	if ctx.Err() != nil {
		a.ran = false // the report tells of success
		return ended(ctx)
	}
	err := a.Become(r.Path, r.Args, r.Env, r.Dir)
	a.ran = false // there is an error more to tell
	return fault.New(fault.KindOf(err), "become %s: %w", r.Path, err)
}

// ended returns the fault of a process that was told to end before it had done its work.
func ended(ctx context.Context) error {
	return fault.As(fault.Unavailable, context.Cause(ctx))
}
