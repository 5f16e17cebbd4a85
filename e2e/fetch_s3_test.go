package e2e

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/slipway-init/slipway/e2e/internal/faultproxy"
	"github.com/slipway-init/slipway/e2e/internal/pki"
	"github.com/slipway-init/slipway/e2e/internal/s3put"
	"github.com/slipway-init/slipway/e2e/internal/servers"
	"github.com/slipway-init/slipway/e2e/internal/slipway"
)

// s3Servers starts a server of each sort.
func s3Servers(t *testing.T) map[string]*servers.S3 {
	t.Helper()
	return map[string]*servers.S3{"versitygw": servers.StartVersitygw(t), "minio": servers.StartMinIO(t, nil)}
}

// s3Fetch returns a fetch from a server, with all rights.
func s3Fetch(s *servers.S3, source, dest string, options ...string) slipway.Command {
	return s3FetchAt(s, s.URL, source, dest, options...)
}

// s3FetchAt is s3Fetch by way of a proxy.
func s3FetchAt(s *servers.S3, endpoint, source, dest string, options ...string) slipway.Command {
	args := []string{"s3-fetch", source, dest, "--endpoint-url", endpoint, "--path-style", "--retries", "1", "--backoff", "20ms"}
	return slipway.Command{Args: append(args, options...), Env: s.Env()}
}

// Every checksum that S3 keeps, of one piece and of parts, is proven without a digest; what the server sends wrongly is not taken.
func TestS3FetchProvesWhatTheServerKnows(t *testing.T) {
	t.Parallel()
	content := noise(10, 12<<20+345)
	for name, server := range s3Servers(t) {
		bucket := s3put.Create(t, server, "bucket")
		keys := make(map[string]func(t *testing.T, key string))
		for _, algorithm := range []types.ChecksumAlgorithm{"CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"} {
			keys["one-"+string(algorithm)] = func(t *testing.T, key string) {
				bucket.Put(t, key, content, func(i *s3.PutObjectInput) { i.ChecksumAlgorithm = algorithm })
			}
			for _, sort := range []types.ChecksumType{types.ChecksumTypeComposite, types.ChecksumTypeFullObject} {
				full := strings.HasPrefix(string(algorithm), "CRC")
				if sort == types.ChecksumTypeFullObject && !full || sort == types.ChecksumTypeComposite && algorithm == "CRC64NVME" {
					continue // S3 knows none
				}
				keys[fmt.Sprintf("parts-%s-%s", algorithm, sort)] = func(t *testing.T, key string) {
					bucket.PutParts(t, key, bytes.NewReader(content), int64(len(content)), s3put.Parts{Size: 5 << 20, Algorithm: algorithm, Type: sort})
				}
			}
		}
		for key, put := range keys {
			t.Run(name+"/"+key, func(t *testing.T) {
				t.Parallel()
				put(t, key)
				dir := t.TempDir()
				dest := filepath.Join(dir, "object")
				r := s3Fetch(server, bucket.URL(key), dest).Run(t)
				expect(t, r, 0)
				holds(t, dest, content)

				proxy := faultproxy.Start(t, server.Addr)
				proxy.Spoil(always(faultproxy.Fault{Flip: 1_000_000}))
				expect(t, s3FetchAt(server, proxy.URL, bucket.URL(key), filepath.Join(dir, "wrong")).Run(t), 65)
				alone(t, dir, "object")
			})
		}
	}
}

