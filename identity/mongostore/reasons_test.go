package mongostore

import (
	"maps"
	"testing"
)

func TestReasons(t *testing.T) {
	s := open(t, Config{})
	for _, a := range []Action{
		{Campaign: 1, Reason: "a bot", Result: ResultBegun},
		{Campaign: 1, Reason: "a bot", Entry: "1:0000000003", Result: ResultDone},
		{Campaign: 1, Entry: "1:0000000004", Result: ResultDone},
		{Campaign: 2, Reason: "another", Entry: "2:0000000003", Result: ResultDone},
	} {
		if err := s.RecordAction(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Reasons(t.Context(), 1)
	if want := map[string]string{"1:0000000003": "a bot"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}
