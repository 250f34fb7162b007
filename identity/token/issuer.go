package token

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// IssuerConfig configures an Issuer. Every field is required.
type IssuerConfig struct {
	Issuer   string // iss
	Audience string // aud
	ClientID string // client_id
	// Key returns the key that signs now and the kid under which verifiers find
	// its public half.
	Key func() (kid string, key ed25519.PrivateKey, err error)
	Now func() time.Time
}

// Issuer makes tokens. It is safe for concurrent use.
type Issuer struct{ cfg IssuerConfig }

// NewIssuer returns an Issuer.
func NewIssuer(cfg IssuerConfig) *Issuer { return &Issuer{cfg: cfg} }

// Issue signs a token for subject, the id of a user whose generation is
// generation. It is valid from now, in whole seconds, for Lifetime.
func (i *Issuer) Issue(subject string, generation int64) (raw string, c Claims, err error) {
	if subject == "" || generation < 0 || generation > maxGeneration {
		return "", Claims{}, errors.New("issue token: subject is empty or generation out of range")
	}
	kid, key, err := i.cfg.Key()
	if err != nil {
		return "", Claims{}, fmt.Errorf("issue token: signing key: %w", err)
	}
	now := i.cfg.Now().UTC().Truncate(time.Second)
	c = Claims{
		Issuer: i.cfg.Issuer, Subject: subject, Audience: i.cfg.Audience, ClientID: i.cfg.ClientID,
		IssuedAt: now, NotBefore: now, Expires: now.Add(Lifetime),
		ID: rand.Text(), Generation: generation, KeyID: kid,
	}
	if raw, err = sign(kid, key, c); err != nil {
		return "", Claims{}, fmt.Errorf("issue token: %w", err)
	}
	return raw, c, nil
}

func sign(kid string, key ed25519.PrivateKey, c Claims) (string, error) {
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: key, KeyID: kid}},
		(&jose.SignerOptions{}).WithType(shortType),
	)
	if err != nil {
		return "", fmt.Errorf("signer: %w", err)
	}
	payload, err := json.Marshal(c.wire())
	if err != nil {
		return "", fmt.Errorf("claims: %w", err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("serialize: %w", err)
	}
	if len(raw) > MaxSize {
		return "", fmt.Errorf("token of %d bytes is over the limit of %d", len(raw), MaxSize)
	}
	return raw, nil
}
