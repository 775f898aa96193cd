package runlayer

import (
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// way is how a program gets a root of its own.
type way struct {
	// Chroot: without namespaces.
	Chroot bool
	// User: in a user namespace too, since the caller is not root.
	User bool
	// Subordinate: with the ids that /etc/subuid and /etc/subgid give to the caller; else with one.
	Subordinate bool
}

// String is the way in the words of a message.
func (w way) String() string {
	switch {
	case w.Chroot:
		return "chroot"
	case w.Subordinate:
		return "namespaces with the ids of /etc/subuid"
	case w.User:
		return "namespaces as a user"
	}
	return "namespaces as root"
}

// ways are those to try, the best first.
func ways() []way {
	var out []way
	if hasCapability(unix.CAP_SYS_ADMIN) {
		out = append(out, way{})
	} else {
		if _, ok := subordinateIDs(); ok {
			out = append(out, way{User: true, Subordinate: true})
		}
		out = append(out, way{User: true})
	}
	if hasCapability(unix.CAP_SYS_CHROOT) {
		out = append(out, way{Chroot: true})
	}
	return out
}

// hasCapability reports whether this process may do what a capability stands for.
func hasCapability(n int) bool {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&h, &data[0]) == nil && data[n/32].Effective&(1<<(n%32)) != 0
}

// attributes are what an init is started with.
func (w way) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	if w.Chroot {
		return a
	}
	a.Cloneflags = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	if w.User {
		a.Cloneflags |= unix.CLONE_NEWUSER
		if !w.Subordinate {
			a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
			a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
		}
	}
	return a
}

// The settings by which kernels keep users from namespaces, and the value with which they do.
var refusals = []struct{ file, name, value string }{
	{"/proc/sys/kernel/unprivileged_userns_clone", "kernel.unprivileged_userns_clone", "0"},
	{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "kernel.apparmor_restrict_unprivileged_userns", "1"},
	{"/proc/sys/user/max_user_namespaces", "user.max_user_namespaces", "0"},
}

// refusal says what may be behind a refusal, as far as the kernel tells.
func refusal() string {
	for _, r := range refusals {
		if b, err := os.ReadFile(r.file); err == nil && strings.TrimSpace(string(b)) == r.value {
			return ", as sysctl " + r.name + "=" + r.value + " has it"
		}
	}
	return ", by a container's seccomp profile, a security module or missing capabilities"
}

// advice is what to do where there is no way.
func advice() string {
	for _, r := range refusals {
		if b, err := os.ReadFile(r.file); err == nil && strings.TrimSpace(string(b)) == r.value {
			other := map[string]string{"0": "1", "1": "0"}[r.value]
			if r.name == "user.max_user_namespaces" {
				other = "10000"
			}
			return "allow user namespaces: sysctl -w " + r.name + "=" + other + "; or run this as root"
		}
	}
	return "run this where unshare(1) --user --map-root-user --pid --fork --mount-proc works, or as root with CAP_SYS_CHROOT and CAP_MKNOD (docker run: --security-opt seccomp=unconfined --security-opt systempaths=unconfined, or --privileged)"
}
