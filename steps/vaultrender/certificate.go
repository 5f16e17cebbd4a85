package vaultrender

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/vault"
)

// certificate is what pkiCert gives: its parts in PEM, each ending in a line feed.
type certificate struct {
	run       *run
	found     bool // in the old files
	cert, key string
	chain     []string // the issuing CA first
	path      string
}

// Data returns the certificate itself, because templates write .Data.Cert as well as .Cert.
func (c *certificate) Data() *certificate { return c }

// Cert returns the certificate.
func (c *certificate) Cert() (string, error) { return c.part("certificate", c.cert) }

// Key returns the private key.
func (c *certificate) Key() (string, error) { return c.part("private key", c.key) }

// CA returns the certificate of the issuer.
func (c *certificate) CA() (string, error) {
	if len(c.chain) == 0 {
		return c.part("issuer's certificate", "")
	}
	return c.chain[0], nil
}

// CAChain returns the certificates of the issuer and of those above it.
func (c *certificate) CAChain() ([]string, error) {
	if len(c.chain) == 0 {
		_, err := c.part("issuer's certificate", "")
		return nil, err
	}
	return c.chain, nil
}

func (c *certificate) part(name, text string) (string, error) {
	if text != "" {
		return text, nil
	}
	c.run.incomplete = c.found
	return "", fault.New(fault.Data, "%s gave no %s", c.path, name)
}

// issue returns a certificate: the one in the files of an earlier run while it is good, else a new one. The same arguments
// give the same certificate in all templates of the step, so that certificate and key may go to files of their own.
func (r *run) issue(path string, pairs ...string) (*certificate, error) {
	where, _, err := parsePath(path)
	if err != nil {
		return nil, err
	}
	data, err := parsePairs(pairs)
	if err != nil {
		return nil, err
	}
	call := fmt.Sprintf("%q %q", where, data)
	if c := r.certificates[call]; c != nil {
		return c, nil
	}
	c := r.find(data)
	if c == nil {
		s, err := r.vaults.Write(r.ctx, where, data)
		if err != nil {
			return nil, err
		}
		if c, err = issued(s); err != nil {
			return nil, fault.New(fault.Data, "%s: %w", where, err)
		}
	}
	c.run, c.path = r, where
	r.certificates[call] = c
	return c, nil
}

// issued reads the parts of a certificate from the server's answer.
func issued(s *vault.Secret) (*certificate, error) {
	if s == nil {
		return nil, errors.New("the answer is empty")
	}
	var content bytes.Buffer
	for _, name := range []string{"private_key", "certificate", "issuing_ca"} {
		if text, ok := s.Data[name].(string); ok {
			content.WriteString(text + "\n")
		}
	}
	if chain, ok := s.Data["ca_chain"].([]any); ok {
		for _, text := range chain {
			if text, ok := text.(string); ok {
				content.WriteString(text + "\n")
			}
		}
	}
	b := readBundle(content.Bytes())
	if len(b.leaves) != 1 || len(b.keys) == 0 {
		return nil, errors.New("the answer holds no certificate with its private key")
	}
	return &certificate{cert: encode(b.leaves[0]), key: b.keys[0], chain: b.chain(b.leaves[0])}, nil
}

// find looks for a good certificate, with its key, in the files that the step wrote before.
func (r *run) find(data map[string]any) *certificate {
	if r.anew {
		return nil
	}
	b := readBundle(r.before())
	request := vault.Request{Names: requested(data)}
	for _, leaf := range b.leaves {
		chain := b.chain(leaf)
		for _, key := range b.keys {
			text := encode(leaf) + key + strings.Join(chain, "")
			if vault.GoodCertificate([]byte(text), request, time.Now()) == nil {
				return &certificate{found: true, cert: encode(leaf), key: key, chain: chain}
			}
		}
	}
	return nil
}

// requested returns the names that a request for a certificate asks for.
func requested(data map[string]any) []string {
	var all []string
	for _, key := range []string{"common_name", "alt_names", "ip_sans"} {
		text, _ := data[key].(string)
		for name := range strings.SplitSeq(text, ",") {
			if name = strings.TrimSpace(name); name != "" {
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// maxBefore bounds what is read of the files of an earlier run, in bytes.
const maxBefore = 4 << 20

// before returns what is in the files that the step is about to write: those of the templates, and those that they are
// known to write with writeToFile.
func (r *run) before() []byte {
	var paths []string
	for _, d := range r.documents {
		paths = append(paths, d.dest)
		for _, path := range d.parsed.Arguments(writesFile) {
			if r.filesBelow != "" && r.insideBelow(path) {
				paths = append(paths, filepath.Clean(path))
			}
		}
	}
	slices.Sort(paths)
	var content bytes.Buffer
	for _, path := range slices.Compact(paths) {
		// What cannot be read is not good, and is about to be written.
		f, err := os.OpenFile(r.env.Path(path), os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		_, _ = io.Copy(&content, io.LimitReader(f, int64(maxBefore-content.Len())))
		f.Close()
		content.WriteByte('\n')
	}
	return content.Bytes()
}

// bundle is what some PEM files hold.
type bundle struct {
	leaves, authorities []*x509.Certificate
	keys                []string
}

// borders begin and end a PEM block. Package pem wants them at the beginning of a line, where no template need have put
// them.
var borders = regexp.MustCompile(`[ \t]*-----(BEGIN|END) `)

// readBundle reads all PEM blocks in content.
func readBundle(content []byte) bundle {
	const most = 64 // certificates and keys; a step has a few
	content = borders.ReplaceAll(content, []byte("\n-----$1 "))
	var b bundle
	for len(b.leaves)+len(b.authorities)+len(b.keys) < most {
		var block *pem.Block
		if block, content = pem.Decode(content); block == nil {
			break
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			b.keys = append(b.keys, string(pem.EncodeToMemory(block)))
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
		case c.IsCA:
			b.authorities = appendNew(b.authorities, c)
		default:
			b.leaves = appendNew(b.leaves, c)
		}
	}
	return b
}

func appendNew(all []*x509.Certificate, c *x509.Certificate) []*x509.Certificate {
	if slices.ContainsFunc(all, c.Equal) {
		return all
	}
	return append(all, c)
}

// chain returns the authorities above c that the bundle holds, the issuer first.
func (b bundle) chain(c *x509.Certificate) []string {
	var chain []string
	var seen []*x509.Certificate
	for {
		i := slices.IndexFunc(b.authorities, func(a *x509.Certificate) bool {
			return !slices.ContainsFunc(seen, a.Equal) && c.CheckSignatureFrom(a) == nil
		})
		if i < 0 {
			return chain
		}
		c = b.authorities[i]
		seen = append(seen, c)
		chain = append(chain, encode(c))
	}
}

func encode(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}
