package gateway

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
)

// The answers to Envoy are written in their wire form, field by field: the library
// does it by reflection over a tree of messages, which took longer than to find the
// answer, for every request of every product. Tests read them with the library.

// Fields of envoy.service.auth.v3.CheckResponse and of what is in it.
const (
	checkStatus     = 1 // google.rpc.Status, of which code is 1
	deniedResponse  = 2 // DeniedHttpResponse
	okResponse      = 3 // OkHttpResponse
	dynamicMetadata = 4 // google.protobuf.Struct
	errorResponse   = 5 // DeniedHttpResponse

	okHeaders         = 2 // HeaderValueOption, as the others
	okHeadersToRemove = 5
	okHeadersToClient = 6

	deniedStatus  = 1 // envoy.type.v3.HttpStatus, of which code is 1
	deniedHeaders = 2
	deniedBody    = 3
)

// forEnvoy is the answer. part is one of its three responses, http that in its wire
// form.
func (d *decision) forEnvoy(code codes.Code, who *identity, part protowire.Number, http []byte) *authv3.CheckResponse {
	var array [512]byte
	metadata := d.metadata(array[:0], who)
	b := make([]byte, 0, len(http)+len(metadata)+16)
	b = appendCode(b, checkStatus, uint64(code))
	b = appendBytes(b, part, http)
	b = appendBytes(b, dynamicMetadata, metadata)
	answer := &authv3.CheckResponse{}
	answer.ProtoReflect().SetUnknown(b) // which is sent as it is
	return answer
}

// envoyOK lets a request through: the backend learns who it is from, the client how
// much is left.
func (d *decision) envoyOK(who *identity, remove []string) []byte {
	b := make([]byte, 0, 1024)
	for i, v := range who {
		b = appendHeader(b, okHeaders, identityNames[i], v)
	}
	for _, name := range remove {
		b = appendString(b, okHeadersToRemove, name)
	}
	d.forClient(func(name headerName, v string) { b = appendHeader(b, okHeadersToClient, name, v) })
	return b
}

// envoyDenied turns a client away, or says that we can't answer.
func (d *decision) envoyDenied() []byte {
	b := make([]byte, 0, 1024)
	b = appendCode(b, deniedStatus, uint64(d.status))
	b = appendHeader(b, deniedHeaders, typeName, problemType)
	b = appendHeader(b, deniedHeaders, cacheName, noStore)
	d.forClient(func(name headerName, v string) { b = appendHeader(b, deniedHeaders, name, v) })
	return appendBytes(b, deniedBody, d.problem())
}

// metadata appends what is for Envoy's access log (namespace
// envoy.filters.http.ext_authz), and for filters behind this one. The client never
// sees it.
func (d *decision) metadata(b []byte, who *identity) []byte {
	b = appendEntry(b, "outcome", d.outcome)
	if d.known {
		for i, name := range [...]string{"tenant_id", "tenant_slug", "key_id", "project_id", "environment"} {
			b = appendEntry(b, name, who[i])
		}
	}
	return b
}

// appendEntry appends an entry of a Struct: its name and a Value with a string.
func appendEntry(b []byte, name, v string) []byte {
	const fields, key, value, stringValue = 1, 1, 2, 3
	inner := sizeOf(len(v))
	b = appendSize(b, fields, sizeOf(len(name))+sizeOf(inner))
	b = appendString(b, key, name)
	b = appendSize(b, value, inner)
	return appendString(b, stringValue, v)
}

// appendHeader appends a HeaderValueOption whose header takes the place of any of
// its name.
func appendHeader(b []byte, field protowire.Number, name headerName, v string) []byte {
	const header, key, value, appendAction = 1, 1, 2, 3
	inner := sizeOf(len(name.lower)) + sizeOf(len(v))
	b = appendSize(b, field, sizeOf(inner)+2)
	b = appendSize(b, header, inner)
	b = appendString(b, key, name.lower)
	b = appendString(b, value, v)
	b = protowire.AppendTag(b, appendAction, protowire.VarintType)
	return append(b, byte(corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
}

// appendCode appends a message of which field 1 is a number. Zero is not written,
// as everywhere in proto3, but the message is.
func appendCode(b []byte, field protowire.Number, code uint64) []byte {
	if code == 0 {
		return appendSize(b, field, 0)
	}
	b = appendSize(b, field, 1+protowire.SizeVarint(code))
	b = protowire.AppendTag(b, 1, protowire.VarintType)
	return protowire.AppendVarint(b, code)
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	return append(appendSize(b, field, len(s)), s...)
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return append(appendSize(b, field, len(v)), v...)
}

// appendSize begins a field of so many bytes.
func appendSize(b []byte, field protowire.Number, n int) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(n))
}

// sizeOf is what a field of n bytes takes; tags below 16 are one.
func sizeOf(n int) int { return 1 + protowire.SizeBytes(n) }
