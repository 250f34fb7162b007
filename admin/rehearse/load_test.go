package rehearse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
)

// gateway answers requests, in a bubble where time is the test's own.
type gateway func(r *http.Request) (*http.Response, error)

func (g gateway) RoundTrip(r *http.Request) (*http.Response, error) { return g(r) }

// says is a response with a header of Earlybird's or with Retry-After.
func says(status int, header ...string) (*http.Response, error) {
	r := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{}`))}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r, nil
}

func people(n int) []User {
	_, users := NewUsers(n)
	for i := range users {
		users[i].ID = fmt.Sprint("id", i+1)
	}
	return users
}

func run(ctx context.Context, g gateway, users []User, rate Rate) Seen {
	load := Load{Client: NewClient("http://gateway", g), Users: users, Rate: rate, Progress: func(int) {}}
	return load.Run(ctx)
}

// TestSlowGateway: users come when they are due, however slow the answers are.
// Checked by letting each user wait for the one before.
func TestSlowGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		seen := run(t.Context(), func(*http.Request) (*http.Response, error) {
			time.Sleep(20 * time.Second)
			return says(200, "Earlybird", "status=full")
		}, people(50), 10)
		for i, v := range seen.Visits {
			due := began.Add(time.Duration(i) * 100 * time.Millisecond)
			if !v.Due.Equal(due) || !v.Sent.Equal(due) || !v.Answered.Equal(due.Add(20*time.Second)) || v.Status != campaign.StatusFull {
				t.Fatalf("user %d: %+v, due %s", i, v, due)
			}
		}
		if seen.Open != 50 || len(seen.Answers) != 50 || seen.Answers[49].Took != 20*time.Second {
			t.Errorf("%d open, %d answers, %+v", seen.Open, len(seen.Answers), seen.Answers[49])
		}
	})
}

// TestAtOnce: all users come at one moment.
func TestAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		for i, v := range run(t.Context(), func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return says(200, "Earlybird", "status=pending")
		}, people(20), 0).Visits {
			if !v.Sent.Equal(began) || v.Status != campaign.StatusPending {
				t.Errorf("user %d: %+v", i, v)
			}
		}
	})
}

// TestAskingAgain is one user's way through answers: when each request is sent
// and what comes of it.
func TestAskingAgain(t *testing.T) {
	const retry = `status=retry`
	type request struct {
		status int
		header []string
	}
	granted := request{200, []string{"Earlybird", `status=granted, campaign="7", rank=3, discount=0`}}
	again := request{200, []string{"Earlybird", retry}}
	none := request{}
	tests := []struct {
		name    string
		answers []request // the last one for ever
		at      []int     // the second at which each request is sent, at the earliest; it is at the latest one base time later
		exact   bool
		want    Visit
	}{
		{"granted", []request{granted}, []int{0}, true, Visit{Status: campaign.StatusGranted, Rank: 3}},
		{"busy, then granted", []request{{503, []string{"Retry-After", "7"}}, {429, []string{"Retry-After", "3"}}, granted}, []int{0, 7, 10}, true, Visit{Status: campaign.StatusGranted, Rank: 3}},
		{"Retry-After of 0", []request{{503, []string{"Retry-After", "0"}}, granted}, []int{0, 1}, true, Visit{Status: campaign.StatusGranted, Rank: 3}},
		{"a retry", []request{again, granted}, []int{0, 1}, false, Visit{Status: campaign.StatusGranted, Rank: 3}},
		{"retry for ever", []request{again}, []int{0, 1, 3, 7, 15, 31}, false, Visit{Status: campaign.StatusRetry}},
		{"a header that cannot be read", []request{{200, []string{"Earlybird", "?!"}}, granted}, []int{0, 1}, false, Visit{Status: campaign.StatusGranted, Rank: 3}},
		{"no header", []request{{200, nil}, granted}, []int{0, 1}, false, Visit{Status: campaign.StatusGranted, Rank: 3}},
		{"503 that does not say when", []request{{503, nil}}, []int{0, 1, 3, 7, 15, 31}, false, Visit{Problem: "answered 503"}},
		{"500", []request{{500, []string{"Retry-After", "1"}}}, []int{0, 1, 3, 7, 15, 31}, false, Visit{Problem: "answered 500"}},
		{"no answer", []request{none, granted}, []int{0, 1}, false, Visit{Status: campaign.StatusGranted, Rank: 3}},
		{"never an answer", []request{none}, []int{0, 1, 3, 7, 15, 31}, false, Visit{Problem: "no answer: refused"}},
		{"the wrong password", []request{{401, nil}}, []int{0}, true, Visit{Problem: "answered 401"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var at []time.Duration
				seen := run(t.Context(), func(*http.Request) (*http.Response, error) {
					a := tt.answers[min(len(at), len(tt.answers)-1)]
					at = append(at, time.Since(began))
					if a.status == 0 {
						return nil, errors.New("refused")
					}
					return says(a.status, a.header...)
				}, people(1), 0)
				got := seen.Visits[0]
				if got.Status != tt.want.Status || got.Rank != tt.want.Rank || got.Problem != tt.want.Problem {
					t.Errorf("got %+v, want %+v", got, tt.want)
				}
				if len(at) != len(tt.at) || len(seen.Answers) != len(at) {
					t.Fatalf("requests at %v, %d answers, want %v", at, len(seen.Answers), tt.at)
				}
				for i, second := range tt.at {
					least := time.Duration(second) * time.Second
					most := 2 * least
					if tt.exact {
						most = least
					}
					if at[i] < least || at[i] > most {
						t.Errorf("request %d at %s, want %s to %s", i, at[i], least, most)
					}
				}
				for _, a := range seen.Answers {
					if a.Took != 0 { // the gateway of this test answers at once: waits are no part of an answer's time
						t.Errorf("an answer took %s", a.Took)
					}
				}
			})
		})
	}
}

// TestSilence: a client gives up on an answer after a while, and tries again.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		seen := run(t.Context(), func(r *http.Request) (*http.Response, error) {
			if requests++; requests > 1 {
				return says(200, "Earlybird", "status=full")
			}
			<-r.Context().Done()
			return nil, r.Context().Err()
		}, people(1), 0)
		if v := seen.Visits[0]; v.Status != campaign.StatusFull || seen.Answers[0].Status != 0 || seen.Answers[0].Took != patience {
			t.Errorf("%+v, answers %+v", v, seen.Answers)
		}
	})
}

// TestInterrupted: what was sent is waited for, and nothing more is sent.
func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		began := time.Now()
		seen := run(ctx, func(r *http.Request) (*http.Response, error) {
			if time.Since(began) == time.Second {
				return says(503, "Retry-After", "60")
			}
			time.Sleep(time.Second)
			return says(200, "Earlybird", "status=full")
		}, people(5), 1)
		var got []string
		for _, v := range seen.Visits {
			got = append(got, string(v.Status)+v.Problem)
		}
		if want := "full|was not done yet|full|had not come yet|had not come yet"; strings.Join(got, "|") != want {
			t.Errorf("%q", got)
		}
		if len(seen.Answers) != 3 {
			t.Errorf("%d answers", len(seen.Answers))
		}
	})
}

// TestSent is what a request looks like.
func TestSent(t *testing.T) {
	users := people(1)
	users[0].Address = AddressIn(network(t, "10.9.0.0/16"), 258)
	synctest.Test(t, func(t *testing.T) {
		run(t.Context(), func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			want := fmt.Sprintf(`{"password":%q,"username":%q}`, users[0].Password, users[0].Name)
			if r.URL.String() != "http://gateway/login" || r.Method != http.MethodPost || string(body) != want ||
				r.Header.Get("X-Forwarded-For") != "10.9.1.2" || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %s %v\n%s, want\n%s", r.Method, r.URL, r.Header, body, want)
			}
			return says(401)
		}, users, 0)
	})
}

// TestRegister registers as fast as the system takes it.
func TestRegister(t *testing.T) {
	problem := func(status int, body string) (*http.Response, error) {
		r, err := says(status)
		r.Body = io.NopCloser(strings.NewReader(body))
		return r, err
	}
	tests := []struct {
		name     string
		answer   func(request int) (*http.Response, error)
		accounts int
		limited  int
		took     time.Duration
		err      string
	}{
		{"all at once", func(int) (*http.Response, error) { return says(201) }, 100, 0, 0, ""},
		{"limited", func(n int) (*http.Response, error) {
			if n <= 10 {
				return says(429, "Retry-After", "9")
			}
			return says(201)
		}, 100, 10, 9 * time.Second, ""},
		{"there already, the answer was lost", func(int) (*http.Response, error) { return says(409) }, 100, 0, 0, ""},
		{"with a code alone", func(int) (*http.Response, error) {
			return problem(422, `{"status":422,"detail":"code: is required","errors":[{"field":"code","message":"is required"}]}`)
		}, 0, 0, 0, ErrEnrolment.Error()},
		{"refused", func(int) (*http.Response, error) { return problem(422, `{"detail":"password: too short"}`) }, 0, 0, 0, "422 password: too short"},
		{"no Earlybird", func(int) (*http.Response, error) { return problem(404, `<html>`) }, 0, 0, 0, ": 404"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				requests := 0
				c := NewClient("http://gateway", gateway(func(r *http.Request) (*http.Response, error) {
					mu.Lock()
					requests++
					n := requests
					mu.Unlock()
					if r.URL.Path != "/users" {
						t.Errorf("path %s", r.URL.Path)
					}
					return tt.answer(n)
				}))
				got, err := Register(t.Context(), c, people(100), func(int) {})
				if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				if got.Accounts != tt.accounts || got.Limited != tt.limited || tt.err == "" && got.Took != tt.took {
					t.Errorf("%+v, want %d accounts, %d limited, %s", got, tt.accounts, tt.limited, tt.took)
				}
			})
		})
	}
}
