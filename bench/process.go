package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// usage is what a case cost.
type usage struct {
	cpu  time.Duration // user and system, of all processes
	wall time.Duration
	rss  int64 // bytes at the peak; of processes side by side, the sum of their peaks
	size int64 // bytes of the output
}

// stage is one program of a pipeline.
type stage struct {
	argv   []string
	env    []string // added to the environment
	hashed bool     // its output also goes to a sha256sum, by way of tee
}

// pipe runs programs, each reading what the one before it writes; the last
// writes into the file out, or nowhere if that is "". What they cost is added to u.
func (u *usage) pipe(ctx context.Context, out string, stages ...stage) error {
	var all []stage
	for _, s := range stages {
		all = append(all, s)
		if s.hashed {
			all = append(all, stage{argv: []string{"tee", "/dev/fd/3"}})
		}
	}
	sink, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if out != "" {
		sink, err = os.Create(out)
	}
	if err != nil {
		return err
	}
	defer sink.Close()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var procs []*process
	var ends []*os.File // ours of all pipes: to be closed once the programs have theirs
	defer func() { closeAll(ends) }()
	newPipe := func() (r, w *os.File, err error) {
		if r, w, err = os.Pipe(); err == nil {
			ends = append(ends, r, w)
		}
		return r, w, err
	}
	start := time.Now()
	var in *os.File
	for i, s := range all {
		p := newProcess(ctx, s)
		if in != nil {
			p.cmd.Stdin = in
		}
		p.cmd.Stdout = sink
		if i < len(all)-1 {
			r, w, err := newPipe()
			if err != nil {
				return err
			}
			in, p.cmd.Stdout = r, w
		}
		var hash *process
		if s.argv[0] == "tee" && s.argv[1] == "/dev/fd/3" {
			r, w, err := newPipe()
			if err != nil {
				return err
			}
			p.cmd.ExtraFiles = []*os.File{w}
			hash = newProcess(ctx, stage{argv: []string{"sha256sum"}})
			hash.cmd.Stdin = r
		}
		for _, p := range []*process{p, hash} {
			if p == nil {
				continue
			}
			if err := p.start(); err != nil {
				cancel()
				closeAll(ends)
				return errors.Join(err, waitAll(procs))
			}
			procs = append(procs, p)
		}
	}
	closeAll(ends)
	ends = nil
	if err := waitAll(procs); err != nil {
		return err
	}
	u.wall += time.Since(start)
	var rss int64
	for _, p := range procs {
		u.cpu += p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
		rss += p.rss()
	}
	u.rss = max(u.rss, rss)
	return nil
}

// run runs one program; what it writes to standard output is dropped.
func (u *usage) run(ctx context.Context, argv ...string) error {
	return u.pipe(ctx, "", stage{argv: argv})
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

func waitAll(procs []*process) error {
	var errs []error
	for _, p := range procs {
		errs = append(errs, p.wait())
	}
	return errors.Join(errs...)
}

// process is one running program.
type process struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer

	// The kernel's ru_maxrss of a process is never below what its parent used when
	// it started it: a child begins in its parent's memory, until exec. So for programs smaller than this one
	// the high-water mark in /proc is read, now and then, while they run.
	stop    chan struct{}
	watched sync.WaitGroup
	sampled int64
}

func newProcess(ctx context.Context, s stage) *process {
	p := &process{cmd: exec.CommandContext(ctx, s.argv[0], s.argv[1:]...), stop: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), "LC_ALL=C.UTF-8"), s.env...)
	p.cmd.Stderr = &p.stderr
	return p
}

func (p *process) start() error {
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.watched.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.sampled = max(p.sampled, highWater(strconv.Itoa(p.cmd.Process.Pid)))
			}
		}
	})
	return nil
}

func (p *process) wait() error {
	err := p.cmd.Wait()
	close(p.stop)
	p.watched.Wait()
	if err != nil {
		text := strings.TrimSpace(p.stderr.String())
		return fmt.Errorf("%s: %w\n%s", p.cmd.Args[0], err, text[max(0, len(text)-2000):])
	}
	return nil
}

// rss is the process's peak, in bytes.
func (p *process) rss() int64 {
	peak := p.cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	if peak > highWater("self") || p.sampled == 0 {
		return peak
	}
	return p.sampled
}

// highWater is VmHWM of a process, in bytes; 0 once it has ended.
func highWater(pid string) int64 {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				kb, _ := strconv.ParseInt(f[0], 10, 64)
				return kb << 10
			}
		}
	}
	return 0
}
