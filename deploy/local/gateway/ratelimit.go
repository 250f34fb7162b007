package gateway

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// rateLimiting counts requests by address in fixed windows of a minute, in
// memory: Kong's policy local, limit_by ip.
func rateLimiting(o *options) handler {
	limit := take(o, "minute", 0)
	if limit <= 0 {
		o.builder.skip("plugin rate-limiting: any limit but config.minute")
	}
	if policy := take(o, "policy", "local"); policy != "local" {
		o.builder.skip("plugin rate-limiting: policy " + policy + " (local instead)")
	}
	if by := take(o, "limit_by", "consumer"); by != "ip" {
		o.builder.skip("plugin rate-limiting: limit_by " + by + " (ip instead)")
	}
	_ = take(o, "fault_tolerant", true) // memory does not fail
	l := &limiter{
		limit: limit, hide: take(o, "hide_client_headers", false),
		status: take(o, "error_code", http.StatusTooManyRequests), message: take(o, "error_message", "API rate limit exceeded"),
		used: map[string]int{},
	}
	return handler{priority: 910, access: l.access}
}

type limiter struct {
	limit   int
	hide    bool
	status  int
	message string

	mu     sync.Mutex
	window time.Time // the minute that used counts
	used   map[string]int
}

func (l *limiter) access(_ context.Context, e *exchange) error {
	if l.limit <= 0 {
		return nil
	}
	now := e.gateway.now()
	allowed, remaining := l.count(now, e.clientIP)
	if !l.hide {
		reset := strconv.Itoa(max(1, 60-now.Second()))
		e.downstream.Set("X-RateLimit-Limit-Minute", strconv.Itoa(l.limit))
		e.downstream.Set("X-RateLimit-Remaining-Minute", strconv.Itoa(remaining))
		e.downstream.Set("RateLimit-Limit", strconv.Itoa(l.limit))
		e.downstream.Set("RateLimit-Remaining", strconv.Itoa(remaining))
		e.downstream.Set("RateLimit-Reset", reset)
		if !allowed {
			e.downstream.Set("Retry-After", reset)
		}
	}
	if !allowed {
		e.exit = e.failure(l.status, l.message)
	}
	return nil
}

// count takes one request of the address into account unless it is over the
// limit, and says how many are left in this minute.
func (l *limiter) count(now time.Time, address string) (allowed bool, remaining int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if window := now.Truncate(time.Minute); !window.Equal(l.window) {
		l.window = window
		clear(l.used)
	}
	if l.used[address] >= l.limit {
		return false, 0
	}
	l.used[address]++
	return true, l.limit - l.used[address]
}
