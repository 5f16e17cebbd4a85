package template

import (
	"math"
	"math/big"
	"reflect"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// whole returns a whole number from a number or its text, because the environment has but texts.
func whole(value any) (int, error) {
	n, err := exact(value)
	if err != nil {
		return 0, err
	}
	return small(n)
}

func add(first any, more ...any) (int, error) { return fold((*big.Int).Add, first, more) }
func mul(first any, more ...any) (int, error) { return fold((*big.Int).Mul, first, more) }
func sub(a, b any) (int, error)               { return fold((*big.Int).Sub, a, []any{b}) }
func div(a, b any) (int, error)               { return divided((*big.Int).Quo, a, b) }
func mod(a, b any) (int, error)               { return divided((*big.Int).Rem, a, b) }

type operation func(result, a, b *big.Int) *big.Int

func divided(op operation, a, b any) (int, error) {
	if n, err := exact(b); err == nil && n.Sign() == 0 {
		return 0, fault.New(fault.Data, "division by zero")
	}
	return fold(op, a, []any{b})
}

// fold puts op between the numbers, from the left. A result that overflows is a fault, as is one on the way to it.
func fold(op operation, first any, more []any) (int, error) {
	result, err := exact(first)
	if err != nil {
		return 0, err
	}
	for _, value := range more {
		n, err := exact(value)
		if err != nil {
			return 0, err
		}
		if _, err := small(op(result, result, n)); err != nil {
			return 0, err
		}
	}
	return small(result)
}

func small(n *big.Int) (int, error) {
	if !n.IsInt64() {
		return 0, fault.New(fault.Data, "a number is over 64 bits")
	}
	return int(n.Int64()), nil
}

// exact returns the whole number that value is. Its faults do not say the value, which may be a secret.
func exact(value any) (*big.Int, error) {
	const longest = 20 // digits of a number of 64 bits, with its sign
	v := reflect.ValueOf(value)
	switch {
	case v.CanInt():
		return big.NewInt(v.Int()), nil
	case v.CanUint():
		return new(big.Int).SetUint64(v.Uint()), nil
	case v.CanFloat() && v.Float() == math.Trunc(v.Float()) && math.Abs(v.Float()) < 1<<53:
		return big.NewInt(int64(v.Float())), nil
	case v.CanFloat():
		return nil, fault.New(fault.Data, "a number is not whole, or too large to be exact")
	case v.Kind() == reflect.String:
		digits := strings.TrimSpace(v.String())
		if n, ok := new(big.Int).SetString(digits[:min(len(digits), longest+1)], 10); ok && len(digits) <= longest {
			return n, nil
		}
		return nil, fault.New(fault.Data, "a text is not a whole number of 64 bits")
	}
	return nil, fault.New(fault.Data, "a %s is not a whole number", kindOf(value))
}

// seq returns the numbers from first to last, last included where the step meets it.
func seq(bounds ...any) ([]any, error) {
	limits := []int{1, 1, 0} // first, step, last
	var err error
	at := map[int][]int{1: {2}, 2: {0, 2}, 3: {0, 1, 2}}[len(bounds)]
	if at == nil {
		return nil, fault.New(fault.Data, "seq takes LAST, FIRST LAST or FIRST STEP LAST")
	}
	for i, place := range at {
		if limits[place], err = whole(bounds[i]); err != nil {
			return nil, err
		}
	}
	first, step, last := big.NewInt(int64(limits[0])), big.NewInt(int64(limits[1])), big.NewInt(int64(limits[2]))
	if step.Sign() == 0 {
		return nil, fault.New(fault.Data, "seq with a step of 0 has no end")
	}
	steps := new(big.Int).Quo(new(big.Int).Sub(last, first), step)
	if (last.Cmp(first) != 0 && last.Cmp(first) != step.Sign()) || steps.Sign() < 0 {
		return []any{}, nil
	}
	if steps.Cmp(big.NewInt(MaxSeq)) >= 0 {
		return nil, fault.New(fault.Data, "seq of over %d numbers", MaxSeq)
	}
	var numbers []any
	for i := range int(steps.Int64()) + 1 {
		numbers = append(numbers, limits[0]+i*limits[1])
	}
	return numbers, nil
}
