package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// others tells how busy the machine is with other things.
type others struct {
	start      time.Time
	busy, ours time.Duration
}

func watchOthers() others {
	return others{start: time.Now(), busy: busyTime(), ours: ourTime()}
}

// share is what part of the machine's CPU time processes took that are not ours, since watchOthers; 0 if that can't be known.
func (o others) share() float64 {
	rest := (busyTime() - o.busy) - (ourTime() - o.ours)
	return max(0, rest.Seconds()/(time.Since(o.start).Seconds()*float64(runtime.NumCPU())))
}

// busyTime is the CPU time that all processes have ever taken: proc(5), the first line of /proc/stat.
func busyTime() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	head, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(head) // cpu user nice system idle iowait irq softirq …
	const idle, iowait, softirq = 4, 5, 7
	var ticks int64
	for i := 1; i < len(fields) && i <= softirq; i++ {
		if i != idle && i != iowait {
			n, _ := strconv.ParseInt(fields[i], 10, 64)
			ticks += n
		}
	}
	const tick = time.Second / 100
	return time.Duration(ticks) * tick
}

// ourTime is the CPU time of this process and of those that it has waited for.
func ourTime() time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return sum
}
