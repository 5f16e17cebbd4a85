package waitfor

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/kube"
	"github.com/slipway-init/slipway/internal/plan"
	"github.com/slipway-init/slipway/internal/run"
	"github.com/slipway-init/slipway/internal/step/steptest"
)

// cluster is an API server over TLS, as far as readiness asks it, with the pod's files that lead to it.
type cluster struct {
	*httptest.Server

	root string // of the pod

	mu      sync.Mutex
	token   string            // the one that it takes
	answers map[string]string // path with query → "STATUS BODY"; a path that is not there is a kind that is not known
	asked   []string
}

func newCluster(t *testing.T, answers map[string]string) *cluster {
	t.Helper()
	c := &cluster{token: "first", answers: answers, root: t.TempDir()}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(c.answer))
	c.Config.ErrorLog = log.New(io.Discard, "", 0)
	c.StartTLS()
	t.Cleanup(c.Close)
	if err := os.MkdirAll(filepath.Join(c.root, filepath.Dir(kube.TokenFile)), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(c.root, kube.TokenFile), "first\n")
	write(t, filepath.Join(c.root, kube.CAFile), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})))
	return c
}

func (c *cluster) answer(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, r.URL.RequestURI())
	if r.Header.Get("Authorization") != "Bearer "+c.token {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"kind":"Status","message":"Unauthorized","reason":"Unauthorized","code":401}`)
		return
	}
	text, known := c.answers[r.URL.RequestURI()]
	if !known {
		http.NotFound(w, r)
		return
	}
	status, body, _ := strings.Cut(text, " ")
	code := http.StatusOK
	if _, err := fmt.Sscan(status, &code); err != nil {
		panic(err)
	}
	if code == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(code)
	fmt.Fprint(w, body)
}

// environ returns what Kubernetes puts into the environment of a pod.
func (c *cluster) environ() []string {
	u, _ := url.Parse(c.URL)
	return []string{"KUBERNETES_SERVICE_HOST=" + u.Hostname(), "KUBERNETES_SERVICE_PORT=" + u.Port()}
}

// once returns what one look says.
func (c *cluster) once(t *testing.T, options ...string) error {
	t.Helper()
	task := steptest.Task(t, Kind, options)
	task.Policy.Retries = 0
	return steptest.Run(t.Context(), task, c.root, c.environ()...).Err
}

// The answers of an API server of version 1.34, shortened to what they tell.
const (
	absent = `404 {"kind":"Status","status":"Failure","message":"pods \"x\" not found","reason":"NotFound","details":{"name":"x","kind":"pods"},"code":404}`
	denied = `403 {"kind":"Status","status":"Failure","message":"jobs.batch \"migrate\" is forbidden: User \"system:serviceaccount:shop:default\" ` +
		`cannot get resource \"jobs\" in API group \"batch\" in the namespace \"shop\"","reason":"Forbidden","details":{"name":"migrate","group":"batch","kind":"jobs"},"code":403}`
	endpoints = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Ddb&limit=10"
)

func conditions(list ...string) string {
	return `200 {"metadata":{"generation":2},"status":{"observedGeneration":2,"conditions":[` + strings.Join(list, ",") + `]}}`
}

func condition(kind, status, reason, message string) string {
	return fmt.Sprintf(`{"type":%q,"status":%q,"reason":%q,"message":%q}`, kind, status, reason, message)
}