// A wrong digest leaves nothing, and a right one is written beside the file on request.
func TestS3FetchByDigest(t *testing.T) {
	t.Parallel()
	content := noise(11, 9<<20)
	for name, server := range s3Servers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bucket := s3put.Create(t, server, "bucket")
			bucket.Put(t, "models/m.bin", content)
			bucket.Put(t, "SHA256SUMS", []byte(digest(content)+"  m.bin\n"))
			bucket.Put(t, "WRONGSUMS", []byte(digest(nil)+"  m.bin\n"))
			dir := t.TempDir()
			dest := filepath.Join(dir, "m.bin")
			fetch := func(options ...string) slipway.Result {
				return s3Fetch(server, bucket.URL("models/m.bin"), dest, options...).Run(t)
			}
			expect(t, fetch("--sha256", digest(nil)), 65, digest(content), digest(nil))
			alone(t, dir)
			expect(t, fetch("--sha256-file", bucket.URL("WRONGSUMS")), 65, digest(content))
			alone(t, dir)
			expect(t, fetch("--sha256-file", bucket.URL("NOSUMS")), 66, "NOSUMS")
			expect(t, fetch("--sha256", "beef"), 64, "sha256")

			expect(t, fetch("--sha256-file", bucket.URL("SHA256SUMS"), "--write-sha256"), 0)
			holds(t, dest, content)
			alone(t, dir, "m.bin", "m.bin.sha256")
			if got, want := read(t, dest+".sha256"), digest(content)+"  m.bin\n"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			// What stands there stays until what is to replace it is right.
			bucket.Put(t, "models/m.bin", noise(12, 1000))
			expect(t, fetch("--sha256", digest(nil)), 65)
			holds(t, dest, content)
			local := filepath.Join(dir, "sums")
			write(t, local, digest(content)+"  m.bin\n")
			expect(t, fetch("--sha256-file", local), 0)
		})
	}
}

// A prefix becomes a folder, of those objects that are wanted.
func TestS3FetchOfAPrefix(t *testing.T) {
	t.Parallel()
	files := map[string][]byte{
		"config.json": []byte("{}"), "tokenizer/vocab.txt": noise(13, 70_000), "weights/1.bin": noise(14, 9<<20),
		"weights/2.bin": noise(15, 3<<20), "empty": nil, "name with spaces+and=signs&more%20é.txt": []byte("odd"),
	}
	var sums strings.Builder
	for name, content := range files {
		fmt.Fprintf(&sums, "%s  %s\n", digest(content), name)
	}
	for name, server := range s3Servers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bucket := s3put.Create(t, server, "bucket")
			for name, content := range files {
				bucket.Put(t, "model/"+name, content)
			}
			bucket.Put(t, "model2/other", []byte("other"))
			bucket.Put(t, "model.SHA256SUMS", []byte(sums.String()))
			has := func(dir string, want ...string) {
				t.Helper()
				for _, name := range want {
					holds(t, filepath.Join(dir, name), files[name])
				}
				got := slices.DeleteFunc(fetched(t, dir), func(name string) bool { return name == "tokenizer" || name == "weights" })
				if slices.Sort(want); !slices.Equal(got, want) {
					t.Errorf("got %q, want %q", got, want)
				}
			}
			all := []string{"config.json", "empty", "name with spaces+and=signs&more%20é.txt", "tokenizer/vocab.txt", "weights/1.bin", "weights/2.bin"}
			dir := filepath.Join(t.TempDir(), "all")
			fetch := s3Fetch(server, bucket.URL("model/"), dir, "--sha256-file", bucket.URL("model.SHA256SUMS"))
			expect(t, fetch.Run(t), 0)
			has(dir, all...)
			// A second run finds all as it left it.
			before := snapshot(t, dir)
			expect(t, fetch.Run(t), 0)
			if got := snapshot(t, dir); got != before {
				t.Errorf("the second run changed something: before\n%s\nafter\n%s", before, got)
			}
			// And one after a file has changed puts that one right.
			write(t, filepath.Join(dir, "weights/2.bin"), "spoilt")
			expect(t, fetch.Run(t), 0)
			has(dir, all...)

			dir = filepath.Join(t.TempDir(), "some")
			expect(t, s3Fetch(server, bucket.URL("model/"), dir, "--include", "weights/*", "--include", "*.json", "--exclude", "*/2.bin").Run(t), 0)
			has(dir, "config.json", "weights/1.bin")
			expect(t, s3Fetch(server, bucket.URL("nothing/"), filepath.Join(t.TempDir(), "none")).Run(t), 66, "nothing/")
		})
	}
}

