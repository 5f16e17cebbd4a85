// Package s3put fills buckets of S3 servers for tests. It uses AWS's own client, of which slipway's engine shares nothing
// but the signature, so that a fault of one does not hide in the other.
package s3put

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/slipway-init/slipway/e2e/internal/servers"
)

// Bucket is a bucket of one server.
type Bucket struct {
	Name string

	client *s3.Client
}

// Create creates a bucket on a server.
func Create(t testing.TB, server *servers.S3, name string) *Bucket {
	t.Helper()
	b := &Bucket{Name: name, client: s3.New(s3.Options{
		BaseEndpoint:               &server.URL,
		UsePathStyle:               true,
		Region:                     servers.Region,
		HTTPClient:                 server.HTTP,
		Credentials:                credentials.NewStaticCredentialsProvider(servers.AccessKey, servers.SecretKey, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired, // none but those that a test asks for
	})}
	if _, err := b.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	return b
}

// URL returns the address of an object as slipway takes it, or of all objects below a prefix that ends in a slash.
func (b *Bucket) URL(key string) string { return "s3://" + b.Name + "/" + key }

// Version makes the bucket keep every version of its objects from now on.
func (b *Bucket) Version(t testing.TB) {
	t.Helper()
	_, err := b.client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket:                  &b.Name,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Publish lets everybody read and list the bucket, without a signature.
func (b *Bucket) Publish(t testing.TB) {
	t.Helper()
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::%[1]s/*"]},
		{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:ListBucket"],"Resource":["arn:aws:s3:::%[1]s"]}]}`, b.Name)
	if _, err := b.client.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &b.Name, Policy: &policy}); err != nil {
		t.Fatal(err)
	}
}

// Put writes an object in one piece and returns its version, which is empty in a bucket that keeps none. The options
// change the request: for a checksum, or SSE-C.
func (b *Bucket) Put(t testing.TB, key string, content []byte, options ...func(*s3.PutObjectInput)) (version string) {
	t.Helper()
	input := &s3.PutObjectInput{Bucket: &b.Name, Key: &key, Body: bytes.NewReader(content)}
	for _, option := range options {
		option(input)
	}
	output, err := b.client.PutObject(t.Context(), input)
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return aws.ToString(output.VersionId)
}

// Parts says how an object is written in parts.
type Parts struct {
	Size      int64                   // of each part but the last; 5 MiB at least, as S3 demands
	Algorithm types.ChecksumAlgorithm // empty is no checksum
	Type      types.ChecksumType      // of the whole, or composite; empty is the server's choice
}

// PutParts writes an object of so many bytes in parts, two at a time.
func (b *Bucket) PutParts(t testing.TB, key string, content io.ReaderAt, size int64, parts Parts) {
	t.Helper()
	created, err := b.client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{
		Bucket: &b.Name, Key: &key, ChecksumAlgorithm: parts.Algorithm, ChecksumType: parts.Type,
	})
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	count := (size + parts.Size - 1) / parts.Size
	completed := make([]types.CompletedPart, count)
	failures := make([]error, count)
	var uploads sync.WaitGroup
	slots := make(chan struct{}, 2)
	for i := range count {
		slots <- struct{}{}
		uploads.Go(func() {
			defer func() { <-slots }()
			from := i * parts.Size
			number := int32(i + 1)
			part, err := b.client.UploadPart(t.Context(), &s3.UploadPartInput{
				Bucket: &b.Name, Key: &key, UploadId: created.UploadId, PartNumber: &number, ChecksumAlgorithm: parts.Algorithm,
				Body: io.NewSectionReader(content, from, min(parts.Size, size-from)),
			})
			if failures[i] = err; err != nil {
				return
			}
			completed[i] = types.CompletedPart{
				PartNumber: &number, ETag: part.ETag, ChecksumCRC32: part.ChecksumCRC32, ChecksumCRC32C: part.ChecksumCRC32C,
				ChecksumCRC64NVME: part.ChecksumCRC64NVME, ChecksumSHA1: part.ChecksumSHA1, ChecksumSHA256: part.ChecksumSHA256,
			}
		})
	}
	uploads.Wait()
	if err := errors.Join(failures...); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	_, err = b.client.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: &b.Name, Key: &key, UploadId: created.UploadId, ChecksumType: parts.Type,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: completed},
	})
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}
