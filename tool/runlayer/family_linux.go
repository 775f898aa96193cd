package runlayer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// family is the program and all that it starts. Its init is the reaper of all of them.
type family struct {
	chroot bool
	ending sync.Mutex
}

// execJob is what the process has to do that becomes the program.
type execJob struct {
	Root    string
	Chroot  bool
	Command []string
	Env     []string
	User    string
	Workdir string
}

// execFault is why it could not.
type execFault struct{ Text, Hint string }

// run runs the program in root to its end, and ends what it has left running. It starts as the binary self. One that fails is a [CommandError].
func (f *family) run(j *job, self, root string) error {
	file, err := jsonFile(execJob{root, j.Way.Chroot, j.Command, j.Env, j.User, j.Workdir})
	if err != nil {
		return err
	}
	defer file.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer outR.Close()
	defer outW.Close()
	faultR, faultW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer faultR.Close()
	defer faultW.Close()

	attributes := &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL}
	if !j.Way.Chroot {
		attributes.Cloneflags = unix.CLONE_NEWNS // Where it leaves this root behind; the folder stays to be seen here.
	}
	pid, err := syscall.ForkExec(self, []string{execName}, &syscall.ProcAttr{
		Env:   []string{},
		Files: []uintptr{null.Fd(), outW.Fd(), outW.Fd(), file.Fd(), faultW.Fd()},
		Sys:   attributes,
	})
	if err != nil {
		return fmt.Errorf("starting a process: %w", err)
	}
	outW.Close()
	faultW.Close()
	var text output
	copied := make(chan struct{})
	go func() {
		io.Copy(&text, outR)
		close(copied)
	}()
	var late atomic.Bool // What it reads to become the program is the image's, and may have no end either.
	if j.TimeLimit > 0 {
		timer := time.AfterFunc(j.TimeLimit, func() {
			late.Store(true)
			f.kill()
		})
		defer timer.Stop()
	}
	fault, _ := io.ReadAll(faultR) // Ends when it has become the program, or has failed to.
	status, err := wait(pid)
	f.end()
	<-copied
	switch {
	case err != nil:
		return fmt.Errorf("wait4(2): %w", err)
	case late.Load():
		return &CommandError{Command: j.Command, Failure: fmt.Sprintf("not done after %s (time_limit)", j.TimeLimit), Output: text.Bytes()}
	case len(fault) > 0:
		var e execFault
		if err := json.Unmarshal(fault, &e); err != nil {
			return err
		}
		return &failure{e.Text, e.Hint}
	case status.Signaled():
		return &CommandError{Command: j.Command, Failure: "ended by signal: " + status.Signal().String(), Output: text.Bytes()}
	case status.ExitStatus() != 0:
		return &CommandError{Command: j.Command, Failure: fmt.Sprintf("exit code %d", status.ExitStatus()), Output: text.Bytes()}
	}
	return nil
}

// wait reaps children until pid is among them.
func wait(pid int) (status unix.WaitStatus, err error) {
	for {
		got, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil || got == pid:
			return status, err
		}
	}
}

// kill kills all of the family that there is at the moment.
func (f *family) kill() {
	if !f.chroot {
		unix.Kill(-1, unix.SIGKILL) // All in the PID namespace, but for this process.
		return
	}
	for _, pid := range children() {
		unix.Kill(pid, unix.SIGKILL)
	}
}

// end kills all of the family, until there is nobody left: whose parent dies becomes a child of this process. It looks again and
// again rather than to wait for one of them to end, since another goroutine may have waited for that one.
func (f *family) end() {
	f.ending.Lock()
	defer f.ending.Unlock()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		f.kill()
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if errors.Is(err, unix.ECHILD) {
				return
			}
			if pid <= 0 && !errors.Is(err, unix.EINTR) {
				break
			}
		}
		time.Sleep(pause)
	}
}

// children are the processes whose parent is this one.
func children() (out []int) {
	entries, _ := os.ReadDir("/proc")
	self := os.Getpid()
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && parentOf(pid) == self {
			out = append(out, pid)
		}
	}
	return out
}

// parentOf reads a process' parent, 0 if there is none: the fourth field of /proc/PID/stat, of which the second is in
// parentheses and may hold anything.
func parentOf(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(string(fields[1]))
	return parent
}
