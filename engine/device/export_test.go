package device

import "time"

// SetProbeTime sets how long a provider may take to start, and returns what it was.
func SetProbeTime(d time.Duration) (was time.Duration) {
	was, probeTime = probeTime, d
	return was
}
