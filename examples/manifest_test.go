package examples

import (
	"maps"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/needs"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/steps"
)

// The types below are Kubernetes' objects as far as the examples use them. A key that is not here is taken for a
// mistake: add a field for a new one.
type (
	object struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
	}
	metadata struct {
		Name      string
		Namespace string
		Labels    map[string]string
	}
	podManifest struct {
		object   `yaml:",inline"`
		Metadata metadata
		Spec     podSpec
	}
	jobManifest struct {
		object   `yaml:",inline"`
		Metadata metadata
		Spec     struct {
			BackoffLimit          int `yaml:"backoffLimit"`
			ActiveDeadlineSeconds int `yaml:"activeDeadlineSeconds"`
			PodFailurePolicy      struct {
				Rules []failureRule
			} `yaml:"podFailurePolicy"`
			Template podTemplate
		}
	}
	failureRule struct {
		Action          string
		OnExitCodes     *exitCodes `yaml:"onExitCodes"`
		OnPodConditions []struct {
			Type   string
			Status string
		} `yaml:"onPodConditions"`
	}
	exitCodes struct {
		ContainerName string `yaml:"containerName"`
		Operator      string
		Values        []int
	}
	statefulSetManifest struct {
		object   `yaml:",inline"`
		Metadata metadata
		Spec     struct {
			ServiceName         string `yaml:"serviceName"`
			Replicas            int
			PodManagementPolicy string `yaml:"podManagementPolicy"`
			Selector            struct {
				MatchLabels map[string]string `yaml:"matchLabels"`
			}
			Template             podTemplate
			VolumeClaimTemplates []struct {
				Metadata metadata
				Spec     struct {
					AccessModes []string `yaml:"accessModes"`
					Resources   resources
				}
			} `yaml:"volumeClaimTemplates"`
		}
	}
	podTemplate struct {
		Metadata metadata
		Spec     podSpec
	}
	podSpec struct {
		RestartPolicy                string `yaml:"restartPolicy"`
		ServiceAccountName           string `yaml:"serviceAccountName"`
		AutomountServiceAccountToken *bool  `yaml:"automountServiceAccountToken"`
		SecurityContext              struct {
			RunAsNonRoot   bool `yaml:"runAsNonRoot"`
			RunAsUser      int  `yaml:"runAsUser"`
			RunAsGroup     int  `yaml:"runAsGroup"`
			FSGroup        int  `yaml:"fsGroup"`
			SeccompProfile struct {
				Type string
			} `yaml:"seccompProfile"`
		} `yaml:"securityContext"`
		InitContainers []container `yaml:"initContainers"`
		Containers     []container
		Volumes        []struct {
			Name     string
			EmptyDir *struct {
				Medium    string
				SizeLimit string `yaml:"sizeLimit"`
			} `yaml:"emptyDir"`
			HostPath *struct {
				Path, Type string
			} `yaml:"hostPath"`
			ConfigMap *struct{ Name string } `yaml:"configMap"`
			Secret    *struct {
				SecretName  string `yaml:"secretName"`
				DefaultMode *int32 `yaml:"defaultMode"`
			}
			Projected *struct {
				Sources []struct {
					ServiceAccountToken struct {
						Path              string
						Audience          string
						ExpirationSeconds int `yaml:"expirationSeconds"`
					} `yaml:"serviceAccountToken"`
				}
			}
		}
	}
	container struct {
		Name               string
		Image              string
		Command            []string
		Args               []string
		Env                []variable
		RestartPolicy      string `yaml:"restartPolicy"`
		RestartPolicyRules []struct {
			Action    string
			ExitCodes exitCodes `yaml:"exitCodes"`
		} `yaml:"restartPolicyRules"`
		SecurityContext securityContext `yaml:"securityContext"`
		Resources       resources
		VolumeMounts    []mount `yaml:"volumeMounts"`
	}
	variable struct {
		Name      string
		Value     string
		ValueFrom *struct {
			SecretKeyRef *struct{ Name, Key string } `yaml:"secretKeyRef"`
			FieldRef     *struct {
				FieldPath string `yaml:"fieldPath"`
			} `yaml:"fieldRef"`
		} `yaml:"valueFrom"`
	}
	securityContext struct {
		RunAsUser                *int  `yaml:"runAsUser"`
		RunAsGroup               *int  `yaml:"runAsGroup"`
		RunAsNonRoot             *bool `yaml:"runAsNonRoot"`
		AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
		Capabilities             struct {
			Add, Drop []string
		}
		AppArmorProfile *profile `yaml:"appArmorProfile"`
		SeccompProfile  *profile `yaml:"seccompProfile"`
		SELinuxOptions  *struct {
			Type string
		} `yaml:"seLinuxOptions"`
	}
	profile struct {
		Type             string
		LocalhostProfile string `yaml:"localhostProfile"`
	}
	resources struct {
		Requests, Limits map[string]string
	}
	mount struct {
		Name      string
		MountPath string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly"`
	}
)

