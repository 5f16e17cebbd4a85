package exec

import (
	"errors"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// variable is an environment variable that the step sets, to a value or to what a reference holds.
type variable struct {
	name, value string
	from        opt.Ref
}

// variables returns what --env and --env-from set. Its error is all of their faults; it shows no value, since secrets
// are put where they should not be.
func (s *command) variables() ([]variable, error) {
	var (
		variables []variable
		faults    []error
		seen      = make(map[string]bool)
	)
	add := func(option string, i int, text, form string, set func(v *variable, right string) error) {
		name, right, ok := strings.Cut(text, "=")
		v := variable{name: name}
		switch {
		case !ok || name == "" || strings.ContainsRune(text, 0):
			faults = append(faults, fault.New(fault.Usage, "%s: item %d is not %s", option, i+1, form))
		case seen[name]:
			faults = append(faults, fault.New(fault.Usage, "%s: %s is set twice", option, name))
		default:
			if err := set(&v, right); err != nil {
				faults = append(faults, fault.New(fault.Usage, "%s: %s: %w", option, name, err))
			}
		}
		seen[name] = true
		variables = append(variables, v)
	}
	for i, text := range s.env {
		add("env", i, text, "NAME=VALUE", func(v *variable, right string) error {
			v.value = right
			return nil
		})
	}
	for i, text := range s.envFrom {
		add("env-from", i, text, "NAME=file:PATH or NAME=env:OTHER", func(v *variable, right string) error {
			return v.from.Set(right)
		})
	}
	return variables, errors.Join(faults...)
}

// environ returns the command's environment: slipway's own with the step's variables in it. A name stands in it once,
// because of two the one that counts depends on who looks.
func (s *command) environ(env *step.Env) ([]string, error) {
	variables, err := s.variables()
	if err != nil {
		return nil, err
	}
	set := make(map[string]bool)
	for i := range variables {
		v := &variables[i]
		set[v.name] = true
		if !v.from.Given() {
			continue
		}
		if v.value, err = v.from.Secret(env); err != nil {
			return nil, err
		}
		if strings.ContainsRune(v.value, 0) {
			return nil, fault.New(fault.Data, "read %s: a zero byte cannot stand in an environment variable", v.from.String())
		}
	}
	var environ []string
	for _, entry := range env.Environ() {
		if name, _, _ := strings.Cut(entry, "="); !set[name] {
			environ = append(environ, entry)
		}
	}
	for _, v := range variables {
		environ = append(environ, v.name+"="+v.value)
	}
	return environ, nil
}

// valueOf returns the value of a variable in environ, "" if it is not set.
func valueOf(name string, environ []string) string {
	var value string
	for _, entry := range environ {
		if left, right, _ := strings.Cut(entry, "="); left == name {
			value = right
		}
	}
	return value
}