func TestObjectsInTheCluster(t *testing.T) {
	complete := conditions(condition("SuccessCriteriaMet", "True", "", ""), condition("Complete", "True", "", ""))
	failed := conditions(condition("Failed", "True", "BackoffLimitExceeded", "Job has reached the specified backoff limit"))
	unready := conditions(condition("Ready", "False", "ContainersNotReady", "containers with unready status: [app]"))
	ready := conditions(condition("Ready", "True", "", ""))
	const job, pod, deployment = "/apis/batch/v1/namespaces/shop/jobs/migrate", "/api/v1/namespaces/shop/pods/x", "/apis/apps/v1/namespaces/shop/deployments/web"
	for _, c := range []struct {
		name, target, path, answer string
		not                        bool
		kind                       fault.Kind
		text                       string // "" is success
	}{
		{name: "a job that is complete", target: "job/migrate", path: job, answer: complete},
		{name: "its plural, its group, and any case", target: "Jobs.batch/migrate?condition=complete", path: job, answer: complete},
		{name: "a job that runs", target: "job/migrate", path: job, answer: "200 {}", kind: fault.Unavailable, text: "it has no condition Complete"},
		{
			name: "a job that has failed", target: "job/migrate", path: job, answer: failed, kind: fault.NoInput,
			text: "it has ended, Failed: BackoffLimitExceeded: Job has reached the specified backoff limit: it has no condition Complete",
		},
		{name: "a job that was to fail", target: "job/migrate?condition=Failed", path: job, answer: failed},
		{name: "a job that was to fail and is complete", target: "job/migrate?condition=Failed", path: job, answer: complete, kind: fault.NoInput, text: "it has ended, Complete: it has no condition Failed"},
		{name: "a failed job is not complete", target: "job/migrate", path: job, answer: failed, not: true},
		{name: "a pod that is ready", target: "pod/x", path: pod, answer: ready},
		{
			name: "a pod that is not", target: "pod/x", path: pod, answer: unready, kind: fault.Unavailable,
			text: "Ready is False: ContainersNotReady: containers with unready status: [app]",
		},
		{name: "a pod that is to be unready", target: "pod/x?condition=Ready=False", path: pod, answer: unready},
		{
			name: "a pod that is ready and goes", target: "pod/x", path: pod, kind: fault.Unavailable, text: "it is being deleted",
			answer: strings.Replace(ready, `"generation":2`, `"deletionTimestamp":"2026-01-01T00:00:00Z"`, 1),
		},
		{
			name: "a pod that waits for a node", target: "pod/x", path: pod, answer: `200 {"status":{"phase":"Pending"}}`, kind: fault.Unavailable,
			text: "it has no condition Ready: Pending",
		},
		{
			name: "a pod that has ended", target: "pod/x", path: pod, kind: fault.NoInput, text: "it has ended, Failed: Evicted: out of memory: it has no condition Ready",
			answer: `200 {"status":{"phase":"Failed","reason":"Evicted","message":"out of memory"}}`,
		},
		{
			name: "a pod that has ended and will come again", target: "pod/x", path: pod, kind: fault.Unavailable, text: "it has no condition Ready: Failed",
			answer: `200 {"metadata":{"ownerReferences":[{"controller":true}]},"status":{"phase":"Failed"}}`,
		},
		{name: "a pod that is not there", target: "pod/x", path: pod, answer: absent, kind: fault.Unavailable, text: "it does not exist"},
		{name: "a pod that is to be gone", target: "pod/x", path: pod, answer: absent, not: true},
		{name: "a deployment", target: "deployment/web", path: deployment, answer: conditions(condition("Available", "True", "", ""))},
		{
			name: "a status of before the last change", target: "deployment/web", path: deployment, kind: fault.Unavailable, text: "older generation",
			answer: strings.Replace(conditions(condition("Available", "True", "", "")), `"observedGeneration":2`, `"observedGeneration":1`, 1),
		},
		{name: "what needs only exist", target: "configmap/c", path: "/api/v1/namespaces/shop/configmaps/c", answer: "200 {}"},
		{
			name: "an API server that starts", target: "job/migrate", path: job, kind: fault.Unavailable, text: "the API server answers 503 Service Unavailable",
			answer: "503 starting",
		},
		{name: "an API server in trouble is no proof", target: "job/migrate", path: job, answer: "500 etcd", not: true, kind: fault.Unavailable, text: "500"},
		{name: "one that refuses is no proof", target: "job/migrate", path: job, answer: denied, not: true, kind: fault.Unavailable, text: "403"},
		{name: "a group that is not known is no proof", target: "widgets.example.com/w", not: true, kind: fault.Unavailable, text: "the API server knows no widgets"},
		{name: "what is no API server", target: "pod/x", path: pod, answer: "200 <html>", kind: fault.Unavailable, text: "is not an API server's"},
		{
			name: "an answer that is too long", target: "pod/x", path: pod, answer: "200 " + strings.Repeat("x", 4<<20+1), kind: fault.Unavailable,
			text: "is over 4194304 bytes",
		},
		{
			name: "control characters", target: "pod/x", path: pod, answer: conditions(condition("Ready", "False", `\u001b[31m`, "")), kind: fault.Unavailable,
			text: `Ready is False: \u001b[31m`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := newCluster(t, map[string]string{c.path: c.answer})
			options := steptest.Options{"target=k8s://shop/" + c.target}
			if c.not {
				options = append(options, "not=true")
			}
			err := server.once(t, options...)
			expect(t, err, c.kind, c.text)
		})
	}
}

