package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

const (
	// keySetMediaType is registered by RFC 7517 section 8.5.2.
	keySetMediaType = "application/jwk-set+json"

	// keySetCaching lets a key set be used for a minute: much less than the
	// time between publishing a key and signing with it.
	keySetCaching = "public, max-age=60"
)

type keysOutput struct {
	ContentType  string `header:"Content-Type" hidden:"true"`
	CacheControl string `header:"Cache-Control" doc:"public, max-age=60"`
	Body         []byte
}

func (a *API) addKeys() {
	responses := a.answers(nil, http.StatusServiceUnavailable)
	responses["200"] = &huma.Response{
		Description: "A JSON Web Key Set (RFC 7517 section 5)",
		Content: map[string]*huma.MediaType{keySetMediaType: {
			Schema: &huma.Schema{Type: "object", Required: []string{"keys"}, Properties: map[string]*huma.Schema{
				"keys": {Type: "array", Items: &huma.Schema{Type: "object"}},
			}},
		}},
	}
	huma.Register(a.huma, huma.Operation{
		OperationID: "keys", Method: http.MethodGet, Path: "/.well-known/jwks.json",
		Summary: "The public keys that verify access tokens",
		Tags:    []string{"keys"}, Responses: responses,
		Middlewares: huma.Middlewares{a.opened},
	}, a.keys)
}

func (a *API) keys(ctx context.Context, _ *struct{}) (*keysOutput, error) {
	set, err := a.backend.Load().Keys.JWKS()
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &keysOutput{ContentType: keySetMediaType, CacheControl: keySetCaching, Body: set}, nil
}
