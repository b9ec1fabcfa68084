// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/seccomp_default.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/socket.h>

// Names that an architecture does not have are skipped, so all of them share one list.
// clang-format off
static const char *const allowed[] = {
	// files
	"access", "chdir", "chmod", "chown", "chown32", "close", "close_range", "copy_file_range",
	"creat", "dup", "dup2", "dup3", "faccessat", "faccessat2", "fadvise64", "fadvise64_64",
	"fallocate", "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchown32", "fchownat",
	"fcntl", "fcntl64", "fdatasync", "fgetxattr", "flistxattr", "flock", "fremovexattr",
	"fsetxattr", "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64", "fsync", "ftruncate",
	"ftruncate64", "futimesat", "getcwd", "getdents", "getdents64", "getxattr", "getxattrat",
	"inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "ioctl", "lchown",
	"lchown32", "lgetxattr", "link", "linkat", "listxattr", "listxattrat", "llistxattr",
	"lremovexattr", "lseek", "_llseek", "lsetxattr", "lstat", "lstat64", "mkdir", "mkdirat",
	"mknod", "mknodat", "newfstatat", "open", "openat", "openat2", "pipe", "pipe2", "pread64",
	"preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readdir",
	"readlink", "readlinkat", "readv", "removexattr", "removexattrat", "rename", "renameat",
	"renameat2", "rmdir", "sendfile", "sendfile64", "setxattr", "setxattrat", "splice", "stat",
	"stat64", "statfs", "statfs64", "statx", "symlink", "symlinkat", "sync", "sync_file_range",
	"sync_file_range2", "syncfs", "tee", "truncate", "truncate64", "umask", "unlink",
	"unlinkat", "utime", "utimensat", "utimensat_time64", "utimes", "vmsplice", "write",
	"writev",
	// waiting
	"_newselect", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait",
	"epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "poll", "ppoll",
	"ppoll_time64", "pselect6", "pselect6_time64", "select", "signalfd", "signalfd4",
	"io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_pgetevents_time64",
	"io_setup", "io_submit",
	// memory
	"arm_fadvise64_64", "brk", "cachestat", "get_mempolicy", "madvise", "map_shadow_stack",
	"mbind", "membarrier", "memfd_create", "mincore", "mlock", "mlock2", "mlockall", "mmap",
	"mmap2", "mprotect", "mremap", "msync", "munlock", "munlockall", "munmap", "pkey_alloc",
	"pkey_free", "pkey_mprotect", "process_madvise", "process_mrelease", "remap_file_pages",
	"set_mempolicy", "set_mempolicy_home_node",
	// processes and threads
	"alarm", "arch_prctl", "capget", "capset", "execve", "execveat", "exit", "exit_group",
	"fork", "futex", "futex_requeue", "futex_time64", "futex_wait", "futex_waitv", "futex_wake",
	"get_robust_list", "get_thread_area", "getcpu", "getegid", "getegid32", "geteuid",
	"geteuid32", "getgid", "getgid32", "getgroups", "getgroups32", "getitimer", "getpgid",
	"getpgrp", "getpid", "getppid", "getpriority", "getrandom", "getresgid", "getresgid32",
	"getresuid", "getresuid32", "getrlimit", "getrusage", "getsid", "gettid", "getuid",
	"getuid32", "ioprio_get", "ioprio_set", "kill", "landlock_add_rule",
	"landlock_create_ruleset", "landlock_restrict_self", "lsm_get_self_attr",
	"lsm_list_modules", "nice", "pause", "pidfd_open", "pidfd_send_signal", "prctl",
	"prlimit64", "ptrace", "restart_syscall", "riscv_flush_icache", "riscv_hwprobe", "rseq",
	"rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn",
	"rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64", "rt_tgsigqueueinfo",
	"sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr",
	"sched_getparam", "sched_getscheduler", "sched_rr_get_interval",
	"sched_rr_get_interval_time64", "sched_setaffinity", "sched_setattr", "sched_setparam",
	"sched_setscheduler", "sched_yield", "seccomp", "set_robust_list", "set_thread_area",
	"set_tid_address", "set_tls", "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid",
	"setgid32", "setgroups", "setgroups32", "setitimer", "setpgid", "setpriority", "setregid",
	"setregid32", "setresgid", "setresgid32", "setresuid", "setresuid32", "setreuid",
	"setreuid32", "setrlimit", "setsid", "setuid", "setuid32", "sigaltstack", "sigreturn",
	"sigaction", "signal", "sigpending", "sigprocmask", "sigsuspend", "swapcontext", "sysinfo",
	"tgkill", "time", "times", "tkill", "ugetrlimit", "uname", "vfork", "wait4", "waitid",
	"waitpid", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd",
	// clocks
	"clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64",
	"clock_nanosleep", "clock_nanosleep_time64", "gettimeofday", "nanosleep", "timer_create",
	"timer_delete", "timer_getoverrun", "timer_gettime", "timer_gettime64", "timer_settime",
	"timer_settime64", "timerfd_create", "timerfd_gettime", "timerfd_gettime64",
	"timerfd_settime", "timerfd_settime64", "adjtimex", "clock_adjtime", "clock_adjtime64",
	// talking to others
	"accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "ipc",
	"listen", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive",
	"mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64", "mq_unlink", "msgctl",
	"msgget", "msgrcv", "msgsnd", "recv", "recvfrom", "recvmmsg", "recvmmsg_time64", "recvmsg",
	"semctl", "semget", "semop", "semtimedop", "semtimedop_time64", "send", "sendmmsg",
	"sendmsg", "sendto", "setsockopt", "shmat", "shmctl", "shmdt", "shmget", "shutdown",
	"socketcall", "socketpair",
	// of single architectures
	"arm_sync_file_range", "breakpoint", "cacheflush", "modify_ldt", "s390_pci_mmio_read",
	"s390_pci_mmio_write", "s390_runtime_instr", "uretprobe",
};
// clang-format on

