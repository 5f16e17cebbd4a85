// Package kube asks a cluster's API server about objects, as the service account of the pod that it runs in.
//
// It is a small client over HTTPS, which reads the few fields that readiness is told by. client-go would bring the types of
// every object, caches and retries of its own, where the runner retries already.
package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
)

// Where Kubernetes puts what a pod needs to ask its API server, see
// https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/.
const (
	TokenFile    = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	CAFile       = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
	HostVariable = "KUBERNETES_SERVICE_HOST"
	PortVariable = "KUBERNETES_SERVICE_PORT"
)

// maxAnswer bounds an answer of the API server, in bytes. An object has 1.5 MiB at most; the slices of a Service with
// thousands of endpoints may have more, and are cut into pages.
const maxAnswer = 4 << 20

// page is how many slices are asked for at once, of up to 100 endpoints each by default and 1000 at most.
const page = 10

// Effects returns what a Client touches.
func Effects() []step.Effect {
	return []step.Effect{
		{Verb: step.Read, Object: TokenFile},
		{Verb: step.Read, Object: CAFile},
		{Verb: step.Dial, Object: "store:$" + HostVariable},
	}
}

// Client asks the API server of the cluster that it runs in.
type Client struct {
	env  *step.Env
	http *http.Client
	base url.URL

	mu       sync.Mutex
	versions map[string]string // of groups, as the API server prefers them
}

// InCluster returns a client from what Kubernetes gives every pod: the address in its environment, the authority and the
// token in files. Outside of a pod, and in one whose token is not mounted, its error is NoInput.
func InCluster(env *step.Env) (*Client, error) {
	host := env.Getenv(HostVariable)
	if host == "" {
		return nil, fault.Hint(fault.New(fault.NoInput, "find the API server: the variable %s is not set", HostVariable),
			"run it in a pod: Kubernetes sets the variable there")
	}
	config, err := httpx.TLS{CAFile: CAFile}.Config(env)
	if err == nil {
		_, err = httpx.ReadToken(env, TokenFile)
	}
	if fault.KindOf(err) == fault.NoInput {
		err = fault.Hint(err, "mount the service account's token: automountServiceAccountToken: true, or a projected volume with token and ca.crt")
	}
	if err != nil {
		return nil, err
	}
	c := &Client{
		env:      env,
		base:     url.URL{Scheme: "https", Host: net.JoinHostPort(host, cmp.Or(env.Getenv(PortVariable), "443"))},
		versions: make(map[string]string),
	}
	c.http = httpx.Derive(env.HTTP, func(transport *http.Transport) { transport.TLSClientConfig = config })
	return c, nil
}

// Close closes the connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Object is what is read of any object. Kinds that have none of a field leave it empty.
type Object struct {
	Metadata struct {
		Generation        int64
		DeletionTimestamp string
		OwnerReferences   []struct{ Controller bool }
	}
	Status struct {
		Phase              string
		Reason             string
		Message            string
		ObservedGeneration int64
		Conditions         []Condition
	}
}

// Condition is one of an object's conditions.
type Condition struct {
	Type    string
	Status  string // True, False or Unknown
	Reason  string
	Message string
}

// Object returns an object. An answer other than 200 is a *StatusError.
func (c *Client) Object(ctx context.Context, namespace string, r Resource, name string) (*Object, error) {
	path, err := c.path(ctx, r, "namespaces", namespace, r.Plural, name)
	if err != nil {
		return nil, err
	}
	var object Object
	return &object, c.get(ctx, path, nil, &object)
}

// sliceList is a page of the slices of a Service.
type sliceList struct {
	Metadata struct{ Continue string }
	Items    []struct {
		AddressType string
		Endpoints   []struct {
			Addresses  []string
			Conditions struct{ Ready *bool }
		}
	}
}

