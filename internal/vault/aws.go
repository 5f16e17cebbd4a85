package vault

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
)

// identityRequest is the body of the one request that is signed and not sent: the server sends it to AWS, and learns
// from the answer who signed it.
const identityRequest = "Action=GetCallerIdentity&Version=2011-06-15"

// bodyAWS sends a signed request: https://developer.hashicorp.com/vault/api-docs/auth/aws#login.
func bodyAWS(ctx context.Context, s *Session, c *Config) (map[string]any, string, error) {
	keys, err := s.awsKeys(ctx, c)
	if err != nil {
		return nil, "", err
	}
	host, region := stsHost(s.awsRegion(c))
	headers := map[string]string{
		"Host": host, "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
	}
	if c.audience != "" {
		headers["X-Vault-AWS-IAM-Server-ID"] = c.audience
	}
	sign(headers, keys, region, s.now())
	lists := make(map[string][]string, len(headers))
	for name, value := range headers {
		lists[name] = []string{value}
	}
	encoded, err := json.Marshal(lists)
	if err != nil {
		return nil, "", fault.As(fault.Internal, err)
	}
	data := map[string]any{
		"iam_http_request_method": http.MethodPost,
		"iam_request_url":         base64.StdEncoding.EncodeToString([]byte("https://" + host + "/")),
		"iam_request_body":        base64.StdEncoding.EncodeToString([]byte(identityRequest)),
		"iam_request_headers":     base64.StdEncoding.EncodeToString(encoded),
	}
	if c.role != "" {
		data["role"] = c.role // else the name of the IAM role
	}
	return data, "", nil
}

// awsRegion returns the region whose STS endpoint is signed for; "" is the global endpoint's.
func (s *Session) awsRegion(c *Config) string {
	return cmp.Or(c.awsRegion, s.env.Getenv("AWS_REGION"), s.env.Getenv("AWS_DEFAULT_REGION"))
}

// stsHost returns the STS endpoint of a region, and the region that a signature for it names.
func stsHost(region string) (host, signed string) {
	switch {
	case region == "":
		return "sts.amazonaws.com", "us-east-1"
	case strings.HasPrefix(region, "cn-"):
		return "sts." + region + ".amazonaws.com.cn", region
	}
	return "sts." + region + ".amazonaws.com", region
}

// awsKeys is a set of AWS credentials.
type awsKeys struct{ id, secret, token string }

// awsKeys returns the pod's credentials, by the first of what the environment has: keys, a web identity (IRSA), a
// credentials endpoint (EKS Pod Identity, ECS). The machine's own role (IMDS) is not asked: in a pod it is the node's.
func (s *Session) awsKeys(ctx context.Context, c *Config) (awsKeys, error) {
	get := s.env.Getenv
	switch {
	case get("AWS_ACCESS_KEY_ID") != "" && get("AWS_SECRET_ACCESS_KEY") != "":
		return awsKeys{get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"), get("AWS_SESSION_TOKEN")}, nil
	case get("AWS_WEB_IDENTITY_TOKEN_FILE") != "" && get("AWS_ROLE_ARN") != "":
		return s.webIdentity(ctx, c)
	case get("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "" || get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != "":
		return s.containerKeys(ctx)
	}
	return awsKeys{}, fault.Hint(fault.New(fault.NoInput, "the environment holds no AWS credentials"),
		"give the pod's service account an IAM role (EKS Pod Identity or IRSA), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
}

// webIdentity exchanges the service account's token for the credentials of a role:
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html.
func (s *Session) webIdentity(ctx context.Context, c *Config) (awsKeys, error) {
	token, err := readFile(s.env, s.env.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"))
	if err != nil {
		return awsKeys{}, err
	}
	host, _ := stsHost(s.awsRegion(c))
	where := cmp.Or(s.env.Getenv("AWS_ENDPOINT_URL_STS"), "https://"+host)
	answer, err := s.ask(ctx, http.MethodPost, strings.TrimSuffix(where, "/")+"/", url.Values{
		"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"},
		"RoleArn":          {s.env.Getenv("AWS_ROLE_ARN")},
		"RoleSessionName":  {cmp.Or(s.env.Getenv("AWS_ROLE_SESSION_NAME"), "slipway")},
		"WebIdentityToken": {strings.TrimSpace(string(token))},
	}, "Accept", "text/xml")
	if err != nil {
		return awsKeys{}, err
	}
	var granted struct {
		ID     string `xml:"AssumeRoleWithWebIdentityResult>Credentials>AccessKeyId"`
		Secret string `xml:"AssumeRoleWithWebIdentityResult>Credentials>SecretAccessKey"`
		Token  string `xml:"AssumeRoleWithWebIdentityResult>Credentials>SessionToken"`
	}
	if err := xml.Unmarshal(answer, &granted); err != nil || granted.ID == "" || granted.Secret == "" {
		return awsKeys{}, fault.New(fault.Data, "the answer of STS holds no credentials")
	}
	return awsKeys{granted.ID, granted.Secret, granted.Token}, nil
}

// containerKeys asks the node's credentials endpoint:
// https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html.
func (s *Session) containerKeys(ctx context.Context) (awsKeys, error) {
	get := s.env.Getenv
	where := get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	if relative := get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); relative != "" {
		where = "http://169.254.170.2" + relative
	}
	var header []string
	if file := get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); file != "" {
		token, err := readFile(s.env, file)
		if err != nil {
			return awsKeys{}, err
		}
		header = []string{"Authorization", strings.TrimSpace(string(token))}
	} else if token := get("AWS_CONTAINER_AUTHORIZATION_TOKEN"); token != "" {
		header = []string{"Authorization", token}
	}
	answer, err := s.ask(ctx, http.MethodGet, where, nil, header...)
	if err != nil {
		return awsKeys{}, err
	}
	var granted struct{ AccessKeyID, SecretAccessKey, Token string }
	if err := json.Unmarshal(answer, &granted); err != nil || granted.AccessKeyID == "" || granted.SecretAccessKey == "" {
		return awsKeys{}, fault.New(fault.Data, "the answer of the credentials endpoint holds no credentials")
	}
	return awsKeys{granted.AccessKeyID, granted.SecretAccessKey, granted.Token}, nil
}

// sign adds the signature of identityRequest to headers, of version 4:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
func sign(headers map[string]string, keys awsKeys, region string, now time.Time) {
	stamp := now.UTC().Format("20060102T150405Z")
	headers["X-Amz-Date"] = stamp
	if keys.token != "" {
		headers["X-Amz-Security-Token"] = keys.token
	}
	var names []string
	lower := make(map[string]string, len(headers))
	for name, value := range headers {
		names = append(names, strings.ToLower(name))
		lower[strings.ToLower(name)] = strings.TrimSpace(value)
	}
	slices.Sort(names)
	var canonical strings.Builder
	canonical.WriteString("POST\n/\n\n")
	for _, name := range names {
		canonical.WriteString(name + ":" + lower[name] + "\n")
	}
	signed := strings.Join(names, ";")
	canonical.WriteString("\n" + signed + "\n" + digest(identityRequest))

	scope := stamp[:8] + "/" + region + "/sts/aws4_request"
	key := []byte("AWS4" + keys.secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	signature := hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+digest(canonical.String())))
	headers["Authorization"] = fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s", keys.id, scope, signed, signature)
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