// Keys are not paths: those that lead out of the folder are refused.
func TestS3FetchOfKeysThatLeadOut(t *testing.T) {
	t.Parallel()
	// The gateways keep objects as files and refuse such keys themselves; AWS does not, and so the proxy speaks for it.
	list := `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name>` +
		`<Prefix>tree/</Prefix><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated><Contents><Key>tree/%s</Key><Size>1</Size>` +
		`<ETag>"0cc175b9c0f1b6a831c399e269772661"</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>`
	for _, key := range []string{"../escaped", "a/../../escaped", "/escaped", "a//../../escaped", "..", "a/../.."} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			proxy := faultproxy.Start(t, "127.0.0.1:1")
			proxy.Spoil(func(r *faultproxy.Request) faultproxy.Fault {
				if r.URL.Query().Has("list-type") {
					return refusal(200, fmt.Sprintf(list, key))
				}
				return refusal(200, "a")
			})
			parent := t.TempDir()
			r := slipway.Command{
				Args: []string{"s3-fetch", "s3://bucket/tree/", filepath.Join(parent, "a/b/tree"), "--endpoint-url", proxy.URL, "--no-sign-request", "--retries", "0"},
				Env:  []string{"AWS_REGION=" + servers.Region},
			}
			if err := os.MkdirAll(filepath.Join(parent, "a/b"), 0o755); err != nil {
				t.Fatal(err)
			}
			expect(t, r.Run(t), 65)
			for _, name := range fetched(t, parent) {
				if strings.Contains(name, "escaped") {
					t.Errorf("there is %s", name)
				}
			}
		})
	}
}

// One version of an object, and not the latest.
func TestS3FetchOfAVersion(t *testing.T) {
	t.Parallel()
	for name, server := range s3Servers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bucket := s3put.Create(t, server, "bucket")
			bucket.Version(t)
			before, after := noise(16, 20<<20), noise(17, 20<<20)
			version := bucket.Put(t, "object", before)
			another := bucket.Put(t, "another", before)
			bucket.Put(t, "object", after)
			dest := filepath.Join(t.TempDir(), "object")
			expect(t, s3Fetch(server, bucket.URL("object"), dest).Run(t), 0)
			holds(t, dest, after)
			expect(t, s3Fetch(server, bucket.URL("object"), dest, "--version-id", version).Run(t), 0, version)
			holds(t, dest, before)
			expect(t, s3Fetch(server, bucket.URL("object"), filepath.Join(t.TempDir(), "x"), "--version-id", another).Run(t), 66)
		})
	}
}

// What a server refuses, each with its exit code.
func TestS3FetchRefused(t *testing.T) {
	t.Parallel()
	for name, server := range s3Servers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bucket := s3put.Create(t, server, "bucket")
			bucket.Put(t, "object", []byte("content"))
			stranger := []string{"AWS_ACCESS_KEY_ID=AKIASTRANGER00000000", "AWS_SECRET_ACCESS_KEY=battery-staple", "AWS_REGION=" + servers.Region}
			liar := []string{"AWS_ACCESS_KEY_ID=" + servers.AccessKey, "AWS_SECRET_ACCESS_KEY=battery-staple", "AWS_REGION=" + servers.Region}
			for _, c := range []struct {
				name, key string
				env       []string
				options   []string
				exit      int
				text      string
			}{
				{"no such key", "objcet", server.Env(), nil, 66, "objcet"},
				{"no such key, with its digest", "objcet", server.Env(), []string{"--sha256", digest(nil)}, 66, "objcet"},
				{"unknown access key", "object", stranger, nil, 77, "access key"},
				{"wrong secret key", "object", liar, nil, 77, ""},
				{"nobody", "object", []string{"AWS_REGION=" + servers.Region, "AWS_EC2_METADATA_DISABLED=true"}, nil, 77, "credentials"},
				{"anonymous", "object", nil, []string{"--no-sign-request", "--region", servers.Region}, 77, ""},
			} {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					dir := t.TempDir()
					command := s3Fetch(server, bucket.URL(c.key), filepath.Join(dir, "object"), c.options...)
					command.Env = c.env
					r := command.Run(t)
					expect(t, r, c.exit, c.text)
					hides(t, r, "battery-staple")
					alone(t, dir)
				})
			}
			command := s3Fetch(server, "s3://nosuchbucket/object", filepath.Join(t.TempDir(), "object"))
			expect(t, command.Run(t), 66, "nosuchbucket")
			public := s3put.Create(t, server, "public")
			public.Put(t, "object", []byte("content"))
			public.Publish(t)
			anonymous := s3Fetch(server, public.URL("object"), filepath.Join(t.TempDir(), "object"), "--no-sign-request", "--region", servers.Region)
			anonymous.Env = nil
			expect(t, anonymous.Run(t), 0)
		})
	}
}

