package httpapi

import (
	"bytes"
	_ "embed" // the description
	"encoding/json"
)

// description is openapi.json, written by hand. The contract test holds every
// answer against it, and its examples against what problemOf answers.
//
//go:embed openapi.json
var description []byte

// describe returns the description of a version of the program.
func describe(version string) []byte {
	quoted, err := json.Marshal(version)
	if err != nil { // no string fails
		return description
	}
	return bytes.Replace(description, []byte(`"version": "dev"`), append([]byte(`"version": `), quoted...), 1)
}
