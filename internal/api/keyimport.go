package api

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/secret"
)

// ImportAPIKeys brings keys that were issued elsewhere.
type ImportAPIKeys struct {
	Items []lenient[ImportAPIKey] `json:"items" minItems:"1" maxItems:"1000"`
}

// ImportAPIKey is a key that was issued elsewhere: its token or the hash of it,
// and the fields of a new key.
type ImportAPIKey struct {
	CreateAPIKey

	Token      string       `json:"token,omitempty" example:"sk_live_4eC39HqLyjWDarjtT1zdp7dc" doc:"The key itself: 16 to 255 printable ASCII characters without blanks. Either this or hash."`
	Hash       *ForeignHash `json:"hash,omitempty" doc:"What the other system stored of it."`
	Prefix     string       `json:"prefix,omitempty" maxLength:"24" example:"sk_live_4eC3" doc:"How the token begins. Needed, with at least 8 characters, for argon2id and bcrypt; without it a sha256 or hmac-sha256 lets every unknown token that any caller sends reach the database."`
	Last4      string       `json:"last4,omitempty" minLength:"4" maxLength:"4" doc:"How the token ends."`
	CreatedAt  *time.Time   `json:"created_at,omitempty" doc:"When the other system issued it; left out, now."`
	LastUsedAt *time.Time   `json:"last_used_at,omitempty"`
	UsageCount int64        `json:"usage_count,omitempty" minimum:"0" doc:"Uses so far, that ours are added to."`
}

// ForeignHash is what another system stored of a token.
type ForeignHash struct {
	Algorithm string `json:"algorithm" enum:"sha256,hmac-sha256,argon2id,bcrypt" doc:"Of the whole token, without salt but for argon2id and bcrypt. Those two are the platform's credentials' to import."`
	Value     string `json:"value" maxLength:"256" doc:"32 bytes in hexadecimal or base64; $argon2id$v=19$m=…,t=…,p=…$salt$hash with m at most 65536, m times t at most 262144 and p at most 4; $2a$, $2b$ or $2y$ with a cost of at most 14."`
	Key       string `json:"key,omitempty" maxLength:"16" doc:"With hmac-sha256: the name of the import key in the secrets file of the server."`
}

// ImportedAPIKeys says what became of each item.
type ImportedAPIKeys struct {
	Imported int              `json:"imported" doc:"How many keys were made."`
	Refused  int              `json:"refused"`
	Results  []ImportedAPIKey `json:"results" doc:"One for each item, in their order."`
}

// ImportedAPIKey is what became of an item.
type ImportedAPIKey struct {
	ID    id.APIKey   `json:"id,omitzero" doc:"The new key; with already_imported the one that the token is."`
	Error *BatchError `json:"error,omitempty" doc:"Absent: it was imported."`
}

func (a *API) keyImportRoutes() {
	route(a, op{
		ID: "import-api-keys", Method: "POST", Path: "/v1/tenants/{tenant}/api-keys/import", Tag: "API keys", Creates: true, Status: http.StatusOK,
		MaxBody: maxImportBody, Summary: "Import API keys",
		Description: "Brings up to 1000 keys that were issued elsewhere, as tokens or as hashes of them; they go on working. An item that is refused spoils no " +
			"other, and all that are accepted are made at once. A token is one key in the whole installation. The body has at most 8 MiB.",
	}, a.importAPIKeys)
}

const maxImportBody = 8 << 20

type importAPIKeysInput struct {
	TenantPath
	Body ImportAPIKeys
}

func (a *API) importAPIKeys(ctx context.Context, in *importAPIKeysInput) (*plain[ImportedAPIKeys], error) {
	tenant, err := a.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	items := make([]apikey.ImportItem, len(in.Body.Items))
	for i, raw := range in.Body.Items {
		items[i] = a.importItem(raw)
	}
	results, err := a.s.APIKeys.Import(ctx, tenant, items)
	if err != nil {
		return nil, err
	}
	out := ImportedAPIKeys{Results: make([]ImportedAPIKey, len(results))}
	for i, r := range results {
		out.Results[i].ID = r.Key
		if r.Err != nil {
			out.Results[i].Error = batchError(r.Err)
			out.Refused++
		} else {
			out.Imported++
		}
	}
	return &plain[ImportedAPIKeys]{Body: out}, nil
}

// importItem reads an item, or says what is wrong with it.
func (a *API) importItem(raw lenient[ImportAPIKey]) apikey.ImportItem {
	b, wrong := raw.value(a)
	ips, err := networks(b.AllowedIPs)
	if len(wrong) > 0 {
		err = invalidItem(wrong)
	}
	if err != nil {
		return apikey.ImportItem{Wrong: err}
	}
	item := apikey.ImportItem{
		CreateParams: apikey.CreateParams{
			ProjectID: b.ProjectID, Product: b.Product, Environment: apikey.Environment(cmp.Or(b.Environment, string(apikey.Live))), Name: b.Name,
			Description: b.Description, Scopes: b.Scopes, AllowedIPs: ips, RateLimitRPM: b.RateLimitRPM,
			RateLimits: limitRulesOf(b.RateLimits), ExpiresAt: b.ExpiresAt, Metadata: b.Metadata,
		},
		Token: secret.NewText(b.Token), Prefix: b.Prefix, Last4: b.Last4,
		CreatedAt: b.CreatedAt, LastUsedAt: b.LastUsedAt, UsageCount: b.UsageCount,
	}
	if b.Hash != nil {
		item.Hash = apikey.ForeignHash{Algorithm: apikey.HashAlgorithm(b.Hash.Algorithm), Key: b.Hash.Key, Value: b.Hash.Value}
	}
	return item
}