// Where a pod on AWS gets its credentials: each way ends at a real server, which checks what was signed with them.
func TestS3FetchWithThePodsIdentity(t *testing.T) {
	t.Parallel()
	server := servers.StartVersitygw(t)
	bucket := s3put.Create(t, server, "bucket")
	content := noise(18, 1<<20)
	bucket.Put(t, "object", content)
	identity := servers.StartIdentity(t)
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".aws"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(home, ".aws", "credentials"), fmt.Sprintf("[e2e]\naws_access_key_id = %s\naws_secret_access_key = %s\n", servers.AccessKey, servers.SecretKey))
	write(t, filepath.Join(home, ".aws", "config"), "[profile e2e]\nregion = "+servers.Region+"\n")
	region := "AWS_REGION=" + servers.Region
	off := "AWS_EC2_METADATA_DISABLED=true"
	for name, env := range map[string][]string{
		"environment":       server.Env(),
		"profile":           {"HOME=" + home, "AWS_PROFILE=e2e", off},
		"EKS Pod Identity":  {region, "AWS_CONTAINER_CREDENTIALS_FULL_URI=" + identity.URL + "/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=" + identity.Token},
		"IRSA web identity": {region, "AWS_ROLE_ARN=arn:aws:iam::123456789012:role/e2e", "AWS_WEB_IDENTITY_TOKEN_FILE=" + identity.Token, "AWS_ENDPOINT_URL_STS=" + identity.URL + "/sts/"},
		"IMDSv2":            {region, "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + identity.URL},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := s3Fetch(server, bucket.URL("object"), filepath.Join(t.TempDir(), "object"), "--sha256", digest(content))
			command.Env = env
			r := command.Run(t)
			expect(t, r, 0)
			hides(t, r, servers.SecretKey)
		})
	}
}

// A session has a token beside its keys, and is nothing without it.
func TestS3FetchWithASession(t *testing.T) {
	t.Parallel()
	server := servers.StartMinIO(t, nil)
	bucket := s3put.Create(t, server, "bucket")
	content := noise(23, 9<<20)
	bucket.Put(t, "object", content)
	session := server.AssumeRole(t)
	dest := filepath.Join(t.TempDir(), "object")
	fetch := s3Fetch(server, bucket.URL("object"), dest)
	fetch.Env = slices.DeleteFunc(slices.Clone(session), func(v string) bool { return strings.HasPrefix(v, "AWS_SESSION_TOKEN=") })
	expect(t, fetch.Run(t), 77)
	absent(t, dest)
	fetch.Env = session
	r := fetch.Run(t)
	expect(t, r, 0)
	holds(t, dest, content)
	for _, variable := range session[1:3] {
		_, secret, _ := strings.Cut(variable, "=")
		hides(t, r, secret)
	}
}

