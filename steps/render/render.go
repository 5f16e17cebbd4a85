// Package render is the step that makes a file from a template.
package render

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/lookup"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
	"github.com/slipway-init/slipway/internal/template"
)

// Kind is render.
var Kind = step.Kind{
	Name:  "render",
	Short: "render a template into a file",
	Long: `Renders the file TEMPLATE and writes the result to DEST. With --inline, TEMPLATE is the text of the template itself.

    slipway render /templates/app.conf.tmpl /config/app.conf
    slipway render --inline 'node.id={{ ordinal }}' /config/node.properties --mode 0440
    slipway render /templates/db.yaml.tmpl /config/db.yaml --owner 65532:65532 --mode 0400
    slipway render --inline '{{ awsSecret "prod/db" "password" }}' /config/password --mode 0400

In a plan:

    - render:
        inline: true
        template: |
          server-id: {{ add ordinal 1 }}
          listen: {{ envOr "LISTEN" ":8080" | quote }}
          zones: {{ env "ZONES" | split "," | toJSON }}
        dest: /config/server.yaml

DEST gets the exact mode, 0644 if none is given: give a tighter one to a file that holds a secret. Without --owner a new
file belongs to the user that slipway runs as. DEST is written beside itself, read back, synced and renamed: whoever
looks at it, even after a SIGKILL, sees the old file, the new one or none. Its directory must be there. A symbolic link
is neither followed nor replaced.

## Templates

` + template.Help + `
` + lookup.Help + `
## Runs

**A second run** changes nothing. A file with other content is replaced; one with the right content and another mode or
owner is mended in place. The outputs are bytes and, if its mode lets everybody read the file, sha256.

**Exit codes**: 64 if an inline template cannot be parsed; 65 if the template is wrong or something that it uses is
missing, with its line; 66 if TEMPLATE, a file that it reads or a key of a store does not exist; 69 and 75 if a store is
not there or asks for patience, after 5 retries within 2 minutes; 73 if DEST cannot be written, for example
because it is a directory, the file system is full or read-only, or its directory does not exist; 77 if that, or to read
a key, is not permitted; 78 if DEST is a symbolic link.

**Privileges**: the right to read TEMPLATE and to write to DEST's directory. --owner with another user needs the
capability CHOWN; a pod's securityContext.fsGroup often makes it unnecessary.
`,
	Args:   []string{"template", "dest"},
	Policy: step.Policy{Timeout: 2 * time.Minute, Retries: 5, Backoff: 250 * time.Millisecond},
	New:    func() step.Step { return &rendering{mode: 0o644} },
}

type rendering struct {
	template string
	inline   bool
	dest     string
	mode     opt.Mode
	owner    opt.Owner
}

func (s *rendering) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&s.template, "template", "", "file of the template, or with --inline its text")
	fs.BoolVar(&s.inline, "inline", false, "take the template itself instead of its file's name")
	fs.StringVar(&s.dest, "dest", "", "file to write")
	fs.Var(&s.mode, "mode", "mode of the file, in octal")
	fs.Var(&s.owner, "owner", "numeric owner of the file, UID:GID, UID or :GID")
}

// inlined stands for the file's name in errors about a template without a file.
const inlined = "template"

func (s *rendering) Effects() ([]step.Effect, error) {
	source, unreadable := s.source()
	written, unwritable := atomicfile.Effects("dest", s.dest, s.owner)
	return append(source, written...), errors.Join(unreadable, unwritable)
}

// source returns the reading of the template. One that stands in the plan is checked with the plan, and the stores that it
// names are known; those of a file are not before it is read.
func (s *rendering) source() ([]step.Effect, error) {
	switch {
	case s.inline:
		engine := template.Engine{Funcs: lookup.Open(context.Background(), nil).Funcs()}
		parsed, err := engine.Parse(inlined, s.template)
		if err != nil {
			return nil, fault.As(fault.Usage, err)
		}
		return lookup.Effects(parsed), nil
	case s.template == "":
		return nil, fault.New(fault.Usage, "no template is given")
	}
	return []step.Effect{{Verb: step.Read, Object: filepath.Clean(s.template)}}, nil
}

func (s *rendering) Run(ctx context.Context, env *step.Env) error {
	content, err := s.render(ctx, env)
	if err != nil {
		return err
	}
	return atomicfile.Put(ctx, env, env.Path(s.dest), content, atomicfile.Attributes{Mode: s.mode, Owner: s.owner})
}

func (s *rendering) render(ctx context.Context, env *step.Env) ([]byte, error) {
	name, text := inlined, s.template
	if !s.inline {
		var err error
		if text, err = template.ReadFile(env, s.template); err != nil {
			return nil, err
		}
		name = s.template
	}
	stores := lookup.Open(ctx, env)
	engine := &template.Engine{Env: env, Funcs: stores.Funcs()}
	parsed, err := engine.Parse(name, text)
	if err != nil {
		return nil, err
	}
	stores.Prefetch(parsed.Calls())
	return parsed.Render(ctx)
}
