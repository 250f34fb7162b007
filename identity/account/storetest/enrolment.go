package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/enrolment"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// RunEnrolment tests the stores that newStore returns, which must be empty.
func RunEnrolment(t *testing.T, newStore func(t *testing.T) enrolment.Store) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s enrolment.Store)
	}{
		{"issues", testIssues},
		{"issues at once", testIssueRace},
		{"claims", testClaims},
		{"claims at once", testClaimRace},
		{"registrations with one code at once", func(t *testing.T, s enrolment.Store) { testRegistrations(t, s, 1) }},
		{"registrations with two codes of one customer at once", func(t *testing.T, s enrolment.Store) { testRegistrations(t, s, 2) }},
		{"registration that is cut off", func(t *testing.T, s enrolment.Store) {
			testCutOff(t, func() enrolment.Store { return newStore(t) })
		}},
		{"name that is lost to another", testNameLost},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newStore(t)) })
	}
}

var issuedAt = time.Date(2026, 11, 22, 9, 8, 7, 654_000_000, time.UTC)

func newIssue(customer string, number int64) enrolment.Issue {
	return enrolment.Issue{
		Customer: customer, Number: number, Hash: enrolment.NewCode().Hash(), Expires: issuedAt.Add(time.Hour), At: issuedAt, By: "carol",
	}
}

// wantIssue checks what is stored under the issue's number and, if it is found,
// under its code.
func wantIssue(t *testing.T, s enrolment.Store, want enrolment.Issue) {
	t.Helper()
	if got, err := s.Issue(t.Context(), want.Customer, want.Number); err != nil || got != want {
		t.Errorf("issue %d of %s = %+v, %v; want %+v", want.Number, want.Customer, got, err, want)
	}
	if want.Hash == "" {
		return
	}
	got, err := s.Code(t.Context(), want.Hash)
	if err != nil || got.Customer != want.Customer || got.Number != want.Number || !got.Expires.Equal(want.Expires) {
		t.Errorf("code of issue %d of %s = %+v, %v; want %+v", want.Number, want.Customer, got, err, want)
	}
}

func testIssues(t *testing.T, s enrolment.Store) {
	first := newIssue("C-1", 1)
	other := newIssue("C-2", 1)
	revoked := enrolment.Issue{Customer: "C-1", Number: 2, At: issuedAt, By: "dave"}
	for _, issues := range [][]enrolment.Issue{{}, {first, other}, {revoked}, {first}} {
		if held, err := s.AddIssues(t.Context(), issues); err != nil || len(held) > 0 {
			t.Fatalf("add %d issues: held %v, %v", len(issues), held, err)
		}
	}
	wantIssue(t, s, first)
	wantIssue(t, s, other)
	wantIssue(t, s, revoked)

	// Of a batch those that lose are told apart, and the rest is stored.
	lost := newIssue("C-1", 2)
	stored := newIssue("C-3", 1)
	lostToo := newIssue("C-2", 1)
	held, err := s.AddIssues(t.Context(), []enrolment.Issue{lost, stored, lostToo})
	if err != nil || !slices.Equal(held, []int{0, 2}) {
		t.Errorf("held = %v, %v; want the first and the last", held, err)
	}
	wantIssue(t, s, stored)
	wantIssue(t, s, revoked)
	wantIssue(t, s, other)

	for _, customer := range []string{"", "C", "C-", "C-1:1", "c-1", "$gt"} {
		if got, err := s.Issue(t.Context(), customer, 1); !errors.Is(err, enrolment.ErrNotFound) {
			t.Errorf("issue 1 of %q = %+v, %v; want ErrNotFound", customer, got, err)
		}
	}
	for _, hash := range []string{"", strings.ToUpper(first.Hash), first.Hash[:63]} {
		if got, err := s.Code(t.Context(), hash); !errors.Is(err, enrolment.ErrNotFound) {
			t.Errorf("code %q = %+v, %v; want ErrNotFound", hash, got, err)
		}
	}
}

