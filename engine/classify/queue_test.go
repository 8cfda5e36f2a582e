package classify

import (
	"testing"
	"time"
)

// A batch gathers what is there; it waits for others only while some are being prepared, and no longer than the delay.
func TestQueueGathers(t *testing.T) {
	const soon = 20 * time.Millisecond
	for _, x := range []struct {
		name      string
		waiting   int
		preparing int64
		delay     time.Duration
		late      int // requests that arrive while it waits
		want      int
		atLeast   time.Duration
	}{
		{name: "alone", waiting: 0, delay: time.Hour, want: 1},
		{name: "full", waiting: 9, preparing: 3, delay: time.Hour, want: 4},
		{name: "those there", waiting: 2, delay: time.Hour, want: 3},
		{name: "one is late", waiting: 1, preparing: 1, delay: time.Hour, late: 2, want: 4},
		{name: "one never comes", waiting: 1, preparing: 1, delay: soon, want: 2, atLeast: soon},
		{name: "no delay", waiting: 1, preparing: 1, delay: 0, want: 2},
	} {
		t.Run(x.name, func(t *testing.T) {
			q := &queue{batch: 4, delay: x.delay, requests: make(chan *request, 16)}
			q.preparing.Store(x.preparing)
			ready := func() *request { return &request{since: time.Now()} }
			first := ready()
			for range x.waiting {
				q.requests <- ready()
			}
			if x.late > 0 {
				go func() {
					for range x.late {
						time.Sleep(time.Millisecond)
						q.requests <- ready()
					}
				}()
			}
			got := q.gather([]*request{first})
			if waited := time.Since(first.since); len(got) != x.want || waited < x.atLeast {
				t.Errorf("gathered %d after %v, want %d after at least %v", len(got), waited, x.want, x.atLeast)
			}
		})
	}
}
