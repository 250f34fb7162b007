package token_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/token"
)

// TestVerifyRefuses is the attack table. All of these tokens but those that are
// about the signature have a right one, so that no other check can mask the one
// that is named.
func TestVerifyRefuses(t *testing.T) {
	for group, tests := range map[string][]attack{
		"algorithm": algorithmAttacks(),
		"type":      typeAttacks(),
		"key":       keyAttacks(),
		"signature": signatureAttacks(),
		"encoding":  encodingAttacks(),
		"json":      jsonAttacks(),
		"claims":    claimAttacks(),
	} {
		for _, tt := range tests {
			t.Run(group+"/"+tt.name, func(t *testing.T) {
				claims, err := newVerifier(t, testNow, testKeys).Verify(tt.raw)
				if !errors.Is(err, tt.want) {
					t.Errorf("Verify = %v, want %v", err, tt.want)
				}
				if claims != (token.Claims{}) {
					t.Errorf("claims of a refused token: %+v", claims)
				}
			})
		}
	}
}

type attack struct {
	name string
	raw  string
	want error
}

func algorithmAttacks() []attack {
	var attacks []attack
	for _, alg := range []string{
		"none", "None", "NONE", "nOnE", "none ", "", "eddsa", "EDDSA", "EdDSA ", "Ed25519", "Ed448",
		"HS256", "HS384", "HS512", "RS256", "PS256", "ES256", "ES256K",
	} {
		attacks = append(attacks,
			attack{"alg " + alg, withHeader(fields{"alg": alg}), token.ErrAlgorithm},
			attack{"alg " + alg + " unsigned", unsigned(alg), nil})
	}
	for i := range attacks {
		if attacks[i].want == nil { // the empty signature is seen first
			attacks[i].want = token.ErrMalformed
		}
	}
	pkix, err := x509.MarshalPKIXPublicKey(testPublic)
	if err != nil {
		panic(err)
	}
	return append(attacks,
		attack{"no alg", withHeader(fields{"alg": nil}), token.ErrAlgorithm},
		attack{"alg of another case", withHeader(fields{"alg": nil, "ALG": "EdDSA"}), token.ErrAlgorithm},
		attack{"alg as a list", withHeader(fields{"alg": []string{"EdDSA"}}), token.ErrAlgorithm},
		attack{"alg null", signed(`{"alg":null,"typ":"at+jwt","kid":"`+testKID+`"}`, goodClaims().json()), token.ErrAlgorithm},
		attack{"HS256 with the public key", hs256(testPublic), token.ErrAlgorithm},
		attack{"HS256 with the public key's base64url", hs256([]byte(base64.RawURLEncoding.EncodeToString(testPublic))), token.ErrAlgorithm},
		attack{"HS256 with the public key's DER", hs256(pkix), token.ErrAlgorithm},
		attack{"HS256 with the public key's PEM", hs256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})), token.ErrAlgorithm},
		attack{"HS256 with the key set", hs256(testKeys.JSON()), token.ErrAlgorithm},
		attack{"HS256 with a signature of 64 bytes", hs256Padded(testPublic), token.ErrAlgorithm},
	)
}

func unsigned(alg string) string {
	return encode(goodHeader().with(fields{"alg": alg}).json()) + "." + encode(goodClaims().json()) + "."
}

func hs256(secret []byte) string {
	input := encode(goodHeader().with(fields{"alg": "HS256"}).json()) + "." + encode(goodClaims().json())
	return input + "." + encode(mac(secret, input))
}

func hs256Padded(secret []byte) string {
	input := encode(goodHeader().with(fields{"alg": "HS256"}).json()) + "." + encode(goodClaims().json())
	return input + "." + encode(mac(secret, input)+mac(secret, input))
}

func mac(secret []byte, input string) string {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(input))
	return string(h.Sum(nil))
}

func typeAttacks() []attack {
	var attacks []attack
	for _, typ := range []any{
		"JWT", "jwt", "", "at+jwt ", " at+jwt", "at-jwt", "at+jwt;v=1",
		"application/jwt", "application/application/at+jwt",
		"x/at+jwt", "id+jwt", "logout+jwt", "dpop+jwt", 1, true,
		[]string{"at+jwt"},
	} {
		name, _ := json.Marshal(typ)
		attacks = append(attacks, attack{"typ " + string(name), withHeader(fields{"typ": typ}), token.ErrType})
	}
	return append(attacks, attack{"no typ", withHeader(fields{"typ": nil}), token.ErrType})
}

