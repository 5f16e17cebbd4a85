package vaultrender

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/lookup"
	"github.com/slipway-init/slipway/internal/secret"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
	"github.com/slipway-init/slipway/internal/vault"
)

// options are what was asked for.
type options struct {
	templates []string // "SRC=DEST", or one SRC beside dest
	inline    bool
	dest      string
	secrets   []string
	format    string

	mode         opt.Mode
	owner        opt.Owner
	filesBelow   string
	tokenSink    string
	requireTmpfs bool
	vault        vault.Config

	planned []source        // what Effects made of templates, inline and dest
	onDisk  map[string]bool // the folders that the log has told of; an attempt may be a second one
}

// Flags binds the options to fs.
func (o *options) Flags(fs *pflag.FlagSet) {
	fs.StringArrayVar(&o.templates, "template", nil, "template's file and the file to write, SRC=DEST; with --dest, SRC alone")
	fs.BoolVar(&o.inline, "inline", false, "take the template itself instead of its file's name; needs --dest")
	fs.StringVar(&o.dest, "dest", "", "file to write; with --format files a directory")
	fs.StringSliceVar(&o.secrets, "secret", nil, "secret to write to --dest without a template, such as secret/app")
	fs.StringVar(&o.format, "format", "", "form of --secret: "+strings.Join(formats, ", ")+" (default "+formatEnv+")")
	fs.Var(&o.mode, "mode", "mode of the files, in octal")
	fs.Var(&o.owner, "owner", "numeric owner of the files, UID:GID, UID or :GID")
	fs.StringVar(&o.filesBelow, "files-below", "", "directory below which templates may write further files (writeToFile)")
	fs.StringVar(&o.tokenSink, "token-sink", "", "file to write the Vault token to, with mode 0400; without it the token is revoked at the end")
	fs.StringVar(&o.vault.Receipt, "receipt", "", "file that remembers leases for the next run (default a hidden one beside the first file)")
	fs.BoolVar(&o.requireTmpfs, "require-tmpfs", false, "refuse to write secrets to a file system on a disk")
	o.vault.Flags(fs)
}

// source is a template and where its rendering goes.
type source struct {
	name string // of the file, or inlined
	text string // of an inline template
	dest string
}

// inlined stands for the file's name in errors about a template without a file. It is no name that a template would
// define.
const inlined = "inline template"

// Effects checks the options against each other.
func (o *options) Effects() ([]step.Effect, error) {
	var faults []error
	fail := func(format string, args ...any) { faults = append(faults, fault.New(fault.Usage, format, args...)) }
	sources, err := o.sources()
	faults = append(faults, err)
	if len(o.templates) == 0 && len(o.secrets) == 0 {
		fail("no template and no secret is given")
	}
	if o.format != "" && !slices.Contains(formats, o.format) {
		fail("format %q is none of %s", o.format, strings.Join(formats, ", "))
	}
	if o.format != "" && len(o.secrets) == 0 {
		fail("format is for --secret, and none is given")
	}
	for i, text := range o.secrets {
		path, params, err := parsePath(text)
		if faults = append(faults, fault.As(fault.Usage, err)); len(params) > 0 {
			fail("secret %q: a template reads other versions, this the newest", text)
		}
		o.secrets[i] = path
	}

	o.planned = sources
	o.vault.Receipt = o.receipt(sources)
	effects, err := o.vault.Effects()
	faults = append(faults, err)
	for _, s := range sources {
		if s.text == "" { // which stores it names is not known before it is read
			effects = append(effects, step.Effect{Verb: step.Read, Object: filepath.Clean(s.name)})
			continue
		}
		parsed, err := newEngine(&run{stores: lookup.Open(context.Background(), nil)}).Parse(inlined, s.text)
		if err != nil {
			faults = append(faults, fault.As(fault.Usage, err))
			continue
		}
		effects = append(effects, lookup.Effects(parsed)...)
	}
	written, err := o.written(sources)
	return append(effects, written...), errors.Join(append(faults, err)...)
}

// Secrets returns all that is written: even the receipt tells of leases.
func (o *options) Secrets() []string {
	effects, _ := o.written(o.planned) // Effects has told the error
	var objects []string
	for _, e := range effects {
		if e.Verb == step.Write {
			objects = append(objects, e.Object)
		}
	}
	return objects
}

