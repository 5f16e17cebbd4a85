package cli

import (
	"encoding/json"
	"maps"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// schemaCommand returns the command that prints the schema.
func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of a plan file",
		Long: `Print the JSON Schema (draft 2020-12) of a plan file, made from the steps themselves. Editors complete and check plans
with it:

    # yaml-language-server: $schema=./slipway.schema.json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			encoder := json.NewEncoder(a.Stdout)
			encoder.SetEscapeHTML(false)
			encoder.SetIndent("", "  ")
			return encoder.Encode(Schema(a.Kinds))
		},
	}
}

// object is a JSON object.
type object = map[string]any

// Schema returns the JSON Schema of a plan file with steps of the given kinds.
func Schema(kinds []step.Kind) map[string]any {
	steps := object{"type": "array", "minItems": 1, "items": object{"$ref": "#/$defs/step"}}
	forms := object{
		"parallel": object{"$ref": "#/$defs/steps", "description": "steps that run side by side"},
		"sequence": object{"$ref": "#/$defs/steps", "description": "steps that run one after the other"},
	}
	for _, kind := range kinds {
		forms[kind.Name] = kindSchema(kind)
	}
	return object{
		"$schema":              "https://json-schema.org/draft/2020-12/schema",
		"title":                "slipway plan",
		"type":                 "object",
		"required":             []string{"steps"},
		"additionalProperties": false,
		"properties": object{
			"deadline": durationSchema("the longest that the whole plan may take"),
			"steps":    object{"$ref": "#/$defs/steps"},
		},
		"$defs": object{
			"steps": steps,
			"step": object{
				"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": false,
				"properties": forms,
			},
		},
	}
}

// kindSchema is the schema of one kind's options.
func kindSchema(kind step.Kind) object {
	properties := object{}
	plan.Options(kind).VisitAll(func(flag *pflag.Flag) { properties[flag.Name] = flagSchema(flag) })
	return object{
		"type":                 []string{"object", "null"},
		"description":          kind.Short,
		"additionalProperties": false,
		"properties":           properties,
	}
}

// flagSchema is the schema of one option.
func flagSchema(flag *pflag.Flag) object {
	if schemer, ok := flag.Value.(opt.Schemer); ok {
		schema := object{"description": flag.Usage}
		maps.Copy(schema, schemer.JSONSchema())
		return schema
	}
	plain := object{"type": []string{"string", "number", "boolean"}}
	schema := object{"description": flag.Usage}
	switch flag.Value.Type() {
	case "bool":
		schema["type"] = "boolean"
	case "int", "int64", "uint":
		schema["type"] = "integer"
	case "float64":
		schema["type"] = "number"
	case "duration":
		return durationSchema(flag.Usage)
	case "stringSlice", "stringArray":
		schema["anyOf"] = []any{plain, object{"type": "array", "minItems": 1, "items": plain}}
	default:
		schema["type"] = plain["type"]
	}
	return schema
}

// durationSchema is the schema of what time.ParseDuration reads, less the negative.
func durationSchema(description string) object {
	return object{
		"type":        []string{"string", "integer"},
		"pattern":     `^(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`,
		"maximum":     0, // a number without a unit is 0 or wrong
		"minimum":     0,
		"description": description,
	}
}
