package manifest

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/manifest/document"
	"github.com/slipway-init/slipway/internal/needs"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/step"
)

// source is what a volume is made of.
type source int

const (
	scratch   source = iota // an emptyDir
	memory                  // an emptyDir in memory
	configMap               // files that are no secrets
	secret                  // files that are
	token                   // a service account's token for another audience
	apiToken                // what a service account has by default: token, authority, namespace
)

// volume is a folder that the containers share.
type volume struct {
	folder  string
	name    string
	kind    source
	files   []string // that are read from it, without their folder
	comment string
}

// system are folders that a volume would hide, with all that is in them.
var system = []string{"/", "/bin", "/boot", "/dev", "/etc", "/etc/ssl", "/etc/ssl/certs", "/lib", "/proc", "/run", "/sbin", "/sys", "/usr", "/var", "/var/run"}

// secretOptions are options that name a file which holds a secret.
var secretOptions = []string{
	"key-file", "password-file", "bearer-file", "netrc-file", "github-app-key", "ssh-key", "ssh-key-passphrase-file", "token-file", "sse-c-key-file",
}

// defaultToken is where a service account's token is, unless a pod says otherwise.
const defaultToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// findVolumes finds the folders of the whole plan, so that all containers call them the same.
func (b *builder) findVolumes() error {
	plain, secrets := make(map[string]string), make(map[string]string) // folder → the first step that writes there
	for t := range b.plan.Tasks() {
		for _, object := range writes(t) {
			folder := folderOf(t, object)
			switch {
			case !path.IsAbs(folder):
				return fault.Hint(fault.New(fault.Usage, "%s: %s writes %s, which no volume can be mounted for", t.Pos, t.ID, object), "write an absolute path")
			case slices.Contains(system, folder):
				return fault.Hint(fault.New(fault.Usage, "%s: %s writes %s: a volume for %s would hide what is there", t.Pos, t.ID, object, folder),
					"write below a folder of its own, such as /work")
			case slices.Contains(Secrets(t), object):
				secrets[folder] = cmp.Or(secrets[folder], t.ID)
			default:
				plain[folder] = cmp.Or(plain[folder], t.ID)
			}
		}
	}
	for _, folder := range outermost(secrets) {
		b.volumes = append(b.volumes, &volume{folder: folder, kind: memory, comment: line("in memory, for the secrets of %s", secrets[folder])})
	}
	for _, folder := range outermost(plain) {
		if b.volumeOf(folder) == nil {
			b.volumes = append(b.volumes, &volume{folder: folder})
		}
	}
	if err := b.findInputs(); err != nil {
		return err
	}
	slices.SortFunc(b.volumes, func(a, b *volume) int { return strings.Compare(a.folder, b.folder) })
	taken := make(map[string]bool)
	for _, v := range b.volumes {
		v.name = label(v.folder, taken)
	}
	return nil
}

// findInputs finds the folders that are read and that no step writes.
func (b *builder) findInputs() error {
	for t := range b.plan.Tasks() {
		for _, e := range effects(t) {
			object, kind, comment := e.Object, configMap, ""
			switch {
			case e.Verb == step.Dial && strings.HasPrefix(object, "unix://"):
				object, kind, comment = strings.TrimPrefix(object, "unix://"), scratch, "mount it into the container that makes the socket"
			case e.Verb == step.Load || e.Verb != step.Read:
				continue
			case awaited(t, object):
				kind, comment = scratch, "mount it into the container that makes the file"
			case object == defaultToken && t.Kind.Name != "vault-render":
				kind = apiToken
			case t.Kind.Name == "vault-render" && (object == defaultToken || object == value(t, "jwt-file")):
				kind = token
			case isSecret(t, object):
				kind = secret
			}
			if b.volumeOf(object) != nil && b.volumeOf(object).kind <= memory {
				continue
			}
			folder := path.Dir(path.Clean(object))
			switch {
			case !path.IsAbs(object):
				return fault.Hint(fault.New(fault.Usage, "%s: %s reads %s, which no volume can be mounted for", t.Pos, t.ID, object), "write an absolute path")
			case strings.HasPrefix(object, "/etc/ssl/") && kind == configMap:
				continue // the image has them
			case slices.Contains(system, folder):
				return fault.Hint(fault.New(fault.Usage, "%s: %s reads %s: a volume for %s would hide what is there", t.Pos, t.ID, object, folder),
					"read from a folder of its own, such as /input")
			}
			b.input(folder, path.Base(object), kind, comment)
		}
	}
	return nil
}