func testIssueRace(t *testing.T, s enrolment.Store) {
	issues := make([]enrolment.Issue, callers)
	for i := range issues {
		issues[i] = newIssue("C-1", 1)
	}
	winner := make([]bool, callers)
	errs := together(func(i int) error {
		own := newIssue(fmt.Sprint("own", i), 1)
		held, err := s.AddIssues(t.Context(), []enrolment.Issue{own, issues[i]})
		winner[i] = len(held) == 0
		return err
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	at := slices.Index(winner, true)
	if at < 0 || slices.Contains(winner[at+1:], true) {
		t.Fatalf("issued: %v, want exactly one", winner)
	}
	wantIssue(t, s, issues[at])
}

func newClaim(customer, username string) enrolment.Claim {
	u, c := newAccount(username)
	u.Customer = customer
	return enrolment.Claim{Customer: customer, UserID: u.ID, At: u.CreatedAt, Pending: &enrolment.Pending{User: u, Credential: c}}
}

func wantClaim(t *testing.T, s enrolment.Store, want enrolment.Claim) {
	t.Helper()
	got, err := s.Claim(t.Context(), want.Customer)
	if err != nil || got.UserID != want.UserID || !got.At.Equal(want.At) || (got.Pending == nil) != (want.Pending == nil) {
		t.Fatalf("claim = %+v, %v; want %+v", got, err, want)
	}
	if want.Pending != nil && *got.Pending != *want.Pending {
		t.Errorf("pending account = %+v, want %+v", *got.Pending, *want.Pending)
	}
}

func testClaims(t *testing.T, s enrolment.Store) {
	claim, other := newClaim("C-1", "alice"), newClaim("C-1", "bob")
	if _, err := s.Claim(t.Context(), "C-1"); !errors.Is(err, enrolment.ErrNotFound) {
		t.Errorf("no claim: %v, want ErrNotFound", err)
	}
	for range 2 {
		if err := s.AddClaim(t.Context(), claim); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AddClaim(t.Context(), other); !errors.Is(err, enrolment.ErrClaimed) {
		t.Errorf("another claim: %v, want ErrClaimed", err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// What is meant for another user's claim does nothing.
	must(s.SettleClaim(t.Context(), "C-1", other.UserID))
	must(s.RemoveClaim(t.Context(), "C-1", other.UserID))
	must(s.SettleClaim(t.Context(), "C-2", claim.UserID))
	must(s.RemoveClaim(t.Context(), "C-2", claim.UserID))
	wantClaim(t, s, claim)
	claim.Pending = nil
	for range 2 {
		must(s.SettleClaim(t.Context(), "C-1", claim.UserID))
		wantClaim(t, s, claim)
	}
	for range 2 {
		must(s.RemoveClaim(t.Context(), "C-1", claim.UserID))
	}
	must(s.AddClaim(t.Context(), other))
	wantClaim(t, s, other)
}

func testClaimRace(t *testing.T, s enrolment.Store) {
	claims := make([]enrolment.Claim, callers)
	for i := range claims {
		claims[i] = newClaim("C-1", fmt.Sprint("user", i))
	}
	errs := together(func(i int) error { return s.AddClaim(t.Context(), claims[i]) })
	winner := slices.Index(errs, nil)
	for i, err := range errs {
		if i != winner && !errors.Is(err, enrolment.ErrClaimed) {
			t.Errorf("caller %d: %v, want ErrClaimed", i, err)
		}
	}
	if winner < 0 {
		t.Fatal("nobody got the claim")
	}
	wantClaim(t, s, claims[winner])
}

// service registers people with codes on a store. The first of them, as many as
// together says, have all been admitted before the first is stored.
func service(t *testing.T, s enrolment.Store, together int) *account.Service {
	t.Helper()
	h := &plainHasher{left: together, met: make(chan struct{})}
	made, err := account.NewService(account.ServiceConfig{
		Store: s, Hasher: h, Enrolment: enrolment.NewRegistry(s, nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// issue returns n codes of a customer, of which the last is live.
func issue(t *testing.T, s enrolment.Store, customer string, n int) []enrolment.Code {
	t.Helper()
	admin := enrolment.NewAdmin(enrolment.AdminConfig{Store: s, By: "carol"})
	var codes []enrolment.Code
	for range n {
		issued, err := admin.Issue(t.Context(), []string{customer}, time.Now().Add(time.Hour), true)
		if err != nil || issued[0].Code == "" {
			t.Fatalf("issue a code: %+v, %v", issued, err)
		}
		codes = append(codes, issued[0].Code)
	}
	return codes
}

// plainHasher is a Hasher that costs nothing, and lets those who hash first wait
// for each other.
type plainHasher struct {
	mu   sync.Mutex
	left int
	met  chan struct{}
}

func (h *plainHasher) meet() {
	h.mu.Lock()
	h.left--
	if h.left == 0 {
		close(h.met)
	}
	waits := h.left >= 0
	h.mu.Unlock()
	if waits {
		<-h.met
	}
}

func (h *plainHasher) Enter(ctx context.Context) (queued context.Context, release func(), err error) {
	return ctx, func() {}, nil
}

func (h *plainHasher) Hash(_ context.Context, password string) (string, error) {
	h.meet()
	return password, nil
}

func (h *plainHasher) HashIf(ctx context.Context, password string, admit func() error) (string, error) {
	if err := admit(); err != nil {
		return "", err
	}
	return h.Hash(ctx, password)
}

func (h *plainHasher) Verify(_ context.Context, encoded, password string) (bool, error) {
	return encoded == password, nil
}

func (h *plainHasher) VerifyNobody(context.Context, string) error { return nil }

func (h *plainHasher) Stale(string) bool { return false }

const goodPassword = "correct horse battery staple"

// wantOneAccount checks that exactly one of the names has an account, that of the
// customer's claim, and returns it.
func wantOneAccount(t *testing.T, s enrolment.Store, customer string, names []string) account.User {
	t.Helper()
	claim, err := s.Claim(t.Context(), customer)
	if err != nil || claim.Pending != nil {
		t.Fatalf("claim of %s = %+v, %v; want one that is settled", customer, claim, err)
	}
	var found []string
	for _, name := range names {
		c, err := s.Credential(t.Context(), name)
		if errors.Is(err, account.ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, name)
		if c.UserID != claim.UserID {
			t.Errorf("%q is the account of %s, the claim is of %s", name, c.UserID, claim.UserID)
		}
	}
	if len(found) != 1 {
		t.Fatalf("accounts of %s: %v, want exactly one", customer, found)
	}
	u, err := s.User(t.Context(), claim.UserID)
	if err != nil || u.Customer != customer || u.Canonical != found[0] {
		t.Errorf("user = %+v, %v; want %s of %s", u, err, found[0], customer)
	}
	return u
}

// password is what is stored of the password of a user.
func password(t *testing.T, s enrolment.Store, u account.User) string {
	t.Helper()
	c, err := s.Credential(t.Context(), u.Canonical)
	if err != nil {
		t.Fatal(err)
	}
	return c.Password
}

// testRegistrations has many register at once, as one customer, who has several
// codes. Only the last code works; the others are tried as well.
func testRegistrations(t *testing.T, s enrolment.Store, codes int) {
	accounts, issued := service(t, s, callers/codes), issue(t, s, "C-1", codes)
	names := make([]string, callers)
	for i := range names {
		names[i] = fmt.Sprint("user", i)
	}
	errs := together(func(i int) error {
		_, err := accounts.Register(t.Context(), account.Registration{
			Username: names[i], Password: goodPassword, Code: string(issued[i%codes]),
		})
		return err
	})
	succeeded := 0
	for i, err := range errs {
		switch {
		case err == nil:
			succeeded++
		case !errors.Is(err, account.ErrCode):
			t.Errorf("caller %d: %v, want ErrCode", i, err)
		}
	}
	if succeeded != 1 {
		t.Errorf("%d registrations succeeded, want 1", succeeded)
	}
	wantOneAccount(t, s, "C-1", names)
}

// testNameLost has two customers ask for one name at once: who does not get it has
// a code that still works.
func testNameLost(t *testing.T, s enrolment.Store) {
	accounts := service(t, s, callers)
	codes := make([]enrolment.Code, callers)
	for i := range codes {
		codes[i] = issue(t, s, fmt.Sprint("C-", i), 1)[0]
	}
	errs := together(func(i int) error {
		_, err := accounts.Register(t.Context(), account.Registration{Username: "alice", Password: goodPassword, Code: string(codes[i])})
		return err
	})
	winner := slices.Index(errs, nil)
	for i, err := range errs {
		if i == winner {
			continue
		}
		if !errors.Is(err, account.ErrUsernameTaken) {
			t.Errorf("caller %d: %v, want ErrUsernameTaken", i, err)
		}
		name := fmt.Sprint("user", i)
		if _, err := accounts.Register(t.Context(), account.Registration{Username: name, Password: goodPassword, Code: string(codes[i])}); err != nil {
			t.Errorf("caller %d, with another name: %v", i, err)
			continue
		}
		wantOneAccount(t, s, fmt.Sprint("C-", i), []string{name})
	}
	if winner < 0 {
		t.Fatal("nobody got the name")
	}
}

// cutOff is a store that answers no more after a number of calls. The last of them
// is done and its answer lost, or not done.
type cutOff struct {
	enrolment.Store
	mu    sync.Mutex
	left  int
	lossy bool // the last call is done
}

var errCut = unavailable.New("store", "any", errors.New("cut off"))

// call does a call, or does not.
func (s *cutOff) call(do func() error) error {
	s.mu.Lock()
	s.left--
	left := s.left
	s.mu.Unlock()
	switch {
	case left > 0:
		return do()
	case left == 0 && s.lossy:
		_ = do()
	}
	return errCut
}

func (s *cutOff) CreateUser(ctx context.Context, u account.User, c account.Credential) error {
	return s.call(func() error { return s.Store.CreateUser(ctx, u, c) })
}

func (s *cutOff) AddClaim(ctx context.Context, c enrolment.Claim) error {
	return s.call(func() error { return s.Store.AddClaim(ctx, c) })
}

func (s *cutOff) SettleClaim(ctx context.Context, customer, userID string) error {
	return s.call(func() error { return s.Store.SettleClaim(ctx, customer, userID) })
}

func (s *cutOff) RemoveClaim(ctx context.Context, customer, userID string) error {
	return s.call(func() error { return s.Store.RemoveClaim(ctx, customer, userID) })
}

// testCutOff ends a registration at each of its writes, with the write done or not,
// and then tries it again, as it was or changed: in the end there is one account, and
// who was not answered gets in.
func testCutOff(t *testing.T, newStore func() enrolment.Store) {
	for writes := 1; writes <= 4; writes++ {
		for _, lossy := range []bool{false, true} {
			for _, again := range []account.Registration{
				{Username: "Alice", Password: goodPassword},
				{Username: "Alice", Password: "another " + goodPassword},
				{Username: "bob", Password: goodPassword},
			} {
				name := fmt.Sprintf("at write %d, done %t, again as %s %.7s", writes, lossy, again.Username, again.Password)
				t.Run(name, func(t *testing.T) {
					s := newStore()
					code := issue(t, s, "C-1", 1)[0]
					first := account.Registration{Username: "Alice", Password: goodPassword, Code: string(code)}
					_, firstErr := service(t, &cutOff{Store: s, left: writes, lossy: lossy}, 1).Register(t.Context(), first)
					if firstErr != nil && !unavailable.Is(firstErr) {
						t.Fatalf("first registration: %v", firstErr)
					}
					again.Code = first.Code
					u, err := service(t, s, 1).Register(t.Context(), again)
					if err != nil && !errors.Is(err, account.ErrCode) {
						t.Fatalf("second registration: %v", err)
					}
					got := wantOneAccount(t, s, "C-1", []string{"alice", "bob"})
					switch {
					case err == nil && got != u:
						t.Errorf("answered %+v, stored is %+v", u, got)
					case err == nil && password(t, s, got) != again.Password:
						t.Error("answered with success, and the password is another")
					case err != nil && got.Username != "Alice":
						t.Errorf("the code is used, and not for the first registration: %+v", got)
					case firstErr != nil && again.Username == first.Username && again.Password == first.Password && err != nil:
						t.Errorf("the same registration, tried again after 503: %v, want success", err)
					}
				})
			}
		}
	}
}
