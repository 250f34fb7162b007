package promotion_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
	"github.com/earlybird/earlybird/identity/password"
)

const secretWord = "correct horse battery staple"

// service is the identity service as a process, which can be killed and started
// again.
type service struct {
	w            *world
	program      string
	args         []string
	url          string
	mongo, redis *testserver.Proxy
	command      *exec.Cmd // nil: it is down
	ended        chan struct{}
}

// service starts a process whose way to the stores can fail.
func (w *world) service(program, secret string) *service {
	w.t.Helper()
	s := &service{w: w, program: program}
	var mongoURL, redisURL string
	s.mongo, mongoURL = testserver.NewProxy(w.t, w.mongoURL, nil)
	s.redis, redisURL = testserver.NewProxy(w.t, w.redisURL, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	s.url = "http://" + address
	s.args = []string{
		"--listen", address, "--mongo-url", mongoURL, "--redis-url", redisURL, "--key-secret-file", secret,
		"--address-limit", "off", "--account-limit", "off", "--account-address-limit", "off", "--log-level", "error",
	}
	w.t.Cleanup(s.kill)
	s.start()
	return s
}

// start starts the process unless it runs.
func (s *service) start() {
	s.w.t.Helper()
	if s.command != nil {
		select {
		case <-s.ended:
		default:
			return
		}
	}
	command := exec.Command(s.program, s.args...)
	if testing.Verbose() {
		command.Stderr = s.w.t.Output()
	}
	if err := command.Start(); err != nil {
		s.w.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = command.Wait(); close(ended) }()
	s.command, s.ended = command, ended
}

// kill ends the process as kill -9 does.
func (s *service) kill() {
	if s.command != nil {
		_ = s.command.Process.Kill()
		<-s.ended
		s.command = nil
	}
}

func (s *service) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(res.Body)
		return fmt.Errorf("%d %s", res.StatusCode, said)
	}
	return nil
}

// ask sends a request and returns the answer's status, Earlybird header and body;
// 0 when there was none.
func (s *service) ask(method, path, body, token string) (int, string, []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.w.t.Error(err)
		return 0, "", nil
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", nil
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, "", nil // the process died meanwhile
	}
	return res.StatusCode, res.Header.Get("Earlybird"), answer
}

var headerForm = regexp.MustCompile(`^status=([a-z]+)(?:, place="([0-9:]+)")?$`)

// login logs in once, and returns the token if the user holds a place.
func (s *service) login(n int) (token string, placed bool) {
	c := s.w.judge.Begin(user(n), campaigntest.AskedLogin)
	status, header, body := s.ask(http.MethodPost, "/login", fmt.Sprintf(`{"username":%q,"password":%q}`, name(n), secretWord), "")
	if status != http.StatusOK {
		if status != 0 && status < http.StatusInternalServerError {
			s.w.t.Errorf("POST /login: %d %s", status, body)
		}
		return "", false // no answer counts for anything
	}
	m := headerForm.FindStringSubmatch(header)
	var said struct{ Token string }
	if err := json.Unmarshal(body, &said); m == nil || err != nil {
		s.w.t.Errorf("POST /login: header %q, body %s", header, body)
		return "", false
	}
	var place campaign.Place
	if m[2] != "" {
		var err error
		if place, err = campaign.ParsePlace(m[2]); err != nil {
			s.w.t.Error(err)
		}
	}
	s.w.judge.End(c, m[1], place, 0)
	return said.Token, m[1] == string(campaign.StatusPending)
}

// promotion asks for the user's grant.
func (s *service) promotion(n int, token string) {
	c := s.w.judge.Begin(user(n), campaigntest.AskedPromotion)
	status, _, body := s.ask(http.MethodGet, "/promotion", "", token)
	var said struct {
		Rank     int64
		Standing string
	}
	switch {
	case status == 0 || status >= http.StatusInternalServerError:
	case json.Unmarshal(body, &said) != nil || status != http.StatusOK && status != http.StatusNotFound:
		s.w.t.Errorf("GET /promotion: %d %s", status, body)
	case status == http.StatusOK:
		s.w.judge.End(c, string(campaign.StatusGranted), campaign.Place{}, said.Rank)
	default:
		s.w.judge.End(c, said.Standing, campaign.Place{}, 0)
	}
}

func name(n int) string { return strings.ToLower(user(n)) }

// accounts makes accounts, past the service, with one hash for all.
func (w *world) accounts(n int) {
	w.t.Helper()
	hasher, err := password.NewHasher(password.Config{Params: password.DefaultParams})
	if err != nil {
		w.t.Fatal(err)
	}
	phc, err := hasher.Hash(w.t.Context(), secretWord)
	if err != nil {
		w.t.Fatal(err)
	}
	client, err := mongo.Connect(options.Client().ApplyURI(w.mongoURL))
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = client.Disconnect(context.Background()) }()
	u, err := url.Parse(w.mongoURL)
	if err != nil {
		w.t.Fatal(err)
	}
	var users, credentials []any
	for i := range n {
		users = append(users, bson.M{"_id": user(i), "username": name(i), "canonical": name(i), "created_at": time.Now()})
		credentials = append(credentials, bson.M{"_id": name(i), "user_id": user(i), "password": phc, "generation": int64(0), "disabled": false})
	}
	for collection, docs := range map[string][]any{"users": users, "credentials": credentials} {
		if _, err := client.Database(strings.TrimPrefix(u.Path, "/")).Collection(collection).InsertMany(w.t.Context(), docs); err != nil {
			w.t.Fatal(err)
		}
	}
}

