package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// ErrMalformed reports a stored password that is not the PHC string of an
// argon2id hash, or one whose cost is out of bounds.
var ErrMalformed = errors.New("stored password is malformed")

// Bounds on what is parsed. Salts and hashes of other systems may be shorter
// or longer than ours.
const (
	maxPHC  = 256 // bytes
	minSalt = 8
	maxSalt = 48
	minHash = 16
	maxHash = 64
)

// phc is a parsed PHC string: $argon2id$v=19$m=19456,t=2,p=1$salt$hash.
type phc struct {
	params Params
	salt   []byte
	hash   []byte
}

// base64 of the PHC format has no padding and exactly one encoding of a value.
var b64 = base64.RawStdEncoding.Strict()

func (p phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		p.params.MemoryKiB, p.params.Time, p.params.Parallelism, b64.EncodeToString(p.salt), b64.EncodeToString(p.hash))
}

// parsePHC reads a PHC string and checks that it is affordable. Its errors
// never hold any part of the string.
func parsePHC(s string) (phc, error) {
	if len(s) > maxPHC {
		return phc{}, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, maxPHC)
	}
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return phc{}, fmt.Errorf("%w: not an argon2id hash", ErrMalformed)
	}
	if parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return phc{}, fmt.Errorf("%w: not version %d of argon2", ErrMalformed, argon2.Version)
	}
	params, err := parseParams(parts[3])
	if err != nil {
		return phc{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	salt, err := decode(parts[4], minSalt, maxSalt)
	if err != nil {
		return phc{}, fmt.Errorf("%w: salt %w", ErrMalformed, err)
	}
	hash, err := decode(parts[5], minHash, maxHash)
	if err != nil {
		return phc{}, fmt.Errorf("%w: hash %w", ErrMalformed, err)
	}
	return phc{params: params, salt: salt, hash: hash}, nil
}

func parseParams(s string) (Params, error) {
	parts := strings.Split(s, ",")
	if len(parts) != 3 {
		return Params{}, errors.New("parameters are not m, t and p")
	}
	var values [3]uint64
	for i, name := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(parts[i], name)
		bits := 32
		if name == "p=" {
			bits = 8
		}
		v, err := strconv.ParseUint(digits, 10, bits)
		if !ok || err != nil || strconv.FormatUint(v, 10) != digits {
			return Params{}, fmt.Errorf("parameter %q is not a number within bounds", name[:1])
		}
		values[i] = v
	}
	p := Params{MemoryKiB: uint32(values[0]), Time: uint32(values[1]), Parallelism: uint8(values[2])} //nolint:gosec // parsed as so many bits
	return p, p.bounded()
}

func decode(s string, shortest, longest int) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // which base64 skips
		return nil, errors.New("is not base64")
	}
	b, err := b64.DecodeString(s)
	if err != nil {
		return nil, errors.New("is not base64")
	}
	if len(b) < shortest || len(b) > longest {
		return nil, fmt.Errorf("has %d bytes, must have %d to %d", len(b), shortest, longest)
	}
	return b, nil
}
