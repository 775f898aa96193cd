package runlayer

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

// The files of the process that becomes the program.
const (
	fdExecJob = 3
	fdFault   = 4
)

// keptCapabilities are what the program has as root: docker's, without making devices, raw sockets and audit records.
var keptCapabilities = []int{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL, unix.CAP_NET_BIND_SERVICE,
	unix.CAP_SETFCAP, unix.CAP_SETGID, unix.CAP_SETPCAP, unix.CAP_SETUID, unix.CAP_SYS_CHROOT,
}

// execMain is the process that becomes the program.
func execMain() int {
	runtime.LockOSThread() // A filter is a thread's.
	unix.CloseOnExec(fdExecJob)
	unix.CloseOnExec(fdFault)
	j := new(execJob)
	err := readJSON(fdExecJob, j)
	if err == nil {
		err = j.become()
	}
	fault := execFault{Text: err.Error()}
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		fault.Hint = h.Hint()
	}
	json.NewEncoder(os.NewFile(fdFault, "fault")).Encode(fault)
	return 1
}

// become enters the root, gives up what the program shall not have, and becomes it. It returns only if that fails.
func (j *execJob) become() error {
	if err := j.enter(); err != nil {
		return err
	}
	who, err := j.who()
	if err != nil {
		return err
	}
	unix.Umask(0o022)
	// An empty keyring of its own: the caller's may hold tickets and secrets. Where there are no keyrings, there is nothing to hide.
	unix.Syscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("setrlimit(2): %w", err)
	}
	if err := dropCapabilities(j.Chroot); err != nil {
		return err
	}
	if j.Chroot {
		if err := keepToOwn(); err != nil {
			return err
		}
		if err := forbidCalls(); err != nil {
			return err
		}
	}
	if err := become(who); err != nil {
		return err
	}
	dir := j.Workdir
	if dir == "" {
		dir = "/"
	}
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("workdir: %w", err)
	}
	env := j.Env
	if lookup(env, "HOME") == "" {
		env = append(env, "HOME="+who.Home)
	}
	program, err := find(j.Command[0], lookup(env, "PATH"))
	if err != nil {
		return err
	}
	return explainExec(program, unix.Exec(program, j.Command, env))
}

// enter makes the image's root this process' root.
func (j *execJob) enter() error {
	if j.Chroot {
		if err := unix.Chroot(j.Root); err != nil {
			return fmt.Errorf("chroot(2): %w", err)
		}
		return os.Chdir("/")
	}
	if err := os.Chdir(j.Root); err != nil {
		return err
	}
	// The old root comes to lie on the new one, and is taken off.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root(2): %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("umount(2) of the old root: %w", err)
	}
	return os.Chdir("/")
}

// who is the user, looked up in the image.
func (j *execJob) who() (*user.ExecUser, error) {
	for _, name := range []string{"/etc/passwd", "/etc/group"} {
		if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() { // It may have no end, or no writer.
			return nil, &failure{fmt.Sprintf("user: %s in the image is no regular file", name), ""}
		}
	}
	who, err := user.GetExecUserPath(j.User, &user.ExecUser{Home: "/"}, "/etc/passwd", "/etc/group")
	if err != nil {
		return nil, &failure{fmt.Sprintf("user %q: %v", j.User, err), "names are looked up in the image's /etc/passwd and /etc/group: etc_layer makes them; numbers need none"}
	}
	return who, nil
}

// become gives this process the user's ids.
func become(who *user.ExecUser) error {
	if err := syscall.Setgroups(who.Sgids); err != nil && who.Uid != 0 && len(who.Sgids) > 0 { // Root needs none.
		return oneID("groups", who.Sgids, err)
	}
	if err := syscall.Setresgid(who.Gid, who.Gid, who.Gid); err != nil {
		return oneID("group", who.Gid, err)
	}
	if err := syscall.Setresuid(who.Uid, who.Uid, who.Uid); err != nil {
		return oneID("user", who.Uid, err)
	}
	return nil
}

func oneID(what string, id any, err error) error {
	return &failure{
		fmt.Sprintf("user: becoming %s %v: %v", what, id, err),
		"where a user without ids of /etc/subuid and /etc/subgid runs this, or Bazel's sandbox is around it, there is but one user id, which is root in the image",
	}
}

// dropCapabilities leaves the program those that are kept. Who may change the root again could leave one of chroot(2).
func dropCapabilities(chroot bool) error {
	for c := 0; c <= unix.CAP_LAST_CAP; c++ {
		keep := false
		for _, k := range keptCapabilities {
			keep = keep || k == c
		}
		keep = keep && !(chroot && c == unix.CAP_SYS_CHROOT)
		if keep {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil && err != unix.EINVAL { // A kernel may know fewer.
			return fmt.Errorf("prctl(PR_CAPBSET_DROP): %w", err)
		}
	}
	return nil
}

func lookup(env []string, name string) string {
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// find finds the program as a shell does.
func find(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range filepath.SplitList(path) {
		p := filepath.Join("/", dir, name)
		if info, err := os.Stat(p); err == nil && !info.IsDir() && unix.Access(p, unix.X_OK) == nil {
			return p, nil
		}
	}
	return "", &failure{fmt.Sprintf("command: there is no %s in the image (PATH is %s)", name, path), "name it by its path, or set PATH in env; root_layer links the programs of store paths to /bin"}
}

// explainExec says what keeps a program from being run.
func explainExec(program string, err error) error {
	e := &failure{text: fmt.Sprintf("command: %s: %v", program, err)}
	switch {
	case errors.Is(err, unix.ENOENT):
		if _, statErr := os.Stat(program); statErr == nil {
			e.text = fmt.Sprintf("command: %s: its interpreter or loader is not in the image", program)
		} else {
			e.text = fmt.Sprintf("command: %s is not in the image", program)
		}
	case errors.Is(err, unix.EACCES):
		e.hint = "it must be an executable file, and the disk that has the folder for temporary files must not be mounted noexec"
	case errors.Is(err, unix.ENOEXEC):
		e.hint = "is it a program for another machine than this one? Then it can be run where binfmt_misc has an emulator for it"
	}
	return e
}
