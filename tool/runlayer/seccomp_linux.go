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

// forbidden are system calls that reach other processes and their keys, whatever their arguments. io_uring could make sockets.
var forbidden = []uint32{
	unix.SYS_IO_URING_SETUP, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD,
	unix.SYS_KCMP, unix.SYS_PROCESS_MADVISE, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
}

// callFilter is the filter that forbidCalls sets on an architecture.
func callFilter(goarch string) ([]unix.SockFilter, error) {
	arch, ok := auditArch[goarch]
	if !ok {
		return nil, fmt.Errorf("no system call filter is known for %s, to keep the command from the network and from other processes", goarch)
	}
	arg0 := uint32(seccompArg0)
	if goarch == "s390x" {
		arg0 += 4
	}
	const (
		load = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		jeq  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		jge  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		jset = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		ret  = unix.BPF_RET | unix.BPF_K
		x32  = 0x40000000 // and all above

		next, refuse, deny, allow = "", "refuse", "deny", "allow"
	)
	var p filterProgram
	p.add(next, load, seccompArch, next, next)
	p.add(next, jeq, arch, next, refuse)
	p.add(next, load, seccompNR, next, next)
	p.add(next, jge, x32, refuse, next)
	if call, ok := socketcalls[goarch]; ok {
		p.add(next, jeq, call, refuse, next)
	}
	for _, call := range forbidden {
		p.add(next, jeq, call, deny, next)
	}
	p.add(next, jeq, unix.SYS_SOCKET, "socket", next)
	p.add(next, jeq, unix.SYS_KILL, "kill", next)
	p.add(next, jeq, unix.SYS_PRLIMIT64, "prlimit64", allow)
	p.add("socket", load, arg0, next, next)
	p.add(next, jeq, unix.AF_UNIX, allow, refuse)
	// A negative number is all processes, or another group of them; 0 is the caller's own.
	p.add("kill", load, arg0, next, next)
	p.add(next, jset, 1<<31, deny, allow)
	// A limit of CPU time ends a process as a signal does; 0 is the caller.
	p.add("prlimit64", load, arg0, next, next)
	p.add(next, jeq, 0, allow, deny)
	p.add(allow, ret, unix.SECCOMP_RET_ALLOW, next, next)
	p.add(refuse, ret, unix.SECCOMP_RET_ERRNO|uint32(unix.EACCES), next, next)
	p.add(deny, ret, unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM), next, next)
	return p.link(), nil
}

// filterProgram is a filter in the making, whose jumps are by name; "" is the next instruction.
type filterProgram struct {
	code   []unix.SockFilter
	jumps  [][2]string // of each instruction: where it is true, and where not
	places map[string]int
}

func (p *filterProgram) add(name string, code uint16, k uint32, yes, no string) {
	if p.places == nil {
		p.places = map[string]int{}
	}
	if name != "" {
		p.places[name] = len(p.code)
	}
	p.code = append(p.code, unix.SockFilter{Code: code, K: k})
	p.jumps = append(p.jumps, [2]string{yes, no})
}

// link makes numbers of the jumps: how many instructions are left out.
func (p *filterProgram) link() []unix.SockFilter {
	distance := func(i int, name string) uint8 {
		if name == "" {
			return 0
		}
		return uint8(p.places[name] - i - 1)
	}
	for i, j := range p.jumps {
		p.code[i].Jt, p.code[i].Jf = distance(i, j[0]), distance(i, j[1])
	}
	return p.code
}

// forbidCalls lets this thread, and what it becomes, have no sockets but those of AF_UNIX, and leaves it no way into other processes: where there are no
// namespaces, little else keeps a program from the network and from the machine's processes. System calls of another
// architecture, whose numbers are others, are refused altogether. (A single process it may still send signals to by its number, as it must
// its own: see [keepToOwn].)
func forbidCalls() error {
	filter, err := callFilter(runtime.GOARCH)
	if err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err = unprivileged(func() error {
		return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
	})
	if err != nil {
		return fmt.Errorf("prctl(PR_SET_SECCOMP), to keep the command from the network: %w", err)
	}
	return nil
}
