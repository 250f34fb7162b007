package keeper_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// envClaim makes the test binary a process that claims on the Redis it names.
const envClaim = "EARLYBIRD_TEST_CLAIM"

// crowd is how many users the processes claim for. Of so many few hold a grant:
// some 2,000 claims are made until a process has told of enough of them.
const crowd = 1000

func TestMain(m *testing.M) {
	if url := os.Getenv(envClaim); url != "" {
		if err := claimForever(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// claimForever claims for the crowd over and over, and prints every grant once
// it was told.
func claimForever(url string) error {
	client, err := redisdb.Connect(redisdb.Config{URL: url})
	if err != nil {
		return err
	}
	claimer := campaign.NewClaimer(campaign.ClaimerConfig{Redis: client, Timeout: 5 * time.Second})
	var wg sync.WaitGroup
	var out sync.Mutex
	for range 4 {
		wg.Go(func() {
			for {
				user := fmt.Sprint("user", rand.IntN(crowd))
				if o := claimer.Claim(context.Background(), user); o.State == campaign.StateGranted {
					out.Lock()
					fmt.Println(user, o.Rank)
					out.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return nil
}

// Rules 1 to 3 while the processes that claim are killed with -9 and replaced,
// and slots are raised in the middle. Checked by not looking up the known user
// in claim.lua: ranks then change.
func TestKillClaimers(t *testing.T) {
	const slots, raised, rounds = 40, 90, 4
	b := newBench(t, testserver.Redis(t).URL())
	b.start(t, slots, 10_000)
	run(t, b.keeper)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ranks := map[string]int64{}
	for round := range rounds {
		if round == rounds/2 {
			if _, err := b.admin.Extend(t.Context(), raised); err != nil {
				t.Fatal(err)
			}
		}
		for user, rank := range claimers(t, self, b.url, 2) {
			if old := ranks[user]; old != 0 && old != rank {
				t.Errorf("%s had rank %d, now %d", user, old, rank)
			}
			ranks[user] = rank
		}
	}
	eventually(t, "all slots are stored", func() bool { return len(b.stored(t)) == raised })
	holder := map[int64]string{}
	for i, entry := range b.stored(t) {
		var user string
		var rank int64
		if _, err := fmt.Sscan(entry, &user, &rank); err != nil || rank != int64(i+1) {
			t.Errorf("grant %d is %q", i+1, entry)
		}
		holder[rank] = user
	}
	for user, rank := range ranks {
		if holder[rank] != user {
			t.Errorf("%s was told rank %d, which the ledger has for %q", user, rank, holder[rank])
		}
	}
	if len(ranks) < slots {
		t.Errorf("clients were told of %d grants, want at least %d", len(ranks), slots)
	}
}

// claimers runs n processes at once, kills each with -9 after it has told of
// some grants, and returns what was told.
func claimers(t *testing.T, self, url string, n int) map[string]int64 {
	t.Helper()
	const enough = 100 // lines; a user may be told again and again
	ranks := map[string]int64{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range n {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), envClaim+"="+url)
		cmd.Stderr = os.Stderr
		lines, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			scanner := bufio.NewScanner(lines)
			for told := 0; told < enough && scanner.Scan(); told++ {
				var user string
				var rank int64
				if _, err := fmt.Sscan(scanner.Text(), &user, &rank); err != nil {
					t.Errorf("line %q: %v", scanner.Text(), err)
				}
				mu.Lock()
				if old := ranks[user]; old != 0 && old != rank {
					t.Errorf("%s has the ranks %d and %d", user, old, rank)
				}
				ranks[user] = rank
				mu.Unlock()
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	wg.Wait()
	return ranks
}
