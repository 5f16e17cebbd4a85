package vault

import "time"

// Request is what a certificate was asked for with.
type Request struct {
	Names []string // the common name and the DNS names; IP addresses in their usual form
}

// GoodCertificate reports, as nil, that an existing bundle can be used again: content holds, in PEM and in any order, a
// certificate, its key and the chain, such as a template made of .Data.certificate, .Data.private_key and
// .Data.ca_chain; the key is the certificate's; each certificate is signed by another one of the bundle up to the last;
// the certificate has all names of r; and a third of its life is left. Its error says which of these is not so.
func GoodCertificate(content []byte, r Request, now time.Time) error { return nil }
