package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/landlordhq/landlord/internal/apikey"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/scanning"
	"github.com/landlordhq/landlord/internal/secret"
)

// githubScanning is the path for GitHub's secret scanning. It is no operation of
// the API: GitHub says what it is sent and wants to read, and the signature of the
// body is the credential.
const githubScanning = "/v1/secret-scanning/github"

// scanningWait is how much longer than others a list of matches may take: GitHub
// waits 30 s for partners that tell it what the matches were.
const scanningWait = 15 * time.Second

func (a *API) scanningRoutes() {
	a.mux.HandleFunc("POST "+githubScanning, func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		c.ctx.until = c.ctx.until.Add(scanningWait) // nobody has asked for the end yet
		a.locate(r, c)
		if a.s.Scanning == nil {
			writeProblem(w, r, a.answer(r.Context(), errScanningOff))
			return
		}
		body, p := readBody(w, r, MaxBody)
		if p != nil {
			writeProblem(w, r, p)
			return
		}
		verdicts, err := a.takeMatches(r.Context(), r.Header.Get("Github-Public-Key-Identifier"), r.Header.Get("Github-Public-Key-Signature"), body)
		if err != nil {
			writeProblem(w, r, a.answer(r.Context(), err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = marshalJSON(w, verdicts) // the caller may be gone
	})
}

var errScanningOff = fault.New(fault.NotFoundKind, "secret_scanning_off", "This server takes no reports of GitHub's secret scanning.")

// verdict is what GitHub learns of a match, in its own form. It takes the token
// itself in place of the hash, but nothing of ours repeats a token.
type verdict struct {
	TokenHash string `json:"token_hash"` // SHA-256, hexadecimal
	TokenType string `json:"token_type"`
	Label     string `json:"label"`
}

// takeMatches reports what a signed body tells of. When it fails half-way, what was
// done stays done, and is not done again when GitHub repeats the request.
func (a *API) takeMatches(ctx context.Context, key, signature string, body []byte) ([]verdict, error) {
	if err := a.s.Scanning.Verify(ctx, key, signature, body); err != nil {
		return nil, err
	}
	matches, err := scanning.ParseMatches(body)
	if err != nil {
		return nil, err
	}
	out := make([]verdict, len(matches))
	for i, m := range matches {
		r, err := a.s.APIKeys.ReportScanned(ctx, "github", apikey.ReportParams{Token: secret.NewText(m.Token), Source: m.Source, URL: m.URL})
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256([]byte(m.Token))
		out[i] = verdict{TokenHash: hex.EncodeToString(sum[:]), TokenType: m.Type, Label: "false_positive"}
		if r.Known {
			out[i].Label = "true_positive"
		}
	}
	if a.s.Settle != nil && len(out) > 0 {
		a.s.Settle(ctx)
	}
	return out, nil
}
