// Package aws reads Secrets Manager and Systems Manager's Parameter Store, as the pod's AWS identity, see internal/aws.
//
// Both speak JSON over one signed POST, so the requests are made here.
package aws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/slipway-init/slipway/internal/aws"
	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/store"
)

// Account is a region of an account, by the credentials that the pod has. It is safe for concurrent use.
type Account struct{ identity *aws.Identity }

// Open returns the account that the environment names, see aws.Open. A pod without credentials of its own has the
// machine's role.
func Open(env *step.Env) (*Account, error) {
	identity, err := aws.Open(env, aws.Options{Machine: true})
	if err != nil {
		return nil, err
	}
	return &Account{identity}, nil
}

// service is one of AWS's services.
type service struct {
	aws.Service
	target string // what stands before the operation in X-Amz-Target
}

var (
	secretsManager = service{aws.Service{Name: "secretsmanager", Variable: "SECRETS_MANAGER"}, "secretsmanager."}
	ssm            = service{aws.Service{Name: "ssm", Variable: "SSM"}, "AmazonSSM."}
)

// call asks for one operation, signed.
func (a *Account) call(ctx context.Context, s service, operation string, question, answer any) error {
	endpoint, err := a.identity.Endpoint(s.Service)
	if err != nil {
		return err
	}
	body, err := json.Marshal(question)
	if err != nil {
		return fault.As(fault.Internal, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return fault.As(fault.Data, err)
	}
	request.Header.Set("Content-Type", "application/x-amz-json-1.1")
	request.Header.Set("X-Amz-Target", s.target+operation)
	if err := a.identity.Sign(ctx, request, s.Service, body); err != nil {
		return err
	}
	status, text, err := httpx.Do(a.identity.HTTP, request, store.MaxBytes)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return refused(s.Name+":"+operation, status, text)
	}
	if json.Unmarshal(text, answer) != nil {
		return fault.New(fault.Data, "AWS answered %s with what is not its JSON", operation)
	}
	return nil
}