// Known, and not for a partition. What a capability opens is listed below and wins.
// clang-format off
static const char *const forbidden[] = {
	"_sysctl", "acct", "add_key", "afs_syscall", "bdflush", "bpf", "chroot", "clock_settime",
	"clock_settime64", "create_module", "delete_module", "fanotify_init", "finit_module",
	"fsconfig", "fsmount", "fsopen", "fspick", "get_kernel_syms", "getpmsg", "init_module",
	"ioperm", "iopl", "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie",
	"migrate_pages", "mount", "mount_setattr", "move_mount", "move_pages", "name_to_handle_at",
	"nfsservctl", "open_by_handle_at", "open_tree", "perf_event_open", "pivot_root", "putpmsg",
	"query_module", "quotactl", "quotactl_fd", "reboot", "request_key", "security",
	"setdomainname", "sethostname", "setns", "settimeofday", "stime", "swapoff", "swapon",
	"sysfs", "syslog", "tuxcall", "umount", "umount2", "unshare", "uselib", "userfaultfd",
	"ustat", "vhangup", "vm86", "vm86old", "vserver",
};
// clang-format on

#define SYS_ADMIN_CALLS                                                                        \
	"fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount", \
		"mount_setattr", "move_mount", "open_tree", "pivot_root", "quotactl",          \
		"quotactl_fd", "setdomainname", "sethostname", "setns", "umount", "umount2",   \
		"unshare"

struct opened {
	int capability;
	const char *const *calls;
	size_t count;
};

#define OPENS(capability, ...)                                                            \
	{                                                                                 \
		capability, (const char *const[]){__VA_ARGS__},                           \
			sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *) \
	}