// ReadyEndpoints counts the ready endpoints of a Service, and tells whether it has slices at all. Those of IPv4 and IPv6
// are counted apart and the larger number counts, so a pod that has both is one.
func (c *Client) ReadyEndpoints(ctx context.Context, namespace, service string) (ready int, exists bool, err error) {
	path, err := c.path(ctx, EndpointSlices, "namespaces", namespace, EndpointSlices.Plural)
	if err != nil {
		return 0, false, err
	}
	found := make(map[[2]string]bool) // family and first address, which stands for the endpoint: slices may overlap for a moment
	families := make(map[string]int)
	query := url.Values{"labelSelector": {"kubernetes.io/service-name=" + service}, "limit": {fmt.Sprint(page)}}
	for {
		var list sliceList
		if err := c.get(ctx, path, query, &list); err != nil {
			return 0, false, err
		}
		for _, slice := range list.Items {
			exists = true
			for _, endpoint := range slice.Endpoints {
				if len(endpoint.Addresses) == 0 || endpoint.Conditions.Ready != nil && !*endpoint.Conditions.Ready {
					continue // ready that is not said is to be taken for true
				}
				key := [2]string{slice.AddressType, endpoint.Addresses[0]}
				if !found[key] {
					found[key] = true
					families[slice.AddressType]++
					ready = max(ready, families[slice.AddressType])
				}
			}
		}
		if list.Metadata.Continue == "" {
			return ready, exists, nil
		}
		query.Set("continue", list.Metadata.Continue)
	}
}

// path returns the path of a resource, asking for its version if it has none.
func (c *Client) path(ctx context.Context, r Resource, elements ...string) (string, error) {
	if r.Group == "" {
		return url.JoinPath("/api/"+r.Version, elements...)
	}
	version, err := c.version(ctx, r)
	if err != nil {
		return "", err
	}
	return url.JoinPath("/apis/"+r.Group+"/"+version, elements...)
}

// version returns the version of a resource. What was found is kept as long as the client.
func (c *Client) version(ctx context.Context, r Resource) (string, error) {
	c.mu.Lock()
	version := cmp.Or(r.Version, c.versions[r.Group])
	c.mu.Unlock()
	if version != "" {
		return version, nil
	}
	var group struct{ PreferredVersion struct{ Version string } }
	if err := c.get(ctx, "/apis/"+r.Group, nil, &group); err != nil {
		return "", err
	}
	version = group.PreferredVersion.Version
	if version == "" {
		return "", fault.New(fault.Temporary, "the API server names no version of %s", r.Group)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.versions[r.Group] = version
	return version, nil
}

// StatusError is a refusal by the API server.
type StatusError struct {
	Code    int    // HTTP's
	Message string // what the API server says; may be empty
	// Object says that it is the object that was not found, and not its kind: a kind that is not there may be on its way,
	// with the API server that is still starting.
	Object bool
	// After is how long the API server asks to wait; 0 is nothing said.
	After time.Duration
}

// Error returns the status with what the API server says.
func (e *StatusError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("the API server answers %d %s", e.Code, http.StatusText(e.Code))
	}
	return fmt.Sprintf("the API server answers %d: %s", e.Code, e.Message)
}

// get asks for a path and reads the answer into value. The token is read for each request, because the kubelet renews it.
func (c *Client) get(ctx context.Context, path string, query url.Values, value any) error {
	token, err := httpx.ReadToken(c.env, TokenFile)
	if err != nil {
		return err
	}
	u := c.base
	u.Path, u.RawQuery = path, query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fault.New(fault.Internal, "make a request for %s", path)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return httpx.Unanswered(request, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", u.Host, err)
	}
	if response.StatusCode != http.StatusOK {
		return refusal(response, body)
	}
	if len(body) > maxAnswer {
		return fault.New(fault.Data, "the answer of %s is over %d bytes", u.Host, maxAnswer)
	}
	if err := json.Unmarshal(body, value); err != nil {
		return fault.New(fault.Temporary, "the answer of %s is not an API server's", u.Host)
	}
	return nil
}

// refusal returns the error of an answer: its body is a Status, but for some that come before the API server is up.
func refusal(response *http.Response, body []byte) *StatusError {
	e := &StatusError{Code: response.StatusCode, After: httpx.RetryAfter(response.Header.Get("Retry-After"))}
	var status struct {
		Kind, Message, Reason string
		Details               struct{ Name string }
	}
	if json.Unmarshal(body, &status) == nil && status.Kind == "Status" {
		e.Message = status.Message
		e.Object = e.Code == http.StatusNotFound && status.Reason == "NotFound" && status.Details.Name != ""
	}
	return e
}
