package clients_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The tests run three processes deep. The outermost is the test binary as
// started. It starts itself as "init": process 1 of new PID, mount, network, IPC
// and host name namespaces. That starts itself once more, as "tests", and reaps
// the orphans that daemons and container shims leave. When init ends, the kernel
// kills every process in there and drops every mount; when the outermost is
// killed, init is too. So nothing that a test started can outlive it, and two
// runs at once, or a docker of the user's, are not met.
const (
	stageEnv   = "STRATA_CLIENTS_STAGE"
	stageInit  = "init"
	stageTests = "tests"
	workDirEnv = "STRATA_CLIENTS_WORK"
)

var (
	// isolated tells that the tests are in namespaces of their own.
	isolated bool
	// notIsolated is why they are not.
	notIsolated error
)

// runDir is private to the tests (a tmpfs) and short: a socket's path has at
// most 107 bytes.
const runDir = "/run/strata"

// cgroupParent is the cgroup above all that a test's runtimes make.
func cgroupParent() string { return "/" + filepath.Base(workDir) }

// runIsolated runs this program as init in new namespaces and returns its exit
// status; an error means that it was not started.
func runIsolated() (int, error) {
	if os.Geteuid() != 0 {
		return 0, errors.New("needs root")
	}
	exe, err := os.Executable()
	if err != nil {
		return 0, err
	}
	// Pdeathsig is sent when the thread that made the child ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c := exec.Command(exe, os.Args[1:]...)
	c.Env = append(os.Environ(), stageEnv+"="+stageInit, workDirEnv+"="+workDir)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	if err := c.Start(); err != nil {
		return 0, fmt.Errorf("needs to make namespaces: %w", err)
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
			c.Process.Kill()
		case <-done:
		}
	}()
	err = c.Wait()
	close(done)
	removeCgroups()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "clients:", err)
		return 1, nil
	}
	if code := c.ProcessState.ExitCode(); code >= 0 {
		return code, nil
	}
	return 1, nil // killed
}

// runInit is process 1 of the namespaces.
func runInit() int {
	if err := furnish(); err != nil {
		fmt.Fprintln(os.Stderr, "clients: setting namespaces up:", err)
		return 1
	}
	exe, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		return 1
	}
	os.Setenv(stageEnv, stageTests)
	child, err := os.StartProcess(exe, os.Args, &os.ProcAttr{
		Env:   os.Environ(),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		return 1
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			fmt.Fprintln(os.Stderr, "clients: wait:", err)
			return 1
		case pid != child.Pid:
		case status.Exited():
			return status.ExitStatus()
		case status.Signaled():
			fmt.Fprintln(os.Stderr, "clients: the tests were ended by signal:", status.Signal())
			return 1
		}
	}
}

// furnish gives the namespaces what programs expect: /proc, an empty /run, a
// loopback interface, and cgroups that every runtime can use.
func furnish() error {
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mounting /run: %w", err)
	}
	if err := os.Mkdir(runDir, 0o755); err != nil {
		return err
	}
	// In memory the tests take half the time (clients write every layer several
	// times over, and wait for the disk each time), and an overlay can be mounted
	// on it even if the machine's own root is one.
	if err := syscall.Mount("tmpfs", storageDir(), "tmpfs", syscall.MS_NODEV, "mode=711,size="+storageSize); err != nil {
		return fmt.Errorf("mounting a tmpfs for the tests' files: %w", err)
	}
	// Where cgroup v1 and v2 are mounted side by side, crun refuses to run.
	if _, err := os.Stat("/sys/fs/cgroup/unified/cgroup.procs"); err == nil {
		if err := syscall.Unmount("/sys/fs/cgroup/unified", syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("unmounting cgroup v2: %w", err)
		}
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("ip link set lo up: %w\n%s", err, out)
	}
	return nil
}

// storageSize bounds the memory that the tests' files take; they need a third of it.
const storageSize = "1g"

// removeStorage removes a folder of the tests, and first what is mounted in it.
func removeStorage(dir string) error {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	// The last mount first: it may be within an earlier one.
	for _, line := range slices.Backward(strings.Split(string(b), "\n")) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			if err := syscall.Unmount(f[1], syscall.MNT_DETACH); err != nil {
				return fmt.Errorf("unmounting %s: %w", f[1], err)
			}
		}
	}
	return os.RemoveAll(dir)
}

// removeCgroups removes the cgroups that killed runtimes left.
func removeCgroups() {
	found, _ := filepath.Glob("/sys/fs/cgroup/*" + cgroupParent())
	for _, top := range append(found, "/sys/fs/cgroup"+cgroupParent()) {
		var dirs []string
		filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			os.Remove(dirs[i])
		}
	}
}

func TestIsolation(t *testing.T) {
	needIsolation(t)
	if pid := os.Getppid(); pid != 1 {
		t.Errorf("the parent is process %d, want 1", pid)
	}
	self, err := os.Readlink("/proc/self")
	if err != nil || self != strconv.Itoa(os.Getpid()) {
		t.Errorf("/proc/self is %q (%v), want %d: /proc is of another PID namespace", self, err, os.Getpid())
	}
}
