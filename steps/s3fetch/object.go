package s3fetch

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/fetch"
	"github.com/slipway-init/slipway/internal/s3"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/transfer"
)

// object is an object of a bucket as package fetch wants it.
type object struct {
	client *s3.Client
	url    s3.URL
}

// String implements transfer.Source.
func (o *object) String() string { return o.url.String() }

// Identity implements fetch.Object. Two stores may have buckets of one name.
func (o *object) Identity() string {
	if endpoint := o.client.Endpoint(); endpoint != "" {
		return o.String() + " at " + endpoint
	}
	return o.String()
}

// Get implements transfer.Source. A version is the object's id in a bucket that has versions, and else its ETag.
func (o *object) Get(ctx context.Context, r transfer.Range, version string) (*transfer.Answer, error) {
	got, err := o.client.Get(ctx, o.url.Key, o.options(r, version))
	if errors.Is(err, s3.ErrRange) && r.Offset == 0 {
		// An empty object has no first byte.
		got, err = o.client.Get(ctx, o.url.Key, o.options(transfer.Range{}, version))
	}
	if err != nil {
		return nil, told(err)
	}
	return &transfer.Answer{
		Body: got.Body, Offset: got.Offset, Length: got.Length, Size: got.Size, Version: versionOf(got),
		Proofs: func(ctx context.Context) ([]transfer.Proof, error) { return o.proofs(ctx, got, r.Length > 0) },
	}, nil
}

// options returns how a range of a version is asked for.
func (o *object) options(r transfer.Range, version string) s3.GetOptions {
	options := s3.GetOptions{Offset: r.Offset, Length: r.Length, VersionID: o.url.VersionID}
	if strings.HasPrefix(version, `"`) {
		options.IfMatch = version
	} else if version != "" {
		options.VersionID = version
	}
	return options
}

// versionOf returns what tells an object's versions from each other. In a bucket without versions, or where they are
// suspended, that is the ETag, if it has the quotes of one that If-Match takes.
func versionOf(o *s3.Object) string {
	if o.VersionID != "" && o.VersionID != "null" {
		return o.VersionID
	}
	if strings.HasPrefix(o.ETag, `"`) {
		return o.ETag
	}
	return ""
}

// told returns err in the words of package transfer.
func told(err error) error {
	if errors.Is(err, s3.ErrChanged) || errors.Is(err, s3.ErrRange) {
		return transfer.ErrChanged
	}
	if e, ok := errors.AsType[*s3.Error](err); ok {
		return fault.RetryAfter(err, e.RetryAfter)
	}
	return err
}

// proofs returns the object's own checksum. It comes with a whole object, and has to be asked for where a range was read, even
// if that is all there is.
func (o *object) proofs(ctx context.Context, got *s3.Object, ranged bool) ([]transfer.Proof, error) {
	options := o.options(transfer.Range{}, versionOf(got))
	if ranged {
		whole, err := o.client.Head(ctx, o.url.Key, options)
		if err != nil {
			return nil, fmt.Errorf("ask for the checksum: %w", told(err))
		}
		got = whole
	}
	for _, checksum := range got.Checksums {
		if checksum.Parts == 0 {
			return []transfer.Proof{&proof{Verifier: checksum.Verifier(nil), certain: true}}, nil
		}
		sizes, certain, err := o.client.PartSizes(ctx, o.url.Key, got.Size, checksum.Parts, options)
		if err != nil {
			return nil, fmt.Errorf("ask for the sizes of the parts: %w", told(err))
		}
		if sizes != nil {
			return []transfer.Proof{&proof{
				Verifier: checksum.Verifier(sizes), checksum: checksum, certain: certain,
				sizes: func(ctx context.Context) ([]int64, error) {
					return o.client.EachPartSize(ctx, o.url.Key, got.Size, checksum.Parts, options)
				},
			}}, nil
		}
	}
	return nil, nil
}

// proof is an S3 checksum as package transfer wants it.
type proof struct {
	*s3.Verifier
	checksum s3.Checksum
	certain  bool                                       // the sizes of the parts are not guessed
	sizes    func(ctx context.Context) ([]int64, error) // asks for them
}

// Verify implements transfer.Proof. If a composite checksum does not hold by sizes that were guessed, each part is asked for,
// and the object is read again by them.
func (p *proof) Verify(ctx context.Context, object io.Reader) error {
	wrong := p.Check()
	if wrong == nil || p.certain {
		return wrong
	}
	sizes, err := p.sizes(ctx)
	if err != nil {
		return fmt.Errorf("ask for the sizes of the parts: %w", told(err))
	}
	if sizes == nil {
		return fault.Hint(wrong, "or its parts are of different sizes, which the server does not tell: give its --sha256")
	}
	again := p.checksum.Verifier(sizes)
	if _, err := io.Copy(again, object); err != nil {
		return fault.As(fault.IO, err)
	}
	return again.Check()
}

// Unchanged implements fetch.Object.
func (o *object) Unchanged(ctx context.Context, version string) (bool, error) {
	if o.url.VersionID != "" && o.url.VersionID == version {
		return true, nil // versions do not change
	}
	got, err := o.client.Head(ctx, o.url.Key, s3.GetOptions{VersionID: o.url.VersionID})
	if err != nil {
		return false, told(err)
	}
	return versionOf(got) == version, nil
}

// entries returns what is below the prefix. A page that fails is asked for again, behind the last key that came.
func (s *s3Fetch) entries(ctx context.Context, env *step.Env, client *s3.Client) iter.Seq2[fetch.Entry, error] {
	return func(yield func(fetch.Entry, error) bool) {
		after, ended := "", false
		for {
			before := after
			err := env.Retry(ctx, "list", func(ctx context.Context) error {
				for listed, err := range client.List(ctx, s.parsed.Key, after) {
					if err != nil {
						return told(err)
					}
					after = listed.Key
					if ended = !yield(s.entry(client, listed), nil); ended {
						return nil
					}
				}
				return nil
			})
			if err == nil || ended {
				return
			}
			if after == before || !fault.KindOf(err).Transient() {
				yield(fetch.Entry{}, err)
				return
			}
		}
	}
}

func (s *s3Fetch) entry(client *s3.Client, listed s3.Entry) fetch.Entry {
	return fetch.Entry{
		Name: strings.TrimPrefix(listed.Key, s.parsed.Key), Size: listed.Size, Modified: listed.LastModified,
		Object: &object{client: client, url: s3.URL{Bucket: s.parsed.Bucket, Key: listed.Key}},
	}
}

// customerKey returns the key in a file: as it is, or in base64.
func customerKey(text []byte) ([]byte, error) {
	const size = 32
	if len(text) == size {
		return text, nil
	}
	if key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text))); err == nil && len(key) == size {
		return key, nil
	}
	return nil, fault.New(fault.Data, "--sse-c-key-file has neither 32 bytes nor their base64")
}
