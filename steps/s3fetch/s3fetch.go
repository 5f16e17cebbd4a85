// Package s3fetch is the step that fetches objects from S3, and from what speaks like it.
package s3fetch

import (
	"context"
	"errors"
	"net/url"
	"path"
	"strings"

	"github.com/spf13/pflag"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/fetch"
	"github.com/slipway-init/slipway/internal/httpx"
	"github.com/slipway-init/slipway/internal/s3"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// Kind is s3-fetch.
var Kind = step.Kind{
	Name:  "s3-fetch",
	Short: "fetch an object, an archive or a prefix from S3, verified",
	Long: `Fetches the object URL into the file DEST, with --extract an archive into the folder DEST, or, if URL ends in "/", all objects
below that prefix into the folder DEST.

    slipway s3-fetch s3://models/m.bin /models/m.bin --sha256 9f2c…
    slipway s3-fetch s3://models/llama/ /models/llama --exclude '*.md' --sha256-file s3://models/llama/SHA256SUMS
    slipway s3-fetch s3://sites/www.tar.zst /srv/www --extract
    slipway s3-fetch s3://data/key /data/ --endpoint-url https://minio:9000 --path-style --ca-file /etc/ca/ca.pem

In a plan:

    - s3-fetch:
        url: s3://models/llama/
        dest: /models/llama
        include: ["*.safetensors", "*.json"]
        sha256-file: /etc/models/SHA256SUMS
        owner: "65532:65532"

A DEST that ends in "/" is a folder, and the object keeps the last element of its key as its name. The folder that a file is written to
must be there; that of a prefix or an archive is made, and so are those below it.

` + fetch.Help + `
Where no SHA-256 is known, the checksum that S3 itself keeps of an object is verified (CRC64NVME, CRC32, CRC32C, SHA-1, SHA-256, of the
whole object or composite), if it has one.

## Many objects

The objects below a prefix are fetched side by side, and each file appears whole by itself. --include and --exclude choose
among their names, which are relative to the prefix; names that lead out of DEST are refused. A file is given its
object's date, and one that has its object's size and date, or its digest where that is known, is not fetched again.
Files that the prefix does not have are left alone.

## Access

Credentials are found as by AWS's own tools: the environment, profiles of the shared configuration (--profile), web identity
(IRSA), EKS Pod Identity and ECS, the machine's role (IMDSv2); --no-sign-request needs none. --region and --endpoint-url come before the
variables of AWS and the profile; a wrong region is found out. --path-style is for servers without virtual hosts; a URL may name
an access point by its ARN. --request-payer pays for the request; --sse-c-key-file holds the key of objects that are
encrypted by the customer's (SSE-C), as 32 bytes or in base64.

## Runs

` + fetch.Runs,
	Args:   []string{"url", "dest"},
	Policy: fetch.Policy,
	New:    func() step.Step { return &s3Fetch{Options: fetch.New()} },
}

type s3Fetch struct {
	fetch.Options
	url     string
	version string
	s3      s3.Options
	path    bool
	keyFile string

	parsed, manifest s3.URL
}

func (s *s3Fetch) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&s.url, "url", "", `what to fetch: s3://BUCKET/KEY, or s3://BUCKET/PREFIX/ for all below it`)
	s.Options.Flags(fs)
	fs.StringVar(&s.s3.Endpoint, "endpoint-url", "", "server to ask instead of AWS (AWS_ENDPOINT_URL_S3)")
	fs.StringVar(&s.s3.Region, "region", "", "region of the bucket (AWS_REGION)")
	fs.StringVar(&s.s3.Profile, "profile", "", "profile of AWS's shared configuration (AWS_PROFILE)")
	fs.BoolVar(&s.path, "path-style", false, "write the bucket into the path and not into the host's name")
	fs.StringVar(&s.version, "version-id", "", "version of the object")
	fs.BoolVar(&s.s3.Anonymous, "no-sign-request", false, "ask without credentials")
	fs.BoolVar(&s.s3.RequesterPays, "request-payer", false, "pay for the requests to a bucket whose owner does not")
	fs.StringVar(&s.keyFile, "sse-c-key-file", "", "file of the key that the object is encrypted with (SSE-C)")
	fs.StringVar(&s.s3.TLS.CAFile, "ca-file", "", "PEM file of the CAs to trust instead of the system's (AWS_CA_BUNDLE)")
	fs.StringVar(&s.s3.TLS.CertFile, "cert-file", "", "PEM file of the client certificate")
	fs.StringVar(&s.s3.TLS.KeyFile, "key-file", "", "PEM file of the client certificate's key")
	fs.BoolVar(&s.s3.TLS.Insecure, "insecure-skip-tls-verify", false, "accept any certificate")
}

