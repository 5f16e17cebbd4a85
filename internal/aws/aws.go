// Package aws is the pod's AWS identity: who it is (credentials.go), in which region and where services are
// (endpoint.go), and requests signed with that by the SDK's signer (aws/signer/v4).
//
// What is sent is plain HTTP: the SDK's service clients and its configuration loader would cost every start of slipway,
// whether or not it asks AWS for anything. docs/stores.md has the figures. The variables are the SDK's: AWS_REGION,
// AWS_ENDPOINT_URL and its form for one service, AWS_CA_BUNDLE, AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT, and
// those of credentials.go.
package aws

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/store"
)

// Identity is who the pod is to AWS, in a region. It is safe for concurrent use.
type Identity struct {
	HTTP *http.Client // the env's, which trusts what AWS_CA_BUNDLE has

	env     *step.Env
	options Options
	region  string // "" with Options.Global alone

	login       sync.Mutex // held while credentials are asked for
	credentials *aws.Credentials
}

// Options are what the uses of an identity differ in.
type Options struct {
	Region  string // instead of that of AWS_REGION, else AWS_DEFAULT_REGION
	Global  bool   // no region is no fault: STS has an endpoint without one
	Machine bool   // without credentials of its own the pod takes the machine's role
}

// Open returns the identity that the environment names. It reads the file of AWS_CA_BUNDLE but asks nobody: credentials
// are looked for with the first signature. No region is NoInput, and a name that can be none is Data.
func Open(env *step.Env, o Options) (*Identity, error) {
	region := cmp.Or(o.Region, env.Getenv("AWS_REGION"), env.Getenv("AWS_DEFAULT_REGION"))
	if region == "" && !o.Global {
		return nil, fault.Hint(fault.New(fault.NoInput, "AWS: no region is set"), "set AWS_REGION")
	}
	if strings.ContainsFunc(region, func(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-') }) {
		return nil, fault.New(fault.Data, "AWS: %q is no region", region)
	}
	client, err := store.Client(env, store.TLS{CAFile: env.Getenv("AWS_CA_BUNDLE")})
	if err != nil {
		return nil, err
	}
	return &Identity{HTTP: client, env: env, options: o, region: region}, nil
}

// globalRegion is the region that a signature for STS's endpoint without one names.
const globalRegion = "us-east-1"

// Sign puts the signature of request with that body into its header. The request's own body is not looked at. The first
// signature asks for the credentials: none, or ones that are refused, are Permission; NoInput and Data are of the files
// and variables that name them; Temporary and Unavailable of who gives them.
func (i *Identity) Sign(ctx context.Context, request *http.Request, s Service, body []byte) error {
	credentials, err := i.signer(ctx)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(body)
	region := cmp.Or(i.region, globalRegion)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, request, hex.EncodeToString(digest[:]), s.Name, region, time.Now()); err != nil {
		return fault.As(fault.Internal, err)
	}
	return nil
}