// What AWS's codes mean, where HTTP's status does not tell: https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html.
var (
	denied   = []string{"AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "NotAuthorized"}
	unknown  = []string{"UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken", "ExpiredTokenException", "ExpiredToken"}
	locked   = []string{"DecryptionFailure", "KMSAccessDeniedException", "InvalidKeyId"}
	missing  = []string{"ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound"}
	overload = []string{"ThrottlingException", "Throttling", "ThrottledException", "TooManyRequestsException", "RequestLimitExceeded", "ProvisionedThroughputExceededException", "LimitExceededException", "SlowDown"}
)

// errMissing is that what was asked for does not exist.
var errMissing = errors.New("it does not exist")

// refused returns the error of an answer that is no success. What AWS says names the caller and the resource, never a
// value.
func refused(action string, status int, body []byte) error {
	var answer struct {
		Code    string `json:"__type"`
		Message string // "message" too
	}
	_ = json.Unmarshal(body, &answer) // what is not JSON says nothing
	code := answer.Code[strings.LastIndex(answer.Code, "#")+1:]
	if code == "" {
		return fault.New(httpx.StatusKind(status), "AWS answered %s with %d", action, status)
	}
	text := code
	if answer.Message != "" {
		text += httpx.Says([]byte(answer.Message))
	}
	has := func(codes []string) bool { return slices.Contains(codes, code) }
	switch {
	case has(overload) || status >= 500 || status == http.StatusTooManyRequests:
		return fault.New(fault.Temporary, "%s", text)
	case has(missing):
		return fault.New(fault.NoInput, "%s: %w", text, errMissing)
	case has(locked), has(denied) && strings.Contains(answer.Message, "kms:"):
		return fault.Hint(fault.New(fault.Permission, "%s", text), "the pod's IAM role needs kms:Decrypt on the key that encrypts it")
	case has(denied):
		return fault.Hint(fault.New(fault.Permission, "%s", text), "the pod's IAM role needs %s", action)
	case has(unknown):
		return fault.Hint(fault.New(fault.Permission, "%s", text),
			"the credentials are wrong or have expired, or the clock is; see where the pod has them from")
	}
	return fault.New(fault.Data, "%s", text)
}

// onResource puts the resource behind the action that err's hint asks for.
func onResource(err error, resource string) error {
	if hint := fault.HintOf(err); fault.KindOf(err) == fault.Permission && strings.Contains(hint, "role needs s") {
		return fault.Hint(err, "%s on %s", hint, resource)
	}
	return err
}

// Secrets is Secrets Manager.
type Secrets struct{ account *Account }

// Secrets returns the account's Secrets Manager.
func (a *Account) Secrets() Secrets { return Secrets{a} }

// Get returns the current version of a secret, by its name or ARN: the text as it is, which often is a JSON object, or the
// bytes of a binary one. See store.Getter.
func (s Secrets) Get(ctx context.Context, name string) (string, error) {
	var answer struct {
		SecretString *string
		SecretBinary []byte
	}
	err := s.account.call(ctx, secretsManager, "GetSecretValue", map[string]any{"SecretId": name}, &answer)
	switch {
	case err == nil && answer.SecretString != nil:
		return *answer.SecretString, nil
	case err == nil:
		return string(answer.SecretBinary), nil
	case errors.Is(err, errMissing):
		return "", store.Missing("AWS Secrets Manager", "secret", name, s.neighbours(ctx, name))
	}
	resource := name
	if !strings.HasPrefix(name, "arn:") {
		resource = "arn:aws:secretsmanager:*:*:secret:" + name + "-??????" // six characters that nobody chose
	}
	return "", fmt.Errorf("AWS secret %s: %w", name, onResource(err, resource))
}

// neighbours returns names in the secret's folder; none when the role may not list them. All secrets of an account are no
// neighbours.
func (s Secrets) neighbours(ctx context.Context, name string) []string {
	prefix := store.Parent(name)
	if prefix == "" || strings.HasPrefix(name, "arn:") {
		return nil
	}
	var answer struct{ SecretList []struct{ Name string } }
	question := map[string]any{"MaxResults": 20, "Filters": []any{map[string]any{"Key": "name", "Values": []string{prefix}}}}
	if s.account.call(ctx, secretsManager, "ListSecrets", question, &answer) != nil {
		return nil
	}
	var names []string
	for _, secret := range answer.SecretList {
		names = append(names, secret.Name)
	}
	return names
}

// Parameters is Systems Manager's Parameter Store.
type Parameters struct{ account *Account }

// Parameters returns the account's Parameter Store.
func (a *Account) Parameters() Parameters { return Parameters{a} }

// parameter is one of Parameter Store's, decrypted.
type parameter struct{ Name, Value string }

// Get returns a parameter, decrypted, by its name or ARN; "name:3" and "name:label" name a version. See store.Getter.
func (p Parameters) Get(ctx context.Context, name string) (string, error) {
	var answer struct{ Parameter parameter }
	err := p.account.call(ctx, ssm, "GetParameter", map[string]any{"Name": name, "WithDecryption": true}, &answer)
	switch {
	case err == nil:
		return answer.Parameter.Value, nil
	case errors.Is(err, errMissing):
		return "", store.Missing("AWS Parameter Store", "parameter", name, p.neighbours(ctx, name))
	}
	return "", fmt.Errorf("AWS parameter %s: %w", name, onResource(err, resource(name)))
}

// maxPages bounds how many answers of ten parameters List puts together.
const maxPages = 100

// List returns the parameters below a path, decrypted. See store.Lister.
func (p Parameters) List(ctx context.Context, path string) ([]store.Pair, error) {
	question := map[string]any{"Path": path, "Recursive": true, "WithDecryption": true}
	values, size := make(map[string]string), 0
	for range maxPages {
		var answer struct {
			Parameters []parameter
			NextToken  string
		}
		if err := p.account.call(ctx, ssm, "GetParametersByPath", question, &answer); err != nil {
			return nil, fmt.Errorf("AWS parameters %s: %w", path, onResource(err, resource(path)))
		}
		for _, parameter := range answer.Parameters {
			values[parameter.Name] = parameter.Value
			size += len(parameter.Name) + len(parameter.Value)
		}
		if size > store.MaxBytes {
			return nil, fault.New(fault.Data, "AWS parameters %s: there are over %d bytes", path, store.MaxBytes)
		}
		if answer.NextToken == "" {
			return store.Pairs(path, values), nil
		}
		question["NextToken"] = answer.NextToken
	}
	return nil, fault.New(fault.Data, "AWS parameters %s: there are over %d", path, maxPages*10)
}

// neighbours returns names in the parameter's folder; none when the role may not list them.
func (p Parameters) neighbours(ctx context.Context, name string) []string {
	prefix := store.Parent(name)
	if prefix == "" || strings.HasPrefix(name, "arn:") {
		return nil
	}
	var answer struct{ Parameters []struct{ Name string } }
	filter := map[string]any{"Key": "Name", "Option": "BeginsWith", "Values": []string{prefix}}
	if p.account.call(ctx, ssm, "DescribeParameters", map[string]any{"MaxResults": 20, "ParameterFilters": []any{filter}}, &answer) != nil {
		return nil
	}
	var names []string
	for _, parameter := range answer.Parameters {
		names = append(names, parameter.Name)
	}
	return names
}

// resource returns what an IAM policy calls a parameter.
func resource(name string) string {
	if strings.HasPrefix(name, "arn:") {
		return name
	}
	return "arn:aws:ssm:*:*:parameter/" + strings.TrimPrefix(name, "/")
}
