// Package manifests holds no code: its tests read what slipway manifest prints, and the examples, into the Kubernetes API's own types.
// That needs no cluster, and the binary must not carry those types.
package manifests

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	admissionv1beta1 "k8s.io/api/admissionregistration/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// TestManifestsAreKubernetesObjects decodes every golden manifest and every example strictly into the API's own types: a field that is not
// theirs, or of another type, fails. It needs no cluster.
func TestManifestsAreKubernetesObjects(t *testing.T) {
	files, err := filepath.Glob("../../internal/manifest/testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifest: %v", err)
	}
	examples, err := filepath.Glob("../../examples/*/*.yaml")
	if err != nil || len(examples) == 0 {
		t.Fatalf("no example: %v", err)
	}
	files = append(files, examples...)
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, document := range bytes.Split(data, []byte("\n---\n")) {
				strict(t, document)
			}
		})
	}
}

// strict decodes one object as the API server would.
func strict(t *testing.T, document []byte) {
	t.Helper()
	var of struct {
		Kind    string
		Steps   []any
		Patches []struct{ Patch string }
	}
	if err := yaml.Unmarshal(document, &of); err != nil {
		t.Fatal(err)
	}
	types := map[string]any{
		"": new(corev1.PodSpec), "Pod": new(corev1.Pod), "ConfigMap": new(corev1.ConfigMap), "ServiceAccount": new(corev1.ServiceAccount),
		"Deployment": new(appsv1.Deployment), "StatefulSet": new(appsv1.StatefulSet), "Service": new(corev1.Service), "Namespace": new(corev1.Namespace), "Job": new(batchv1.Job), "NetworkPolicy": new(networkingv1.NetworkPolicy),
		"MutatingAdmissionPolicy": new(admissionv1beta1.MutatingAdmissionPolicy), "MutatingAdmissionPolicyBinding": new(admissionv1beta1.MutatingAdmissionPolicyBinding),
		"Role": new(rbacv1.Role), "RoleBinding": new(rbacv1.RoleBinding),
	}
	if of.Steps != nil || of.Kind == "Kustomization" {
		return // a plan; what only kustomize reads
	}
	if of.Kind == "Component" {
		for _, patch := range of.Patches {
			strict(t, []byte(patch.Patch))
		}
		return
	}
	into, known := types[of.Kind]
	if !known {
		t.Fatalf("the kind %q is not known here", of.Kind)
	}
	if err := yaml.UnmarshalStrict(document, into); err != nil {
		t.Errorf("%v\n%s", err, document)
	}
}

func TestStrictDecodingSeesTypos(t *testing.T) {
	for _, text := range []string{"initContainers: [{name: a, imgae: b}]", "initContainers: [{name: a, securityContext: {runAsUser: me}}]", "volume: []"} {
		if yaml.UnmarshalStrict([]byte(text), new(corev1.PodSpec)) == nil {
			t.Errorf("%s was taken", text)
		}
	}
}
