package pluginserver

import "time"

// SetOrphanWait is for a process that a test starts.
func SetOrphanWait(d time.Duration) { orphanWait = d }
