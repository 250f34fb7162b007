package memstore_test

import (
	"testing"

	"github.com/earlybird/earlybird/identity/account/enrolment"
	"github.com/earlybird/earlybird/identity/account/memstore"
	"github.com/earlybird/earlybird/identity/account/storetest"
)

func TestEnrolment(t *testing.T) {
	storetest.RunEnrolment(t, func(*testing.T) enrolment.Store { return memstore.New() })
}
