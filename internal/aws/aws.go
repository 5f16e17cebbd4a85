// Package aws is the pod's AWS identity: who it is (credentials.go, profile.go, sts.go), in which region and where services
// are (endpoint.go), and requests signed with that by the SDK's signer (aws/signer/v4).
//
// What is sent is plain HTTP: the SDK's service clients and its configuration loader would cost every start of slipway,
// whether or not it asks AWS for anything. docs/s3.md has the figures. The variables are the SDK's: AWS_REGION,
// AWS_PROFILE, AWS_ENDPOINT_URL and its form for one service, AWS_CA_BUNDLE, AWS_USE_FIPS_ENDPOINT,
// AWS_USE_DUALSTACK_ENDPOINT, and those of credentials.go.
package aws

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/step"
)

// Identity is who the pod is to AWS, in a region. It is safe for concurrent use.
type Identity struct {
	HTTP *http.Client // the env's, which trusts what AWS_CA_BUNDLE has

	env     *step.Env
	options Options
	region  string // "" with Options.Global alone
	profile profile
	signer  *v4.Signer // keeps the keys that it derived

	login sync.Mutex // held while credentials are asked for
	held  held
	skew  atomic.Int64 // how far the services' clock is ahead of the pod's, in nanoseconds
}

// Options are what the uses of an identity differ in.
type Options struct {
	Region  string    // instead of that of AWS_REGION, AWS_DEFAULT_REGION, and the profile's
	Global  bool      // no region is no fault: STS has an endpoint without one, and S3 says which one it is
	Machine bool      // without credentials of its own the pod takes the machine's role
	Profile string    // instead of that of AWS_PROFILE, else AWS_DEFAULT_PROFILE; it counts before all other credentials
	TLS     httpx.TLS // without a CAFile that of AWS_CA_BUNDLE, else the profile's
}

// Open returns the identity that the environment names. It reads the files of the profile and of AWS_CA_BUNDLE but asks
// nobody: credentials are looked for with the first signature. No region is NoInput, and a name that can be none is Data.
func Open(env *step.Env, o Options) (*Identity, error) {
	named, err := loadProfile(env, o.Profile)
	if err != nil {
		return nil, err
	}
	region := cmp.Or(o.Region, env.Getenv("AWS_REGION"), env.Getenv("AWS_DEFAULT_REGION"), named.settings["region"])
	if region == "" && !o.Global {
		return nil, fault.Hint(fault.New(fault.NoInput, "AWS: no region is set"), "set AWS_REGION")
	}
	if !IsRegion(region) && region != "" {
		return nil, fault.New(fault.Data, "AWS: %q is no region", region)
	}
	o.TLS.CAFile = cmp.Or(o.TLS.CAFile, env.Getenv("AWS_CA_BUNDLE"), named.settings["ca_bundle"])
	client, err := o.TLS.Client(env)
	if err != nil {
		return nil, err
	}
	return &Identity{HTTP: client, env: env, options: o, region: region, profile: named, signer: v4.NewSigner()}, nil
}

// globalRegion is the region that a signature for an endpoint without one names.
const globalRegion = "us-east-1"

// Region returns the region; us-east-1 where none is set.
func (i *Identity) Region() string { return cmp.Or(i.region, globalRegion) }

// IsRegion reports whether name has the form of a region's name.
func IsRegion(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-') })
}

// Sign puts the signature of request with that body into its header. The request's own body is not looked at. The first
// signature asks for the credentials, and so does one shortly before they expire: none, or ones that are refused, are
// Permission; NoInput and Data are of the files and variables that name them; Temporary and Unavailable of who gives them.
func (i *Identity) Sign(ctx context.Context, request *http.Request, s Service, body []byte) error {
	credentials, err := i.current(ctx)
	if err != nil {
		return err
	}
	return i.sign(ctx, request, credentials, s, i.Region(), body)
}

// sign signs with credentials, which need not be the identity's own: a role is taken with another's.
func (i *Identity) sign(ctx context.Context, request *http.Request, credentials aws.Credentials, s Service, region string, body []byte) error {
	digest := sha256.Sum256(body)
	if err := i.signer.SignHTTP(ctx, credentials, request, hex.EncodeToString(digest[:]), s.Name, region, i.now()); err != nil {
		return fault.As(fault.Internal, err)
	}
	return nil
}

// nothing is the SHA-256 of no bytes, in hexadecimal.
const nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// SignObject signs a request to S3 that has no body, in a region that need not be the identity's. S3 differs from the
// other services: its path is taken as it is, see
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html. The errors are those of Sign.
func (i *Identity) SignObject(ctx context.Context, request *http.Request, region string) error {
	credentials, err := i.current(ctx)
	if err != nil {
		return err
	}
	request.Header.Set("X-Amz-Content-Sha256", nothing)
	err = i.signer.SignHTTP(ctx, credentials, request, nothing, S3.Name, region, i.now(), func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err != nil {
		return fault.As(fault.Internal, err)
	}
	return nil
}

// now is the services' time, as far as it is known.
func (i *Identity) now() time.Time { return time.Now().Add(time.Duration(i.skew.Load())) }

// tolerance is by how much the clock of a signature may be wrong: AWS takes fifteen minutes, most others too.
const tolerance = 5 * time.Minute

// SetClock corrects the clock of signatures by the Date of an answer, and reports whether it was wrong by more than a
// signature may be.
func (i *Identity) SetClock(date string) bool {
	theirs, err := http.ParseTime(date)
	if err != nil || i.now().Sub(theirs).Abs() < tolerance {
		return false
	}
	i.skew.Store(int64(time.Until(theirs)))
	return true
}
