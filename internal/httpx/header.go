package httpx

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/step"
	"github.com/slipway-init/slipway/internal/step/opt"
)

// Header is what the options --header and --header-from say together.
type Header struct {
	Plain  http.Header
	Secret []SecretHeader
}

// SecretHeader is a header whose value is read when it is needed.
type SecretHeader struct {
	name, prefix string // the prefix stands before the value: "Bearer "
	ref          opt.Ref
}

// ParseHeader parses texts of the form 'Name: value', and secret ones of the form 'Name=env:VARIABLE', 'Name=file:PATH' or
// 'Name=Bearer file:PATH'. What is wrong is Usage, for each one; no text is repeated, because it may hold a token.
func ParseHeader(plain, secret []string) (Header, error) {
	h := Header{Plain: make(http.Header)}
	var faults []error
	for i, text := range plain {
		name, value, ok := strings.Cut(text, ":")
		value = strings.TrimSpace(value)
		if !ok || !IsToken(name) || !httpguts.ValidHeaderFieldValue(value) {
			faults = append(faults, fault.New(fault.Usage, "--header number %d is not of the form 'Name: value'", i+1))
			continue
		}
		h.Plain.Add(name, value)
	}
	for i, text := range secret {
		s, err := parseSecret(text)
		if err != nil {
			faults = append(faults, fault.New(fault.Usage, "--header-from number %d: %w", i+1, err))
			continue
		}
		h.Secret = append(h.Secret, s)
	}
	return h, errors.Join(faults...)
}

func parseSecret(text string) (SecretHeader, error) {
	name, source, _ := strings.Cut(text, "=")
	if !IsToken(name) {
		return SecretHeader{}, errors.New("not of the form 'Name=env:VARIABLE' or 'Name=Bearer file:PATH'")
	}
	s := SecretHeader{name: textproto.CanonicalMIMEHeaderKey(name)}
	if word, rest, two := strings.Cut(source, " "); two && IsToken(word) {
		s.prefix, source = word+" ", rest
	}
	return s, s.ref.Set(source)
}

// Effects returns the reading of the files that hold values.
func (h Header) Effects() []step.Effect {
	var effects []step.Effect
	for _, s := range h.Secret {
		effects = append(effects, s.ref.Effects()...)
	}
	return effects
}

// Has reports whether a value is given to the header of that name.
func (h Header) Has(name string) bool {
	for _, s := range h.Secret {
		if strings.EqualFold(s.name, name) {
			return true
		}
	}
	return h.Plain.Get(name) != ""
}

// Read returns all headers with their values. The errors are those of opt.Ref, and Data for a value that no header takes.
func (h Header) Read(env *step.Env) (http.Header, error) {
	header := h.Plain.Clone()
	if header == nil {
		header = make(http.Header)
	}
	for _, s := range h.Secret {
		value, err := s.ref.Secret(env)
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", s.name, err)
		}
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, fault.New(fault.Data, "header %s: the value of %s has characters that no header takes", s.name, &s.ref)
		}
		header.Add(s.name, s.prefix+value)
	}
	return header, nil
}

// IsToken reports whether text is a token of RFC 9110: a method, a header's name.
func IsToken(text string) bool { return httpguts.ValidHeaderFieldName(text) }
