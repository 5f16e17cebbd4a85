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
	"github.com/slipway-init/slipway/internal/store"
)

// signer returns the pod's credentials, by the first of what the environment has, in the order of the SDK's chain: keys
// (AWS_ACCESS_KEY_ID and so on), a web identity (AWS_WEB_IDENTITY_TOKEN_FILE, which IRSA sets), a container's endpoint
// (AWS_CONTAINER_CREDENTIALS_FULL_URI, which EKS Pod Identity sets), the machine's role. The files of a person's home
// (profiles, SSO) are no part of it: a pod has none. Found ones are kept: a rendering is over long before they expire.
func (a *Account) signer(ctx context.Context) (aws.Credentials, error) {
	a.login.Lock()
	defer a.login.Unlock()
	if a.credentials != nil {
		return *a.credentials, nil
	}
	found, err := a.find(ctx)
	if err != nil {
		return aws.Credentials{}, fault.Hint(fmt.Errorf("AWS credentials: %w", err),
			"give the pod an IAM role by EKS Pod Identity or IRSA, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	a.credentials = &found
	return found, nil
}

func (a *Account) find(ctx context.Context) (aws.Credentials, error) {
	getenv := a.env.Getenv
	keys := aws.Credentials{
		AccessKeyID: getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: getenv("AWS_SESSION_TOKEN"),
	}
	switch {
	case keys.HasKeys():
		return keys, nil
	case getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "":
		return a.webIdentity(ctx)
	case getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != "", getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "":
		return a.container(ctx)
	case strings.EqualFold(getenv("AWS_EC2_METADATA_DISABLED"), "true"):
		return aws.Credentials{}, fault.New(fault.Permission, "the environment has none")
	}
	return a.machine(ctx)
}

// webIdentity takes the role of a projected service account token:
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html.
func (a *Account) webIdentity(ctx context.Context) (aws.Credentials, error) {
	token, err := store.Secret(a.env, a.env.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"))
	if err != nil {
		return aws.Credentials{}, err
	}
	role := a.env.Getenv("AWS_ROLE_ARN")
	endpoint, err := a.endpoint(sts)
	if err != nil {
		return aws.Credentials{}, err
	}
	form := url.Values{
		"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "RoleArn": {role},
		"RoleSessionName": {cmp.Or(a.env.Getenv("AWS_ROLE_SESSION_NAME"), "slipway")}, "WebIdentityToken": {token},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return aws.Credentials{}, fault.As(fault.Data, err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, body, err := store.Do(a.client, request)
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
func (a *Account) container(ctx context.Context) (aws.Credentials, error) {
	endpoint := a.env.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	if relative := a.env.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); relative != "" {
		endpoint = ecs + relative
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && !local(u.Hostname())) {
		return aws.Credentials{}, fault.New(fault.Data, "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https:// nor an address of this machine")
	}
	token := a.env.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
	if path := a.env.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); path != "" {
		if token, err = store.Secret(a.env, path); err != nil {
			return aws.Credentials{}, err
		}
	}
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", token)
	}
	body, err := a.metadata(ctx, http.MethodGet, endpoint, header)
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
func (a *Account) machine(ctx context.Context) (aws.Credentials, error) {
	base := strings.TrimSuffix(cmp.Or(a.env.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"), "http://169.254.169.254"), "/")
	const roles = "/latest/meta-data/iam/security-credentials/"
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	token, err := a.metadata(limited, http.MethodPut, base+"/latest/api/token", http.Header{"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": {"60"}})
	if err != nil {
		return aws.Credentials{}, fault.New(fault.Permission, "the environment has none, and the machine's role cannot be had: %w", err)
	}
	header := http.Header{"X-Aws-Ec2-Metadata-Token": {string(token)}}
	role, err := a.metadata(limited, http.MethodGet, base+roles, header)
	if err != nil {
		return aws.Credentials{}, fault.New(fault.Permission, "the environment has none, and the machine has no role: %w", err)
	}
	name, _, _ := strings.Cut(string(role), "\n")
	body, err := a.metadata(limited, http.MethodGet, base+roles+url.PathEscape(strings.TrimSpace(name)), header)
	if err != nil {
		return aws.Credentials{}, err
	}
	return keysOf(body)
}

// metadata sends one request to an endpoint of credentials.
func (a *Account) metadata(ctx context.Context, method, endpoint string, header http.Header) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, endpoint, nil)
	if err != nil {
		return nil, fault.New(fault.Data, "the endpoint of credentials is no URL")
	}
	request.Header = header
	status, body, err := store.Do(a.client, request)
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
