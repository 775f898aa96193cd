package layer

import (
	"runtime"
	"testing"
	"time"
)

// Asking ends, also where there is no other core or it is busy, and leaves nothing behind.
func TestRoundTrip_Ends(t *testing.T) {
	checkGoroutines(t)
	const limit = time.Millisecond
	got := roundTrip(limit)
	t.Logf("%v, of %d cores", got, runtime.GOMAXPROCS(0))
	if got <= 0 || got > limit {
		t.Errorf("%v, want more than nothing and at most %v", got, limit)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if got := roundTrip(limit); got <= maxNear {
		t.Errorf("with one core: %v; there is no other", got)
	}
}
