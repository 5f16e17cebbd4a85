package template

import (
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
)

// in reports whether a text holds another, or a list an item. A number is in a list of numbers whatever their types.
func in(whole, part any) (bool, error) {
	if s, ok := whole.(string); ok {
		p := reflect.ValueOf(part)
		return p.Kind() == reflect.String && strings.Contains(s, p.String()), nil
	}
	all, err := items(whole)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(all, func(item any) bool { return alike(reflect.ValueOf(item), reflect.ValueOf(part)) }), nil
}

func alike(a, b reflect.Value) bool {
	switch {
	case a.CanInt() && b.CanInt():
		return a.Int() == b.Int()
	case a.CanFloat() && b.CanFloat():
		return a.Float() == b.Float()
	}
	return a.Kind() == reflect.String && b.Kind() == reflect.String && a.String() == b.String()
}

// some returns one of containsAll, containsAny, containsNone and containsNotAll: it looks for the first needle whose
// being there is not inverted, which decides against otherwise.
func some(otherwise, inverted bool) func(needles, whole any) (bool, error) {
	return func(needles, whole any) (bool, error) {
		all, err := items(needles)
		if err != nil {
			return false, err
		}
		for _, needle := range all {
			// What is not a list has no items.
			if there, _ := in(whole, needle); there != inverted {
				return !otherwise, nil
			}
		}
		return otherwise, nil
	}
}

// The functions of arithmetic take what comes through the pipe last: 5 | subtract 2 is 3.

func added(b, a any) (any, error) {
	return calculated((*big.Int).Add, func(a, b float64) float64 { return a + b }, a, b)
}

func subtracted(b, a any) (any, error) {
	return calculated((*big.Int).Sub, func(a, b float64) float64 { return a - b }, a, b)
}

func multiplied(b, a any) (any, error) {
	return calculated((*big.Int).Mul, func(a, b float64) float64 { return a * b }, a, b)
}

func dividedBy(b, a any) (any, error) {
	if n, err := real(b); err == nil && n == 0 {
		return nil, fault.New(fault.Data, "division by zero")
	}
	return calculated((*big.Int).Quo, func(a, b float64) float64 { return a / b }, a, b)
}

func modulo(b, a any) (any, error) { return divided((*big.Int).Rem, a, b) }

func minimum(b, a any) (any, error) {
	x, y, err := reals(a, b)
	if err == nil && x < y {
		return a, nil
	}
	return b, err
}

func maximum(b, a any) (any, error) {
	x, y, err := reals(a, b)
	if err == nil && x > y {
		return a, nil
	}
	return b, err
}

// calculated returns a whole number unless one of the two is a floating point number.
func calculated(op operation, floating func(a, b float64) float64, a, b any) (any, error) {
	if !reflect.ValueOf(a).CanFloat() && !reflect.ValueOf(b).CanFloat() {
		return fold(op, a, []any{b})
	}
	x, y, err := reals(a, b)
	return floating(x, y), err
}

func reals(a, b any) (x, y float64, err error) {
	if x, err = real(a); err != nil {
		return 0, 0, err
	}
	y, err = real(b)
	return x, y, err
}

func real(value any) (float64, error) {
	if v := reflect.ValueOf(value); v.CanFloat() {
		return v.Float(), nil
	}
	n, err := exact(value)
	if err != nil {
		return 0, err
	}
	f, _ := n.Float64()
	return f, nil
}

// loop returns the numbers from 0, or from the first of two, up to the last, which is not among them.
func loop(bounds ...any) ([]int64, error) {
	first := 0
	var err error
	switch len(bounds) {
	case 1:
	case 2:
		first, err = whole(bounds[0])
	default:
		return nil, fault.New(fault.Data, "loop takes LAST or FIRST LAST")
	}
	if err != nil {
		return nil, err
	}
	last, err := whole(bounds[len(bounds)-1])
	if err != nil || last <= first {
		return nil, err
	}
	if new(big.Int).Sub(big.NewInt(int64(last)), big.NewInt(int64(first))).Cmp(big.NewInt(MaxSeq)) > 0 {
		return nil, fault.New(fault.Data, "loop of over %d numbers", MaxSeq)
	}
	numbers := make([]int64, last-first)
	for i := range numbers {
		numbers[i] = int64(first + i)
	}
	return numbers, nil
}

// explodeMap returns a map of maps from one whose keys are paths: "a/b" becomes b in a.
func explodeMap(paths map[string]any) (map[string]any, error) {
	tree := make(map[string]any)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		folders, name := strings.Split(path, "/"), ""
		if len(folders) > MaxDepth {
			return nil, fault.New(fault.Data, "a key has over %d slashes", MaxDepth)
		}
		folders, name = folders[:len(folders)-1], folders[len(folders)-1]
		at := tree
		for _, folder := range folders {
			if at[folder] == nil {
				at[folder] = make(map[string]any)
			}
			below, ok := at[folder].(map[string]any)
			if !ok {
				return nil, fault.New(fault.Data, "the key %q is a value and a folder", folder)
			}
			at = below
		}
		if name != "" {
			at[name] = paths[path]
		}
	}
	return tree, nil
}

// Scratch is what a template notes for later. It holds at most MaxValue bytes. Its methods are for templates; those that
// note something print nothing.
type Scratch struct {
	values map[string]any
	bytes  int
}

// Key reports whether there is a value by this name, even if it is nil.
func (s *Scratch) Key(name string) bool {
	_, ok := s.values[name]
	return ok
}

// Get returns a value, or nil.
func (s *Scratch) Get(name string) any { return s.values[name] }

// Set notes a value.
func (s *Scratch) Set(name string, value any) (string, error) {
	if s.values == nil {
		s.values = make(map[string]any)
	}
	return s.note(s.values, name, value)
}

// SetX notes a value if there is none.
func (s *Scratch) SetX(name string, value any) (string, error) {
	if s.Key(name) {
		return "", nil
	}
	return s.Set(name, value)
}

// MapSet notes a value in the map by this name.
func (s *Scratch) MapSet(name, key string, value any) (string, error) {
	return s.mapSet(name, key, value, true)
}

// MapSetX notes a value in the map by this name if it has none by that key.
func (s *Scratch) MapSetX(name, key string, value any) (string, error) {
	return s.mapSet(name, key, value, false)
}

func (s *Scratch) mapSet(name, key string, value any, replace bool) (string, error) {
	if _, err := s.SetX(name, make(map[string]any)); err != nil {
		return "", err
	}
	values, ok := s.values[name].(map[string]any)
	if !ok {
		return "", fault.New(fault.Data, "what is noted by this name is not a map")
	}
	if _, there := values[key]; there && !replace {
		return "", nil
	}
	return s.note(values, key, value)
}

// MapValues returns the values of the map by this name in the order of their keys.
func (s *Scratch) MapValues(name string) []any {
	values, _ := s.values[name].(map[string]any)
	var all []any
	for _, key := range slices.Sorted(maps.Keys(values)) {
		all = append(all, values[key])
	}
	return all
}

func (s *Scratch) note(where map[string]any, name string, value any) (string, error) {
	var weight scale
	weight.weigh(reflect.ValueOf(value), 0)
	s.bytes += len(name) + weight.bytes
	if s.bytes > MaxValue || weight.deep {
		return "", fault.New(fault.Data, "what scratch was given is over %d bytes", MaxValue)
	}
	where[name] = value
	return "", nil
}
