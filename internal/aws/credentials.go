package aws

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os/exec"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
)

// held are the credentials that an identity has.
type held struct {
	credentials aws.Credentials
	renew       time.Time // when to ask for new ones; zero is never
	refused     bool      // a service said that they have expired
	any         bool      // there are some
}

// alive reports whether the credentials may still be used.
func (h *held) alive(now time.Time) bool {
	return h.any && !h.refused && (!h.credentials.CanExpire || now.Before(h.credentials.Expires))
}

const (
	// early is how long before they expire credentials are asked for again, but never before three quarters of their time.
	early = 5 * time.Minute
	// patience is how long the machine's metadata may take to answer. Where it is not there, nobody answers at all.
	patience = time.Second
	// longest is how long all the asking for credentials may take.
	longest = 20 * time.Second
)

// current returns credentials that are good for a while. They are found when they are first asked for, kept, and found
// again shortly before they expire: a large object takes longer than a short session lasts. Should that not work out,
// the old ones do until their end.
func (i *Identity) current(ctx context.Context) (aws.Credentials, error) {
	i.login.Lock()
	defer i.login.Unlock()
	now := time.Now()
	if i.held.alive(now) && (i.held.renew.IsZero() || now.Before(i.held.renew)) {
		return i.held.credentials, nil
	}
	limited, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	found, err := i.find(limited)
	switch {
	case err == nil:
		i.held = held{credentials: found, any: true}
		if found.CanExpire {
			left := found.Expires.Sub(now)
			i.held.renew = found.Expires.Add(-min(early, left/4))
		}
	case i.held.alive(now):
		i.held.renew = now.Add(i.held.credentials.Expires.Sub(now) / 2)
	default:
		return aws.Credentials{}, fault.Hint(fmt.Errorf("AWS credentials: %w", err),
			"give the pod an IAM role by EKS Pod Identity or IRSA, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	return i.held.credentials, nil
}

// Forget drops the credentials that signed a request, because a service said that they have expired. Others, which somebody
// got meanwhile, are kept.
func (i *Identity) Forget(request *http.Request) {
	i.login.Lock()
	defer i.login.Unlock()
	c := i.held.credentials
	if request.Header.Get("X-Amz-Security-Token") == c.SessionToken && strings.Contains(request.Header.Get("Authorization"), "Credential="+c.AccessKeyID+"/") {
		i.held.refused = true
	}
}

// find looks for credentials in the order of the SDK's chain: a profile that Options name; keys (AWS_ACCESS_KEY_ID and so
// on); a web identity (AWS_WEB_IDENTITY_TOKEN_FILE, which IRSA sets); the profile; a container's endpoint
// (AWS_CONTAINER_CREDENTIALS_FULL_URI, which EKS Pod Identity sets; ECS sets another one); and with Options.Machine the
// machine's role. Files are read anew each time: what renews them is another container.
func (i *Identity) find(ctx context.Context) (aws.Credentials, error) {
	if i.options.Profile == "" {
		if keys := i.keys(); keys.HasKeys() {
			return keys, nil
		}
		if file := i.env.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"); file != "" {
			role := i.env.Getenv("AWS_ROLE_ARN")
			if role == "" {
				return aws.Credentials{}, fault.New(fault.NoInput, "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not")
			}
			return i.webIdentity(ctx, file, role, i.env.Getenv("AWS_ROLE_SESSION_NAME"))
		}
	}
	named, err := loadProfile(i.env, i.options.Profile)
	if err != nil {
		return aws.Credentials{}, err
	}
	return i.fromProfile(ctx, named, nil)
}

// keys are those of the environment.
func (i *Identity) keys() aws.Credentials {
	getenv := i.env.Getenv
	return aws.Credentials{
		AccessKeyID:     cmp.Or(getenv("AWS_ACCESS_KEY_ID"), getenv("AWS_ACCESS_KEY")),
		SecretAccessKey: cmp.Or(getenv("AWS_SECRET_ACCESS_KEY"), getenv("AWS_SECRET_KEY")),
		SessionToken:    getenv("AWS_SESSION_TOKEN"),
	}
}

// fromProfile returns the credentials that a profile describes, and without a word of it those of the pod's surroundings.
// Seen are the profiles whose roles are taken with these credentials.
func (i *Identity) fromProfile(ctx context.Context, p profile, seen []string) (aws.Credentials, error) {
	var (
		role   = p.settings["role_arn"]
		source = p.settings["source_profile"]
		found  = aws.Credentials{
			AccessKeyID: p.settings["aws_access_key_id"], SecretAccessKey: p.settings["aws_secret_access_key"], SessionToken: p.settings["aws_session_token"],
		}
		err error
	)
	if len(seen) > 0 && seen[len(seen)-1] == p.name { // a profile that is its own source gives its keys, and takes no role
		role, source = "", ""
	}
	switch {
	case source != "" && role == "":
		return aws.Credentials{}, fault.New(fault.Data, "profile %q has a source_profile but no role_arn", p.name)
	case source != "":
		found, err = i.fromSource(ctx, p, source, seen)
	case found.HasKeys():
	case p.settings["credential_source"] != "":
		found, err = i.fromSurroundings(ctx, p.settings["credential_source"])
	case p.settings["web_identity_token_file"] != "":
		return i.webIdentity(ctx, p.settings["web_identity_token_file"], role, p.settings["role_session_name"])
	case p.settings["sso_session"] != "", p.settings["sso_start_url"] != "", p.settings["login_session"] != "":
		return aws.Credentials{}, fault.Hint(fault.New(fault.Unsupported, "profile %q needs a browser to log in", p.name),
			"run slipway with what `aws configure export-credentials --format env` prints")
	case p.settings["credential_process"] != "":
		found, err = i.process(ctx, p)
	case i.env.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != "", i.env.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "":
		found, err = i.container(ctx)
	case !i.options.Machine || i.isSet("AWS_EC2_METADATA_DISABLED", ""):
		return aws.Credentials{}, fault.New(fault.Permission, "the environment has none")
	default:
		found, err = i.machine(ctx)
	}
	if err != nil || role == "" {
		return found, err
	}
	return i.assume(ctx, p, found)
}

// fromSource returns the credentials of the profile that another one names as its source_profile.
func (i *Identity) fromSource(ctx context.Context, p profile, source string, seen []string) (aws.Credentials, error) {
	const most = 8 // a role for a role for a role; a circle otherwise
	if len(seen) == most {
		return aws.Credentials{}, fault.New(fault.Data, "profile %q: more than %d profiles in a row by source_profile", p.name, most)
	}
	other, err := p.files.profile(source)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("source_profile of profile %q: %w", p.name, err)
	}
	gives := false
	for _, key := range []string{"aws_access_key_id", "role_arn", "credential_source", "credential_process", "sso_session", "sso_start_url", "login_session"} {
		gives = gives || other.settings[key] != "" && (key != "role_arn" || source != p.name)
	}
	if !gives {
		return aws.Credentials{}, fault.New(fault.Data, "profile %q, the source_profile of %q, has no credentials", source, p.name)
	}
	return i.fromProfile(ctx, other, append(seen, p.name))
}

