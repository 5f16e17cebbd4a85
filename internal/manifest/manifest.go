// Package manifest makes of a plan what a pod needs to run it, and no more: the containers with their privileges, mounts and
// variables, the volumes, and the objects around them. All of it is derived from the effects of the plan's steps. What
// cannot be derived, such as the names of Secrets, is said in a comment.
//
// split.go divides a plan by privileges, volumes.go finds the folders, container.go writes a container, pod.go what
// holds the containers, policy.go and cloud.go what stands beside them.
package manifest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/manifest/document"
	"github.com/slipway-init/slipway/internal/needs"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/step"
)

// The forms that a manifest may have.
const (
	InitContainers = "initcontainers" // the part of a pod's spec
	Kustomize      = "kustomize"      // a kustomize component that adds the part to workloads
	Pod            = "pod"
	Deployment     = "deployment"
	Job            = "job"
)

// Forms returns all forms, the default first.
func Forms() []string { return []string{InitContainers, Kustomize, Pod, Deployment, Job} }

// What may stand beside the containers.
const (
	NetworkPolicy    = "networkpolicy"
	RBAC             = "rbac"
	PodFailurePolicy = "podfailurepolicy"
	RestartRules     = "restartrules"
	VaultPolicy      = "vaultpolicy"
	IAMPolicy        = "iampolicy"
)

// Extras returns all that may stand beside the containers.
func Extras() []string {
	return []string{NetworkPolicy, RBAC, PodFailurePolicy, RestartRules, VaultPolicy, IAMPolicy}
}

// Options say what is wanted.
type Options struct {
	As             string   // a form
	With           []string // extras
	Name           string   // of the container and of all objects
	Image          string
	AppImage       string // the application's; empty makes the last slipway container the pod's own, where that is possible
	ServiceAccount string // empty is Name where one is needed
	Audience       string // of the tokens for Vault
	UID, GID       int    // of the containers that need no privilege
	Single         bool   // one container, with all privileges that any step needs
}

// isName reports whether text is a label of DNS (RFC 1123), as names of objects and containers are, short enough for what is
// put behind it.
func isName(text string) bool {
	return text != "" && len(text) <= 40 && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" &&
		!strings.HasPrefix(text, "-") && !strings.HasSuffix(text, "-")
}

// check returns a fault for each option that is wrong.
func (o *Options) check() error {
	fail := func(hint, format string, args ...any) error {
		return fault.Hint(fault.New(fault.Usage, format, args...), "%s", hint)
	}
	if !slices.Contains(Forms(), o.As) {
		return fail("write one of "+strings.Join(Forms(), ", "), "--as: %q is no form", o.As)
	}
	for _, extra := range o.With {
		if !slices.Contains(Extras(), extra) {
			return fail("write some of "+strings.Join(Extras(), ", "), "--with: %q is not known", extra)
		}
		if o.As == Kustomize && extra != RestartRules {
			return fail("print it with another --as into a file, and list that under the component's resources", "--with %s: a kustomize component holds no objects", extra)
		}
	}
	for option, text := range map[string]string{"name": o.Name, "service-account": o.ServiceAccount} {
		if !isName(text) && (text != "" || option == "name") {
			return fail("write lower case letters, digits and dashes, 40 at most", "--%s: %q is no name of an object", option, text)
		}
	}
	switch {
	case o.Image == "" || strings.ContainsAny(o.Image, " \t\n"):
		return fail("write --image ghcr.io/slipway-init/slipway@sha256:…", "--image: %q is no image", o.Image)
	case strings.ContainsAny(o.AppImage, " \t\n"):
		return fail("write --app-image registry.example.com/app@sha256:…", "--app-image: %q is no image", o.AppImage)
	case o.As == Deployment && o.AppImage == "":
		return fail("write --app-image; a plan alone ends, which is a pod's or a job's way", "--as deployment: no application")
	case o.with(PodFailurePolicy) && o.As != Job:
		return fail("write --as job; for pods there is --with restartrules", "--with podfailurepolicy: only a Job has one")
	case o.UID <= 0 || o.GID < 0 || o.UID >= 1<<31 || o.GID >= 1<<31:
		return fail("write --user 65532:65532", "--user: %d:%d is root or no user", o.UID, o.GID)
	}
	return nil
}

func (o *Options) with(extra string) bool { return slices.Contains(o.With, extra) }

// builder is the making of one manifest.
type builder struct {
	Options
	plan    *plan.Plan
	shares  []share
	volumes []*volume
}

// Make returns the manifest of a plan. Its error is of kind Usage: a plan that no pod could run, or options that do not fit.
func Make(p *plan.Plan, o Options) ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	for t := range p.Tasks() {
		if slices.Contains([]string{"apparmor-load", "seccomp-install"}, t.Kind.Name) {
			return nil, fault.Hint(fault.New(fault.Usage, "%s: %s works on the node, by its folders and as root: that is no part of an application's pod", t.Pos, t.ID),
				"examples/node-security has pods for it")
		}
		for _, e := range t.Effects {
			if e.Verb == step.Replace {
				return nil, fault.Hint(fault.New(fault.Usage, "%s: %s replaces slipway, and an init container has to end", t.Pos, t.ID),
					"leave the step out; examples/entrypoint has the application's own container begin with slipway")
			}
		}
	}
	b := &builder{Options: o, plan: p, shares: split(p, o.Single)}
	if err := b.findVolumes(); err != nil {
		return nil, err
	}
	documents, err := b.workload()
	if err != nil {
		return nil, err
	}
	for _, extra := range Extras() {
		if b.with(extra) {
			documents = append(documents, b.extra(extra)...)
		}
	}
	return document.YAML(documents...)
}

// extra returns the objects of one extra.
func (b *builder) extra(extra string) []document.Value {
	switch extra {
	case NetworkPolicy:
		return []document.Value{b.networkPolicy()}
	case RBAC:
		return b.rbac()
	case VaultPolicy:
		return []document.Value{b.vaultPolicy()}
	case IAMPolicy:
		return []document.Value{b.iamPolicy()}
	}
	return nil // it is a part of the containers or of the Job
}

// object begins an object.
func (b *builder) object(version, kind, name string) document.Value {
	return document.Map("apiVersion", version, "kind", kind, "metadata", document.Map("name", name, "labels", b.labels()))
}

// labels select the pods.
func (b *builder) labels() document.Value { return document.Flow("app.kubernetes.io/name", b.Name) }

// account is the pod's service account, "" for the namespace's own.
func (b *builder) account() string {
	if b.ServiceAccount == "" && (b.with(RBAC) || slices.ContainsFunc(b.volumes, func(v *volume) bool { return v.kind == token })) {
		return b.Name
	}
	return b.ServiceAccount
}

// again are the exit codes that are worth another try.
func again() document.Value {
	v := document.Ints()
	for _, kind := range fault.Kinds() {
		if kind.Transient() {
			v.Add(kind.Code())
		}
	}
	return v
}

// names returns the names of capabilities.
func names(capabilities []needs.Capability) []string {
	var all []string
	for _, c := range capabilities {
		all = append(all, c.Name)
	}
	return all
}

// line returns text fit for a comment: one line of a bounded length.
func line(format string, args ...any) string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == '\u2028' || r == '\u2029' || r == '\ufeff' {
			return ' '
		}
		return r
	}, fmt.Sprintf(format, args...))
	if runes := []rune(text); len(runes) > 200 {
		text = string(runes[:199]) + "…"
	}
	return text
}
