package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/redisdb"
	"github.com/earlybird/earlybird/identity/revocation"
)

// What follows to the end of checkEnded is the code of deploy/docs/verifying.md.

// keysOf returns where the keys of an issuer are (RFC 8414 section 3; for an
// issuer with a path the address is another).
func keysOf(ctx context.Context, issuer string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer+"/.well-known/oauth-authorization-server", http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var about struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.NewDecoder(response.Body).Decode(&about); err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK || about.Issuer != issuer {
		return "", fmt.Errorf("metadata of %s: status %s, issuer %q", issuer, response.Status, about.Issuer)
	}
	return about.JWKSURI, nil
}

// checkType wants an access token (RFC 9068 section 4). The libraries do not look.
func checkType(typ any) error {
	if s, _ := typ.(string); !strings.EqualFold(s, "at+jwt") && !strings.EqualFold(s, "application/at+jwt") {
		return errors.New("not an access token: typ is not at+jwt")
	}
	return nil
}

// goOIDC verifies with github.com/coreos/go-oidc/v3. It returns the user.
func goOIDC(ctx context.Context, issuer, audience, keys string) func(raw string) (string, error) {
	verifier := oidc.NewVerifier(issuer, oidc.NewRemoteKeySet(ctx, keys), &oidc.Config{
		ClientID:             audience,             // go-oidc's name for the audience
		SupportedSigningAlgs: []string{oidc.EdDSA}, // its default is RS256
	})
	return func(raw string) (string, error) {
		token, err := verifier.Verify(ctx, raw)
		if err != nil {
			return "", err
		}
		signed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.EdDSA})
		if err != nil {
			return "", err
		}
		return token.Subject, checkType(signed.Signatures[0].Header.ExtraHeaders[jose.HeaderType])
	}
}

// accessClaims are what tells who the user is, and whether the token was ended.
type accessClaims struct {
	jwt.RegisteredClaims
	Generation int64 `json:"gen"` // it grows when all of a user's tokens are ended
}

// golangJWT verifies with github.com/golang-jwt/jwt/v5 and
// github.com/MicahParks/keyfunc/v3.
func golangJWT(ctx context.Context, issuer, audience, keys string) (func(raw string) (accessClaims, error), error) {
	set, err := keyfunc.NewDefaultCtx(ctx, []string{keys})
	if err != nil {
		return nil, err
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithIssuer(issuer), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(), jwt.WithLeeway(5*time.Second))
	return func(raw string) (accessClaims, error) {
		var claims accessClaims
		token, err := parser.ParseWithClaims(raw, &claims, set.KeyfuncCtx(ctx))
		if err != nil {
			return accessClaims{}, err
		}
		return claims, checkType(token.Header["typ"])
	}, nil
}

// checkEnded refuses a token that was ended. The feed follows Redis, which
// feed.Run(ctx) does in a goroutine.
func checkEnded(feed *revocation.Feed, c accessClaims) error {
	switch {
	case !feed.Ready():
		return errors.New("it is not known yet which tokens were ended") // answer 503
	case feed.Revoked(c.ID, c.Subject, c.Generation):
		return errors.New("the token was ended")
	}
	return nil
}

// verifiers are those of the page, for an issuer and its keys.
func verifiers(t *testing.T, issuer, audience, keys string) map[string]func(raw string) (string, error) {
	t.Helper()
	byKeyfunc, err := golangJWT(t.Context(), issuer, audience, keys)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]func(string) (string, error){
		"go-oidc": goOIDC(t.Context(), issuer, audience, keys),
		"golang-jwt": func(raw string) (string, error) {
			claims, err := byKeyfunc(raw)
			return claims.Subject, err
		},
	}
}

// TestVerifyingPage: the page has the code that is tested here.
func TestVerifyingPage(t *testing.T) {
	page, err := os.ReadFile("../deploy/docs/verifying.md")
	if err != nil {
		t.Fatal(err)
	}
	tested, err := os.ReadFile("verifying_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "\n```go\n")[1:]
	if len(blocks) != 4 {
		t.Errorf("%d blocks of code in Go, want the search for the keys, one for each library, and the feed", len(blocks))
	}
	for _, block := range blocks {
		if code, _, _ := strings.Cut(block, "\n```\n"); !strings.Contains(string(tested), "\n"+code+"\n") {
			t.Errorf("not tested:\n%s", code)
		}
	}
}

