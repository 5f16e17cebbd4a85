package run

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/slipway-init/slipway/internal/fault"
)

// panicked is the error of an attempt that panicked.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// recovering calls attempt and turns a panic into an Internal fault that keeps the stack for the log.
func recovering(ctx context.Context, attempt func(context.Context) error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fault.Hint(fault.As(fault.Internal, &panicked{value: value, stack: debug.Stack()}),
				"this is a bug in slipway; please report it with the log")
		}
	}()
	return attempt(ctx)
}

// Stack returns the stack of the panic in err's tree, nil if there is none.
func Stack(err error) []byte {
	if p, ok := errors.AsType[*panicked](err); ok {
		return p.stack
	}
	return nil
}
