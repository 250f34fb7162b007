package revocationtest

import (
	"testing"

	"github.com/earlybird/earlybird/identity/revocation"
)

func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) revocation.Store { return NewMemory() })
}
