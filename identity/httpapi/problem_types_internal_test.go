package httpapi

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/earlybird/earlybird/identity/token"
)

// Every type that problem.go names, or a refused token has, is in the description, with an example.
func TestEveryProblemTypeIsDescribed(t *testing.T) {
	source, err := os.ReadFile("problem.go")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`"(tag:earlybird\.example,2026:[a-z-]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(named) < 7 {
		t.Fatalf("only %d types found", len(named))
	}
	for _, r := range token.Refusals() {
		named = append(named, []string{"", r.Type})
	}
	for _, name := range named {
		if !slices.Contains(problemTypes(), any(name[1])) {
			t.Errorf("%s is not among the kinds", name[1])
		}
	}
	for status := range answerTexts {
		if len(examples(status)) == 0 {
			t.Errorf("%d has no example", status)
		}
	}
}
