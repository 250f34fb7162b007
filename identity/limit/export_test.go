package limit

// Held is the number of keys in memory.
func Held(l *Limiter) int { return len(l.local.young) + len(l.local.old) }