// checkManifest reads one object strictly and checks the pod in it.
func checkManifest(t *testing.T, file, text string) {
	t.Helper()
	var of object
	if err := yaml.Unmarshal([]byte(text), &of); err != nil {
		t.Fatal(err)
	}
	switch of {
	case object{"v1", "Pod"}:
		var pod podManifest
		decode(t, text, &pod)
		checkPod(t, file, pod.Spec, nil)
		checkRestartRules(t, pod.Spec)
	case object{"batch/v1", "Job"}:
		var job jobManifest
		decode(t, text, &job)
		checkPod(t, file, job.Spec.Template.Spec, nil)
		checkFailurePolicy(t, job)
	case object{"apps/v1", "StatefulSet"}:
		var set statefulSetManifest
		decode(t, text, &set)
		var claims []string
		for _, claim := range set.Spec.VolumeClaimTemplates {
			claims = append(claims, claim.Metadata.Name)
		}
		checkPod(t, file, set.Spec.Template.Spec, claims)
		if !maps.Equal(set.Spec.Selector.MatchLabels, set.Spec.Template.Metadata.Labels) {
			t.Error("the selector does not match the template's labels")
		}
	case object{"v1", "Service"}:
		var service struct {
			object   `yaml:",inline"`
			Metadata metadata
			Spec     struct {
				ClusterIP                string `yaml:"clusterIP"`
				PublishNotReadyAddresses bool   `yaml:"publishNotReadyAddresses"`
				Selector                 map[string]string
				Ports                    []struct {
					Name string
					Port int
				}
			}
		}
		decode(t, text, &service)
	case object{"kustomize.config.k8s.io/v1beta1", "Kustomization"}:
		checkKustomization(t, file, text)
	case object{"kustomize.config.k8s.io/v1alpha1", "Component"}, object{"v1", "Namespace"}, object{"networking.k8s.io/v1", "NetworkPolicy"},
		object{"admissionregistration.k8s.io/v1beta1", "MutatingAdmissionPolicy"}, object{"admissionregistration.k8s.io/v1beta1", "MutatingAdmissionPolicyBinding"}:
		// e2e/manifests reads them into the API's own types; lint_test.go looks for what runs slipway in them.
	default:
		t.Fatalf("%+v is neither a plan nor an object that this test knows", of)
	}
}

// checkPod checks what every pod of the examples has in common, and each slipway container.
func checkPod(t *testing.T, file string, pod podSpec, claims []string) {
	t.Helper()
	context := pod.SecurityContext
	if !context.RunAsNonRoot || context.RunAsUser == 0 || context.FSGroup == 0 || context.SeccompProfile.Type != "RuntimeDefault" {
		t.Errorf("the pod's securityContext is not the narrowest: %+v", context)
	}
	if token := pod.AutomountServiceAccountToken; token == nil || *token {
		t.Error("the pod mounts a service account's token that nobody needs")
	}
	volumes := claims
	var ofNode []string
	for _, volume := range pod.Volumes {
		volumes = append(volumes, volume.Name)
		if volume.HostPath != nil {
			ofNode = append(ofNode, volume.Name)
		}
	}
	found := false
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		var capabilities []needs.Capability
		if c.isSlipway() {
			found = true
			capabilities = checkSlipway(t, file, c)
		}
		checkContainer(t, c, volumes, ofNode, capabilities)
	}
	if !found {
		t.Error("no container runs slipway")
	}
}

