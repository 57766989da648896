package scanning

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/landlordhq/landlord/internal/fault"
)

// MaxMatches is the most that one body may hold.
const MaxMatches = 1000

// Match is a token that was found.
type Match struct {
	Token  string `json:"token"`
	Type   string `json:"type"`   // the name that GitHub and the service agreed on
	URL    string `json:"url"`    // where it was found; may be empty
	Source string `json:"source"` // in what: commit, issue_comment, npm, …
}

// ParseMatches reads a body whose signature was checked. Fields that GitHub may
// add one day are passed over.
func ParseMatches(body []byte) ([]Match, error) {
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")) {
		if !json.Valid(body) {
			return nil, fault.New(fault.Malformed, "json_malformed", "The request body is not valid JSON.")
		}
		return nil, errNoList
	}
	var list []Match
	if err := json.Unmarshal(body, &list); err != nil {
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return nil, errNoList
		}
		return nil, fault.New(fault.Malformed, "json_malformed", "The request body is not valid JSON.")
	}
	if len(list) > MaxMatches {
		return nil, fault.InvalidField("body", "too_many", "One request tells of at most %d matches.", MaxMatches)
	}
	return list, nil
}

var errNoList = fault.InvalidField("body", "wrong_type", "The body is not a list of matches: objects with token, type, url and source.")
