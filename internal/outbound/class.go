package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// Class says in one word why there was no answer. The words are stable: they are stored with attempts and shown.
type Class string

// The classes. An answer with any status, redirects included, is no error.
const (
	URLNotAllowed     Class = "url_not_allowed"     // the URL breaks the rule; nothing was sent
	PortNotAllowed    Class = "port_not_allowed"    // its port is not open; nothing was sent
	AddressNotAllowed Class = "address_not_allowed" // its host is, or resolves to, an address that is not open; nothing was sent
	RequestInvalid    Class = "request_invalid"     // a method or header that can't be sent; nothing was sent
	Busy              Class = "busy"                // too much is in flight already; nothing was sent: no fault of the receiver's
	DNSFailed         Class = "dns_failed"          // the name does not resolve, or not in time
	ConnectionRefused Class = "connection_refused"  // nobody listens
	Unreachable       Class = "unreachable"         // no way to the host or its network
	ConnectTimeout    Class = "connect_timeout"     // no connection in time
	TLSFailed         Class = "tls_failed"          // no secure connection: certificate, version, or not in time
	ProxyFailed       Class = "proxy_failed"        // the operator's proxy can't be reached, or refuses
	Timeout           Class = "timeout"             // connected, but no whole answer in time
	Reset             Class = "reset"               // the connection broke off before the answer
	HeadersTooLarge   Class = "headers_too_large"   // the answer's headers are larger than we take
	ResponseTooLarge  Class = "response_too_large"  // the whole body was wanted and is larger than we take
	ResponseMalformed Class = "response_malformed"  // what came is not HTTP
	Cancelled         Class = "cancelled"           // the caller gave up, or the client is closed
	Failed            Class = "failed"              // anything else
)

// Error is why there was no answer.
type Error struct {
	Class  Class
	Detail string // a sentence for the tenant
	Err    error  // the cause, for the log only: it may name addresses of ours
}

// Error implements error; it is for logs.
func (e *Error) Error() string {
	if e.Err == nil {
		return string(e.Class) + ": " + e.Detail
	}
	return string(e.Class) + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns the class of an error of Do; "" without an error.
func ClassOf(err error) Class {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return Failed
}

// classify says what an error of the transport means. caller is the context that Do was given.
func classify(caller context.Context, t *trace, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	e := &Error{Err: err}
	e.Class, e.Detail = t.explain(caller, err)
	return e
}

// explain looks first at who gave up, then at what refused, then at how far the exchange had come.
func (t *trace) explain(caller context.Context, err error) (Class, string) {
	op, _ := errors.AsType[*net.OpError](err)
	timedOut := errors.Is(err, context.DeadlineExceeded) || isTimeout(err)
	switch {
	case errors.Is(caller.Err(), context.Canceled):
		return Cancelled, "The exchange was given up."
	case op != nil && op.Op == "proxyconnect":
		return ProxyFailed, "The proxy on the way out can't be reached."
	case errors.Is(err, ssrf.ErrProhibitedIP):
		return AddressNotAllowed, "The host resolves to an address that is not allowed: private, reserved or of a cloud's own."
	case errors.Is(err, ssrf.ErrProhibitedPort):
		return PortNotAllowed, "The port is not allowed."
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok || (timedOut && t.resolving()) {
		return DNSFailed, dnsDetail(err)
	}
	if t.securing() {
		return TLSFailed, tlsDetail(err, timedOut)
	}
	if alert := remoteAlert(err); alert != "" { // TLS 1.3 tells after the handshake what it thinks of our certificate
		return TLSFailed, "TLS: the receiver broke off: " + alert + "."
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return ConnectionRefused, "The connection was refused: nothing listens on this port."
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return Unreachable, "There is no way to the host."
	case timedOut && !t.connected():
		return ConnectTimeout, "No connection came about in time."
	case timedOut:
		return Timeout, "The receiver did not answer in time."
	}
	return t.explainAnswer(err)
}

// explainAnswer is about what came over a connection. net/http has no types for these errors; the tests hold the texts.
func (t *trace) explainAnswer(err error) (Class, string) {
	text := err.Error()
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(text, p) })
	}
	switch {
	case !t.connected() && has("invalid header field", "invalid method", "invalid trailer"):
		return RequestInvalid, "The request has a method or header that can't be sent."
	case has("server response headers exceeded", "response header list larger", "header list too large", "COMPRESSION_ERROR"): // the last is what HTTP/2 says of a single header
		return HeadersTooLarge, "The headers of the answer are too large."
	case has("malformed", "message cannot contain", "unsupported transfer encoding", "bad Content-Length", "chunk", "PROTOCOL_ERROR", "invalid header"):
		return ResponseMalformed, "What came is not a well-formed HTTP response."
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		has("EOF", "server closed idle connection", "connection broken", "stream error", "GOAWAY", "use of closed network connection", "client connection lost", "connection error", "could not be established"):
		return Reset, "The connection broke off before the answer."
	}
	return Failed, "The exchange failed."
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

func dnsDetail(err error) string {
	dns, _ := errors.AsType[*net.DNSError](err)
	switch {
	case dns != nil && dns.IsNotFound:
		return "The host name does not exist, or has no address."
	case dns == nil || dns.IsTimeout:
		return "The host name did not resolve in time."
	}
	return "The host name does not resolve."
}

func tlsDetail(err error, timedOut bool) string {
	if timedOut {
		return "TLS: the handshake took too long."
	}
	if c, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if c.Reason == x509.Expired && c.Cert != nil {
			return fmt.Sprintf("TLS: the certificate is valid from %s to %s only.",
				c.Cert.NotBefore.UTC().Format(time.RFC3339), c.Cert.NotAfter.UTC().Format(time.RFC3339))
		}
		return "TLS: the certificate is not valid."
	}
	if h, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("TLS: the certificate is not for %s.", h.Host)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "TLS: the certificate is of an authority that is not trusted, or its chain is not complete."
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || strings.Contains(err.Error(), "HTTP response to HTTPS client") {
		return "TLS: the receiver does not speak it on this port."
	}
	if strings.Contains(err.Error(), "protocol version") {
		return "TLS: the receiver speaks none of the versions 1.2 and 1.3."
	}
	if alert := remoteAlert(err); alert != "" {
		return "TLS: the receiver broke off: " + alert + "."
	}
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "TLS: the connection broke off during the handshake."
	}
	cause := err
	for next := errors.Unwrap(cause); next != nil; next = errors.Unwrap(cause) {
		cause = next
	}
	if text, ok := strings.CutPrefix(cause.Error(), "tls: "); ok { // crypto/tls's own words hold no addresses
		return "TLS: " + text + "."
	}
	return "TLS: the handshake failed."
}

// remoteAlert is the receiver's alert, in crypto/tls's words; "" when there was none.
func remoteAlert(err error) string {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" {
		return ""
	}
	return strings.TrimPrefix(op.Err.Error(), "tls: ")
}
