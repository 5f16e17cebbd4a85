package manifest

import (
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/manifest/document"
	"github.com/slipway-init/slipway/internal/needs"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/step"
)

// sigterm is the exit code of a process that SIGTERM ended: the pod was told to go, and nothing failed.
const sigterm = 128 + 15

// workload returns the form that holds the containers.
func (b *builder) workload() ([]document.Value, error) {
	if b.As == InitContainers {
		part, err := b.part()
		return []document.Value{part}, err
	}
	if b.As == Kustomize {
		component, err := b.component()
		return []document.Value{component}, err
	}
	spec, err := b.podSpec()
	if err != nil {
		return nil, err
	}
	template := document.Map("metadata", document.Map("labels", b.labels()), "spec", spec)
	var object document.Value
	switch b.As {
	case Pod:
		object = b.object("v1", "Pod", b.Name)
		object.Set("spec", spec)
	case Deployment:
		object = b.object("apps/v1", "Deployment", b.Name)
		object.Set("spec", document.Map("replicas", 1, "selector", document.Map("matchLabels", b.labels()), "template", template))
	case Job:
		object = b.object("batch/v1", "Job", b.Name)
		job := document.Map("backoffLimit", 6)
		if b.with(PodFailurePolicy) {
			job.Set("podFailurePolicy", b.failurePolicy())
		}
		job.Set("template", template)
		object.Set("spec", job)
	}
	return []document.Value{object}, nil
}

// part returns what is added to a pod's spec.
func (b *builder) part() (document.Value, error) {
	containers, err := b.containers()
	m := document.Map("initContainers", document.List(containers...))
	if len(b.volumes) > 0 {
		m.Set("volumes", b.volumesValue())
		m.Note(b.shared())
	}
	return m, err
}

// shared says what the application has to do to see what was written.
func (b *builder) shared() string {
	var mounts []string
	for _, v := range b.volumes {
		if v.kind == scratch || v.kind == memory {
			mounts = append(mounts, line("- {name: %s, mountPath: %s}", v.name, v.folder))
		}
	}
	if mounts == nil {
		return ""
	}
	text := "the application's container mounts what it uses of:\n" + strings.Join(mounts, "\n")
	if b.secrets() {
		text += "\n" + line("secrets have the mode 0400 unless a step says otherwise: it runs as user %d then", b.UID)
	}
	return text
}

// secrets reports whether a volume holds secrets.
func (b *builder) secrets() bool {
	for _, v := range b.volumes {
		if v.kind == memory {
			return true
		}
	}
	return false
}

func (b *builder) volumesValue() document.Value {
	var all []document.Value
	for _, v := range b.volumes {
		all = append(all, b.volumeValue(v))
	}
	return document.List(all...)
}

// component returns a kustomize component.
func (b *builder) component() (document.Value, error) {
	part, err := b.part()
	if err != nil {
		return part, err
	}
	patch := document.Map("apiVersion", "apps/v1", "kind", "Deployment", "metadata", document.Map("name", "any"),
		"spec", document.Map("template", document.Map("spec", part)))
	text, err := document.YAML(patch)
	component := document.Map("apiVersion", "kustomize.config.k8s.io/v1alpha1", "kind", "Component",
		"patches", document.List(document.Map("target", document.Flow("kind", "Deployment"), "patch", document.Block(string(text)))))
	return component.Comment("as kustomization.yaml in a folder that an overlay lists under components; it patches every Deployment there"), err
}

// podSpec returns a whole pod's spec.
func (b *builder) podSpec() (document.Value, error) {
	containers, err := b.containers()
	if err != nil {
		return document.Value{}, err
	}
	m := document.Map()
	if account := b.account(); account != "" {
		m.Set("serviceAccountName", account)
		m.Note(map[bool]string{false: "a ServiceAccount that must exist; --with rbac prints it"}[b.with(RBAC)])
	}
	m.Set("automountServiceAccountToken", false)
	switch {
	case b.As == Job, b.As == Pod && b.with(RestartRules):
		m.Set("restartPolicy", "Never")
	case b.As == Pod && b.AppImage == "":
		m.Set("restartPolicy", "OnFailure")
	}
	m.Set("securityContext", document.Map("runAsNonRoot", true, "runAsUser", b.UID, "runAsGroup", b.GID, "fsGroup", b.GID,
		"seccompProfile", document.Flow("type", "RuntimeDefault")))
	last := len(containers) - 1
	if b.AppImage != "" {
		m.Set("initContainers", document.List(containers...))
		m.Set("containers", document.List(b.application()))
	} else {
		if last > 0 {
			m.Set("initContainers", document.List(containers[:last]...))
		}
		m.Set("containers", document.List(containers[last]))
	}
	if len(b.volumes) > 0 {
		m.Set("volumes", b.volumesValue())
	}
	return m, nil
}

// application returns the container of the application, which sees what slipway wrote.
func (b *builder) application() document.Value {
	var mounts []document.Value
	for _, v := range b.volumes {
		if v.kind > memory {
			continue
		}
		m := document.Flow("name", v.name, "mountPath", v.folder)
		if v.kind == memory {
			m.Set("readOnly", true)
		}
		mounts = append(mounts, m)
	}
	c := document.Map("name", "app", "image", b.AppImage,
		"securityContext", b.security(nil),
		"resources", document.Map("requests", document.Flow("cpu", "100m", "memory", "128Mi"), "limits", document.Flow("memory", "128Mi")))
	if mounts != nil {
		c.Set("volumeMounts", document.List(mounts...))
	}
	return c
}

// failurePolicy returns a Job's policy: what time may mend counts towards backoffLimit, all else ends the Job.
func (b *builder) failurePolicy() document.Value {
	disrupted := document.Map("action", "Ignore", "onPodConditions", document.List(document.Flow("type", "DisruptionTarget", "status", "True")))
	rules := []document.Value{disrupted.Comment("a pod that was evicted has not failed")}
	comment := line("%s are worth another try, %d is a SIGTERM; all others end the Job", strings.Trim(codes(), "[]"), sigterm)
	taken := make(map[string]bool)
	for i, s := range b.shares {
		values := again()
		values.Add(sigterm)
		rule := document.Map("action", "FailJob", "onExitCodes",
			document.Map("containerName", b.containerName(i, s, taken), "operator", "NotIn", "values", values))
		rules = append(rules, rule.Comment(comment))
		comment = ""
	}
	return document.Map("rules", document.List(rules...))
}

// containerName returns the name of a share's container.
func (b *builder) containerName(i int, s share, taken map[string]bool) string {
	text := b.Name
	if i > 0 {
		suffix := "more"
		if len(s.capabilities) > 0 {
			suffix = strings.ToLower(strings.ReplaceAll(strings.Join(names(s.capabilities), "-"), "_", "-"))
		}
		text += "-" + suffix
	}
	return unique(text, taken)
}

// codes lists the exit codes that are worth another try.
func codes() string {
	var all []string
	for _, kind := range fault.Kinds() {
		if kind.Transient() {
			all = append(all, line("%d", kind.Code()))
		}
	}
	return strings.Join(all, ", ")
}

// kindsOf returns the kinds of a plan's steps.
func kindsOf(p *plan.Plan) []step.Kind {
	var kinds []step.Kind
	seen := make(map[string]bool)
	for t := range p.Tasks() {
		if !seen[t.Kind.Name] {
			seen[t.Kind.Name] = true
			kinds = append(kinds, t.Kind)
		}
	}
	return kinds
}

// dials returns what a plan connects to.
func dials(p *plan.Plan) []string { return needs.Of(p).Dials }