func keyAttacks() []attack {
	otherKey := ed25519.NewKeyFromSeed(make([]byte, 32))
	jwk := fields{"kty": "OKP", "crv": "Ed25519", "x": encode(string(otherKey.Public().(ed25519.PublicKey)))}
	attacks := []attack{
		{"no kid", withHeader(fields{"kid": nil}), token.ErrMalformed},
		{"kid empty", withHeader(fields{"kid": ""}), token.ErrMalformed},
		{"kid a number", withHeader(fields{"kid": 1}), token.ErrMalformed},
		{"kid null", signed(`{"alg":"EdDSA","typ":"at+jwt","kid":null}`, goodClaims().json()), token.ErrMalformed},
		{"embedded jwk, signed with it", signedWith(otherKey, goodHeader().with(fields{"jwk": jwk})), token.ErrMalformed},
		{"embedded jwk, no kid", signedWith(otherKey, goodHeader().with(fields{"jwk": jwk, "kid": nil})), token.ErrMalformed},
		{"embedded jwk null", signed(`{"alg":"EdDSA","typ":"at+jwt","kid":"`+testKID+`","jwk":null}`, goodClaims().json()), token.ErrMalformed},
		{"signed with another key", signedWith(otherKey, goodHeader()), token.ErrSignature},
	}
	for _, kid := range []string{
		"other", testKID + " ", testKID + "\x00", strings.ToUpper(testKID), "../../../../dev/null", "' OR 1=1 --",
		"file:///dev/null", "https://evil.example/key", strings.Repeat("k", 2000), "*", "%31-test",
	} {
		attacks = append(attacks, attack{"kid " + kid[:min(20, len(kid))], withHeader(fields{"kid": kid}), token.ErrUnknownKey})
	}
	for _, name := range []string{"jku", "x5u", "x5c", "x5t", "x5t#S256", "b64"} {
		attacks = append(attacks, attack{name, withHeader(fields{name: "https://evil.example/jwks.json"}), token.ErrMalformed})
	}
	for name, crit := range map[string]any{
		"of exp": []string{"exp"}, "of b64": []string{"b64"}, "empty": []string{}, "a string": "exp", "unknown": []string{"urn:x"},
	} {
		attacks = append(attacks, attack{"crit " + name, withHeader(fields{"crit": crit}), token.ErrMalformed})
	}
	return attacks
}

func signedWith(key ed25519.PrivateKey, header fields) string {
	input := encode(header.json()) + "." + encode(goodClaims().json())
	return input + "." + encode(string(ed25519.Sign(key, []byte(input))))
}

func signatureAttacks() []attack {
	good := withClaims(nil)
	input, signature := good[:strings.LastIndex(good, ".")], good[strings.LastIndex(good, ".")+1:]
	other := withClaims(fields{"sub": "user-2"})
	return []attack{
		{"none", input + ".", token.ErrMalformed},
		{"all zero", input + "." + encode(strings.Repeat("\x00", 64)), token.ErrSignature},
		{"one byte short", input + "." + encode(strings.Repeat("\x01", 63)), token.ErrSignature},
		{"one byte long", input + "." + encode(strings.Repeat("\x01", 65)), token.ErrSignature},
		{"of another token", input + other[strings.LastIndex(other, "."):], token.ErrSignature},
		{"S plus the group order", malleated(), token.ErrSignature},
		{"claims exchanged", strings.Join([]string{strings.Split(good, ".")[0], strings.Split(other, ".")[1], signature}, "."), token.ErrSignature},
		{"over the payload alone", input + "." + encode(string(ed25519.Sign(testKey, []byte(goodClaims().json())))), token.ErrSignature},
		{"of a wrong claims type too", strings.Split(good, ".")[0] + "." + encode("}}}") + "." + signature, token.ErrSignature},
	}
}

