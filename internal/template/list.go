package template

import (
	"maps"
	"reflect"
	"slices"

	"github.com/slipway-init/slipway/internal/fault"
)

func list(values ...any) []any { return append([]any{}, values...) }

func appended(values any, more ...any) ([]any, error) {
	all, err := items(values)
	return append(slices.Clone(all), more...), err
}

func first(values any) (any, error) {
	all, err := items(values)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fault.New(fault.Data, "the list is empty")
	}
	return all[0], nil
}

func last(values any) (any, error) {
	all, err := items(values)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fault.New(fault.Data, "the list is empty")
	}
	return all[len(all)-1], nil
}

// items returns the values of a list of any type.
func items(values any) ([]any, error) {
	if all, ok := values.([]any); ok {
		return all, nil
	}
	v := reflect.ValueOf(values)
	if v.Kind() != reflect.Slice && v.Kind() != reflect.Array {
		return nil, fault.New(fault.Data, "a %s is not a list", kindOf(values))
	}
	all := make([]any, v.Len())
	for i := range all {
		all[i] = v.Index(i).Interface()
	}
	return all, nil
}

func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fault.New(fault.Data, "the last key has no value")
	}
	d := make(map[string]any)
	for pair := range slices.Chunk(pairs, 2) {
		key, ok := pair[0].(string)
		if !ok {
			return nil, fault.New(fault.Data, "a key is a %s, not a text", kindOf(pair[0]))
		}
		d[key] = pair[1]
	}
	return d, nil
}

func hasKey(d map[string]any, key string) bool {
	_, ok := d[key]
	return ok
}

func keys(d map[string]any) []any {
	all := make([]any, 0, len(d))
	for _, key := range slices.Sorted(maps.Keys(d)) {
		all = append(all, key)
	}
	return all
}

// empty reports whether a value is nil, false, 0, "" or without items.
func empty(value any) bool {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Slice, reflect.Array, reflect.Map, reflect.String:
		return v.Len() == 0
	}
	return v.IsZero()
}

func fallback(otherwise, value any) any {
	if empty(value) {
		return otherwise
	}
	return value
}

func required(message string, value any) (any, error) {
	if value == nil || value == "" {
		return nil, fault.New(fault.Data, "%s", message)
	}
	return value, nil
}

func ternary(yes, no any, condition bool) any {
	if condition {
		return yes
	}
	return no
}

func coalesce(values ...any) any {
	for _, value := range values {
		if !empty(value) {
			return value
		}
	}
	return nil
}