// TestOtherVerifiers: what libraries that know nothing of Earlybird make of its
// tokens and keys, from a running service.
func TestOtherVerifiers(t *testing.T) {
	redis, mongo := testserver.Redis(t), testserver.Mongo(t)
	gateway := httptest.NewUnstartedServer(nil) // which passes everything on
	issuer := "http://" + gateway.Listener.Addr().String()
	i := begin(t, map[string]string{"redis-url": redis.URL(), "mongo-url": mongo, "issuer": issuer, "audience": "bank"})
	target, err := url.Parse(i.url)
	if err != nil {
		t.Fatal(err)
	}
	gateway.Config.Handler = httputil.NewSingleHostReverseProxy(target)
	gateway.Start()
	t.Cleanup(gateway.Close)
	i.until(t, "/readyz", 200)
	_, user := i.do(t, "POST", "/users", alice, "")
	id, _ := user["id"].(string)
	good := i.login(t, alice)

	keys, err := keysOf(t.Context(), issuer)
	if err != nil || keys != issuer+"/.well-known/jwks.json" {
		t.Fatalf("keys at %s, %v", keys, err)
	}
	if _, err := keysOf(t.Context(), issuer+"/"); err == nil {
		t.Error("the metadata of another issuer are taken")
	}
	for name, verify := range verifiers(t, issuer, "bank", keys) {
		if got, err := verify(good); err != nil || got != id {
			t.Errorf("%s: user %q, %v, want %q", name, got, err, id)
		}
		if _, err := verify(good[:len(good)-8] + "AAAAAAAA"); err == nil {
			t.Errorf("%s: takes an altered token", name)
		}
	}
	for _, other := range [][2]string{{issuer, "shop"}, {"https://other.example", "bank"}} {
		for name, verify := range verifiers(t, other[0], other[1], keys) {
			if _, err := verify(good); err == nil {
				t.Errorf("%s: a token for the bank of %s is taken for %v", name, issuer, other)
			}
		}
	}

	// A token that has ended is dead here, and lives on where nobody hears of it.
	if status := i.send(t, "POST", "/logout", "", good); status != http.StatusNoContent {
		t.Fatalf("POST /logout: %d", status)
	}
	i.dies(t, "/users/me", good)
	byKeyfunc, err := golangJWT(t.Context(), issuer, "bank", keys)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := byKeyfunc(good)
	if err != nil {
		t.Fatal(err)
	}
	client, err := redisdb.Connect(redisdb.Config{URL: redis.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	feed := revocation.NewFeed(revocation.FeedConfig{Redis: client})
	if err := checkEnded(feed, claims); err == nil || !strings.Contains(err.Error(), "not known yet") {
		t.Errorf("before the feed has read: %v", err)
	}
	go func() { _ = feed.Run(t.Context()) }()
	testserver.Eventually(t, "the feed knows that the token was ended", func() bool {
		err := checkEnded(feed, claims)
		return err != nil && err.Error() == "the token was ended"
	})
	claims.ID = "another"
	if err := checkEnded(feed, claims); err != nil {
		t.Errorf("another token of the user: %v", err)
	}
	for name, verify := range verifiers(t, issuer, "bank", keys) {
		if _, err := verify(good); err != nil {
			t.Errorf("%s: refuses a token that was ended, so the page is wrong: %v", name, err)
		}
	}

	// That of a one-time password is for the change of password alone.
	_, oneTime, err := operator(t, mongo, redis.URL()).ResetPassword(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]string{"username": "alice", "password": oneTime})
	if err != nil {
		t.Fatal(err)
	}
	limited := i.login(t, string(body))
	testserver.Eventually(t, "the feed knows that the user's earlier tokens were ended", func() bool { return checkEnded(feed, claims) != nil })
	for name, verify := range verifiers(t, issuer, "bank", keys) {
		if _, err := verify(limited); err == nil {
			t.Errorf("%s: takes the token of a one-time password", name)
		}
	}
}

// TestOtherVerifiersRefuse: what no identity service signs.
func TestOtherVerifiersRefuse(t *testing.T) {
	const issuer = "https://earlybird.example"
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: "1", Algorithm: "EdDSA", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set) }))
	t.Cleanup(server.Close)
	for name, tt := range map[string]struct {
		typ     string
		method  jwt.SigningMethod
		key     any
		expires time.Duration
		good    bool
	}{
		"an access token":          {"at+jwt", jwt.SigningMethodEdDSA, private, time.Hour, true},
		"the long form of its typ": {"application/at+jwt", jwt.SigningMethodEdDSA, private, time.Hour, true},
		"an ID token":              {"JWT", jwt.SigningMethodEdDSA, private, time.Hour, false},
		"no typ":                   {"", jwt.SigningMethodEdDSA, private, time.Hour, false},
		"expired":                  {"at+jwt", jwt.SigningMethodEdDSA, private, -time.Minute, false},
		"HMAC by the public key":   {"at+jwt", jwt.SigningMethodHS256, []byte(public), time.Hour, false},
		"no signature":             {"at+jwt", jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			token := jwt.NewWithClaims(tt.method, jwt.RegisteredClaims{
				Issuer: issuer, Subject: "u", Audience: jwt.ClaimStrings{"bank"}, ExpiresAt: jwt.NewNumericDate(time.Now().Add(tt.expires)),
			})
			token.Header["kid"], token.Header["typ"] = "1", tt.typ
			raw, err := token.SignedString(tt.key)
			if err != nil {
				t.Fatal(err)
			}
			for name, verify := range verifiers(t, issuer, "bank", server.URL) {
				if _, err := verify(raw); (err == nil) != tt.good {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}
