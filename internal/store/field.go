package store

import (
	"encoding/json"

	"github.com/slipway-init/slipway/internal/fault"
)

// Field returns the value of a key of a JSON object, as a template prints it: a text as it is, all else as JSON. The
// error names the keys that are there, never what they hold.
func Field(object, field string) (string, error) {
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(object), &fields) != nil || fields == nil {
		return "", fault.New(fault.Data, "it is no JSON object, so it has no key %s", field)
	}
	raw, ok := fields[field]
	if !ok {
		names := make([]string, 0, len(fields))
		for name := range fields {
			names = append(names, name)
		}
		return "", fault.New(fault.Data, "it has no key %s%s", field, Beside(names))
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		if string(raw) == "null" {
			return "", fault.New(fault.Data, "its key %s is null", field)
		}
		return text, nil
	}
	return string(raw), nil
}
