package waitfor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/slipway-init/slipway/internal/fault"
	"github.com/slipway-init/slipway/internal/kube"
	"github.com/slipway-init/slipway/internal/step"
)

// eye is what looking needs beside the target: the options, and the secrets and certificates that they name.
type eye struct {
	*waitFor
	env      *step.Env
	tls      *tls.Config  // without a server name, unless one was given
	client   *http.Client // closes every connection after its use
	headers  http.Header  // with the secret ones
	password string
	judging  sync.Mutex
	cluster  *kube.Client // nil if no target is in the cluster
	refusals refusals
}

// open reads what the options name.
func (s *waitFor) open(env *step.Env) (*eye, error) {
	e := &eye{waitFor: s, env: env}
	var err error
	if e.headers, err = s.header.Read(env); err != nil {
		return nil, err
	}
	if e.tls, err = s.tlsConfig(env); err != nil {
		return nil, err
	}
	if s.passwordFrom.Given() {
		if e.password, err = s.passwordFrom.Secret(env); err != nil {
			return nil, err
		}
		if e.password == "" { // which would pass for having none, and log nobody in
			return nil, fault.New(fault.Data, "the password of %s is empty", &s.passwordFrom)
		}
	}
	if s.asksCluster() {
		if e.cluster, err = kube.InCluster(env); err != nil {
			return nil, err
		}
	}
	e.client = s.httpClient(env, e.tls)
	return e, nil
}

func (e *eye) close() {
	e.client.CloseIdleConnections()
	if e.cluster != nil {
		e.cluster.Close()
	}
}

// hopelessError marks an error that time will not mend, and that ends the wait with its kind.
type hopelessError struct{ error }

// Unwrap returns the error that was marked.
func (h hopelessError) Unwrap() error { return h.error }

// goneError marks an error that says that the target is certainly not there.
type goneError struct{ error }

// Unwrap returns the error that was marked.
func (g goneError) Unwrap() error { return g.error }

// gone returns an error that says that the target is certainly not there.
func gone(format string, args ...any) error {
	return goneError{fault.New(fault.Unavailable, format, args...)}
}

// look looks once at t and judges what it saw: nil if t is there or, with --not, certainly gone. Time may mend any
// failure of a look, so its kind is Unavailable; with --fail-fast, one that is not permitted or not supported keeps its
// kind and ends the wait.
func (e *eye) look(ctx context.Context, t target) error {
	limited, cancel := context.WithTimeout(ctx, e.lookTimeout)
	defer cancel()
	err := e.plain(limited, t, t.scheme.look(limited, e, t))
	switch {
	case err == nil && e.not:
		return fault.New(fault.Unavailable, "is still there")
	case err == nil:
		return nil
	case over(ctx): // cut short: an earlier look's failure says more
		return context.DeadlineExceeded
	case over(limited):
		return fault.Hint(fault.New(fault.Unavailable, "no answer within %s", e.lookTimeout),
			"packets may be dropped on the way: look at NetworkPolicies, and at the endpoints of the Service")
	}
	if _, certain := errors.AsType[goneError](err); certain && e.not {
		return nil
	}
	if hopeless, ok := errors.AsType[hopelessError](err); ok {
		return hopeless
	}
	if kind := fault.KindOf(err); e.failFast && (kind == fault.Permission || kind == fault.Unsupported) {
		return err
	}
	return fault.As(fault.Unavailable, err)
}

// over reports whether ctx has ended, or is about to: a dial looks at the deadline itself, and may be ahead of the
// context's timer.
func over(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || (ok && !time.Now().Before(deadline))
}

// plain returns err in the words that tell most: "connection refused" for "dial tcp 10.0.0.7:5432: connect: connection
// refused", with the address only if the target does not name it. It marks a refusal and a name that does not exist as
// gone.
func (e *eye) plain(ctx context.Context, t target, err error) error {
	if said, ok := errors.AsType[*fault.Error](err); ok {
		if op, dialled := said.Err.(*net.OpError); dialled && said.Hint != "" {
			// Whoever dials knows why it fails: another mesh redirects the pod.
			return fault.Hint(e.plain(ctx, t, op), "%s", said.Hint)
		}
		return err
	}
	if err == nil {
		return nil
	}
	if missing, ok := errors.AsType[*net.DNSError](err); ok {
		return e.unresolved(ctx, missing)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return networkError(t, op)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.New(fault.Unavailable, "the server has closed the connection")
	}
	if isCertificate(err) {
		return fault.Hint(err, "name the authority's certificate by --ca-file, and the name in the certificate by --server-name if it is not the target's")
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return fault.Hint(err, "renew the certificate, or mend the clock of this node or the server's")
	}
	return err
}

// networkError returns op without the words that say nothing.
func networkError(t target, op *net.OpError) error {
	cause := op.Err
	if call, ok := errors.AsType[*os.SyscallError](cause); ok {
		cause = call.Err
	}
	if op.Op != "dial" {
		return fmt.Errorf("%s: %w", op.Op, cause)
	}
	err := cause
	if op.Addr != nil && t.scheme.form != filePath && op.Addr.String() != t.address() {
		err = fmt.Errorf("%s: %w", op.Addr, cause)
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fault.Hint(goneError{err}, "nothing listens there: is the server up, and is this its port?")
	case errors.Is(err, fs.ErrNotExist):
		return goneError{err}
	}
	return err
}

// unresolved says whether a name does not exist or DNS is broken. A dial asks for IPv4 and IPv6 under every search
// domain and keeps the last answer, so "no such host" may hide that a server failed; the strict resolver is asked before
// that is believed.
func (e *eye) unresolved(ctx context.Context, failure *net.DNSError) error {
	if failure.IsNotFound && e.not {
		if _, err := e.resolver().LookupNetIP(ctx, "ip", failure.Name); err != nil {
			errors.As(err, &failure)
		}
	}
	if failure.IsNotFound {
		return fault.Hint(gone("the name %s does not exist", failure.Name),
			"is it spelled right? a Service in another namespace is SERVICE.NAMESPACE, and a headless one has no address before a pod is ready")
	}
	if failure.IsTimeout {
		return fault.New(fault.Unavailable, "DNS does not answer for %s", failure.Name)
	}
	return fault.New(fault.Unavailable, "DNS is broken: look up %s: %s", failure.Name, failure.Err)
}

// resolver returns a resolver that dials through the env and does not hide a server's failure behind another's answer.
func (e *eye) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, StrictErrors: true, Dial: e.env.Dial}
}

// isCertificate reports whether err says that a certificate is not to be trusted, whatever the time is.
func isCertificate(err error) bool {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return invalid.Reason != x509.Expired
	}
	_, failed := errors.AsType[*tls.CertificateVerificationError](err)
	return failed
}

// dial connects to addr. The end of ctx ends every read and write on the connection.
func (e *eye) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := e.env.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return &boundConn{conn, stop}, nil
}

// boundConn is a connection that ends with a context.
type boundConn struct {
	net.Conn
	stop func() bool
}

// Close closes the connection and lets go of the context.
func (c *boundConn) Close() error {
	c.stop()
	return c.Conn.Close()
}
