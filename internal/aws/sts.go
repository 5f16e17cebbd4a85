package aws

import (
	"cmp"
	"context"
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
)

// session is the name of sessions that nobody named.
const session = "slipway"

// webIdentity takes a role with the projected token of a service account:
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html.
func (i *Identity) webIdentity(ctx context.Context, file, role, name string) (aws.Credentials, error) {
	if role == "" {
		return aws.Credentials{}, fault.New(fault.Data, "there is a web_identity_token_file but no role_arn")
	}
	token, err := httpx.ReadToken(i.env, file)
	if err != nil {
		return aws.Credentials{}, err
	}
	return i.takeRole(ctx, url.Values{
		"Action": {"AssumeRoleWithWebIdentity"}, "RoleArn": {role}, "RoleSessionName": {cmp.Or(name, session)}, "WebIdentityToken": {token},
	}, nil)
}

// assume takes a profile's role with the credentials of another:
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html.
func (i *Identity) assume(ctx context.Context, p profile, by aws.Credentials) (aws.Credentials, error) {
	if p.settings["mfa_serial"] != "" {
		return aws.Credentials{}, fault.New(fault.Unsupported, "profile %q needs a code from a person (mfa_serial)", p.name)
	}
	form := url.Values{
		"Action": {"AssumeRole"}, "RoleArn": {p.settings["role_arn"]}, "RoleSessionName": {cmp.Or(p.settings["role_session_name"], session)},
	}
	if id := p.settings["external_id"]; id != "" {
		form.Set("ExternalId", id)
	}
	if seconds := p.settings["duration_seconds"]; seconds != "" {
		form.Set("DurationSeconds", seconds)
	}
	return i.takeRole(ctx, form, &by)
}

// takeRole asks STS for the credentials of a role, signed by those of another where there are such.
func (i *Identity) takeRole(ctx context.Context, form url.Values, by *aws.Credentials) (aws.Credentials, error) {
	role := form.Get("RoleArn")
	endpoint, err := i.Endpoint(STS)
	if err != nil {
		return aws.Credentials{}, err
	}
	form.Set("Version", "2011-06-15")
	body := form.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(body))
	if err != nil {
		return aws.Credentials{}, fault.As(fault.Data, err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if by != nil {
		if err := i.sign(ctx, request, *by, STS, i.Region(), []byte(body)); err != nil {
			return aws.Credentials{}, err
		}
	}
	status, text, err := httpx.Do(i.HTTP, request, maxAnswer)
	if err != nil {
		return aws.Credentials{}, err
	}
	var answer struct {
		Code   string `xml:"Error>Code"`
		Result struct {
			AccessKeyID     string `xml:"AccessKeyId"`
			SecretAccessKey string
			SessionToken    string
			Expiration      string
		} `xml:"Credentials"`
	}
	broken := unmarshalResult(text, &answer) != nil
	if status != http.StatusOK {
		kind := fault.Permission // the token, the role or its trust is wrong, and STS says so with 400 or 403
		switch {
		case status == http.StatusTooManyRequests, status >= 500,
			answer.Code == "IDPCommunicationError", answer.Code == "Throttling", answer.Code == "ThrottlingException", answer.Code == "RequestLimitExceeded":
			kind = fault.Temporary
		}
		return aws.Credentials{}, fault.New(kind, "take the role %s: STS answered %d%s", role, status, httpx.Says([]byte(answer.Code)))
	}
	r := answer.Result
	found, err := expiring(aws.Credentials{AccessKeyID: r.AccessKeyID, SecretAccessKey: r.SecretAccessKey, SessionToken: r.SessionToken}, r.Expiration)
	if broken || err != nil {
		return aws.Credentials{}, fault.New(fault.Data, "take the role %s: STS answered without credentials", role)
	}
	return found, nil
}

// unmarshalResult reads an answer of STS: what is in AssumeRoleResult or AssumeRoleWithWebIdentityResult, or an error.
func unmarshalResult(text []byte, answer any) error {
	decoder := xml.NewDecoder(strings.NewReader(string(text)))
	for {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		start, ok := token.(xml.StartElement)
		if ok && (start.Name.Local == "ErrorResponse" || strings.HasSuffix(start.Name.Local, "Result")) {
			return decoder.DecodeElement(answer, &start)
		}
	}
}
