package api

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/landlordhq/landlord/internal/fault"
)

// Problem is an RFC 9457 problem document.
type Problem struct {
	Type      string         `json:"type" doc:"A URI of the error's documentation, relative to the server." example:"/docs/errors#slug_taken"`
	Title     string         `json:"title" doc:"The status in words." example:"Conflict"`
	Status    int            `json:"status" doc:"The HTTP status." example:"409"`
	Detail    string         `json:"detail" doc:"What went wrong, for people." example:"The slug is taken."`
	Instance  string         `json:"instance,omitempty" doc:"The path of the request." example:"/v1/tenants"`
	Code      string         `json:"code" doc:"A stable code to switch on." example:"slug_taken"`
	Errors    []ProblemField `json:"errors,omitempty" doc:"Complaints about single fields."`
	Violated  []string       `json:"violated-policies,omitempty" doc:"With 429: the names, in RateLimit-Policy, of the limits that are used up." example:"[\"key\"]"`
	RequestID string         `json:"request_id,omitempty" doc:"Give this to support: it is in the server's log."`

	retryAfter time.Duration
	cause      error
}

// ProblemField is a complaint about one field.
type ProblemField struct {
	Field   string `json:"field" doc:"Path of the field; path., query. and header. parameters carry that prefix." example:"slug"`
	Code    string `json:"code" doc:"A stable code." example:"slug_malformed"`
	Message string `json:"message" doc:"For people."`
}

