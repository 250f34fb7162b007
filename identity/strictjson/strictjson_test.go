package strictjson_test

import (
	"testing"

	"github.com/earlybird/earlybird/identity/strictjson"
)

func TestUniqueNames(t *testing.T) {
	for text, unique := range map[string]bool{
		`{}`: true, `[]`: true, `1`: true, `"a"`: true, `["a","a"]`: true,
		`{"a":"a","b":"a"}`:                   true,
		`{"a":1,"A":2}`:                       true,
		`{"a":{"a":1},"b":[{"a":1},{"a":2}]}`: true,
		`{"a":1,"a":1}`:                       false,
		`{"a":1,"\u0061":1}`:                  false,
		`{"a":{},"a":1}`:                      false,
		`{"a":[],"a":1}`:                      false,
		`[{"a":{"b":1,"c":[],"b":2}}]`:        false,
		`{"n":1e999,"a":1,"a":2}`:             false, // no float64 holds the number
	} {
		if got := strictjson.UniqueNames([]byte(text)); got != unique {
			t.Errorf("UniqueNames(%s) = %t, want %t", text, got, unique)
		}
	}
}
