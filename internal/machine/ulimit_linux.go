package machine

import (
	"math"

	"golang.org/x/sys/unix"
)

func ulimit() int64 {
	least := uint64(math.MaxInt64)
	for _, kind := range []int{unix.RLIMIT_AS, unix.RLIMIT_DATA} {
		var limit unix.Rlimit
		if unix.Getrlimit(kind, &limit) == nil {
			least = min(least, limit.Cur)
		}
	}
	return int64(least)
}
