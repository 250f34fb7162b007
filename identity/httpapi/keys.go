package httpapi

import "net/http"

const (
	// keySetMediaType is registered by RFC 7517 section 8.5.2.
	keySetMediaType = "application/jwk-set+json"

	// keySetCaching lets a key set be used for a minute: much less than the
	// time between publishing a key and signing with it.
	keySetCaching = "public, max-age=60"
)

func (a *API) keys(w http.ResponseWriter, _ *http.Request, b *Backend) error {
	set, err := b.Keys.JWKS()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", keySetMediaType)
	w.Header().Set("Cache-Control", keySetCaching)
	_, _ = w.Write(set) // the client may be gone
	return nil
}