// checkContainer checks what every container of the examples has in common. One that needs capabilities has those alone,
// and is root: Kubernetes gives them to no other user. So is one that writes to a folder of the node's, which is root's.
func checkContainer(t *testing.T, c container, volumes, ofNode []string, capabilities []needs.Capability) {
	t.Helper()
	no, root := false, 0
	want := securityContext{AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: true}
	want.Capabilities.Drop = []string{"ALL"}
	for _, capability := range capabilities {
		want.RunAsUser, want.RunAsGroup, want.RunAsNonRoot = &root, &root, &no
		want.Capabilities.Add = append(want.Capabilities.Add, capability.Name)
	}
	for _, m := range c.VolumeMounts {
		if slices.Contains(ofNode, m.Name) && !m.ReadOnly {
			want.RunAsUser, want.RunAsGroup, want.RunAsNonRoot = &root, &root, &no
		}
	}
	// Which profiles a container has is what an example may show.
	want.AppArmorProfile, want.SeccompProfile = c.SecurityContext.AppArmorProfile, c.SecurityContext.SeccompProfile
	want.SELinuxOptions = c.SecurityContext.SELinuxOptions
	if c.RestartPolicy == "Always" { // a mesh's proxy is known by its user
		want.RunAsUser, want.RunAsGroup = c.SecurityContext.RunAsUser, c.SecurityContext.RunAsGroup
	}
	if !reflect.DeepEqual(c.SecurityContext, want) {
		t.Errorf("%s: the securityContext is not the narrowest: %+v", c.Name, c.SecurityContext)
	}
	if c.Name == "" || c.Image == "" || c.Resources.Limits["memory"] == "" || c.Resources.Requests["cpu"] == "" {
		t.Errorf("%s: name, image, cpu request or memory limit is missing", c.Name)
	}
	for _, m := range c.VolumeMounts {
		if !slices.Contains(volumes, m.Name) {
			t.Errorf("%s: there is no volume %q", c.Name, m.Name)
		}
	}
}

// isSlipway reports whether the container starts slipway: by its image, or as a command from a shared volume.
func (c container) isSlipway() bool {
	if len(c.Command) > 0 {
		return path.Base(c.Command[0]) == "slipway"
	}
	return strings.Contains(c.Image, "slipway")
}

// checkSlipway dry-runs what the container does, holds its needs against what the container mounts and sets, and returns
// the capabilities that it needs.
func checkSlipway(t *testing.T, file string, c container) []needs.Capability {
	t.Helper()
	if len(c.Command) == 0 && c.Resources.Limits["memory"] != "64Mi" {
		t.Errorf("%s: got a memory limit of %s, want 64Mi", c.Name, c.Resources.Limits["memory"])
	}
	args := local(file, c.Args)
	var environ []string
	for _, v := range c.Env {
		environ = append(environ, v.Name+"="+v.Value)
	}
	dryRun(t, args, environ)

	p := planOf(t, file, c, args)
	n := needs.Of(p)
	for _, folder := range n.Volumes() {
		if !c.mounts(folder, true) {
			t.Errorf("%s: no volume to write below %s", c.Name, folder)
		}
	}
	for _, name := range n.Reads {
		if !c.mounts(name, false) {
			t.Errorf("%s: no volume to read %s", c.Name, name)
		}
	}
	for task := range p.Tasks() {
		for _, reference := range references(task) {
			if !slices.ContainsFunc(c.Env, func(v variable) bool { return v.Name == reference }) {
				t.Errorf("%s: %s refers to the variable %s, which is not set", c.Name, task.ID, reference)
			}
		}
	}
	return n.Capabilities
}

// local returns a container's arguments with a plan file's path in the container turned into that beside the manifest.
func local(file string, args []string) []string {
	args = slices.Clone(args)
	if len(args) == 2 && args[0] == "run" {
		args[1] = filepath.Join(filepath.Dir(file), path.Base(args[1]))
	}
	return args
}

// planOf returns the plan that a container runs.
func planOf(t *testing.T, file string, c container, args []string) *plan.Plan {
	t.Helper()
	switch {
	case len(args) == 2 && args[0] == "run":
		return checkPlan(t, compile(t), args[1], read(t, args[1]))
	case len(args) == 0:
		for _, v := range c.Env {
			if v.Name == "SLIPWAY_PLAN" {
				return checkPlan(t, compile(t), v.Name, v.Value)
			}
		}
	}
	p, err := plan.ParseArgs(steps.All(), args)
	if err != nil {
		t.Fatalf("%s: %s: %v", file, c.Name, err)
	}
	return p
}

