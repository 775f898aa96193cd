package layer

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// coresAreNear tells whether what one core has written another one has soon, as it is where they share a cache. Virtual
// machines may have cores of different chips. It takes 0.1 ms or so, and asks once; if the other cores are busy, it says no.
var coresAreNear = sync.OnceValue(func() bool {
	return runtime.GOMAXPROCS(0) > 1 && roundTrip(time.Millisecond) <= maxNear
})

// maxNear parts the cores of one chip, at some 100 to 200 ns, from those of several, at 400 to 500.
const maxNear = 300 * time.Nanosecond

// roundTrip is how long a cache line takes to another core and back, the least of several tries. It gives up after limit.
func roundTrip(limit time.Duration) time.Duration {
	const (
		tries = 16
		trips = 100 // of each: a microsecond's error of the clock doesn't matter
		last  = 2 * tries * trips
	)
	var n atomic.Int64 // even: it is here; odd: there
	var done atomic.Bool
	defer done.Store(true)
	// wait waits until n isn't old. It looks at done seldom.
	wait := func(old int64) bool {
		for spins := 1; n.Load() == old; spins++ {
			if spins%1024 == 0 && done.Load() {
				return false
			}
		}
		return true
	}
	go func() {
		for i := int64(0); i < last; i += 2 {
			if !wait(i) {
				return
			}
			n.Store(i + 2)
		}
	}()
	stop := time.AfterFunc(limit, func() { done.Store(true) })
	defer stop.Stop()
	least := limit
	for i := int64(0); i < last; {
		start := time.Now()
		for range trips {
			n.Store(i + 1)
			if !wait(i + 1) {
				return least
			}
			i += 2
		}
		least = min(least, time.Since(start)/trips)
	}
	return least
}