static const struct opened by_capability[] = {
	OPENS(CAP_SYS_ADMIN, SYS_ADMIN_CALLS),
	OPENS(CAP_SYS_CHROOT, "chroot"),
	OPENS(CAP_DAC_READ_SEARCH, "open_by_handle_at", "name_to_handle_at"),
	OPENS(CAP_SYS_BOOT, "reboot"),
	OPENS(CAP_SYS_MODULE, "init_module", "finit_module", "delete_module"),
	OPENS(CAP_SYS_PACCT, "acct"),
	OPENS(CAP_SYS_RAWIO, "ioperm", "iopl"),
	OPENS(CAP_SYS_TIME, "settimeofday", "stime", "clock_settime", "clock_settime64"),
	OPENS(CAP_SYS_TTY_CONFIG, "vhangup"),
	OPENS(CAP_SYS_NICE, "migrate_pages", "move_pages"),
	OPENS(CAP_SYSLOG, "syslog"),
	OPENS(CAP_BPF, "bpf"),
	OPENS(CAP_PERFMON, "perf_event_open"),
};

static int add(scmp_filter_ctx filter, uint32_t action, const char *name)
{
	int number = seccomp_syscall_resolve_name(name);
	if (number == __NR_SCMP_ERROR)
		return 0;
	int failed = seccomp_rule_add(filter, action, number, 0);
	// EEXIST: two names of one call. EDOM, EINVAL: this architecture has no such call.
	return failed == -EEXIST || failed == -EDOM ? 0 : failed;
}

static bool is_opened(const char *name, uint64_t capabilities)
{
	for (size_t i = 0; i < ARRAY_SIZE(by_capability); i++) {
		if (!(capabilities & (1ull << by_capability[i].capability)))
			continue;
		for (size_t k = 0; k < by_capability[i].count; k++)
			if (!strcmp(by_capability[i].calls[k], name))
				return true;
	}
	return false;
}

// New namespaces only with CAP_SYS_ADMIN; they could not be checkpointed either. The flags of
// clone3 are behind a pointer that a filter cannot follow: it does not exist, so that libc uses
// clone.
static int add_clone(scmp_filter_ctx filter, uint64_t capabilities)
{
	const uint64_t namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
				    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
	if (capabilities & (1ull << CAP_SYS_ADMIN)) {
		int failed = add(filter, SCMP_ACT_ALLOW, "clone3");
		return failed ? failed : add(filter, SCMP_ACT_ALLOW, "clone");
	}
#ifdef __s390x__
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				SCMP_A1(SCMP_CMP_MASKED_EQ, namespaces, 0));
#else
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces, 0));
#endif
}

// Execution domains that change nothing about security: Linux, and 32-bit views of it.
static int add_personality(scmp_filter_ctx filter)
{
	static const uint32_t harmless[] = {0x0, 0x8, 0x20000, 0x20008, 0xffffffff};
	for (size_t i = 0; i < ARRAY_SIZE(harmless); i++) {
		int failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1,
					      SCMP_A0(SCMP_CMP_EQ, harmless[i], 0));
		if (failed)
			return failed;
	}
	return 0;
}

int seccomp_default_fill(scmp_filter_ctx filter, uint64_t capabilities)
{
	int failed = 0;
	for (size_t i = 0; i < ARRAY_SIZE(allowed) && !failed; i++)
		failed = add(filter, SCMP_ACT_ALLOW, allowed[i]);
	for (size_t i = 0; i < ARRAY_SIZE(forbidden) && !failed; i++)
		failed = add(filter,
			     is_opened(forbidden[i], capabilities) ? SCMP_ACT_ALLOW
								   : SCMP_ACT_ERRNO(EPERM),
			     forbidden[i]);
	if (!failed)
		failed = add_clone(filter, capabilities);
	if (!failed)
		failed = add_personality(filter);
	// Sockets of virtual machines reach the host's hypervisor and cannot be checkpointed.
	if (!failed)
		failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
					  SCMP_A0(SCMP_CMP_NE, AF_VSOCK, 0));
	return failed;
}