// input adds a file to the volume of its folder. A folder that has secrets and other files is a Secret's.
func (b *builder) input(folder, file string, kind source, comment string) {
	for _, v := range b.volumes {
		if v.folder != folder || v.kind == scratch && kind != scratch {
			continue
		}
		if v.kind == configMap {
			v.kind = kind
		}
		if !slices.Contains(v.files, file) {
			v.files = append(v.files, file)
		}
		return
	}
	b.volumes = append(b.volumes, &volume{folder: folder, kind: kind, files: []string{file}, comment: comment})
}

// volumeOf returns the volume that holds a path most closely, nil if there is none.
func (b *builder) volumeOf(name string) *volume {
	var best *volume
	for _, v := range b.volumes {
		if within(name, v.folder) && (best == nil || len(v.folder) > len(best.folder)) {
			best = v
		}
	}
	return best
}

// uses reports how a share uses a volume.
func (b *builder) uses(s share, v *volume) (used, writable bool) {
	for _, t := range s.tasks() {
		for _, object := range writes(t) {
			if b.volumeOf(folderOf(t, object)) == v {
				used, writable = true, true
			}
		}
		for _, e := range effects(t) {
			object := strings.TrimPrefix(e.Object, "unix://")
			if (e.Verb == step.Read || e.Object != object) && b.volumeOf(object) == v {
				used = true
			}
		}
	}
	return used, writable
}

// value returns the volume as the pod's spec has it.
func (b *builder) volumeValue(v *volume) document.Value {
	comment := v.comment
	m := document.Map("name", v.name)
	switch v.kind {
	case scratch:
		m.Set("emptyDir", document.Flow())
	case memory:
		m.Set("emptyDir", document.Flow("medium", "Memory", "sizeLimit", "4Mi"))
	case configMap:
		m.Set("configMap", document.Flow("name", b.Name+"-"+v.name))
		comment = line("a ConfigMap that must exist, with %s", strings.Join(v.files, ", "))
	case secret:
		m.Set("secret", document.Flow("secretName", b.Name+"-"+v.name))
		comment = line("a Secret that must exist, with %s", strings.Join(v.files, ", "))
	case token:
		var sources []document.Value
		for _, file := range v.files {
			sources = append(sources, document.Map("serviceAccountToken", document.Flow("path", file, "audience", b.Audience, "expirationSeconds", 600)))
		}
		m.Set("projected", document.Map("sources", document.List(sources...)))
		comment = line("a token for Vault alone: its role must name the audience %s", b.Audience)
	case apiToken:
		m.Set("projected", document.Map("sources", document.List(
			document.Map("serviceAccountToken", document.Flow("path", "token", "expirationSeconds", 3600)),
			document.Map("configMap", document.Map("name", "kube-root-ca.crt", "items", document.List(document.Flow("key", "ca.crt", "path", "ca.crt")))),
			document.Map("downwardAPI", document.Map("items", document.List(
				document.Flow("path", "namespace", "fieldRef", document.Flow("fieldPath", "metadata.namespace")))))),
		))
		comment = "the API server's token, for this container alone"
	}
	return m.Comment(comment)
}