// A credential that expires half-way is fetched anew where it can be, and nothing that is there is fetched again.
func TestS3FetchWhenACredentialExpires(t *testing.T) {
	t.Parallel()
	content := noise(19, 64<<20)
	for name, server := range s3Servers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bucket := s3put.Create(t, server, "bucket")
			bucket.Put(t, "object", content)
			expired := refusal(400, fmt.Sprintf(s3Error, "ExpiredToken", "The provided token has expired."))
			for _, c := range []struct {
				name string
				env  func(*servers.Identity) []string
				exit int
			}{
				{"that can be renewed", func(i *servers.Identity) []string {
					return []string{"AWS_REGION=" + servers.Region, "AWS_CONTAINER_CREDENTIALS_FULL_URI=" + i.URL + "/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=" + i.Token}
				}, 0},
				{"that cannot", func(*servers.Identity) []string { return server.Env() }, 77},
			} {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					identity := servers.StartIdentity(t)
					proxy := faultproxy.Start(t, server.Addr)
					proxy.Spoil(func(r *faultproxy.Request) faultproxy.Fault {
						if r.Get > 3 && identity.Asked() < 2 {
							return expired
						}
						return faultproxy.Fault{}
					})
					dest := filepath.Join(t.TempDir(), "object")
					command := s3FetchAt(server, proxy.URL, bucket.URL("object"), dest, "--sha256", digest(content))
					command.Env = c.env(identity)
					expect(t, command.Run(t), c.exit)
					if c.exit != 0 {
						absent(t, dest)
						return
					}
					holds(t, dest, content)
					if got := proxy.Counts(); got.Sent > int64(len(content))*13/10 {
						t.Errorf("%d bytes were sent, of an object of %d", got.Sent, len(content))
					}
				})
			}
		})
	}
}

// SSE-C, over TLS with an authority of one's own: MinIO has it.
func TestS3FetchOverTLSWithACustomersKey(t *testing.T) {
	t.Parallel()
	authority := pki.New(t, servers.Dir(t))
	server := servers.StartMinIO(t, authority)
	bucket := s3put.Create(t, server, "bucket")
	content := noise(20, 12<<20)
	key := noise(21, 32)
	sum := md5.Sum(key)
	encoded, md := base64.StdEncoding.EncodeToString(key), base64.StdEncoding.EncodeToString(sum[:])
	bucket.Put(t, "object", content, func(i *s3.PutObjectInput) {
		algorithm := "AES256"
		i.SSECustomerAlgorithm, i.SSECustomerKey, i.SSECustomerKeyMD5 = &algorithm, &encoded, &md
	})
	bucket.Put(t, "plain", content)
	keys := t.TempDir()
	right, wrong := filepath.Join(keys, "right"), filepath.Join(keys, "wrong")
	write(t, right, string(key))
	write(t, wrong, string(noise(22, 32)))
	trust := []string{"--ca-file", authority.File}
	for _, c := range []struct {
		name, key string
		options   []string
		exit      int
	}{
		{"plain", "plain", trust, 0},
		{"no trust", "plain", nil, 77},
		{"the right key", "object", append(trust, "--sse-c-key-file", right, "--sha256", digest(content)), 0},
		{"the wrong key", "object", append(trust, "--sse-c-key-file", wrong), 77},
		{"no key", "object", trust, 77},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r := s3Fetch(server, bucket.URL(c.key), filepath.Join(dir, "object"), c.options...).Run(t)
			expect(t, r, c.exit)
			hides(t, r, encoded)
			hides(t, r, hex.EncodeToString(key))
			if c.exit != 0 {
				alone(t, dir)
				return
			}
			holds(t, filepath.Join(dir, "object"), content)
		})
	}
}

// Requester pays is told to the server.
func TestS3FetchTellsWhoPays(t *testing.T) {
	t.Parallel()
	server := servers.StartVersitygw(t)
	bucket := s3put.Create(t, server, "bucket")
	bucket.Put(t, "object", []byte("content"))
	proxy := faultproxy.Start(t, server.Addr)
	proxy.Spoil(func(r *faultproxy.Request) faultproxy.Fault {
		if r.Header.Get("X-Amz-Request-Payer") != "requester" {
			return refusal(http.StatusForbidden, fmt.Sprintf(s3Error, "AccessDenied", "Access Denied"))
		}
		return faultproxy.Fault{}
	})
	for _, c := range []struct {
		options []string
		exit    int
	}{{nil, 77}, {[]string{"--request-payer"}, 0}} {
		expect(t, s3FetchAt(server, proxy.URL, bucket.URL("object"), filepath.Join(t.TempDir(), "object"), c.options...).Run(t), c.exit)
	}
}