func (s *s3Fetch) Effects() ([]step.Effect, error) {
	var faults []error
	add := func(err error) { faults = append(faults, err) }
	add(s.parse())
	if s.s3.Anonymous && s.s3.RequesterPays {
		add(fault.New(fault.Usage, "--no-sign-request and --request-payer exclude each other: nobody could be billed"))
	}
	if (s.s3.TLS.CertFile == "") != (s.s3.TLS.KeyFile == "") {
		add(fault.New(fault.Usage, "--cert-file and --key-file go together"))
	}
	effects, err := s.Options.Effects(s.parsed.IsPrefix())
	add(err)
	dial, err := s.dial()
	add(err)
	if name := path.Base(s.parsed.Key); s.parsed.Key != "" && !s.parsed.IsPrefix() && strings.HasSuffix(s.Dest, "/") &&
		(name == "." || name == ".." || strings.ContainsRune(name, 0)) {
		add(fault.New(fault.Usage, "--dest %s is a folder, and the URL has no name for the file in it", s.Dest))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	for _, file := range []string{s.keyFile, s.s3.TLS.CAFile, s.s3.TLS.CertFile, s.s3.TLS.KeyFile} {
		if file != "" {
			effects = append(effects, step.Effect{Verb: step.Read, Object: file})
		}
	}
	return append(effects, dial), nil
}

// parse parses the URLs.
func (s *s3Fetch) parse() error {
	if s.url == "" {
		return fault.New(fault.Usage, "no url is given")
	}
	var err error
	if s.parsed, err = s3.ParseURL(s.url); err != nil {
		return err
	}
	switch {
	case s.version != "" && s.parsed.VersionID != "":
		return fault.New(fault.Usage, "--version-id and the URL both name a version")
	case s.version != "" && s.parsed.IsPrefix():
		return fault.New(fault.Usage, "--version-id is of one object, and the URL names a prefix")
	case s.version != "":
		s.parsed.VersionID = s.version
	}
	if s.Manifest() != "" {
		s.manifest, err = s3.ParseURL(s.Manifest())
	}
	return err
}

// dial returns whom the step asks. Without an endpoint it is AWS, or whom the pod's environment names.
func (s *s3Fetch) dial() (step.Effect, error) {
	if s.s3.Endpoint == "" {
		return step.Effect{Verb: step.Dial, Object: "s3:$AWS_ENDPOINT_URL_S3"}, nil
	}
	u, err := url.Parse(s.s3.Endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return step.Effect{}, fault.New(fault.Usage, "--endpoint-url is no http:// or https:// URL")
	}
	return step.Effect{Verb: step.Dial, Object: "tcp://" + httpx.Address(u)}, nil
}

func (s *s3Fetch) Run(ctx context.Context, env *step.Env) error {
	client, err := s.open(env, s.parsed.Bucket)
	if err != nil {
		return err
	}
	defer client.Close()
	beside := client // of the manifest
	if s.Manifest() != "" && s.manifest.Bucket != s.parsed.Bucket {
		if beside, err = s.open(env, s.manifest.Bucket); err != nil {
			return err
		}
		defer beside.Close()
	}
	f := fetch.Fetching{Options: &s.Options, Env: env, ManifestObject: &object{client: beside, url: s.manifest}}
	if s.parsed.IsPrefix() {
		return f.Tree(ctx, s.parsed.String(), s.entries(ctx, env, client))
	}
	return f.One(ctx, &object{client: client, url: s.parsed}, path.Base(s.parsed.Key))
}

// open returns a client for a bucket.
func (s *s3Fetch) open(env *step.Env, bucket string) (*s3.Client, error) {
	o := s.s3
	o.Bucket, o.Connections = bucket, s.Connections()
	if s.path {
		o.Style = s3.Path
	}
	if s.keyFile != "" {
		var ref opt.Ref
		if err := ref.Set("file:" + s.keyFile); err != nil {
			return nil, fault.As(fault.Usage, err)
		}
		key, err := ref.Read(env)
		if err != nil {
			return nil, err
		}
		if o.CustomerKey, err = customerKey(key); err != nil {
			return nil, err
		}
	}
	return s3.Open(env, o)
}
