package gateway

import "strings"

// credentialProblem is why a request's credential can't be read.
type credentialProblem uint8

const (
	noProblem credentialProblem = iota
	noCredential
	ambiguous // sent twice, or two different ones
)

// credential reads the key of a request from its headers: Authorization, with the
// scheme Bearer, and X-API-Key. One that is there twice, and two different keys,
// are refused: the backend might look at another one than we did. Another scheme
// of Authorization is not ours to judge, and is no key.
func credential(auth, key []string) (token string, problem credentialProblem) {
	if len(auth) > 1 || len(key) > 1 {
		return "", ambiguous
	}
	if len(auth) == 1 {
		token = bearerOf(auth[0])
	}
	if len(key) == 1 {
		switch k := strings.Trim(key[0], " \t"); {
		case token == "":
			token = k
		case k != "" && k != token:
			return "", ambiguous
		}
	}
	if token == "" {
		return "", noCredential
	}
	return token, noProblem
}

// bearerOf returns the token of an Authorization header, "" for another scheme.
func bearerOf(auth string) string {
	scheme, rest, _ := strings.Cut(auth, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.Trim(rest, " \t")
}
