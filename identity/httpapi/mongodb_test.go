package httpapi_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/mongostore"
)

// remembering is a store in MongoDB that tells what was recorded.
type remembering struct {
	*mongostore.Store
	mu       sync.Mutex
	attempts []account.Attempt
}

func (r *remembering) RecordAttempt(ctx context.Context, a account.Attempt) error {
	err := r.Store.RecordAttempt(ctx, a)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts = append(r.attempts, a)
	return err
}

func (r *remembering) Attempts() []account.Attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.attempts)
}

func newMongoStore(t testing.TB) auditedStore {
	t.Helper()
	store, err := mongostore.Open(t.Context(), mongostore.Config{URL: testserver.Mongo(t), Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() { must(t, store.Close(context.Background())) })
	return &remembering{Store: store}
}

// TestOverMongoDB runs the tests of what reads and writes accounts again, over
// MongoDB in place of the store in memory.
func TestOverMongoDB(t *testing.T) {
	memory := newStore
	newStore = newMongoStore
	t.Cleanup(func() { newStore = memory })
	for name, test := range map[string]func(t *testing.T){
		"register": TestRegister, "register refusals": TestRegisterRefusals,
		"login": TestLogin, "login refusals": TestLoginRefusalsAreTheSame,
		"user": TestUser, "if none match": TestUserIfNoneMatch,
		"logout": TestLogout, "change password": TestChangePassword, "change password refusals": TestChangePasswordRefusals,
		"contract": TestContract, "codes": TestRegisterWithCode,
	} {
		t.Run(name, test)
	}
}
