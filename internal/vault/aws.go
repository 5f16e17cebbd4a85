package vault

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"

	amazon "github.com/slipway-init/slipway/internal/aws"
	"github.com/slipway-init/slipway/internal/fault"
)

// identityRequest is the body of the one request that is signed and not sent: the server sends it to AWS, and learns
// from the answer who signed it.
const identityRequest = "Action=GetCallerIdentity&Version=2011-06-15"

// bodyAWS sends a signed request: https://developer.hashicorp.com/vault/api-docs/auth/aws#login. The machine's role is
// not asked for: in a pod it is the node's. The request is for AWS's own endpoint, whichever the pod itself would ask, as
// the server knows no other.
func bodyAWS(ctx context.Context, s *Session, c *Config) (map[string]any, string, error) {
	identity, err := amazon.Open(s.env, amazon.Options{Region: c.awsRegion, Global: true})
	if err != nil {
		return nil, "", err
	}
	where := "https://" + identity.Host(amazon.STS) + "/"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, where, nil)
	if err != nil {
		return nil, "", fault.As(fault.Internal, err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if c.audience != "" {
		request.Header.Set("X-Vault-AWS-IAM-Server-ID", c.audience)
	}
	if err := identity.Sign(ctx, request, amazon.STS, []byte(identityRequest)); err != nil {
		return nil, "", err
	}
	header, err := json.Marshal(request.Header)
	if err != nil {
		return nil, "", fault.As(fault.Internal, err)
	}
	data := map[string]any{
		"iam_http_request_method": request.Method,
		"iam_request_url":         base64.StdEncoding.EncodeToString([]byte(where)),
		"iam_request_body":        base64.StdEncoding.EncodeToString([]byte(identityRequest)),
		"iam_request_headers":     base64.StdEncoding.EncodeToString(header),
	}
	if c.role != "" {
		data["role"] = c.role // else the name of the IAM role
	}
	return data, "", nil
}