// sources returns the templates with their destinations. With secrets, dest is theirs.
func (o *options) sources() ([]source, error) {
	switch {
	case len(o.secrets) > 0 && o.inline:
		return nil, fault.New(fault.Usage, "inline and secret both need dest: use two steps")
	case o.inline && (len(o.templates) != 1 || o.templates[0] == "" || o.dest == ""):
		return nil, fault.New(fault.Usage, "inline needs one template and one dest")
	case o.inline:
		return []source{{inlined, o.templates[0], o.dest}}, nil
	case len(o.secrets) == 0 && len(o.templates) == 1 && o.dest != "":
		if o.templates[0] == "" {
			return nil, fault.New(fault.Usage, "the name of the template is empty")
		}
		return []source{{name: o.templates[0], dest: o.dest}}, nil
	case len(o.secrets) == 0 && o.dest != "" && len(o.templates) > 0:
		return nil, fault.New(fault.Usage, "dest is for one template; write --template SRC=DEST for each of several")
	}
	var sources []source
	var faults []error
	for _, text := range o.templates {
		name, dest, ok := strings.Cut(text, "=")
		if !ok || name == "" || dest == "" {
			faults = append(faults, fault.New(fault.Usage, "template %q has no destination: write SRC=DEST", text))
			continue
		}
		sources = append(sources, source{name: name, dest: dest})
	}
	return sources, errors.Join(faults...)
}

// written returns the writing of all files.
func (o *options) written(sources []source) ([]step.Effect, error) {
	var effects []step.Effect
	var faults []error
	seen := make(map[string]bool)
	add := func(option, path string, owner opt.Owner) {
		one, err := atomicfile.Effects(option, path, owner)
		effects, faults = append(effects, one...), append(faults, err)
		if clean := filepath.Clean(path); err == nil && seen[clean] {
			faults = append(faults, fault.New(fault.Usage, "%s %s is written twice", option, path))
		} else {
			seen[clean] = true
		}
	}
	for _, s := range sources {
		add("dest", s.dest, o.owner)
	}
	switch {
	case len(o.secrets) == 0:
	case o.format == formatFiles && o.dest != "":
		effects = append(effects, o.below(o.dest)...)
	default:
		add("dest", o.dest, o.owner)
	}
	if o.filesBelow != "" {
		effects = append(effects, o.below(o.filesBelow)...)
	}
	if o.tokenSink != "" {
		add("token-sink", o.tokenSink, o.owner)
	}
	if o.vault.Receipt != "" {
		add("receipt", o.vault.Receipt, opt.Owner{})
	}
	return effects, errors.Join(faults...)
}

// below returns the writing of whatever goes below a directory.
func (o *options) below(dir string) []step.Effect {
	object := filepath.Clean(dir) + "/..."
	effects := []step.Effect{{Verb: step.Write, Object: object}}
	if o.owner.Given() {
		effects = append(effects, step.Effect{Verb: step.Own, Object: object})
	}
	return effects
}

// receipt returns the path of the receipt: the one that was given, or a hidden file beside the first one that is written,
// so that it lives as long as what it tells of.
func (o *options) receipt(sources []source) string {
	const hidden = ".vault-render"
	switch {
	case o.vault.Receipt != "":
		return o.vault.Receipt
	case len(sources) > 0:
		dir, name := filepath.Split(filepath.Clean(sources[0].dest))
		return filepath.Join(dir, hidden+"-"+name)
	case o.dest == "":
		return ""
	case o.format == formatFiles:
		return filepath.Join(o.dest, hidden)
	}
	dir, name := filepath.Split(filepath.Clean(o.dest))
	return filepath.Join(dir, hidden+"-"+name)
}

// checkFileSystems warns of files that would land on a disk, where they outlive the pod, or refuses them.
func (o *options) checkFileSystems(env *step.Env) error {
	var folders []string
	for _, s := range o.planned {
		folders = append(folders, filepath.Dir(s.dest))
	}
	switch {
	case len(o.secrets) > 0 && o.format == formatFiles:
		folders = append(folders, o.dest)
	case len(o.secrets) > 0:
		folders = append(folders, filepath.Dir(o.dest))
	}
	for _, file := range []string{o.tokenSink, o.vault.Receipt} {
		if file != "" {
			folders = append(folders, filepath.Dir(file))
		}
	}
	if o.filesBelow != "" {
		folders = append(folders, o.filesBelow)
	}
	slices.Sort(folders)
	for _, folder := range slices.Compact(folders) {
		if err := o.checkFileSystem(env, folder); err != nil {
			return err
		}
	}
	return nil
}

func (o *options) checkFileSystem(env *step.Env, folder string) error {
	memory, err := secret.OnTmpfs(env.Path(folder))
	switch {
	case err != nil && o.requireTmpfs:
		return err
	case err != nil || memory:
		return nil
	case o.requireTmpfs:
		return fault.Hint(fault.New(fault.Conflict, "%s is on a disk, not on tmpfs", folder),
			"mount a volume with emptyDir: {medium: Memory} there")
	}
	if !o.onDisk[folder] {
		env.Log.Warn("secrets are written to a disk", "folder", folder,
			"hint", "mount a volume with emptyDir: {medium: Memory} there; --require-tmpfs makes this an error")
	}
	if o.onDisk == nil {
		o.onDisk = make(map[string]bool)
	}
	o.onDisk[folder] = true
	return nil
}
