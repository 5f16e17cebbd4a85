package vault

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Request is what a certificate was asked for with.
type Request struct {
	Names []string // the common name and the alternative ones: DNS names, IP addresses, mail addresses, URIs
}

// GoodCertificate reports, as nil, that an existing bundle can be used again: content holds, in PEM and in any order, a
// certificate, its key and the chain, such as a template made of .Data.certificate, .Data.private_key and
// .Data.ca_chain; the key is the certificate's; each certificate is signed by another one of the bundle up to the last
// (a bundle without other certificates has no chain to judge); the certificate has all names of r; and a third of its
// life is left. Its error says which of these is not so, and nothing of the content.
func GoodCertificate(content []byte, r Request, now time.Time) error {
	certificates, key, err := parseBundle(content)
	if err != nil {
		return err
	}
	leaf := slices.IndexFunc(certificates, func(c *x509.Certificate) bool { return matches(c, key) })
	if leaf < 0 {
		return errors.New("the key is none of the certificates'")
	}
	certificate := certificates[leaf]
	if now.Before(certificate.NotBefore) {
		return fmt.Errorf("the certificate is not valid before %s", certificate.NotBefore.UTC().Format(time.RFC3339))
	}
	if !third(certificate.NotBefore, certificate.NotAfter, now) {
		return fmt.Errorf("less than a third of the certificate's life is left: it ends on %s", certificate.NotAfter.UTC().Format(time.RFC3339))
	}
	for _, name := range r.Names {
		if !hasName(certificate, name) {
			return fmt.Errorf("the certificate has not the name %s", name)
		}
	}
	return checkChain(certificate, slices.Delete(certificates, leaf, leaf+1), now)
}

// parseBundle returns the certificates and the key of a bundle.
func parseBundle(content []byte) ([]*x509.Certificate, crypto.PrivateKey, error) {
	var certificates []*x509.Certificate
	var key crypto.PrivateKey
	for {
		var block *pem.Block
		block, content = pem.Decode(content)
		if block == nil {
			break
		}
		switch {
		case block.Type == "CERTIFICATE":
			certificate, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, nil, errors.New("a certificate cannot be parsed")
			}
			certificates = append(certificates, certificate)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			parsed, err := parseKey(block.Bytes)
			if err != nil {
				return nil, nil, err
			}
			key = parsed
		}
	}
	switch {
	case len(certificates) == 0:
		return nil, nil, errors.New("there is no certificate")
	case key == nil:
		return nil, nil, errors.New("there is no key")
	}
	return certificates, key, nil
}

// parseKey parses a key in any of the forms that the server gives.
func parseKey(der []byte) (crypto.PrivateKey, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, errors.New("the key cannot be parsed")
}

// matches reports whether key is the certificate's.
func matches(certificate *x509.Certificate, key crypto.PrivateKey) bool {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return false
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(certificate.PublicKey)
}

// hasName reports whether the certificate has the name that was asked for: it need not be one that a host is verified
// by, such as *.example.com.
func hasName(certificate *x509.Certificate, name string) bool {
	same := func(other string) bool { return strings.EqualFold(other, name) }
	if same(certificate.Subject.CommonName) || slices.ContainsFunc(certificate.DNSNames, same) || slices.ContainsFunc(certificate.EmailAddresses, same) {
		return true
	}
	ip := net.ParseIP(name)
	if ip != nil && slices.ContainsFunc(certificate.IPAddresses, ip.Equal) {
		return true
	}
	for _, uri := range certificate.URIs {
		if uri.String() == name {
			return true
		}
	}
	return false
}

// checkChain follows the issuers of certificate among others as far as they go.
func checkChain(certificate *x509.Certificate, others []*x509.Certificate, now time.Time) error {
	for at := certificate; ; {
		next := slices.IndexFunc(others, func(c *x509.Certificate) bool {
			return string(c.RawSubject) == string(at.RawIssuer) && at.CheckSignatureFrom(c) == nil
		})
		if next < 0 {
			if at == certificate && len(others) > 0 {
				return errors.New("the chain is not the certificate's")
			}
			return nil
		}
		at = others[next]
		if now.After(at.NotAfter) {
			return fmt.Errorf("%s in the chain has expired", at.Subject)
		}
		others = slices.Delete(others, next, next+1)
	}
}

// goodAnswer is GoodCertificate for an answer of a PKI engine.
func goodAnswer(secret *Secret, names []string, now time.Time) error {
	certificate, _ := secret.Data["certificate"].(string)
	key, _ := secret.Data["private_key"].(string)
	if certificate == "" || key == "" {
		return errors.New("the answer is no certificate with its key")
	}
	parts := []string{certificate, key}
	if issuer, ok := secret.Data["issuing_ca"].(string); ok {
		parts = append(parts, issuer)
	}
	chain, _ := secret.Data["ca_chain"].([]any)
	for _, part := range chain {
		if text, ok := part.(string); ok {
			parts = append(parts, text)
		}
	}
	return GoodCertificate([]byte(strings.Join(parts, "\n")), Request{Names: names}, now)
}

// namesOf returns the names that data asks a PKI engine for.
func namesOf(data map[string]any) []string {
	var names []string
	for _, option := range []string{"common_name", "alt_names", "ip_sans", "uri_sans"} {
		text, _ := data[option].(string)
		for name := range strings.SplitSeq(text, ",") {
			if name = strings.TrimSpace(name); name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}
