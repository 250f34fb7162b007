package command

import (
	"io"
	"strings"
	"sync"
	"time"
)

// meter returns what shows progress: a line that is drawn again on a terminal,
// one line in all elsewhere. It is called with -1 at the end.
func meter(w io.Writer, doing, what string, total int) func(done int) {
	if !drawable(w) {
		say(w, "%s %d %s.\n", doing, total, what)
		return func(int) {}
	}
	var mu sync.Mutex
	var most int
	var drawn time.Time
	return func(done int) {
		mu.Lock()
		defer mu.Unlock()
		most = max(most, done)
		if done >= 0 && done < total && time.Since(drawn) < 100*time.Millisecond {
			return
		}
		drawn = time.Now()
		const width = 40
		full := width * most / total
		say(w, "\r%-11s [%s%s] %d of %d %s", doing, strings.Repeat("█", full), strings.Repeat("░", width-full), most, total, what)
		if done < 0 {
			say(w, "\n")
		}
	}
}
