package aws

import (
	"cmp"
	"path"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
)

// profile is a section of the shared configuration, with the settings of both files:
// https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html. Pods have them from a volume, people in their homes.
type profile struct {
	name     string
	settings map[string]string // by the key in lower case, with its section before a dot: "s3.addressing_style"
	services map[string]string // of the services section that the profile names, in the same way: "s3.endpoint_url"

	files sections
}

// sections are those of both files, by their names as the configuration file has them: "profile x", "services y". The
// default profile is "profile default".
type sections map[string]map[string]string

// loadProfile returns the profile of that name, else that of AWS_PROFILE or AWS_DEFAULT_PROFILE, else the default one,
// from the files of AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE, else those of the home folder. A file that cannot be
// read is an empty one, as for AWS's own tools: a pod's HOME is often another user's. A named profile that is nowhere is
// NoInput.
func loadProfile(env *step.Env, name string) (profile, error) {
	home := env.Getenv("HOME")
	files := make(sections)
	for _, file := range []struct {
		variable, name string
		credentials    bool // its names stand without "profile"; what it says counts before the other
	}{
		{"AWS_CONFIG_FILE", "config", false},
		{"AWS_SHARED_CREDENTIALS_FILE", "credentials", true},
	} {
		at := env.Getenv(file.variable)
		if at == "" && home == "" {
			continue
		} else if at == "" {
			at = path.Join(home, ".aws", file.name)
		}
		if text, err := httpx.ReadFile(env, at); err == nil {
			files.read(string(text), file.credentials)
		}
	}
	named := cmp.Or(name, env.Getenv("AWS_PROFILE"), env.Getenv("AWS_DEFAULT_PROFILE"))
	return files.profile(named)
}

// profile returns the profile of that name; "" is the default one, which need not be there.
func (s sections) profile(name string) (profile, error) {
	settings, ok := s["profile "+cmp.Or(name, "default")]
	if !ok && name != "" && name != "default" {
		err := fault.New(fault.NoInput, "AWS: there is no profile %q", name)
		return profile{}, fault.Hint(err, "AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name the files with profiles")
	}
	return profile{name: cmp.Or(name, "default"), settings: settings, services: s["services "+settings["services"]], files: s}, nil
}

// read adds what is in the text of a file. Lines that mean nothing are passed over, as AWS's own tools do.
func (s sections) read(text string, credentials bool) {
	var section map[string]string
	var above string // the key of the line above, whose value is what is indented below it
	for line := range strings.Lines(text) {
		indented := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			continue
		case line[0] == '[':
			name, _, _ := strings.Cut(line[1:], "]")
			section, above = s.section(strings.TrimSpace(name), credentials), ""
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section == nil {
			continue
		}
		key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(uncommented(value))
		switch {
		case key == "":
		case !indented:
			above = key
			section[key] = value
		case above != "" && section[above] == "":
			section[above+"."+key] = value
		}
	}
}

// section returns the section of that name in its file, nil if it is of no use.
func (s sections) section(name string, credentials bool) map[string]string {
	kind, rest, _ := strings.Cut(name, " ")
	switch rest = strings.Trim(strings.TrimSpace(rest), `"'`); {
	case credentials:
		name = "profile " + name
	case name == "default":
		name = "profile default"
	case rest != "" && (kind == "profile" || kind == "services"):
		name = kind + " " + rest
	default:
		return nil
	}
	if s[name] == nil {
		s[name] = make(map[string]string)
	}
	return s[name]
}

// uncommented returns value without the comment at its end, which a blank sets apart.
func uncommented(value string) string {
	for at := range len(value) {
		if (value[at] == '#' || value[at] == ';') && at > 0 && (value[at-1] == ' ' || value[at-1] == '\t') {
			return value[:at]
		}
	}
	return value
}