// effects returns a task's, and the reading of the token that vault-render logs in with where nothing else is given: which
// that is its environment decides, and here that is known.
func effects(t *plan.Task) []step.Effect {
	if t.Kind.Name == "vault-render" && value(t, "auth") == "" && value(t, "token-file") == "" {
		return append(slices.Clone(t.Effects), step.Effect{Verb: step.Read, Object: cmp.Or(value(t, "jwt-file"), defaultToken)})
	}
	return t.Effects
}

// Secrets returns the objects that a task writes which hold secrets.
func Secrets(t *plan.Task) []string {
	if writer, ok := t.Step.(step.SecretWriter); ok {
		return writer.Secrets()
	}
	return nil
}

// writes returns what a task writes or gives away.
func writes(t *plan.Task) []string { return needs.Of(&plan.Plan{Root: plan.Sequence{t}}).Writes }

// folderOf returns the folder that must be a volume for a task to write an object: the tree itself, or the folder that
// holds it. A directory at the top of the file system can be a volume itself alone.
func folderOf(t *plan.Task, object string) string {
	if tree, ok := strings.CutSuffix(object, "/..."); ok {
		return path.Clean(tree)
	}
	object = path.Clean(object)
	if path.Dir(object) == "/" && slices.Contains([]string{"mkdir", "chown", "chmod"}, t.Kind.Name) {
		return object
	}
	return path.Dir(object)
}

// outermost returns the folders that lie in none of the others, sorted.
func outermost(folders map[string]string) []string {
	var all []string
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		if !slices.ContainsFunc(all, func(outer string) bool { return within(folder, outer) }) {
			all = append(all, folder)
		}
	}
	return all
}

// within reports whether a path is folder or lies in it.
func within(name, folder string) bool {
	return name == folder || strings.HasPrefix(name, strings.TrimSuffix(folder, "/")+"/")
}

// awaited reports whether a path is a file that a task waits for.
func awaited(t *plan.Task, object string) bool {
	return t.Kind.Name == "wait-for" && slices.ContainsFunc(values(t, "target"), func(target string) bool {
		return strings.HasPrefix(target, "file://") && within(strings.TrimPrefix(target, "file://"), object)
	})
}

// isSecret reports whether an option that names secrets names the file.
func isSecret(t *plan.Task, object string) bool {
	found := false
	t.Options.VisitAll(func(flag *pflag.Flag) {
		switch {
		case !flag.Changed:
		case slices.Contains(secretOptions, flag.Name):
			found = found || path.Clean(flag.Value.String()) == object
		case flag.Value.Type() == "ref":
			found = found || path.Clean(strings.TrimPrefix(flag.Value.String(), "file:")) == object
		case strings.HasSuffix(flag.Name, "-from"):
			found = found || slices.ContainsFunc(values(t, flag.Name), func(text string) bool { return strings.HasSuffix(text, "file:"+object) })
		}
	})
	return found
}

// value returns a task's option as text, "" if it has none of the name.
func value(t *plan.Task, option string) string {
	if flag := t.Options.Lookup(option); flag != nil {
		return flag.Value.String()
	}
	return ""
}

// values returns the items of a task's option that is a list.
func values(t *plan.Task, option string) []string {
	if flag := t.Options.Lookup(option); flag != nil {
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			return list.GetSlice()
		}
	}
	return nil
}

// label makes a name of a path that no other volume has.
func label(folder string, taken map[string]bool) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.Trim(folder, "/")) {
		if (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9') {
			b.WriteRune(r)
		} else {
			b.WriteByte('-')
		}
	}
	text := strings.Trim(b.String(), "-")
	if folder == path.Dir(defaultToken) {
		text = "service-account"
	}
	if len(text) > 20 {
		text = strings.Trim(text[len(text)-20:], "-")
	}
	return unique(cmp.Or(text, "volume"), taken)
}

// unique returns text, with a number behind it if it is taken.
func unique(text string, taken map[string]bool) string {
	name := text
	for i := 2; taken[name]; i++ {
		name = text + "-" + strconv.Itoa(i)
	}
	taken[name] = true
	return name
}
