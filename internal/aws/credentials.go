package aws

import (
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/store"
)

// signer returns the pod's credentials, by the first of what the environment has, in the order of the SDK's chain: keys
// (AWS_ACCESS_KEY_ID and so on), a web identity (AWS_WEB_IDENTITY_TOKEN_FILE, which IRSA sets), a container's endpoint
// (AWS_CONTAINER_CREDENTIALS_FULL_URI, which EKS Pod Identity sets), and with Options.Machine the machine's role. The
// files of a person's home (profiles, SSO) are no part of it: a pod has none. Found ones are kept: a step is over long
// before they expire.
func (i *Identity) signer(ctx context.Context) (aws.Credentials, error) {
	i.login.Lock()
	defer i.login.Unlock()
	if i.credentials != nil {
		return *i.credentials, nil
	}
	found, err := i.find(ctx)
	if err != nil {
		return aws.Credentials{}, fault.Hint(fmt.Errorf("AWS credentials: %w", err),
			"give the pod an IAM role by EKS Pod Identity or IRSA, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	i.credentials = &found
	return found, nil
}

func (i *Identity) find(ctx context.Context) (aws.Credentials, error) {
	getenv := i.env.Getenv
	keys := aws.Credentials{
		AccessKeyID: getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: getenv("AWS_SESSION_TOKEN"),
	}
	switch {
	case keys.HasKeys():
		return keys, nil
	case getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "":
		return i.webIdentity(ctx)
	case getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != "", getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "":
		return i.container(ctx)
	case !i.options.Machine || i.isSet("AWS_EC2_METADATA_DISABLED"):
		return aws.Credentials{}, fault.New(fault.Permission, "the environment has none")
	}
	return i.machine(ctx)
}

// webIdentity takes the role of a projected service account token:
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html.
func (i *Identity) webIdentity(ctx context.Context) (aws.Credentials, error) {
	token, err := store.Secret(i.env, i.env.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"))
	if err != nil {
		return aws.Credentials{}, err
	}
	role := i.env.Getenv("AWS_ROLE_ARN")
	if role == "" {
		return aws.Credentials{}, fault.New(fault.NoInput, "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not")
	}
	endpoint, err := i.Endpoint(STS)
	if err != nil {
		return aws.Credentials{}, err
	}
	form := url.Values{
		"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "RoleArn": {role},
		"RoleSessionName": {cmp.Or(i.env.Getenv("AWS_ROLE_SESSION_NAME"), "slipway")}, "WebIdentityToken": {token},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return aws.Credentials{}, fault.As(fault.Data, err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, body, err := store.Do(i.HTTP, request)
	if err != nil {
		return aws.Credentials{}, err
	}
	var answer struct {
		Code   string `xml:"Error>Code"`
		Result struct {
			AccessKeyID     string `xml:"AccessKeyId"`
			SecretAccessKey string
			SessionToken    string
		} `xml:"AssumeRoleWithWebIdentityResult>Credentials"`
	}
	broken := xml.Unmarshal(body, &answer) != nil
	if status != http.StatusOK {
		kind := fault.Permission // the token, the role or its trust is wrong, and STS says so with 400 or 403
		if status == http.StatusTooManyRequests || status >= 500 || answer.Code == "IDPCommunicationError" {
			kind = fault.Temporary
		}
		return aws.Credentials{}, fault.New(kind, "take the role %s: STS answered %d%s", role, status, store.Says([]byte(answer.Code)))
	}
	found := aws.Credentials{AccessKeyID: answer.Result.AccessKeyID, SecretAccessKey: answer.Result.SecretAccessKey, SessionToken: answer.Result.SessionToken}
	if broken || !found.HasKeys() {
		return aws.Credentials{}, fault.New(fault.Data, "take the role %s: STS answered without credentials", role)
	}
	return found, nil
}

// ecs is where ECS has its endpoint of credentials.
const ecs = "http://169.254.170.2"

// container asks the endpoint that EKS Pod Identity or ECS has in the pod.
func (i *Identity) container(ctx context.Context) (aws.Credentials, error) {
	endpoint := i.env.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	if relative := i.env.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); relative != "" {
		endpoint = ecs + relative
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && !local(u.Hostname())) {
		return aws.Credentials{}, fault.New(fault.Data, "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https:// nor an address of this machine")
	}
	token := i.env.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
	if path := i.env.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); path != "" {
		if token, err = store.Secret(i.env, path); err != nil {
			return aws.Credentials{}, err
		}
	}
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", token)
	}
	body, err := i.metadata(ctx, http.MethodGet, endpoint, header)
	if err != nil {
		return aws.Credentials{}, err
	}
	return keysOf(body)
}

// local reports whether a token may go to a host without TLS: to this machine, to ECS, or to EKS Pod Identity.
func local(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && (address.IsLoopback() || host == "169.254.170.2" || host == "169.254.170.23" || host == "fd00:ec2::23")
}

// patience is how long the machine's metadata may take to answer. Where it is not there, nobody answers at all.
const patience = time.Second

// machine asks for the role of the node, as far as the pod may reach its metadata:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html.
func (i *Identity) machine(ctx context.Context) (aws.Credentials, error) {
	base := strings.TrimSuffix(cmp.Or(i.env.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"), "http://169.254.169.254"), "/")
	const roles = "/latest/meta-data/iam/security-credentials/"
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	token, err := i.metadata(limited, http.MethodPut, base+"/latest/api/token", http.Header{"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": {"60"}})
	if err != nil {
		return aws.Credentials{}, fault.New(fault.Permission, "the environment has none, and the machine's role cannot be had: %w", err)
	}
	header := http.Header{"X-Aws-Ec2-Metadata-Token": {string(token)}}
	role, err := i.metadata(limited, http.MethodGet, base+roles, header)
	if err != nil {
		return aws.Credentials{}, fault.New(fault.Permission, "the environment has none, and the machine has no role: %w", err)
	}
	name, _, _ := strings.Cut(string(role), "\n")
	body, err := i.metadata(limited, http.MethodGet, base+roles+url.PathEscape(strings.TrimSpace(name)), header)
	if err != nil {
		return aws.Credentials{}, err
	}
	return keysOf(body)
}

// metadata sends one request to an endpoint of credentials. Without TLS that is on this machine, or as near, and no proxy
// is asked.
func (i *Identity) metadata(ctx context.Context, method, endpoint string, header http.Header) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, endpoint, nil)
	if err != nil {
		return nil, fault.New(fault.Data, "the endpoint of credentials is no URL")
	}
	request.Header = header
	client := i.HTTP
	if request.URL.Scheme == "http" {
		client = httpx.Derive(client, func(t *http.Transport) { t.Proxy = nil })
		defer client.CloseIdleConnections()
	}
	status, body, err := store.Do(client, request)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		kind := store.StatusKind(status)
		if !kind.Transient() {
			kind = fault.Permission
		}
		return nil, fault.New(kind, "%s answered %d", request.URL.Host, status)
	}
	return body, nil
}

// keysOf reads the JSON that both endpoints answer with.
func keysOf(body []byte) (aws.Credentials, error) {
	var answer struct{ AccessKeyID, SecretAccessKey, Token string }
	if json.Unmarshal(body, &answer) != nil || answer.AccessKeyID == "" || answer.SecretAccessKey == "" {
		return aws.Credentials{}, fault.New(fault.Data, "the endpoint answered without credentials")
	}
	return aws.Credentials{AccessKeyID: answer.AccessKeyID, SecretAccessKey: answer.SecretAccessKey, SessionToken: answer.Token}, nil
}
