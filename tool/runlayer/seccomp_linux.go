package runlayer

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// auditArch are the kernel's names of architectures (linux/audit.h), by Go's.
var auditArch = map[string]uint32{
	"386": unix.AUDIT_ARCH_I386, "amd64": unix.AUDIT_ARCH_X86_64, "arm": unix.AUDIT_ARCH_ARM, "arm64": unix.AUDIT_ARCH_AARCH64,
	"loong64": unix.AUDIT_ARCH_LOONGARCH64, "ppc64le": unix.AUDIT_ARCH_PPC64LE, "riscv64": unix.AUDIT_ARCH_RISCV64, "s390x": unix.AUDIT_ARCH_S390X,
}

// Offsets in struct seccomp_data (linux/seccomp.h).
const (
	seccompNR   = 0
	seccompArch = 4
	seccompArg0 = 16 // its low half, on little-endian machines
)

// socketcalls are the numbers of socketcall(2), on architectures that have it: it does what socket(2) does, with arguments that no
// filter sees.
var socketcalls = map[string]uint32{"386": 102, "ppc64le": 102, "s390x": 102}

// networkFilter is the filter that forbidNetwork sets on an architecture.
func networkFilter(goarch string) ([]unix.SockFilter, error) {
	arch, ok := auditArch[goarch]
	if !ok {
		return nil, fmt.Errorf("no system call filter is known for %s, to keep the command from the network", goarch)
	}
	arg0 := uint32(seccompArg0)
	if goarch == "s390x" {
		arg0 += 4
	}
	const (
		load = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jeq  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		jge  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		ret  = unix.BPF_RET | unix.BPF_K
		x32  = 0x40000000 // and all above
	)
	socketcall, ok := socketcalls[goarch]
	if !ok {
		socketcall = x32 // Which is refused already.
	}
	refuse := unix.SECCOMP_RET_ERRNO | uint32(unix.EACCES)
	return []unix.SockFilter{
		{Code: load, K: seccompArch},
		{Code: jeq, Jt: 1, K: arch},
		{Code: ret, K: refuse},
		{Code: load, K: seccompNR},
		{Code: jge, Jt: 6, K: x32},
		{Code: jeq, Jt: 5, K: unix.SYS_IO_URING_SETUP},
		{Code: jeq, Jt: 4, K: socketcall},
		{Code: jeq, Jf: 2, K: unix.SYS_SOCKET},
		{Code: load, K: arg0},
		{Code: jeq, Jf: 1, K: unix.AF_UNIX},
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
		{Code: ret, K: refuse},
	}, nil
}

// forbidNetwork lets this thread, and what it becomes, have no sockets but those of AF_UNIX: where there is no network namespace, nothing
// else keeps a program from the network. System calls of another architecture, whose numbers are others, are refused altogether.
func forbidNetwork() error {
	filter, err := networkFilter(runtime.GOARCH)
	if err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// As root nothing else is asked for: set-user-ID programs stay what they are.
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("prctl(PR_SET_NO_NEW_PRIVS): %w", err)
		}
		if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
			return fmt.Errorf("prctl(PR_SET_SECCOMP), to keep the command from the network: %w", err)
		}
	}
	return nil
}