func TestACustomResourceIsAskedForInThePreferredVersion(t *testing.T) {
	server := newCluster(t, map[string]string{
		"/apis/cert-manager.io": `200 {"preferredVersion":{"groupVersion":"cert-manager.io/v1","version":"v1"}}`,
		"/apis/cert-manager.io/v1/namespaces/shop/certificates/web": conditions(condition("Ready", "True", "", "")),
	})
	expect(t, server.once(t, "target=k8s://shop/certificates.cert-manager.io/web?condition=Ready", "stable=1"), 0, "")
	if want := []string{"/apis/cert-manager.io", "/apis/cert-manager.io/v1/namespaces/shop/certificates/web"}; !slices.Equal(server.asked, want) {
		t.Errorf("got %q, want %q", server.asked, want)
	}
}

func TestAServiceHasReadyEndpoints(t *testing.T) {
	const (
		two = `{"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":true}},{"addresses":["10.0.0.2"]},` +
			`{"addresses":["10.0.0.3"],"conditions":{"ready":false}}]}`
		again = `{"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.2"],"conditions":{"ready":true}}]}`
		six   = `{"addressType":"IPv6","endpoints":[{"addresses":["fd00::1"],"conditions":{"ready":true}},{"addresses":[]}]}`
	)
	for _, c := range []struct {
		name, query, answer, service string
		text                         string // "" is success
	}{
		{"one is enough", "", `200 {"items":[` + again + `]}`, "", ""},
		{"each pod counts once", "?min=3", `200 {"items":[` + two + `,` + again + `,` + six + `]}`, "", "2 of 3 ready endpoints"},
		{"as many as asked for", "?min=2", `200 {"items":[` + six + `,` + two + `]}`, "", ""},
		{"no slice yet", "", `200 {"items":[]}`, "200 {}", "0 of 1 ready endpoints"},
		{"no Service", "", `200 {"items":[]}`, absent, "it does not exist"},
		{"page by page", "?min=2", `200 {"metadata":{"continue":"next"},"items":[` + six + `]}`, "", ""},
	} {
		server := newCluster(t, map[string]string{
			endpoints:                             c.answer,
			"/api/v1/namespaces/shop/services/db": c.service,
			strings.Replace(endpoints, "?", "?continue=next&", 1): `200 {"items":[` + two + `]}`,
		})
		t.Run(c.name, func(t *testing.T) {
			expect(t, server.once(t, "target=k8s://shop/service/db"+c.query), fault.Unavailable, c.text)
		})
	}
}

// Nothing but the error's kind and hint tells an operator which right is missing.
func TestARefusalNamesTheRuleThatHelps(t *testing.T) {
	server := newCluster(t, map[string]string{"/apis/batch/v1/namespaces/shop/jobs/migrate": denied, endpoints: denied})
	err := server.once(t, "target=k8s://shop/job/migrate", "fail-fast=true")
	expect(t, err, fault.Permission, `the API server answers 403: jobs.batch "migrate" is forbidden`)
	want := `in namespace shop, with {apiGroups: ["batch"], resources: [jobs], resourceNames: [migrate], verbs: [get]}; slipway manifest --with rbac prints it`
	if got := fault.HintOf(err); !strings.HasSuffix(got, want) {
		t.Errorf("got the hint %q, want %q at its end", got, want)
	}
	err = server.once(t, "target=k8s://shop/service/db", "fail-fast=true")
	for _, want := range []string{`{apiGroups: [""], resources: [services], resourceNames: [db], verbs: [get]}`, `resources: [endpointslices], verbs: [list]`} {
		if got := fault.HintOf(err); !strings.Contains(got, want) {
			t.Errorf("got the hint %q, want %q in it", got, want)
		}
	}
}