func encodingAttacks() []attack {
	good := withClaims(nil)
	parts := strings.Split(good, ".")
	flattened, _ := json.Marshal(map[string]string{"protected": parts[0], "payload": parts[1], "signature": parts[2]})
	general, _ := json.Marshal(map[string]any{
		"payload": parts[1], "signatures": []any{map[string]string{"protected": parts[0], "signature": parts[2]}},
	})
	last := good[len(good)-1]
	// 64 bytes leave four unused bits in the 86th character: the next one in the
	// alphabet decodes to the same signature.
	alphabet := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	altered := good[:len(good)-1] + string(alphabet[strings.IndexByte(alphabet, last)+1])
	attacks := []attack{
		{"empty", "", token.ErrMalformed},
		{"dots alone", "..", token.ErrMalformed},
		{"one segment", parts[0], token.ErrMalformed},
		{"two segments", parts[0] + "." + parts[1], token.ErrMalformed},
		{"four segments", good + "." + parts[2], token.ErrMalformed},
		{"five segments, as a JWE", good + ".a.b", token.ErrMalformed},
		{"a dot at the end", good + ".", token.ErrMalformed},
		{"detached payload", parts[0] + ".." + parts[2], token.ErrMalformed},
		{"no header", "." + parts[1] + "." + parts[2], token.ErrMalformed},
		{"flattened JSON serialization", string(flattened), token.ErrMalformed},
		{"general JSON serialization", string(general), token.ErrMalformed},
		{"altered last character", altered, token.ErrMalformed},
		{"over 4 KiB", withClaims(fields{"pad": strings.Repeat("x", token.MaxSize)}), token.ErrMalformed},
		{"1 MB", strings.Repeat("A", 1<<20), token.ErrMalformed},
		{"1 MB of dots", strings.Repeat(".", 1<<20), token.ErrMalformed},
		{"1 MB after a good token", good + strings.Repeat("A", 1<<20), token.ErrMalformed},
		{"standard base64 alphabet", strings.NewReplacer("-", "+", "_", "/").Replace(goodWithBothSpecials()), token.ErrMalformed},
		{"Bearer before it", "Bearer " + good, token.ErrMalformed},
	}
	for name, junk := range map[string]string{
		"line feed": "\n", "carriage return": "\r", "CRLF": "\r\n", "space": " ", "tab": "\t", "NUL": "\x00",
		"padding": "=", "two paddings": "==", "non-ASCII": "é", "percent": "%2E", "byte that is not UTF-8": "\xff", "plus": "+",
	} {
		attacks = append(attacks,
			attack{name + " before", junk + good, token.ErrMalformed},
			attack{name + " after", good + junk, token.ErrMalformed},
			attack{name + " after the header", parts[0] + junk + "." + parts[1] + "." + parts[2], token.ErrMalformed},
			attack{name + " before the claims", parts[0] + "." + junk + parts[1] + "." + parts[2], token.ErrMalformed},
			attack{name + " in the signature", good[:len(good)-4] + junk + good[len(good)-4:], token.ErrMalformed})
	}
	// Signed as they are, so that only the encoding is wrong.
	claims := encode(goodClaims().json())
	return append(attacks,
		attack{"line break in signed claims", signedSegments(parts[0], claims[:8]+"\n"+claims[8:]), token.ErrMalformed},
		attack{"padding in a signed header", signedSegments(base64.URLEncoding.EncodeToString([]byte(goodHeader().json()+" ")), claims), token.ErrMalformed},
		attack{"unused bits in signed claims", signedSegments(parts[0], unusedBits(alphabet)), token.ErrMalformed},
	)
}

// goodWithBothSpecials returns a token in which "-" or "_" occurs.
func goodWithBothSpecials() string {
	return withClaims(fields{"pad": "\u00fb\u00ff\u00fe???>>>~~~"})
}

// unusedBits returns claims whose last character carries bits that no byte gets.
func unusedBits(alphabet string) string {
	text := goodClaims().json()
	for len(text)%3 != 1 {
		text += " "
	}
	segment := encode(text)
	last := strings.IndexByte(alphabet, segment[len(segment)-1])
	return segment[:len(segment)-1] + string(alphabet[last+1])
}

