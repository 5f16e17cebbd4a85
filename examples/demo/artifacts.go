package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// artifacts fetches a model, and proves it: from a web server, or with -full from a real S3 server.
var artifacts = scene{
	title:   "A model is fetched over several connections, and proven while it arrives",
	servers: []server{{"artifacts", artifactServer}},
	args: func(s *stage) ([]string, error) {
		digest := modelDigest()
		args := []string{"http-fetch", s.targets["artifacts"], "models/", "--sha256", digest}
		if s.full {
			endpoint, bucket, _ := strings.Cut(s.targets["artifacts"], " ")
			args = []string{"s3-fetch", bucket + "/" + modelName, "models/", "--sha256", digest, "--endpoint-url", endpoint}
		}
		return append([]string{"mkdir", "models", "then"}, append(args, "--write-sha256")...), nil
	},
	show: func(s *stage, r result) error {
		model, err := os.ReadFile(s.path("models/" + modelName))
		if err != nil {
			return err
		}
		if !bytes.Equal(model, modelBytes()) {
			return errors.New("the model is not what the server has")
		}
		if err := s.drawFiles("models"); err != nil {
			return err
		}
		s.say("\n%s", s.bold("The termination message"))
		s.quote(r.report)
		return s.drawTrace(r.spans)
	},
}

const (
	modelName = "model.safetensors"
	modelSize = 48 << 20
)

// modelBytes returns the model: bytes that do not repeat.
func modelBytes() []byte {
	model := make([]byte, modelSize)
	mathrand.NewChaCha8([32]byte{1}).Read(model)
	return model
}

func modelDigest() string { return fmt.Sprintf("%x", sha256.Sum256(modelBytes())) }

// artifactServer serves the model: a web server in the demo itself, or with -full a real S3 server.
func artifactServer(ctx context.Context, s *stage) (target, about string, err error) {
	if s.full {
		return versitygw(ctx, s)
	}
	model := modelBytes()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /"+modelName, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, modelName, time.Time{}, bytes.NewReader(model))
	})
	address, err := s.serveHTTP(mux, nil)
	return "http://" + address + "/" + modelName, fmt.Sprintf("a web server with a model of %d MiB", modelSize>>20), err
}

// The pair of keys that the S3 server knows; they are nobody's.
const (
	s3AccessKey = "AKIADEMO000000000000"
	s3SecretKey = "correct-horse-battery-staple-000000000000"
)

// versitygw starts a real S3 server over a folder, whose folders are its buckets. The target is its address and the bucket's
// URL.
func versitygw(ctx context.Context, s *stage) (target, about string, err error) {
	s.say("%-14s building it, unless that was done before: about two minutes", "versitygw")
	binary, err := s.tool(ctx, "versitygw")
	if err != nil {
		return "", "", err
	}
	address, err := freeAddress()
	if err != nil {
		return "", "", err
	}
	bucket := s.path("s3/models")
	if err := os.MkdirAll(bucket, 0o755); err != nil {
		return "", "", err
	}
	if err := os.WriteFile(filepath.Join(bucket, modelName), modelBytes(), 0o644); err != nil {
		return "", "", err
	}
	_, port, _ := net.SplitHostPort(address)
	err = s.process(ctx, process{
		args: []string{binary, "--access", s3AccessKey, "--secret", s3SecretKey, "--port", "127.0.0.1:" + port, "--region", "us-east-1", "--quiet", "posix", s.path("s3")},
		stop: syscall.SIGTERM,
	})
	if err != nil {
		return "", "", err
	}
	if err := s.awaitPort(ctx, address); err != nil {
		return "", "", err
	}
	return "http://" + address + " s3://models", fmt.Sprintf("a real S3 server (versitygw) with a model of %d MiB", modelSize>>20), nil
}