// mounts reports whether a path lies in a volume of the container.
func (c container) mounts(name string, writable bool) bool {
	return slices.ContainsFunc(c.VolumeMounts, func(m mount) bool {
		return (name == m.MountPath || strings.HasPrefix(name, m.MountPath+"/")) && !(writable && m.ReadOnly)
	})
}

// references returns the variables that a task's options refer to as env:NAME.
func references(task *plan.Task) []string {
	var names []string
	for _, option := range []string{"from", "password-from"} {
		flag := task.Options.Lookup(option)
		if flag == nil {
			continue
		}
		if name, ok := strings.CutPrefix(flag.Value.String(), "env:"); ok {
			names = append(names, name)
		}
	}
	return names
}

// again holds the exit codes that are worth another try, as documented.
func again() []int {
	var codes []int
	for _, kind := range fault.Kinds() {
		if kind.Transient() {
			codes = append(codes, kind.Code())
		}
	}
	return codes
}

// checkRestartRules holds a pod's restart rules against slipway's exit codes.
func checkRestartRules(t *testing.T, pod podSpec) {
	t.Helper()
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		for _, rule := range c.RestartPolicyRules {
			if rule.Action != "Restart" || rule.ExitCodes.Operator != "In" || !slices.Equal(rule.ExitCodes.Values, again()) {
				t.Errorf("%s: got the rule %+v, want to restart on %v", c.Name, rule, again())
			}
			if c.RestartPolicy == "" {
				t.Errorf("%s: restartPolicyRules want a restartPolicy", c.Name)
			}
		}
	}
}

// sigterm is the exit code of a process that SIGTERM ended.
const sigterm = 128 + 15

// checkFailurePolicy holds a Job's policy against slipway's exit codes.
func checkFailurePolicy(t *testing.T, job jobManifest) {
	t.Helper()
	pod := job.Spec.Template.Spec
	if pod.RestartPolicy != "Never" {
		t.Error("a podFailurePolicy wants the restartPolicy Never")
	}
	for _, rule := range job.Spec.PodFailurePolicy.Rules {
		if (rule.OnExitCodes == nil) == (rule.OnPodConditions == nil) {
			t.Errorf("a rule has one of onExitCodes and onPodConditions: %+v", rule)
		}
		if rule.OnExitCodes == nil {
			continue
		}
		want := exitCodes{ContainerName: rule.OnExitCodes.ContainerName, Operator: "NotIn", Values: append(again(), sigterm)}
		if !reflect.DeepEqual(*rule.OnExitCodes, want) || rule.Action != "FailJob" {
			t.Errorf("got %s %+v, want FailJob %+v", rule.Action, *rule.OnExitCodes, want)
		}
		if !slices.ContainsFunc(pod.Containers, func(c container) bool { return c.Name == want.ContainerName && c.isSlipway() }) {
			t.Errorf("no container %q runs slipway", want.ContainerName)
		}
	}
}

// checkKustomization checks that the files which it names are there.
func checkKustomization(t *testing.T, file, text string) {
	t.Helper()
	var kustomization struct {
		object             `yaml:",inline"`
		Resources          []string
		ConfigMapGenerator []struct {
			Name  string
			Files []string
		} `yaml:"configMapGenerator"`
	}
	decode(t, text, &kustomization)
	named := kustomization.Resources
	for _, generator := range kustomization.ConfigMapGenerator {
		named = append(named, generator.Files...)
	}
	for _, name := range named {
		read(t, filepath.Join(filepath.Dir(file), name))
	}
}

// decode reads one YAML document; keys that v does not know are errors.
func decode(t *testing.T, text string, v any) {
	t.Helper()
	if err := yaml.Load([]byte(text), v, yaml.WithV4Defaults(), yaml.WithKnownFields(true)); err != nil {
		t.Fatal(err)
	}
}

func TestTyposInManifestsAreSeen(t *testing.T) {
	for _, text := range []string{
		"initContainers: [{name: a, imgae: b}]",
		"containers: [{securitycontext: {}}]",
		"securityContext: {runAsNonRoot: yes please}",
		"volumes: [{name: a, emptydir: {}}]",
		"restartPolicy: [Never]",
	} {
		var pod podSpec
		if yaml.Load([]byte(text), &pod, yaml.WithV4Defaults(), yaml.WithKnownFields(true)) == nil {
			t.Errorf("%s was taken", text)
		}
	}
}