func secretFile(t *testing.T) string {
	t.Helper()
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(hex.EncodeToString(key[:])), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Rules 2 to 4: identity is killed with -9 between the insert and its answer, between
// the mirror's and its answer, and with the mirror half filled. The client asks
// again, at the other process.
//
// It failed when a place that the user has was not looked up: then no login was ever
// answered.
func TestKilledAt(t *testing.T) {
	program := filepath.Join(testserver.Programs(t, "earlybird-identity"), "earlybird-identity")
	long := 30 * time.Second
	for _, test := range []struct {
		name  string
		point func(w *world, s *service) <-chan struct{}
		fills bool
	}{
		{"after the insert", func(_ *world, s *service) <-chan struct{} {
			return s.mongo.DelayAnswer(long, "insert", "campaign_log", user(2))
		}, false},
		{"after the mirror's script", func(_ *world, s *service) <-chan struct{} {
			return s.redis.DelayAnswer(long, "evalsha", user(2))
		}, false},
		{"within a fill", func(w *world, s *service) <-chan struct{} {
			found := s.redis.DelayAnswer(long, "evalsha", "FILLED-0-2") // the second batch of several
			if err := w.client.FlushAll(context.Background()).Err(); err != nil {
				w.t.Error(err)
			}
			return found
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, testserver.Redis(t).URL())
			w.accounts(5)
			w.start(600, 5000)
			if test.fills {
				w.fill(2000)
			}
			secret := secretFile(t)
			killed := w.service(program, secret)
			w.await("it is ready", 30*time.Second, killed.ready)
			w.await("a login has a place", 30*time.Second, killed.places(0))
			at := test.point(w, killed)
			var client sync.WaitGroup
			client.Go(func() { killed.login(2) })
			select {
			case <-at:
			case <-time.After(20 * time.Second):
				t.Fatal("the process never came to the point")
			}
			killed.kill()
			client.Wait()
			other := w.service(program, secret)
			w.await("the other one is ready", 30*time.Second, other.ready)
			for n := range 5 {
				w.await("a login has a place", 30*time.Second, other.places(n))
			}
			w.verdict()
		})
	}
}

// places logs the user in, until that has a place.
func (s *service) places(n int) func() error {
	return func() error {
		if _, placed := s.login(n); !placed {
			return errors.New("no place yet")
		}
		return nil
	}
}

// fill gives places to so many others, in entries of 50, by a replica.
func (w *world) fill(n int) {
	w.t.Helper()
	r := w.replica(replicaConfig{})
	var all sync.WaitGroup
	for batch := range n / 50 {
		for i := range 50 {
			all.Go(func() { w.login(r, fmt.Sprintf("FILLED-%d-%d", i, batch)) })
		}
		all.Wait()
	}
	w.complete()
	r.stop()
}

// Rules 1 to 4: two identity processes, MongoDB and Redis are killed with -9, in any
// order, while people log in for the first time. Whoever was told that they have a
// place has it, and in the order of the answers.
//
// It failed when an insert without an answer counted as decided.
func TestKills(t *testing.T) {
	users, seeds := 150, []uint64{uint64(time.Now().UnixNano())}
	if heavy() {
		users, seeds = 2000, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	}
	program := filepath.Join(testserver.Programs(t, "earlybird-identity"), "earlybird-identity")
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			mongoServer, redisServer := testserver.OwnMongo(t), testserver.Redis(t)
			w := newWorldOn(t, mongoServer.URL(), redisServer.URL())
			w.accounts(users)
			w.start(int64(users/2), int64(users))
			secret := secretFile(t)
			services := []*service{w.service(program, secret), w.service(program, secret)}
			for _, s := range services {
				w.await("it is ready", 30*time.Second, s.ready)
			}
			var clients sync.WaitGroup
			var next atomic.Int64
			for range 6 {
				clients.Go(func() {
					for n := int(next.Add(1)) - 1; n < users; n = int(next.Add(1)) - 1 {
						for try := 0; ; try++ {
							s := services[(n+try)%2]
							if token, placed := s.login(n); placed {
								s.promotion(n, token)
								break
							}
							time.Sleep(time.Duration(min(20+20*try, 200)) * time.Millisecond)
						}
					}
				})
			}
			done := make(chan struct{})
			go func() { clients.Wait(); close(done) }()
			random := mathrand.New(mathrand.NewPCG(seed, 0))
			victims := []struct{ kill, start func() }{
				{services[0].kill, services[0].start},
				{services[1].kill, services[1].start},
				{redisServer.Kill, redisServer.Start},
				{mongoServer.Kill, mongoServer.Start},
			}
			wait := func(atMost int) bool {
				select {
				case <-done:
					return false
				case <-time.After(time.Duration(random.IntN(atMost)) * time.Millisecond):
					return true
				}
			}
			for rounds := 0; wait(600) && (heavy() || rounds < 12); rounds++ {
				v := victims[random.IntN(len(victims))]
				both := victims[random.IntN(len(victims))] // or one of them twice
				v.kill()
				both.kill()
				wait(300)
				v.start()
				both.start()
			}
			for _, v := range victims {
				v.start()
			}
			select {
			case <-done:
			case <-time.After(5 * time.Minute):
				t.Fatal("some login never got a place")
			}
			w.placed(0, users)
			w.verdict()
		})
	}
}
