package vaultrender

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/atomicfile"
	"github.com/slipway-init/slipway/internal/fault"
)

const writesFile = "writeToFile"

// writeToFile is consul-template's: PATH USER GROUP MODE [FLAGS] CONTENT, where the flags are append and newline. The
// file is kept until all files of the step are there. Append adds to what this rendering has written to the file, not to
// what an earlier run has, so that a second run changes nothing.
func (r *run) writeToFile(path, user, group, mode string, more ...string) (string, error) {
	if len(more) == 0 || len(more) > 2 {
		return "", fault.New(fault.Data, "writeToFile takes PATH USER GROUP MODE [FLAGS] CONTENT")
	}
	var flags []string
	if len(more) == 2 {
		flags = strings.FieldsFunc(more[0], func(r rune) bool { return r == ',' || r == ' ' })
	}
	content := more[len(more)-1]
	for _, flag := range flags {
		if flag != "append" && flag != "newline" {
			return "", fault.New(fault.Data, "the flags of writeToFile are append and newline")
		}
	}
	if slices.Contains(flags, "newline") {
		content += "\n"
	}
	attributes, err := fileAttributes(user, group, mode)
	if err != nil {
		return "", err
	}
	if err := r.makeFolder(path); err != nil {
		return "", err
	}
	file := r.file(path)
	if file == nil || !r.toFile[filepath.Clean(path)] {
		r.toFile[filepath.Clean(path)] = true
		return "", r.add(path, []byte(content), attributes)
	}
	before := len(file.Content)
	if !slices.Contains(flags, "append") {
		file.Content = nil
	}
	file.Content, file.Attributes = append(file.Content, content...), attributes
	return "", r.grow(len(file.Content) - before)
}

// fileAttributes reads the owner and mode that a template gives a file. A name of a user is refused: it means what the
// image's /etc/passwd says, which is not what the pod's volume says. No error cites an argument: where one is left out,
// the secret stands in its place.
func fileAttributes(user, group, mode string) (atomicfile.Attributes, error) {
	var a atomicfile.Attributes
	if a.Mode.Set(mode) != nil {
		return a, fault.New(fault.Data, "the fourth argument of writeToFile is not an octal mode, such as 0400")
	}
	owner := user
	if group != "" {
		owner += ":" + group
	}
	if owner == "" {
		return a, nil
	}
	if a.Owner.Set(owner) != nil {
		return a, fault.New(fault.Data, "the user and group of writeToFile are not numeric: write 65532, not a name")
	}
	return a, nil
}

// insideBelow reports whether path is a file below --files-below.
func (r *run) insideBelow(path string) bool {
	relative, err := filepath.Rel(filepath.Clean(r.filesBelow), filepath.Clean(path))
	return err == nil && relative != "." && filepath.IsLocal(relative)
}

// makeFolder makes the folder of path, which must be below --files-below and stay there: no link leads out of it.
func (r *run) makeFolder(path string) error {
	if r.filesBelow == "" {
		return fault.Hint(fault.New(fault.Conflict, "writeToFile %s: no folder is open to templates", path),
			"give --files-below %s", filepath.Dir(path))
	}
	if !r.insideBelow(path) {
		return fault.Hint(fault.New(fault.Conflict, "writeToFile %s: it is not below %s", path, r.filesBelow),
			"choose another --files-below")
	}
	root, err := os.OpenRoot(r.env.Path(r.filesBelow))
	if err != nil {
		return fault.Output(err)
	}
	defer root.Close()
	relative, err := filepath.Rel(filepath.Clean(r.filesBelow), filepath.Dir(filepath.Clean(path)))
	if err != nil {
		return err
	}
	return fault.Output(root.MkdirAll(relative, 0o755))
}
