package main

import (
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/limit"
)

// atOnce logs everybody in at once and returns how long each login took, the
// shortest first.
func (i *instance) atOnce(t *testing.T, names []string) []time.Duration {
	t.Helper()
	took := make([]time.Duration, len(names))
	var all sync.WaitGroup
	for n, name := range names {
		all.Go(func() {
			got, err := i.tryLogin(name)
			if err != nil || got.status != "pending" {
				t.Errorf("login of %s: %q, %v, want pending", name, got.status, err)
			}
			took[n] = got.ended.Sub(got.began)
		})
	}
	all.Wait()
	slices.Sort(took)
	return took
}

// A login spends at most 250 ms on a Redis that hangs, on limits and campaign
// together, also before anything has noticed. The limit here leaves room for a
// busy machine; that the time limits add up is TestTimeForRedis.
func TestRedisHangsUnderLogins(t *testing.T) {
	redis, mongo := testserver.Redis(t), testserver.Mongo(t)
	i := begin(t, map[string]string{"redis-url": redis.URL(), "mongo-url": mongo, "address-limit": "off"})
	i.until(t, "/readyz", 200)
	people := names("p", 48)
	i.register(t, people...)
	operator := newConsole(t, mongo, redis.URL())
	operator.start(t, 1000, 1000)
	info, err := operator.redis.Info(t.Context(), "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	pid := regexp.MustCompile(`process_id:(\d+)`).FindStringSubmatch(info)[1]
	i.atOnce(t, people[:4])
	before := i.atOnce(t, people[4:8])
	if err := exec.Command("kill", "-STOP", pid).Run(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = exec.Command("kill", "-CONT", pid).Run() })
	var during []time.Duration
	for stopped := time.Now(); len(people) >= 12 && time.Since(stopped) < time.Second; people = people[4:] {
		during = append(during, i.atOnce(t, people[8:12])...)
	}
	slices.Sort(during)
	t.Logf("%d logins with Redis: median %s, most %s; %d in the first second without: median %s, most %s",
		len(before), before[len(before)/2], before[len(before)-1], len(during), during[len(during)/2], during[len(during)-1])
	if most := during[len(during)-1] - before[len(before)-1]; most > 500*time.Millisecond {
		t.Errorf("a login took %s longer", most)
	}
}

// What waits for Redis in a login, one after the other: the limits, and one call
// of the campaign's turn or mirror, after whose failure Redis is left alone.
func TestTimeForRedis(t *testing.T) {
	if sum := limit.DefaultTimeout + mirrorTimeout; sum > 250*time.Millisecond {
		t.Errorf("a login may wait for Redis for %s, promised are 250 ms", sum)
	}
}
