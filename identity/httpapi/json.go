package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	josejson "github.com/go-jose/go-jose/v4/json"
)

// The ways in which a body is not the JSON that is asked for (RFC 8259, RFC
// 7493 sections 2.1 and 2.3). None holds anything of the body.
var (
	errNotJSON   = errors.New("the body is not JSON (RFC 8259), or something follows it")
	errNotUTF8   = errors.New("the body is not valid UTF-8 text")
	errDuplicate = errors.New("the body has an object with the same name twice")
)

// checkJSON reports what encoding/json would silently repair: bytes that are
// not UTF-8, escaped halves of a surrogate pair, and names that occur twice.
// Repaired, two different passwords could become one, and two readers of one
// body could see different users.
func checkJSON(data []byte) error {
	switch {
	case !utf8.Valid(data):
		return errNotUTF8
	case !json.Valid(data):
		return errNotJSON
	case hasLoneSurrogate(data):
		return errNotUTF8
	case hasDuplicateName(data):
		return errDuplicate
	}
	return nil
}

// hasDuplicateName reports whether an object in valid JSON, at any depth, has
// two members of one name. go-jose's decoder fails on nothing else in it.
func hasDuplicateName(data []byte) bool {
	dec := josejson.NewDecoder(bytes.NewReader(data))
	dec.SetNumberType(josejson.UnmarshalJSONNumber) // a number no float64 holds is not its error
	var value any                                   // leaves nothing out, as a struct would
	return dec.Decode(&value) != nil
}

// hasLoneSurrogate looks at the \u escapes of valid JSON, in which a backslash
// occurs in strings only.
func hasLoneSurrogate(data []byte) bool {
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		i++
		if data[i] != 'u' {
			continue
		}
		r := escapedUnit(data[i+1:])
		i += 4
		if !utf16.IsSurrogate(r) {
			continue
		}
		rest := data[i+1:]
		if len(rest) < 6 || rest[0] != '\\' || rest[1] != 'u' ||
			utf16.DecodeRune(r, escapedUnit(rest[2:])) == utf8.RuneError {
			return true
		}
		i += 6
	}
	return false
}

// escapedUnit reads the four hex digits of a \u escape.
func escapedUnit(digits []byte) rune {
	unit, err := strconv.ParseUint(string(digits[:4]), 16, 16)
	if err != nil {
		return utf8.RuneError
	}
	return rune(unit)
}
