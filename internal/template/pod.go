package template

import (
	"regexp"
	"strconv"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
)

// pod is what a template may ask about where it runs.
type pod struct {
	env      *step.Env
	hostname func() (string, error)
}

// variable returns an environment variable. Unset and empty are the same, as with an option's "env:NAME".
func (p *pod) variable(name string) (string, error) {
	value := p.env.Getenv(name)
	if value == "" {
		return "", fault.Hint(fault.New(fault.Data, "the environment variable %s is not set or empty", name),
			"set it in the container's env, or write envOr %q \"\" if it may be missing", name)
	}
	return value, nil
}

func (p *pod) variableOr(name, value string) string {
	if set := p.env.Getenv(name); set != "" {
		return set
	}
	return value
}

func (p *pod) file(path string) (string, error) { return ReadFile(p.env, path) }

func (p *pod) name() (string, error) { return p.hostname() }

// ordinals match the names that a StatefulSet gives its pods.
var ordinals = regexp.MustCompile(`-(0|[1-9][0-9]*)$`)

// ordinal returns the number of the pod in its StatefulSet. POD_NAME comes first, because with the host's network the
// host's name is the node's.
func (p *pod) ordinal() (int, error) {
	source, name := "POD_NAME", p.env.Getenv("POD_NAME")
	if name == "" {
		var err error
		if name, err = p.hostname(); err != nil {
			return 0, err
		}
		source = "the host's name"
	}
	match := ordinals.FindStringSubmatch(name)
	if match == nil {
		return 0, fault.Hint(fault.New(fault.Data, "%s, %q, does not end in a StatefulSet's ordinal", source, name),
			"run in a StatefulSet, or set POD_NAME by valueFrom.fieldRef metadata.name")
	}
	number, err := strconv.Atoi(match[1])
	if err != nil {
		return 0, fault.New(fault.Data, "%s, %q, ends in too large a number", source, name)
	}
	return number, nil
}
