package token

import (
	"fmt"
	"time"
)

const (
	// maxNumericDate is the last second of the year 9999; later times cannot be
	// written as RFC 3339.
	maxNumericDate = 253402300799
	// maxGeneration is the largest integer that every JSON parser reads alike
	// (RFC 7493 section 2.2).
	maxGeneration = 1<<53 - 1
)

// wireClaims are the claims as they are written.
type wireClaims struct {
	Issuer     string `json:"iss"`
	Subject    string `json:"sub"`
	Audience   string `json:"aud"`
	ClientID   string `json:"client_id"`
	IssuedAt   int64  `json:"iat"`
	NotBefore  int64  `json:"nbf"`
	Expires    int64  `json:"exp"`
	ID         string `json:"jti"`
	Generation int64  `json:"gen"`
}

func (c Claims) wire() wireClaims {
	return wireClaims{
		Issuer: c.Issuer, Subject: c.Subject, Audience: c.Audience, ClientID: c.ClientID,
		IssuedAt: c.IssuedAt.Unix(), NotBefore: c.NotBefore.Unix(), Expires: c.Expires.Unix(),
		ID: c.ID, Generation: c.Generation,
	}
}

// parseClaims reads a claims set of which every claim of Claims must be there
// and of its type. The audience is returned as the list that it may be;
// Claims.Audience is left empty. Other claims are ignored (RFC 7519 section 4).
func parseClaims(data []byte) (c Claims, audience []string, err error) {
	o, err := parseObject(data)
	if err != nil {
		return Claims{}, nil, fmt.Errorf("%w: claims: %w", ErrMalformed, err)
	}
	texts := []struct {
		name string
		to   *string
	}{{"iss", &c.Issuer}, {"sub", &c.Subject}, {"client_id", &c.ClientID}, {"jti", &c.ID}}
	for _, t := range texts {
		var ok bool
		if *t.to, ok = o.text(t.name); !ok {
			return Claims{}, nil, claimError(t.name)
		}
	}
	times := []struct {
		name string
		to   *time.Time
	}{{"iat", &c.IssuedAt}, {"nbf", &c.NotBefore}, {"exp", &c.Expires}}
	for _, t := range times {
		seconds, ok := o.integer(t.name, maxNumericDate)
		if !ok {
			return Claims{}, nil, claimError(t.name)
		}
		*t.to = time.Unix(seconds, 0).UTC()
	}
	var ok bool
	if c.Generation, ok = o.integer("gen", maxGeneration); !ok {
		return Claims{}, nil, claimError("gen")
	}
	if audience, ok = o.audience(); !ok {
		return Claims{}, nil, claimError("aud")
	}
	return c, audience, nil
}

func claimError(name string) error {
	return fmt.Errorf("%w: claim %s is missing or not of its type", ErrMalformed, name)
}

// audience returns the aud claim: one string, or a list of strings, none of
// them empty (RFC 7519 section 4.1.3).
func (o object) audience() ([]string, bool) {
	if one, ok := o.text("aud"); ok {
		return []string{one}, true
	}
	elements, _ := o["aud"].([]any)
	if len(elements) == 0 {
		return nil, false
	}
	list := make([]string, 0, len(elements))
	for _, e := range elements {
		one, _ := e.(string)
		if one == "" {
			return nil, false
		}
		list = append(list, one)
	}
	return list, true
}
