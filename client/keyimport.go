package client

import (
	"context"
	"net/http"
	"time"
)

// MaxImport is the most keys that one Import takes.
const MaxImport = 1000

// ImportAPIKey is a key that was issued elsewhere: its token or the hash of it,
// and the fields of a new key.
type ImportAPIKey struct {
	CreateAPIKey

	Token      string       `json:"token,omitempty"` // 16 to 255 printable ASCII characters without blanks; either this or Hash
	Hash       *ForeignHash `json:"hash,omitempty"`
	Prefix     string       `json:"prefix,omitempty"` // how the token begins; needed, with 8 characters or more, for argon2id and bcrypt
	Last4      string       `json:"last4,omitempty"`  // how it ends
	CreatedAt  *time.Time   `json:"created_at,omitempty"`
	LastUsedAt *time.Time   `json:"last_used_at,omitempty"`
	UsageCount int64        `json:"usage_count,omitempty"`
}

// ForeignHash is what another system stored of a token.
type ForeignHash struct {
	Algorithm string `json:"algorithm"`     // sha256, hmac-sha256, argon2id or bcrypt
	Value     string `json:"value"`         // hexadecimal or base64; a PHC string; $2a$, $2b$ or $2y$
	Key       string `json:"key,omitempty"` // with hmac-sha256: name of the import key in the server's secrets file
}

// ImportedAPIKeys says what became of each item.
type ImportedAPIKeys struct {
	Imported int              `json:"imported"`
	Refused  int              `json:"refused"`
	Results  []ImportedAPIKey `json:"results"` // one for each item, in their order
}

// ImportedAPIKey is what became of an item.
type ImportedAPIKey struct {
	ID    string      `json:"id"`    // with already_imported the key that the token is
	Error *BatchError `json:"error"` // nil: it was imported
}

// BatchError is why an item of a batch was refused.
type BatchError struct {
	Code   string       `json:"code"` // stable, such as "token_taken"
	Detail string       `json:"detail"`
	Errors []FieldError `json:"errors"`
}

// Import brings up to MaxImport keys that were issued elsewhere; they go on
// working. An item that is refused spoils no other.
func (s *APIKeys) Import(ctx context.Context, tenant string, items []ImportAPIKey) (*ImportedAPIKeys, error) {
	out := &ImportedAPIKeys{}
	body := struct {
		Items []ImportAPIKey `json:"items"`
	}{items}
	return result(out, s.c.do(ctx, request{method: http.MethodPost, path: keysPath(tenant, "import"), body: body, out: out, creates: true}))
}
