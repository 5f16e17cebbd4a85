package waitfor

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/kube"
)

// kubeQuery holds what a k8s target may ask for: ?condition=Ready, ?condition=Suspended=False, ?min=3.
var kubeQuery = map[string]func(string) bool{
	"condition": regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?(=(True|False|Unknown))?$`).MatchString,
	"min":       dnsQuery["min"],
}

// kubeName is a name of an object: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/.
var kubeName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// kubeConditions are the conditions that say that an object is ready, of the kinds that have one.
var kubeConditions = map[string]string{"pods": "Ready", "jobs": "Complete", "deployments": "Available"}

// kubeObject is what a k8s target names.
type kubeObject struct {
	namespace string
	resource  kube.Resource
	name      string
	condition string // "" if it is enough that the object exists
	status    string // of the condition: True, False or Unknown
	min       int    // ready endpoints of a Service
}

// object parses what the target names, whose form and query have been checked.
func (t target) object() kubeObject {
	kind, name, _ := strings.Cut(t.under(), "/")
	o := kubeObject{namespace: t.Host, name: name, min: 1, status: "True"}
	o.resource, _ = kube.ResourceOf(kind)
	query := t.Query()
	condition, status, given := strings.Cut(query.Get("condition"), "=")
	if given {
		o.status = status
	}
	o.condition = cmp.Or(condition, kubeConditions[o.resource.Plural])
	if min := query.Get("min"); min != "" {
		o.min, _ = strconv.Atoi(min) // checked by kubeQuery
	}
	return o
}

// checkObject returns what is wrong with a k8s target, "" if nothing is.
func checkObject(t target) string {
	kind, name, _ := strings.Cut(t.under(), "/")
	if !kubeName.MatchString(t.Host) || !kubeName.MatchString(name) || !kubeName.MatchString(strings.ToLower(kind)) {
		return "it is not of the form " + kubePath.example(t.Scheme)
	}
	resource, known := kube.ResourceOf(kind)
	switch query := t.Query(); {
	case !known:
		return "the kind " + strconv.Quote(kind) + " is not known: write its plural and its group, such as certificates.cert-manager.io"
	case query.Has("min") && resource.Plural != "services":
		return `it takes "min" for a Service alone`
	case query.Has("condition") && resource.Plural == "services":
		return `a Service has no condition: write "min" for its ready endpoints`
	}
	return ""
}

// lookKube asks the API server about one object.
func lookKube(ctx context.Context, e *eye, t target) error {
	o := t.object()
	err := e.lookObject(ctx, o)
	if said, ok := errors.AsType[*kube.StatusError](err); ok {
		return e.refused(t, o, said)
	}
	e.refusals.forget(t)
	return unansweredKube(err)
}

// lookObject judges one object.
func (e *eye) lookObject(ctx context.Context, o kubeObject) error {
	if o.resource.Plural == "services" {
		return e.lookService(ctx, o)
	}
	object, err := e.cluster.Object(ctx, o.namespace, o.resource, o.name)
	if err != nil {
		return err
	}
	err = o.judge(object)
	if end := o.ended(object); err != nil && end != "" {
		return hopelessError{fault.Hint(fault.New(fault.NoInput, "it has ended, %s: %w", end, err), "look at its log: kubectl logs -n %s %s/%s",
			o.namespace, strings.TrimSuffix(o.resource.Plural, "s"), o.name)}
	}
	return err
}

// lookService counts a Service's ready endpoints. Where there is not even a slice, the Service may not be there.
func (e *eye) lookService(ctx context.Context, o kubeObject) error {
	ready, exists, err := e.cluster.ReadyEndpoints(ctx, o.namespace, o.name)
	if err != nil {
		return err
	}
	if ready >= o.min {
		return nil
	}
	if !exists {
		if _, err := e.cluster.Object(ctx, o.namespace, o.resource, o.name); err != nil {
			return err
		}
	}
	return gone("%d of %d ready endpoints", ready, o.min)
}

// judge returns nil if the object is as it was asked for.
func (o kubeObject) judge(object *kube.Object) error {
	if o.condition == "" {
		return nil
	}
	if o.resource.Plural == "pods" && object.Metadata.DeletionTimestamp != "" {
		return gone("it is being deleted")
	}
	if object.Status.ObservedGeneration != 0 && object.Status.ObservedGeneration < object.Metadata.Generation {
		return gone("its status is of an older generation")
	}
	for _, c := range object.Status.Conditions {
		if !strings.EqualFold(c.Type, o.condition) {
			continue
		}
		if c.Status == o.status {
			return nil
		}
		return gone("%s is %s%s%s", o.condition, printable(c.Status), clause(c.Reason), clause(c.Message))
	}
	return gone("it has no condition %s%s", o.condition, clause(object.Status.Phase))
}

// clause returns text as the end of a sentence, nothing if it is empty.
func clause(text string) string {
	if text == "" {
		return ""
	}
	return ": " + printable(text)
}

// ended returns how the object has ended, "" if its status may change still: a Job that is complete or has failed, and a pod
// that has ended and that no controller will make anew under its name.
func (o kubeObject) ended(object *kube.Object) string {
	switch o.resource.Plural {
	case "jobs":
		for _, c := range object.Status.Conditions {
			if (c.Type == "Complete" || c.Type == "Failed") && c.Status == "True" {
				return c.Type + clause(c.Reason) + clause(c.Message)
			}
		}
	case "pods":
		for _, owner := range object.Metadata.OwnerReferences {
			if owner.Controller {
				return ""
			}
		}
		if phase := object.Status.Phase; phase == "Succeeded" || phase == "Failed" {
			return phase + clause(object.Status.Reason) + clause(object.Status.Message)
		}
	}
	return ""
}

// believed is how long the API server must refuse a request before that is believed: a Role may be made a moment after the
// pod, and an API server that starts refuses what it permits once it has read its roles.
const believed = 5 * time.Second

// refusals holds since when the API server refuses to answer about a target.
type refusals struct {
	mu    sync.Mutex
	since map[string]time.Time
}

// begin returns since when the target is refused, which is now if it was not before.
func (r *refusals) begin(t target) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since == nil {
		r.since = make(map[string]time.Time)
	}
	since, refused := r.since[t.String()]
	if !refused {
		since = time.Now()
		r.since[t.String()] = since
	}
	return since
}

// forget says that the target is not refused.
func (r *refusals) forget(t target) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.since, t.String())
}

// refused judges an answer other than 200.
func (e *eye) refused(t target, o kubeObject, said *kube.StatusError) error {
	text := printable(said.Error())
	switch said.Code {
	case http.StatusForbidden, http.StatusUnauthorized:
		err := fault.Hint(fault.New(fault.Permission, "%s", text), "%s", o.permit(said.Code))
		if time.Since(e.refusals.begin(t)) >= believed {
			return hopelessError{err}
		}
		return err
	}
	e.refusals.forget(t)
	if said.Code != http.StatusNotFound {
		return fault.RetryAfter(fault.New(fault.Unavailable, "%s", text), said.After)
	}
	if said.Object {
		return gone("it does not exist")
	}
	return fault.Hint(fault.New(fault.Unavailable, "the API server knows no %s", o.resource.Plural),
		"is its CustomResourceDefinition there, and is the plural right? see kubectl api-resources")
}

// permit says what would permit the look.
func (o kubeObject) permit(code int) string {
	if code == http.StatusUnauthorized {
		return "is the mounted token one for the API server? one with an audience of its own is not"
	}
	rules := o.resource.Rule("get", o.name)
	if o.resource.Plural == "services" {
		rules += " and " + kube.EndpointSlices.Rule("list", "")
	}
	return "bind a Role to the pod's service account, in namespace " + o.namespace + ", with " + rules + "; slipway manifest --with rbac prints it"
}

// unansweredKube words the error of a request that got no answer: it is of the API server, and says nothing of the object.
func unansweredKube(err error) error {
	if said, ok := errors.AsType[*fault.Error](err); err == nil || ok && !said.Kind.Transient() {
		return err
	}
	if _, ok := errors.AsType[goneError](err); ok {
		return err
	}
	kind := fault.KindOf(err)
	if kind != fault.Permission {
		kind = fault.Unavailable
	}
	return fault.Hint(fault.New(kind, "ask the API server: %s", printable(err.Error())), "%s", fault.HintOf(err))
}