func jsonAttacks() []attack {
	header, claims := goodHeader().json(), goodClaims().json()
	duplicate := func(text, member string) string { return strings.TrimSuffix(text, "}") + "," + member + "}" }
	attacks := []attack{
		{"header alg twice", signed(duplicate(header, `"alg":"EdDSA"`), claims), token.ErrMalformed},
		{"header alg twice, escaped", signed(duplicate(header, `"\u0061lg":"none"`), claims), token.ErrMalformed},
		{"header kid twice", signed(duplicate(header, `"kid":"x"`), claims), token.ErrMalformed},
		{"claims sub twice", signed(header, duplicate(claims, `"sub":"admin"`)), token.ErrMalformed},
		{"claims exp twice", signed(header, duplicate(claims, `"exp":9999999999`)), token.ErrMalformed},
		{"claims sub twice, after a number that no float holds", signed(header, duplicate(claims, `"x":1e999,"sub":"admin"`)), token.ErrMalformed},
		{"claims twice within", signed(header, duplicate(claims, `"x":[{"a":1,"b":{"c":1,"c":1}}]`)), token.ErrMalformed},
		{"two objects", signed(header, claims+claims), token.ErrMalformed},
		{"trailing bytes after the claims", signed(header, claims+"x"), token.ErrMalformed},
		{"trailing NUL after the header", signed(header+"\x00", claims), token.ErrMalformed},
		{"trailing comma", signed(header, strings.TrimSuffix(claims, "}")+",}"), token.ErrMalformed},
		{"byte order mark", signed(header, "\ufeff"+claims), token.ErrMalformed},
		{"not UTF-8", signed(header, strings.Replace(claims, "user-1", "user-\xff", 1)), token.ErrMalformed},
		{"comment", signed(header, claims+"/**/"), token.ErrMalformed},
		{"single quotes", signed(header, strings.ReplaceAll(claims, `"`, `'`)), token.ErrMalformed},
		{"deep nesting", signed(header, strings.Repeat("[", 1400)), token.ErrMalformed},
		{"deep nesting, closed", signed(header, strings.Repeat("[", 1000)+strings.Repeat("]", 1000)), token.ErrMalformed},
	}
	for _, text := range []string{"", "null", "true", "1", `"x"`, "[]", "{}", "[{}]", "{", "\x80"} {
		attacks = append(attacks, attack{"claims " + text, signed(header, text), token.ErrMalformed})
		want := token.ErrMalformed
		if text == "{}" {
			want = token.ErrAlgorithm
		}
		attacks = append(attacks, attack{"header " + text, signed(text, claims), want})
	}
	return attacks
}

func claimAttacks() []attack {
	attacks := []attack{
		{"another iss", withClaims(fields{"iss": "https://evil.example"}), token.ErrIssuer},
		{"iss with a slash", withClaims(fields{"iss": testIssuer + "/"}), token.ErrIssuer},
		{"iss in capitals", withClaims(fields{"iss": strings.ToUpper(testIssuer)}), token.ErrIssuer},
		{"another aud", withClaims(fields{"aud": "other"}), token.ErrAudience},
		{"aud with ours as a prefix", withClaims(fields{"aud": testAudience + "x"}), token.ErrAudience},
		{"aud list without ours", withClaims(fields{"aud": []string{"a", "b"}}), token.ErrAudience},
		{"aud list of a list", withClaims(fields{"aud": [][]string{{testAudience}}}), token.ErrMalformed},
		{"aud list with a number", withClaims(fields{"aud": []any{testAudience, 1}}), token.ErrMalformed},
		{"aud list with null", withClaims(fields{"aud": []any{testAudience, nil}}), token.ErrMalformed},
		{"aud list with an empty string", withClaims(fields{"aud": []string{testAudience, ""}}), token.ErrMalformed},
		{"aud list empty", withClaims(fields{"aud": []string{}}), token.ErrMalformed},
		{"aud object", withClaims(fields{"aud": map[string]any{testAudience: 1}}), token.ErrMalformed},
		{"aud null", claimsText("aud", "null"), token.ErrMalformed},
		{"gen of another case", withClaims(fields{"gen": nil, "Gen": 1}), token.ErrMalformed},
	}
	for _, name := range []string{"iss", "sub", "aud", "client_id", "jti", "iat", "nbf", "exp", "gen"} {
		attacks = append(attacks, attack{name + " missing", withClaims(fields{name: nil}), token.ErrMalformed})
	}
	for _, name := range []string{"iss", "sub", "client_id", "jti"} {
		for _, value := range []string{"null", `""`, "1", "true", "{}", `["x"]`} {
			attacks = append(attacks, attack{name + " " + value, claimsText(name, value), token.ErrMalformed})
		}
	}
	for _, name := range []string{"iat", "nbf", "exp", "gen"} {
		for _, value := range []string{
			"null", `"1795348800"`, `""`, "1795348800.5", "1795348800.0", "1.7953488e9", "1795348800e0", "-1", "-0", "true", "[1795348800]", "{}",
			"9223372036854775807", "9223372036854775808", "18446744073709551616", "1e400", "99999999999999999999999999999999",
		} {
			attacks = append(attacks, attack{name + " " + value, claimsText(name, value), token.ErrMalformed})
		}
	}
	return attacks
}
