// Package lfs finds what the pointers of git LFS stand for: the batch API of a server tells where each object is, and package
// transfer fetches it from there, and verifies it. See docs/api and docs/spec.md of https://github.com/git-lfs/git-lfs.
package lfs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/httpobject"
	"github.com/slipway-init/slipway/internal/httpx"
)

// Pointer is what stands in a file instead of its content.
type Pointer struct {
	OID  string `json:"oid"`  // the content's SHA-256, in hexadecimal
	Size int64  `json:"size"` // in bytes
}

// ParsePointer reads a pointer.
func ParsePointer(text []byte) (Pointer, error) {
	var p Pointer
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch key {
		case "oid":
			p.OID, _ = strings.CutPrefix(value, "sha256:")
		case "size":
			size, err := strconv.ParseInt(value, 10, 64)
			if err != nil || size < 0 {
				return Pointer{}, fault.New(fault.Data, "a pointer of git LFS has the size %.40q", value)
			}
			p.Size = size
		}
	}
	if len(p.OID) != 64 || strings.Trim(p.OID, "0123456789abcdef") != "" {
		return Pointer{}, fault.New(fault.Data, "a pointer of git LFS names no SHA-256")
	}
	return p, nil
}

// Server is where a repository's objects are asked for.
type Server struct {
	URL    *url.URL // of the API: the repository's with "/info/lfs"
	Client *http.Client
	// Authorize adds to a request to the API's host what proves who asks; nil is nothing.
	Authorize func(*http.Request)
}

// Source is where an object is downloaded from.
type Source struct {
	Pointer
	URL    *url.URL
	Header http.Header // to send along; it may hold a secret
}

const (
	mediaType = "application/vnd.git-lfs+json"
	// Batch is how many objects are asked for at once, as git-lfs does.
	Batch     = 100
	maxAnswer = 4 << 20 // bytes
)

type (
	question struct {
		Operation string    `json:"operation"`
		Transfers []string  `json:"transfers"`
		HashAlgo  string    `json:"hash_algo"`
		Objects   []Pointer `json:"objects"`
	}
	answer struct {
		Objects []struct {
			Pointer
			Actions struct {
				Download struct {
					Href   string            `json:"href"`
					Header map[string]string `json:"header"`
				} `json:"download"`
			} `json:"actions"`
			Error *struct {
				Code    int    `json:"code"`
				Message string `json:"message"`
			} `json:"error"`
		} `json:"objects"`
	}
)

// Locate asks where up to Batch objects are.
func (s *Server) Locate(ctx context.Context, pointers []Pointer) ([]Source, error) {
	body, err := json.Marshal(question{Operation: "download", Transfers: []string{"basic"}, HashAlgo: "sha256", Objects: pointers})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL.JoinPath("objects/batch").String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", mediaType)
	request.Header.Set("Content-Type", mediaType)
	if s.Authorize != nil {
		s.Authorize(request)
	}
	status, text, err := httpx.Do(s.Client, request, maxAnswer)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, s.refused(status, text)
	}
	var found answer
	if err := json.Unmarshal(text, &found); err != nil {
		return nil, fault.New(fault.Data, "git LFS at %s: the answer is no JSON", httpx.Redact(s.URL))
	}
	return s.sources(pointers, found)
}

// sources checks an answer against what was asked.
func (s *Server) sources(pointers []Pointer, found answer) ([]Source, error) {
	known := make(map[string]Source)
	for _, o := range found.Objects {
		if o.Error != nil {
			return nil, fault.New(kind(o.Error.Code), "git LFS at %s: object %.64q: %s", httpx.Redact(s.URL), o.OID, strconv.Quote(o.Error.Message))
		}
		u, err := s.URL.Parse(o.Actions.Download.Href)
		if err != nil || o.Actions.Download.Href == "" || (u.Scheme != "https" && u.Scheme != "http") {
			return nil, fault.New(fault.Data, "git LFS at %s: object %.64q has no address", httpx.Redact(s.URL), o.OID)
		}
		source := Source{Pointer: o.Pointer, URL: u, Header: make(http.Header)}
		for name, value := range o.Actions.Download.Header {
			source.Header.Set(name, value)
		}
		known[o.OID] = source
	}
	var sources []Source
	for _, p := range pointers {
		source, ok := known[p.OID]
		if !ok {
			return nil, fault.New(fault.Data, "git LFS at %s: the answer leaves out object %s", httpx.Redact(s.URL), p.OID)
		}
		source.Pointer = p
		sources = append(sources, source)
	}
	return sources, nil
}

// refused returns the error of a status other than 200.
func (s *Server) refused(status int, text []byte) error {
	var said struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(text, &said) // there may be none
	err := fmt.Errorf("git LFS at %s: status %d%s", httpx.Redact(s.URL), status, httpx.Says([]byte(said.Message)))
	return fault.As(kind(status), err)
}

// kind returns the kind of a refusal.
func kind(status int) fault.Kind {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fault.Permission
	case status == http.StatusNotFound, status == http.StatusGone:
		return fault.NoInput
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= 500:
		return fault.Temporary
	}
	return fault.Data
}

// Object returns the object at a source, as package transfer fetches it. What proves who asks goes along if the object is
// on the API's own host and the API gave nothing better.
func (s *Server) Object(source Source) *httpobject.Object {
	o := &httpobject.Object{Client: s.Client, URL: source.URL, Header: source.Header.Clone()}
	if s.Authorize != nil && o.Header.Get("Authorization") == "" && source.URL.Host == s.URL.Host && source.URL.Scheme == s.URL.Scheme {
		s.Authorize(&http.Request{Header: o.Header})
	}
	return o
}