// Error implements error.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// Unwrap returns the cause, for the log.
func (p *Problem) Unwrap() error { return p.cause }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retryAfter > 0 {
		h.Set("Retry-After", retryAfter(p.retryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="landlord"`)
	}
	return h
}

// retryAfter is whole seconds, rounded up: never earlier than the server means.
func retryAfter(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}

var statuses = map[fault.Kind]int{
	fault.Internal:         http.StatusInternalServerError,
	fault.Malformed:        http.StatusBadRequest,
	fault.Unauthenticated:  http.StatusUnauthorized,
	fault.Forbidden:        http.StatusForbidden,
	fault.NotFoundKind:     http.StatusNotFound,
	fault.ConflictKind:     http.StatusConflict,
	fault.Stale:            http.StatusPreconditionFailed,
	fault.TooLarge:         http.StatusRequestEntityTooLarge,
	fault.UnsupportedMedia: http.StatusUnsupportedMediaType,
	fault.InvalidKind:      http.StatusUnprocessableEntity,
	fault.RateLimited:      http.StatusTooManyRequests,
	fault.Unavailable:      http.StatusServiceUnavailable,
}

// problemOf turns any error into what the caller sees. The text of an error that
// is no fault stays here.
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	f := fault.As(err)
	p = problem(statuses[f.Kind], f.Code, f.Detail)
	p.retryAfter = f.RetryAfter
	p.cause = err
	for _, x := range f.Fields {
		p.Errors = append(p.Errors, ProblemField{Field: x.Field, Code: x.Code, Message: x.Message})
	}
	return p
}

func problem(status int, code, detail string) *Problem {
	return &Problem{Type: "/docs/errors#" + code, Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// newProblem is what the framework calls for input that it refuses.
func newProblem(status int, msg string, errs ...error) huma.StatusError {
	switch status {
	case http.StatusBadRequest:
		return badBody(msg, errs)
	case http.StatusUnsupportedMediaType:
		return problem(status, "unsupported_media_type", "Send application/json.")
	case http.StatusRequestEntityTooLarge:
		return problem(status, "body_too_large", "The request body is larger than this operation takes.")
	case http.StatusRequestTimeout:
		return problem(status, "body_timeout", "The request body did not arrive in time.")
	case http.StatusNotAcceptable:
		return problem(status, "not_acceptable", "This server answers application/json.")
	case http.StatusUnprocessableEntity:
		p := problem(status, "invalid_request", "The request has fields that break a rule.")
		for _, err := range errs {
			p.Errors = append(p.Errors, fieldOf(err))
		}
		if len(p.Errors) == 1 {
			p.Detail = p.Errors[0].Field + ": " + p.Errors[0].Message
		}
		return p
	default:
		// A handler's error that is no problem yet.
		for _, err := range errs {
			return problemOf(err)
		}
		return problem(status, "internal", "Something went wrong on our side.")
	}
}

func badBody(msg string, errs []error) *Problem {
	p := problem(http.StatusBadRequest, "json_malformed", "The request body is not valid JSON.")
	if strings.Contains(msg, "required") {
		return problem(http.StatusBadRequest, "body_required", "This operation needs a JSON body.")
	}
	for _, err := range errs {
		for _, c := range refusals {
			if strings.Contains(messageOf(err), c.text) {
				return c.problem
			}
		}
	}
	return p
}

// refusals are the problems of a body that can't be read, by the text of the error.
var refusals = []struct {
	text    string
	problem *Problem
}{
	{errBadUTF8.Error(), problem(http.StatusBadRequest, "invalid_text", "The request body is not valid UTF-8.")},
	{errNUL.Error(), problem(http.StatusBadRequest, "invalid_text", "The request body holds a NUL character, which can't be stored.")},
	{errSurrogate.Error(), problem(http.StatusBadRequest, "invalid_text", "The request body holds half of a surrogate pair, which is no character.")},
	{errDepth.Error(), problem(http.StatusBadRequest, "json_too_deep", "The request body nests more than "+strconv.Itoa(maxDepth)+" levels deep.")},
	{errTwice.Error(), problem(http.StatusBadRequest, "json_duplicate_name", "An object of the request body has the same name twice.")},
	{"cannot unmarshal number", problem(http.StatusBadRequest, "number_out_of_range", "The request body holds a number that no 64-bit float can hold.")},
	{"body is required", problem(http.StatusBadRequest, "body_required", "This operation needs a JSON body.")},
}

func messageOf(err error) string {
	var d huma.ErrorDetailer
	if errors.As(err, &d) {
		return d.ErrorDetail().Message
	}
	return err.Error()
}

// codes maps the framework's messages to stable codes, by their beginnings.
var codes = []struct{ prefix, code string }{
	{"unexpected property", "unknown_field"},
	{"unknown query parameter", "unknown_parameter"},
	{"expected required property", "required"},
	{"required query parameter", "required"},
	{"required header", "required"},
	{"expected property", "required"},
	{"expected length >=", "too_short"},
	{"expected length <=", "too_long"},
	{"expected array length >=", "too_few"},
	{"expected array length <=", "too_many"},
	{"expected object with at least", "too_few"},
	{"expected object with at most", "too_many"},
	{"expected array items to be unique", "duplicate"},
	{"expected value to be one of", "not_one_of"},
	{"expected number >=", "out_of_range"},
	{"expected number <=", "out_of_range"},
	{"expected number >", "out_of_range"},
	{"expected number <", "out_of_range"},
	{"expected number to be", "out_of_range"},
	{"expected string to", "wrong_format"},
	{"expected value to", "wrong_format"},
	{"expected ", "wrong_type"},
	{"invalid integer", "wrong_type"},
	{"invalid float", "wrong_type"},
	{"invalid boolean", "wrong_type"},
	{"invalid date", "wrong_format"},
	{"cannot unmarshal", "wrong_type"},
	{"json:", "wrong_type"},
}

func fieldOf(err error) ProblemField {
	var f ProblemField
	var d huma.ErrorDetailer
	if errors.As(err, &d) {
		// The value is left out: it may be a secret.
		detail := d.ErrorDetail()
		f.Field, f.Message = strings.TrimPrefix(detail.Location, "body."), detail.Message
	} else {
		f.Message = err.Error()
	}
	f.Code = "invalid"
	for _, c := range codes {
		if strings.HasPrefix(f.Message, c.prefix) {
			f.Code = c.code
			break
		}
	}
	if strings.Contains(f.Message, "malformed id") {
		f.Code, f.Message = "id_malformed", "This is neither an id of the wanted kind nor a UUID."
	}
	if f.Code == "wrong_type" && strings.HasPrefix(f.Message, "json:") {
		if strings.Contains(f.Message, "cannot unmarshal number") { // its type was validated, so it is its size
			f.Code = "out_of_range"
		}
		if _, name, ok := strings.Cut(f.Message, "Go struct field "); ok {
			_, name, _ = strings.Cut(name, ".")
			f.Field, _, _ = strings.Cut(name, " ")
		}
		f.Message = "The value has the wrong type or size."
	}
	return f
}

// writeProblem answers with a problem outside the framework's operations.
func writeProblem(w http.ResponseWriter, r *http.Request, p *Problem) {
	q := *p
	q.fill(r)
	maps.Copy(w.Header(), q.GetHeaders())
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(q.Status)
	_ = json.NewEncoder(w).Encode(q) // the caller may be gone
}