// fromSurroundings returns the credentials that a profile's credential_source names.
func (i *Identity) fromSurroundings(ctx context.Context, source string) (aws.Credentials, error) {
	switch source {
	case "Environment":
		if keys := i.keys(); keys.HasKeys() {
			return keys, nil
		}
		return aws.Credentials{}, fault.New(fault.Permission, "the environment has no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	case "EcsContainer":
		return i.container(ctx)
	case "Ec2InstanceMetadata":
		return i.machine(ctx)
	}
	return aws.Credentials{}, fault.New(fault.Data, "credential_source %q is none of Environment, EcsContainer and Ec2InstanceMetadata", source)
}

// process runs a profile's credential_process:
// https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html.
func (i *Identity) process(ctx context.Context, p profile) (aws.Credentials, error) {
	const most = 64 << 10
	var out bytes.Buffer
	cmd := exec.Command("sh", "-c", p.settings["credential_process"])
	cmd.Env, cmd.Stdin, cmd.Stdout = i.env.Environ(), strings.NewReader(""), &out
	if err := i.env.Exec(ctx, cmd); err != nil {
		return aws.Credentials{}, fault.New(fault.Permission, "credential_process of profile %q: %w", p.name, err)
	}
	found, err := keysOf(out.Bytes()[:min(out.Len(), most)])
	if err != nil {
		return aws.Credentials{}, fault.New(fault.Data, "credential_process of profile %q printed no credentials", p.name)
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
		if token, err = httpx.ReadToken(i.env, path); err != nil {
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

// machine asks for the role of the node, as far as the pod may reach its metadata:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html.
func (i *Identity) machine(ctx context.Context) (aws.Credentials, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := i.nodeRole(limited)
	switch {
	case err == nil || i.held.any: // metadata that was there is away for a moment
		return found, err
	case ctx.Err() != nil:
		return aws.Credentials{}, ctx.Err()
	}
	return aws.Credentials{}, fault.New(fault.Permission, "the environment has none, and the machine's role cannot be had: %w", err)
}

func (i *Identity) nodeRole(ctx context.Context) (aws.Credentials, error) {
	base := "http://169.254.169.254"
	if strings.EqualFold(i.env.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"), "ipv6") {
		base = "http://[fd00:ec2::254]"
	}
	base = strings.TrimSuffix(cmp.Or(i.env.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"), base), "/")
	const roles = "/latest/meta-data/iam/security-credentials/"
	token, err := i.metadata(ctx, http.MethodPut, base+"/latest/api/token", http.Header{"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": {"60"}})
	if err != nil {
		return aws.Credentials{}, err
	}
	header := http.Header{"X-Aws-Ec2-Metadata-Token": {string(token)}}
	role, err := i.metadata(ctx, http.MethodGet, base+roles, header)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("it has none: %w", err)
	}
	name, _, _ := strings.Cut(string(role), "\n")
	body, err := i.metadata(ctx, http.MethodGet, base+roles+url.PathEscape(strings.TrimSpace(name)), header)
	if err != nil {
		return aws.Credentials{}, err
	}
	return keysOf(body)
}

// maxAnswer bounds what is answered to a question for credentials, in bytes: session tokens have up to 4 KiB.
const maxAnswer = 64 << 10

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
	status, body, err := httpx.Do(client, request, maxAnswer)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		kind := httpx.StatusKind(status)
		if !kind.Transient() {
			kind = fault.Permission
		}
		return nil, fault.New(kind, "%s answered %d", request.URL.Host, status)
	}
	return body, nil
}

// errNoKeys is an answer without credentials.
var errNoKeys = errors.New("the answer has no credentials")

// keysOf reads the JSON that endpoints and processes answer with.
func keysOf(text []byte) (aws.Credentials, error) {
	var answer struct {
		AccessKeyID, SecretAccessKey string
		Token                        string // of endpoints
		SessionToken                 string // of processes
		Expiration                   string
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&answer); err != nil && !errors.Is(err, io.EOF) {
		return aws.Credentials{}, fault.As(fault.Data, errNoKeys)
	}
	return expiring(aws.Credentials{
		AccessKeyID: answer.AccessKeyID, SecretAccessKey: answer.SecretAccessKey, SessionToken: cmp.Or(answer.Token, answer.SessionToken),
	}, answer.Expiration)
}

// expiring returns credentials with the time of their end, which is empty where there is none.
func expiring(c aws.Credentials, end string) (aws.Credentials, error) {
	if !c.HasKeys() {
		return aws.Credentials{}, fault.As(fault.Data, errNoKeys)
	}
	if end != "" {
		expires, err := time.Parse(time.RFC3339, end)
		if err != nil {
			return aws.Credentials{}, fault.New(fault.Data, "the credentials expire at %q, which is no time", end)
		}
		c.CanExpire, c.Expires = true, expires
	}
	return c, nil
}
