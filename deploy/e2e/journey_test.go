package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestJourney is the whole of it, in the order in which people live it.
func TestJourney(t *testing.T) {
	s := newStack(t)
	if s.own != nil {
		t.Run("somebody else's campaign", s.guest)
	} else {
		s.newCampaign(t, 100, 30) // before anybody is created who could take a place of another one
		t.Cleanup(func() {
			if _, err := s.admin(t, "campaign", "end", "--yes"); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("first of the first hundred", s.first)
	t.Run("tokens and ids", s.tokens)
	t.Run("forged header", s.forged)
	t.Run("sessions", s.sessions)
	t.Run("bad input", s.badInput)
	t.Run("150 at once", s.rush)
	if s.own != nil {
		t.Run("restart in the middle", s.restart)
	}
}

// newPerson makes up a person; the run's own suffix keeps two runs against
// one gateway apart.
func newPerson(name string) *person {
	return &person{
		name:     name + "-" + strings.ToLower(rand.Text()[:8]),
		password: "correct horse " + rand.Text()[:8],
	}
}

// enter registers the person and logs them in.
func (s *stack) enter(t *testing.T, p *person) {
	t.Helper()
	if err := s.register(p); err != nil {
		t.Fatal(err)
	}
	if err := s.login(p); err != nil {
		t.Fatal(err)
	}
}

// guest: against a gateway that is not its own, the journey touches no
// campaign that runs there.
func (s *stack) guest(t *testing.T) {
	if os.Getenv("E2E_RESET") == "1" {
		t.Skip("E2E_RESET=1 allows it")
	}
	guest := &stack{gateway: s.gateway, bin: s.bin, mongoURL: s.mongoURL, redisURL: s.redisURL}
	if running, err := guest.running(t); err == nil {
		t.Errorf("campaign %s of the stack's own would be ended", running)
	}
}

// first: somebody creates an account, logs in, is told to be number 1, and
// reads the promotion. On a local stack the campaign is the one it opened.
func (s *stack) first(t *testing.T) {
	alice := newPerson("alice")
	a := s.mustDo(t, http.MethodPost, "/users", nil, string(alice.credentials()))
	alice.id = a.text("id")
	want(t, a, http.StatusCreated, map[string]any{"username": alice.name, "id": alice.id})
	if got := a.header.Get("Location"); got != "/users/"+alice.id {
		t.Errorf("Location = %q, want /users/%s", got, alice.id)
	}
	if err := s.login(alice); err != nil {
		t.Fatal(err)
	}
	if alice.tag.status != "granted" || alice.tag.rank != 1 || alice.tag.discount != 30 {
		t.Fatalf("tag of the first login = %+v, want granted, rank 1, discount 30", alice.tag)
	}

	a = s.mustDo(t, http.MethodGet, "/users/"+alice.id, bearer(alice.token), "")
	want(t, a, http.StatusOK, map[string]any{"username": alice.name, "id": alice.id})

	a = s.mustDo(t, http.MethodGet, "/promotion", bearer(alice.token), "")
	want(t, a, http.StatusOK, map[string]any{
		"name": a.text("name"), "description": a.text("description"), "discount": 30.0,
		"campaign": alice.tag.campaign, "rank": 1.0, "granted_at": a.text("granted_at"),
	})
	if at, err := time.Parse(time.RFC3339, a.text("granted_at")); err != nil || time.Since(at).Abs() > time.Hour {
		t.Errorf("granted_at = %q, want the time of the login in RFC 3339", a.text("granted_at"))
	}

	before := alice.tag
	if err := s.login(alice); err != nil {
		t.Fatal(err)
	}
	if alice.tag != before {
		t.Errorf("tag of the second login = %+v, want %+v", alice.tag, before)
	}
	if st := s.status(t); st.Granted != 1 || st.Remaining != 99 {
		t.Errorf("campaign status = %+v, want 1 granted and 99 remaining", st)
	}
}

// tokens: what a token opens, and what is said to those without one.
func (s *stack) tokens(t *testing.T) {
	bob, carol := newPerson("bob"), newPerson("carol")
	s.enter(t, bob)
	s.enter(t, carol)

	for name, path := range map[string]string{"somebody else": "/users/" + carol.id, "nobody": "/users/NOSUCHUSER"} {
		a := s.mustDo(t, http.MethodGet, path, bearer(bob.token), "")
		wantProblem(t, name, a, http.StatusNotFound)
	}
	altered := bob.token[:len(bob.token)-1] + flipLast(bob.token)
	for name, header := range map[string]http.Header{
		"no token":      nil,
		"garbage":       bearer("garbage"),
		"altered":       bearer(altered),
		"another thing": {"Authorization": {"Basic YTpi"}},
	} {
		for _, path := range []string{"/promotion", "/users/" + bob.id} {
			a := s.mustDo(t, http.MethodGet, path, header, "")
			wantProblem(t, name, a, http.StatusUnauthorized)
			challenge := a.header.Get("WWW-Authenticate")
			if !strings.HasPrefix(challenge, `Bearer realm="earlybird"`) {
				t.Errorf("%s: WWW-Authenticate = %q", name, challenge)
			}
			tried := name == "garbage" || name == "altered"
			if strings.Contains(challenge, `error="invalid_token"`) != tried {
				t.Errorf("%s: WWW-Authenticate = %q; an error is named if and only if a token was sent (RFC 6750 section 3.1)", name, challenge)
			}
		}
	}

	unknown := s.mustDo(t, http.MethodPost, "/login", nil, string(newPerson("nobody").credentials()))
	wrong := s.mustDo(t, http.MethodPost, "/login", nil, fmt.Sprintf(`{"username":%q,"password":"not the password"}`, bob.name))
	wantProblem(t, "unknown user", unknown, http.StatusUnauthorized)
	wantProblem(t, "wrong password", wrong, http.StatusUnauthorized)
	if !bytes.Equal(unknown.body, wrong.body) {
		t.Errorf("an unknown user and a wrong password differ:\n%s\n%s", unknown.body, wrong.body)
	}
	if got := wrong.header.Values("Earlybird"); len(got) != 0 {
		t.Errorf("a failed login carries Earlybird %q", got)
	}
}

// flipLast gives another last character, one that changes decoded bits.
func flipLast(s string) string {
	if strings.HasSuffix(s, "A") {
		return "w"
	}
	return "A"
}

// forged: a client's own Earlybird header is worth nothing.
func (s *stack) forged(t *testing.T) {
	mallory := newPerson("mallory")
	s.enter(t, mallory)
	victim := newPerson("victim")
	s.enter(t, victim)
	claim := fmt.Sprintf(`user=%q, token="x", campaign="1", rank=1, discount=100`, victim.id)
	for _, name := range []string{"Earlybird", "earlybird", "EARLYBIRD"} {
		header := bearer(mallory.token)
		header[name] = []string{claim, claim}
		a := s.mustDo(t, http.MethodGet, "/users/"+mallory.id, header, "")
		want(t, a, http.StatusOK, map[string]any{"username": mallory.name, "id": mallory.id})
		wantProblem(t, name, s.mustDo(t, http.MethodGet, "/users/"+victim.id, header, ""), http.StatusNotFound)

		a = s.mustDo(t, http.MethodGet, "/promotion", http.Header{name: {claim}}, "")
		wantProblem(t, name+" without a token", a, http.StatusUnauthorized)

		a = s.mustDo(t, http.MethodPost, "/login", http.Header{name: {claim}}, string(mallory.credentials()))
		got, err := parseTag(a.header.Values("Earlybird"))
		if err != nil || got != mallory.tag {
			t.Errorf("login with a forged header: %+v %v, want %+v", got, err, mallory.tag)
		}
	}
}

// rush: 150 people log in at the same moment; exactly 100 are granted, ranks
// 1 to 100, and a second login changes nothing.
func (s *stack) rush(t *testing.T) {
	s.newCampaign(t, 100, 30)
	people := make([]*person, 150)
	for i := range people {
		people[i] = newPerson(fmt.Sprintf("rush%d", i))
	}
	if err := each(len(people), workers, func(i int) error { return s.register(people[i]) }); err != nil {
		t.Fatal(err)
	}
	if err := each(len(people), 0, func(i int) error { return s.login(people[i]) }); err != nil {
		t.Fatal(err)
	}
	winners := s.settled(t, 100)
	s.check(t, people, winners)

	if err := each(len(people), workers, func(i int) error { return s.login(people[i]) }); err != nil {
		t.Fatal(err)
	}
	for _, p := range people {
		if rank := winners[p.id]; p.tag.rank != rank && p.tag.status != "pending" {
			t.Errorf("%s: tag of the second login = %+v, want rank %d", p.name, p.tag, rank)
		}
	}
	s.check(t, people, s.settled(t, 100))
}

// restart: the whole stack goes down while people log in and comes back over
// the same state; they try again until it works.
func (s *stack) restart(t *testing.T) {
	s.newCampaign(t, 40, 30)
	people := make([]*person, 60)
	for i := range people {
		people[i] = newPerson(fmt.Sprintf("patient%d", i))
	}
	if err := each(len(people), workers, func(i int) error { return s.register(people[i]) }); err != nil {
		t.Fatal(err)
	}
	var done atomic.Int64
	finished := make(chan error, 1)
	deadline := time.Now().Add(3 * time.Minute)
	go func() {
		finished <- each(len(people), workers, func(i int) error {
			for {
				err := s.login(people[i])
				if err == nil {
					done.Add(1)
					return nil
				}
				if time.Now().After(deadline) {
					return err
				}
				<-time.After(100 * time.Millisecond)
			}
		})
	}()
	eventually(t, time.Minute, "twenty people are in", func() error {
		if n := done.Load(); n < 20 {
			return fmt.Errorf("%d are in", n)
		}
		return nil
	})
	s.own.Stop()
	s.own.Start()
	if err := <-finished; err != nil {
		t.Fatal(err)
	}
	s.check(t, people, s.settled(t, 40))
}

// pays insists that a service behind the gateway tells the person this price,
// within the second that news of the campaign takes to the edge.
func (s *stack) pays(p *person, want string) error {
	for deadline := time.Now().Add(time.Second); ; {
		started := time.Now()
		a, err := s.do(http.MethodGet, "/shop/price", bearer(p.token), nil)
		if err != nil {
			return err
		}
		if a.status == http.StatusOK && strings.TrimSpace(string(a.body)) == want {
			return nil
		}
		if started.After(deadline) {
			return fmt.Errorf("%s is told %v, want %s", p.name, a, want)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// settled waits until the ledger holds n winners and returns their ranks by
// user id, which must be 1 to n.
func (s *stack) settled(t *testing.T, n int) map[string]int64 {
	t.Helper()
	type winner struct {
		Rank   int64  `json:"rank"`
		UserID string `json:"user_id"`
	}
	var winners []winner
	eventually(t, time.Minute, fmt.Sprintf("the ledger holds %d winners", n), func() error {
		out, err := s.admin(t, "campaign", "winners", "--output", "json")
		if err != nil {
			return err
		}
		winners = nil
		if err := json.Unmarshal(out, &winners); err != nil {
			return err
		}
		if len(winners) < n {
			return fmt.Errorf("%d winners", len(winners))
		}
		return nil
	})
	ranks := make(map[string]int64, n)
	var seen []int64
	for _, w := range winners {
		ranks[w.UserID] = w.Rank
		seen = append(seen, w.Rank)
	}
	slices.Sort(seen)
	for i, rank := range seen {
		if rank != int64(i+1) {
			t.Fatalf("ranks are %v, want 1 to %d", seen, n)
		}
	}
	if len(seen) != n || len(ranks) != n {
		t.Fatalf("%d ranks for %d users, want %d of each", len(seen), len(ranks), n)
	}
	return ranks
}

// check holds what people were told against the ledger, and against what
// /promotion says to them now.
func (s *stack) check(t *testing.T, people []*person, winners map[string]int64) {
	t.Helper()
	pending := 0
	err := each(len(people), workers, func(i int) error {
		p := people[i]
		rank, won := winners[p.id]
		switch {
		case p.tag.status == "granted" && p.tag.rank != rank:
			return fmt.Errorf("%s was told rank %d, the ledger says %d", p.name, p.tag.rank, rank)
		case p.tag.status == "full" && won:
			return fmt.Errorf("%s was told full, the ledger says rank %d", p.name, rank)
		}
		a, err := s.do(http.MethodGet, "/promotion", bearer(p.token), nil)
		if err != nil {
			return err
		}
		got, _ := a.member("rank").(float64)
		if won && (a.status != http.StatusOK || int64(got) != rank) {
			return fmt.Errorf("%s holds rank %d, /promotion says %v", p.name, rank, a)
		}
		if !won && a.status != http.StatusNotFound {
			return fmt.Errorf("%s holds no grant, /promotion says %v", p.name, a)
		}
		if s.own == nil { // where the example shop need not be
			return nil
		}
		if won {
			return s.pays(p, `{"list":100.00,"discount":30,"price":70.00}`)
		}
		return s.pays(p, `{"list":100.00,"discount":0,"price":100.00}`)
	})
	if err != nil {
		t.Error(err)
	}
	for _, p := range people {
		switch p.tag.status {
		case "granted", "full":
		case "pending":
			pending++
		default:
			t.Errorf("%s was told %q", p.name, p.tag.status)
		}
	}
	t.Logf("%d people, %d winners, %d were told pending", len(people), len(winners), pending)
}

// want holds an answer against a status and a JSON body of exactly these
// members.
func want(t *testing.T, a answer, status int, members map[string]any) {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(a.body, &got); err != nil || a.status != status {
		t.Errorf("answer %v, want %d", a, status)
		return
	}
	if len(got) != len(members) {
		t.Errorf("body %s, want exactly %v", a.body, members)
	}
	for name, value := range members {
		if got[name] != value {
			t.Errorf("member %s = %v, want %v", name, got[name], value)
		}
	}
}

// wantProblem holds an answer against RFC 9457.
func wantProblem(t *testing.T, name string, a answer, status int) {
	t.Helper()
	if a.status != status {
		t.Errorf("%s: answer %v, want %d", name, a, status)
		return
	}
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("%s: Content-Type = %q, want application/problem+json: %v", name, got, a)
	}
	if got, _ := a.member("status").(float64); int(got) != status {
		t.Errorf("%s: member status of %s, want %d", name, a.body, status)
	}
	if a.text("title") == "" {
		t.Errorf("%s: %s has no title", name, a.body)
	}
}
