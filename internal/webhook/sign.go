package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The headers of Standard Webhooks.
const (
	HeaderID        = "webhook-id"        // the event's id: the same for every try and every duplicate
	HeaderTimestamp = "webhook-timestamp" // of this try, in Unix seconds
	HeaderSignature = "webhook-signature" // one entry for each live secret
)

// signer signs requests to one endpoint.
type signer []key

// newSigner keeps the secrets of the versions that the endpoint wants.
func newSigner(secrets []Secret, versions []Signature) (signer, error) {
	var s signer
	for _, one := range secrets {
		if !slices.Contains(versions, one.Version) {
			continue
		}
		k, err := one.key()
		if err != nil {
			return nil, err
		}
		s = append(s, k)
	}
	return s, nil
}

// sign returns the value of webhook-signature: what is signed is id.timestamp.body,
// by each secret that is live.
func (s signer) sign(id string, at time.Time, body []byte) string {
	content := make([]byte, 0, len(id)+len(body)+22)
	content = append(content, id...)
	content = append(content, '.')
	content = strconv.AppendInt(content, at.Unix(), 10)
	content = append(content, '.')
	content = append(content, body...)
	var out strings.Builder
	for _, k := range s {
		if k.until != nil && !at.Before(*k.until) {
			continue
		}
		if out.Len() > 0 {
			out.WriteByte(' ')
		}
		out.WriteString(string(k.version))
		out.WriteByte(',')
		out.WriteString(base64.StdEncoding.EncodeToString(k.sign(content)))
	}
	return out.String()
}

func (k key) sign(content []byte) []byte {
	if k.version == V1a {
		return ed25519.Sign(k.private, content)
	}
	mac := hmac.New(sha256.New, k.shared)
	mac.Write(content)
	return mac.Sum(nil)
}