// A Role may come a moment after the pod, and with it the API server's word for it: the first refusals are not believed.
func TestARefusalIsBelievedWhenItStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e eye
		e.waitFor = &waitFor{}
		job, err := parseTarget("k8s://shop/job/migrate")
		if err != nil {
			t.Fatal(err)
		}
		refuse := func() bool {
			err := e.refused(job, job.object(), &kube.StatusError{Code: http.StatusForbidden})
			_, hopeless := err.(hopelessError)
			return hopeless
		}
		time.Sleep(time.Second)
		if refuse() {
			t.Error("the first refusal was believed")
		}
		time.Sleep(believed - time.Nanosecond)
		if refuse() {
			t.Error("a refusal was believed too early")
		}
		time.Sleep(time.Nanosecond)
		if !refuse() {
			t.Error("a refusal that stands was not believed")
		}
		_ = e.refused(job, job.object(), &kube.StatusError{Code: http.StatusServiceUnavailable})
		if refuse() {
			t.Error("a refusal after another answer was believed at once")
		}
	})
}

func TestARefusalThatStandsEndsTheWait(t *testing.T) {
	server := newCluster(t, map[string]string{"/apis/batch/v1/namespaces/shop/jobs/migrate": denied})
	task := steptest.Task(t, Kind, steptest.Options{"target=k8s://shop/job/migrate", "interval=200ms"})
	result := steptest.Run(t.Context(), task, server.root, server.environ()...)
	expect(t, result.Err, fault.Permission, "wait-for: k8s://shop/job/migrate: the API server answers 403")
}

// The kubelet renews the token while slipway waits.
func TestTheTokenIsReadForEachLook(t *testing.T) {
	server := newCluster(t, map[string]string{"/apis/batch/v1/namespaces/shop/jobs/migrate": conditions(condition("Complete", "True", "", ""))})
	server.token = "second"
	task := steptest.Task(t, Kind, steptest.Options{"target=k8s://shop/job/migrate"})
	runner := steptest.Runner(server.root, server.environ()...)
	var once sync.Once
	runner.Observer = &observer{retry: func(run.Retry) {
		once.Do(func() { write(t, filepath.Join(server.root, kube.TokenFile), "second\n") })
	}}
	result := runner.Run(t.Context(), &plan.Plan{Root: plan.Sequence{task}}).Tasks[task]
	if result.Err != nil || result.Attempts < 2 {
		t.Errorf("got %v after %d attempts, want success with the second token", result.Err, result.Attempts)
	}
}

func TestAnAPIServerThatIsNotThereIsWaitedForAndNoProof(t *testing.T) {
	server := newCluster(t, nil)
	server.Close()
	for _, options := range [][]string{{"target=k8s://shop/pod/x"}, {"target=k8s://shop/pod/x", "not=true"}} {
		expect(t, server.once(t, options...), fault.Unavailable, "ask the API server: ")
	}
	stranger := newCluster(t, nil)
	other := newAuthority(t)
	write(t, filepath.Join(stranger.root, kube.CAFile), read(t, other.file))
	expect(t, stranger.once(t, "target=k8s://shop/pod/x", "fail-fast=true"), fault.Permission, "certificate")
}

func TestOutsideOfAPodItSaysWhatIsMissing(t *testing.T) {
	server := newCluster(t, nil)
	task := steptest.Task(t, Kind, steptest.Options{"target=k8s://shop/pod/x"})
	expect(t, steptest.Run(t.Context(), task, server.root).Err, fault.NoInput, "the variable KUBERNETES_SERVICE_HOST is not set")
	if err := os.Remove(filepath.Join(server.root, kube.TokenFile)); err != nil {
		t.Fatal(err)
	}
	err := steptest.Run(t.Context(), task, server.root, server.environ()...).Err
	expect(t, err, fault.NoInput, kube.TokenFile)
	if !strings.Contains(fault.HintOf(err), "automountServiceAccountToken") {
		t.Errorf("got the hint %q", fault.HintOf(err))
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
