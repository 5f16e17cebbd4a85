package vault

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
)

const (
	gcpMetadata   = "metadata.google.internal:80"
	azureMetadata = "169.254.169.254:80"
	// maxIdentity bounds what a metadata service says, in bytes.
	maxIdentity = 1 << 20
)

// bodyGCP sends a token that Google signed for the pod's service account, as GCE and GKE's workload identity give it:
// https://developer.hashicorp.com/vault/docs/auth/gcp#gce-login.
func bodyGCP(ctx context.Context, s *Session, c *Config) (map[string]any, string, error) {
	host := cmp.Or(s.env.Getenv("GCE_METADATA_HOST"), strings.TrimSuffix(gcpMetadata, ":80"))
	query := url.Values{"audience": {cmp.Or(c.audience, "vault/"+c.role)}, "format": {"full"}}
	where := "http://" + host + "/computeMetadata/v1/instance/service-accounts/default/identity?" + query.Encode()
	token, err := s.ask(ctx, http.MethodGet, where, nil, "Metadata-Flavor", "Google")
	return map[string]any{"role": c.role, "jwt": strings.TrimSpace(string(token))}, "", err
}

// bodyAzure sends a token of Microsoft Entra ID: that of AKS's workload identity where its variables are set, else that
// of the machine's managed identity. https://developer.hashicorp.com/vault/api-docs/auth/azure#login.
func bodyAzure(ctx context.Context, s *Session, c *Config) (map[string]any, string, error) {
	if s.env.Getenv("AZURE_FEDERATED_TOKEN_FILE") != "" {
		token, err := s.azureWorkload(ctx, c)
		return map[string]any{"role": c.role, "jwt": token}, "", err
	}
	query := url.Values{"api-version": {"2018-02-01"}, "resource": {azureResource(c)}}
	if id := s.env.Getenv("AZURE_CLIENT_ID"); id != "" {
		query.Set("client_id", id)
	}
	base := "http://" + strings.TrimSuffix(azureMetadata, ":80") + "/metadata"
	answer, err := s.ask(ctx, http.MethodGet, base+"/identity/oauth2/token?"+query.Encode(), nil, "Metadata", "true")
	if err != nil {
		return nil, "", err
	}
	token, err := accessToken(answer)
	if err != nil {
		return nil, "", err
	}
	answer, err = s.ask(ctx, http.MethodGet, base+"/instance?api-version=2019-08-15", nil, "Metadata", "true")
	if err != nil {
		return nil, "", err
	}
	var instance struct {
		Compute struct {
			Name          string `json:"name"`
			ScaleSet      string `json:"vmScaleSetName"`
			Subscription  string `json:"subscriptionId"`
			ResourceGroup string `json:"resourceGroupName"`
		} `json:"compute"`
	}
	if err := json.Unmarshal(answer, &instance); err != nil {
		return nil, "", fault.New(fault.Data, "read the instance's metadata: %w", err)
	}
	data := map[string]any{
		"role": c.role, "jwt": token,
		"subscription_id": instance.Compute.Subscription, "resource_group_name": instance.Compute.ResourceGroup,
	}
	// A machine of a scale set has a name as well, which the server does not take for one.
	if instance.Compute.ScaleSet != "" {
		data["vmss_name"] = instance.Compute.ScaleSet
	} else {
		data["vm_name"] = instance.Compute.Name
	}
	return data, "", nil
}

func azureResource(c *Config) string { return cmp.Or(c.resource, "https://management.azure.com/") }

// azureWorkload exchanges the service account's token for one of Entra ID:
// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow#third-case-access-token-request-with-a-federated-credential.
func (s *Session) azureWorkload(ctx context.Context, c *Config) (string, error) {
	assertion, err := httpx.ReadFile(s.env, s.env.Getenv("AZURE_FEDERATED_TOKEN_FILE"))
	if err != nil {
		return "", err
	}
	client, tenant := s.env.Getenv("AZURE_CLIENT_ID"), s.env.Getenv("AZURE_TENANT_ID")
	if client == "" || tenant == "" {
		return "", fault.New(fault.NoInput, "AZURE_FEDERATED_TOKEN_FILE is set, but AZURE_CLIENT_ID or AZURE_TENANT_ID is not")
	}
	authority := strings.TrimSuffix(cmp.Or(s.env.Getenv("AZURE_AUTHORITY_HOST"), "https://login.microsoftonline.com/"), "/")
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {client},
		"scope":                 {strings.TrimSuffix(azureResource(c), "/") + "/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {strings.TrimSpace(string(assertion))},
	}
	answer, err := s.ask(ctx, http.MethodPost, authority+"/"+url.PathEscape(tenant)+"/oauth2/v2.0/token", form)
	if err != nil {
		return "", err
	}
	return accessToken(answer)
}

func accessToken(answer []byte) (string, error) {
	var granted struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(answer, &granted); err != nil || granted.AccessToken == "" {
		return "", fault.New(fault.Data, "the answer of the identity service holds no access_token")
	}
	return granted.AccessToken, nil
}

// ask sends a request to a cloud's own identity service and returns its answer. What stands in a metadata service's
// reach is not behind a proxy. Nothing of the answer goes into an error.
func (s *Session) ask(ctx context.Context, verb, where string, form url.Values, header ...string) ([]byte, error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	request, err := http.NewRequestWithContext(ctx, verb, where, body)
	if err != nil {
		return nil, fault.New(fault.Usage, "the address of the identity service is not a URL")
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Accept", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	client := s.env.HTTP
	if request.URL.Scheme == "http" {
		client = httpx.Derive(client, func(t *http.Transport) { t.Proxy = nil })
		defer client.CloseIdleConnections()
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", request.URL.Host, transport(err))
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxIdentity))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", request.URL.Host, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fault.New(cloudKind(response.StatusCode), "ask %s%s: %s", request.URL.Host, request.URL.Path, response.Status)
	}
	return answer, nil
}

// cloudKind returns the kind of a refusal by an identity service. Metadata services answer 404 and 410 while they start,
// but that is seconds after the machine's start, long before a pod's.
func cloudKind(code int) fault.Kind {
	switch {
	case code == http.StatusTooManyRequests || code >= 500:
		return fault.Temporary
	case code == http.StatusNotFound:
		return fault.NoInput
	}
	return fault.Permission
}
