package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

const (
	// keySetPath is where the key set is.
	keySetPath = "/.well-known/jwks.json"
	// metadataPath is where clients look for the metadata of an issuer without a
	// path (RFC 8414 section 3).
	metadataPath = "/.well-known/oauth-authorization-server"
)

// metadata is what RFC 8414 section 2 has a name for here: Earlybird issues tokens,
// but not by OAuth. So it has none of the endpoints, and the two lists are empty.
// Section 3.2 would leave empty lists out. But response_types_supported is
// required, and without grant_types_supported clients assume authorization_code.
type metadata struct {
	Issuer        string   `json:"issuer"`
	JWKSURI       string   `json:"jwks_uri"`
	ResponseTypes []string `json:"response_types_supported"`
	GrantTypes    []string `json:"grant_types_supported"`
}

// addMetadata serves the issuer's metadata, from which libraries learn where the
// keys are. An issuer with a path has it below metadataPath (RFC 8414 section
// 3.1). The keys are at the root of its host in any case, where the gateway
// routes them.
func (a *API) addMetadata(mux *http.ServeMux) error {
	if a.Issuer == "" {
		return nil
	}
	u, err := url.Parse(a.Issuer)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return errors.New("httpapi: the issuer is not a URL with a scheme and a host")
	}
	about := metadata{
		Issuer: a.Issuer, JWKSURI: u.Scheme + "://" + u.Host + keySetPath,
		ResponseTypes: []string{}, GrantTypes: []string{},
	}
	at := metadataPath + strings.TrimSuffix(u.Path, "/")
	serve := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != at {
			notFound().write(w)
			return
		}
		w.Header().Set("Cache-Control", keySetCaching)
		answer(w, http.StatusOK, about)
	}
	mux.HandleFunc("GET "+metadataPath, serve)
	if at != metadataPath {
		mux.HandleFunc("GET "+metadataPath+"/{path...}", serve)
	}
	return nil
}
