package fault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// errnoKinds holds the system's own words that leave no doubt about the kind. ENOENT is the reading side's; a writer
// marks its errors with Output.
var errnoKinds = map[syscall.Errno]Kind{
	syscall.EACCES: Permission, syscall.EPERM: Permission,
	syscall.ENOENT: NoInput, syscall.ENOTDIR: NoInput,
	syscall.EROFS: CantCreate, syscall.ENOSPC: CantCreate, syscall.EDQUOT: CantCreate, syscall.EISDIR: CantCreate,
	syscall.EEXIST: CantCreate, syscall.ENOTEMPTY: CantCreate, syscall.ENAMETOOLONG: CantCreate, syscall.EFBIG: CantCreate,
	syscall.ELOOP: CantCreate, syscall.ETXTBSY: CantCreate,
	syscall.ENOSYS: Unsupported, syscall.EOPNOTSUPP: Unsupported, syscall.EAFNOSUPPORT: Unsupported, syscall.EPROTONOSUPPORT: Unsupported,
	syscall.ECONNREFUSED: Unavailable, syscall.EHOSTUNREACH: Unavailable, syscall.ENETUNREACH: Unavailable, syscall.ETIMEDOUT: Unavailable,
	syscall.EHOSTDOWN: Unavailable, syscall.ENETDOWN: Unavailable, syscall.EADDRNOTAVAIL: Unavailable,
	syscall.EIO: IO, syscall.ECONNRESET: IO, syscall.EPIPE: IO, syscall.ECONNABORTED: IO, syscall.ESTALE: IO,
	syscall.EMFILE: Temporary, syscall.ENFILE: Temporary, syscall.ENOMEM: Temporary, syscall.EAGAIN: Temporary, syscall.EBUSY: Temporary,
}

// classify derives a kind from errors of the standard library.
func classify(err error) Kind {
	if kind, ok := certificate(err); ok {
		return kind
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		if kind, ok := errnoKinds[errno]; ok {
			return kind
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.Canceled):
		return Unavailable
	case errors.Is(err, fs.ErrNotExist):
		return NoInput
	case errors.Is(err, fs.ErrPermission):
		return Permission
	case errors.Is(err, fs.ErrExist):
		return CantCreate
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return IO
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return Unavailable
	}
	return Internal
}

// certificate recognises a certificate that waiting cannot mend. An expired or not yet valid one is Unavailable: clocks
// and renewals do mend those.
func certificate(err error) (Kind, bool) {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if invalid.Reason == x509.Expired {
			return Unavailable, true
		}
		return Permission, true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return Permission, true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return Permission, true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return Permission, true
	}
	return 0, false
}

// Output marks an error met while writing an output: what classify would call a missing input is an output that cannot
// be created. Errors that already carry a kind keep it; nil stays nil.
func Output(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	kind := classify(err)
	if kind == NoInput {
		kind = CantCreate
	}
	return As(kind, err)
}
