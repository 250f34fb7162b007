package edge

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/earlybird/earlybird/identity/token"
)

// NewKeys returns a pool of key sources by the URL of their JWKS; each is kept
// fresh while it is used.
func NewKeys(ctx context.Context, log *slog.Logger) *Pool[string, *token.JWKS] {
	return NewPool(ctx, func(ctx context.Context, url string) (*token.JWKS, error) {
		jwks, err := token.NewJWKS(token.JWKSConfig{
			URL: url, Client: &http.Client{Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 5 * time.Second, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
			}},
			Now: time.Now, Log: log,
		})
		if err != nil {
			return nil, err
		}
		go func() { _ = jwks.Run(ctx) }() // it ends with ctx and returns nil
		return jwks, nil
	})
}
