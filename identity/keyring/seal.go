package keyring

import (
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// sealVersion separates this use of the secret, and this layout, from others.
const sealVersion = "earlybird signing key v1"

// sealer encrypts and decrypts private keys with XChaCha20-Poly1305, whose
// 24-byte nonces can be drawn at random.
type sealer struct {
	aead cipher.AEAD
	old  cipher.AEAD // opens what aead does not; nil: nothing does
}

// newSealer returns a sealer that also opens what old has sealed, if it is not
// zero.
func newSealer(secret, old [SecretSize]byte) (sealer, error) {
	aead, err := chacha20poly1305.NewX(secret[:])
	if err != nil {
		return sealer{}, fmt.Errorf("key secret: %w", err)
	}
	s := sealer{aead: aead}
	if old != [SecretSize]byte{} {
		if s.old, err = chacha20poly1305.NewX(old[:]); err != nil {
			return sealer{}, fmt.Errorf("old key secret: %w", err)
		}
	}
	return s, nil
}

// newRecord makes a key pair and seals its private half.
func (s sealer) newRecord(id string, created, signs time.Time) (Record, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return Record{}, fmt.Errorf("generate key: %w", err)
	}
	r := Record{ID: id, Public: public, CreatedAt: storedTime(created), SignsAt: storedTime(signs)}
	r.Sealed, err = s.seal(r, private)
	return r, err
}

// seal returns what is stored of the private key of a record.
func (s sealer) seal(r Record, private ed25519.PrivateKey) ([]byte, error) {
	nonce := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+ed25519.SeedSize+s.aead.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("draw nonce: %w", err)
	}
	return s.aead.Seal(nonce, nonce, private.Seed(), associated(r)), nil
}

// open returns the private key of a record, or ErrSecret.
func (s sealer) open(r Record) (ed25519.PrivateKey, error) {
	private, err := openWith(s.aead, r)
	if err != nil && s.old != nil {
		private, err = openWith(s.old, r)
	}
	return private, err
}

func openWith(aead cipher.AEAD, r Record) (ed25519.PrivateKey, error) {
	if len(r.Sealed) < aead.NonceSize() {
		return nil, errors.Join(ErrSecret, errors.New("sealed key is too short"))
	}
	nonce, box := r.Sealed[:aead.NonceSize()], r.Sealed[aead.NonceSize():]
	seed, err := aead.Open(nil, nonce, box, associated(r))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, ErrSecret
	}
	private := ed25519.NewKeyFromSeed(seed)
	if !r.Public.Equal(private.Public()) {
		return nil, ErrSecret
	}
	return private, nil
}

// associated is what the ciphertext is bound to: a sealed key that was moved to
// another record, or whose public key was exchanged, does not open. The kid
// holds the record's number, in digits and so without a zero byte.
func associated(r Record) []byte {
	data := append([]byte(sealVersion), 0)
	data = append(data, r.KeyID()...)
	data = append(data, 0)
	return append(data, r.Public...)
}

// storedTime is a time as every store can keep it.
func storedTime(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
