package runlayer

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// scopeABI is the version of Landlock that knows scopes (linux/landlock.h; Linux 6.12).
const scopeABI = 6

// keepToOwn lets this thread, and what it becomes, send signals to none but what it has started, trace nothing else, and connect to no
// abstract socket of others: where there is no PID and no network namespace, the kernel has nothing else for that. A kernel without
// Landlock, or with an older one, leaves it at the filter of system calls.
func keepToOwn() error {
	if !scopes() {
		return nil
	}
	rules := unix.LandlockRulesetAttr{Scoped: unix.LANDLOCK_SCOPE_SIGNAL | unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), unsafe.Sizeof(rules), 0)
	if errno != 0 {
		return fmt.Errorf("landlock_create_ruleset(2): %w", errno)
	}
	defer unix.Close(int(fd))
	err := unprivileged(func() error {
		if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
			return errno
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("landlock_restrict_self(2), to keep the command's signals to itself: %w", err)
	}
	return nil
}

// scopes reports whether the kernel has what keepToOwn does.
func scopes() bool {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	return errno == 0 && abi >= scopeABI
}

// unprivileged does what the kernel lets nobody do without CAP_SYS_ADMIN who may still get privileges by set-user-ID programs. It gives
// those up only where that is asked for.
func unprivileged(do func() error) error {
	err := do()
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl(PR_SET_NO_NEW_PRIVS): %w", err)
	}
	return do()
}
