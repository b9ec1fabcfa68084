// SPDX-License-Identifier: Apache-2.0
#include "relocd/daemon/privileges.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/base/sandbox.h"
#include "lib/partition/caps.h"

#include <errno.h>
#include <sys/capability.h>
#include <sys/prctl.h>

// Not kept: loading modules, raw I/O, reboot, accounting, the kernel's log, consoles, policies of
// security modules, the audit system's rules, performance counters, wake-ups.
static const struct {
	cap_value_t capability;
	const char *what_for;
} kept[] = {
	{CAP_CHOWN, "files of partitions: CRIU's ghost files, packed folders"},
	{CAP_DAC_OVERRIDE, "the same, whoever owns them"},
	{CAP_DAC_READ_SEARCH, "CRIU opens files by handle"},
	{CAP_FOWNER, "the same, and their modes and times"},
	{CAP_FSETID, "CRIU restores modes"},
	{CAP_KILL, "ending partitions"},
	{CAP_SETGID, "users of partitions and of confined processes"},
	{CAP_SETUID, "the same"},
	{CAP_SETPCAP, "bounding sets of partitions"},
	{CAP_LINUX_IMMUTABLE, "may be granted to a partition"},
	{CAP_NET_BIND_SERVICE, "may be granted; CRIU binds restored sockets"},
	{CAP_NET_BROADCAST, "may be granted"},
	{CAP_NET_ADMIN, "interfaces, bridges, TCP repair"},
	{CAP_NET_RAW, "packet sockets that hold and inject frames"},
	{CAP_IPC_LOCK, "CRIU restores locked memory; registered buffers"},
	{CAP_IPC_OWNER, "CRIU restores System V IPC"},
	{CAP_SYS_CHROOT, "roots of partitions, entering mount namespaces"},
	{CAP_SYS_PTRACE, "CRIU"},
	{CAP_SYS_ADMIN, "namespaces, mounts, cgroups, device filters, CRIU"},
	{CAP_SYS_NICE, "CRIU restores priorities"},
	{CAP_SYS_RESOURCE, "CRIU restores limits and memory maps"},
	{CAP_SYS_TIME, "clocks of a time namespace"},
	{CAP_MKNOD, "the devices in /dev of a partition"},
	{CAP_LEASE, "CRIU restores leases"},
	{CAP_AUDIT_WRITE, "may be granted: logins in a system partition"},
	{CAP_SETFCAP, "may be granted; capabilities of files in images"},
	{CAP_BPF, "device filters of control groups"},
	{CAP_CHECKPOINT_RESTORE, "CRIU"},
};

uint64_t privileges_kept(void)
{
	uint64_t set = 0;
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		set |= 1ull << kept[i].capability;
	return set;
}

static uint64_t permitted_now(void)
{
	uint64_t set = 0;
	cap_t now = cap_get_proc();
	for (cap_value_t c = 0; now && CAP_IS_SUPPORTED(c); c++) {
		cap_flag_value_t value = CAP_CLEAR;
		if (cap_get_flag(now, c, CAP_PERMITTED, &value) == 0 && value == CAP_SET)
			set |= 1ull << c;
	}
	cap_free(now);
	return set;
}

int privileges_bound(struct error *err)
{
	if (!sandbox_has_user())
		log_warn("there is no user " SANDBOX_USER
			 ": processes that read from the network run "
			 "as " SANDBOX_USER_LACKED ", like others on this host; make it by "
			 "systemd-sysusers");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot forbid core files");
	if (caps_bound(privileges_kept(), err) < 0)
		return -1;
	return caps_apply(permitted_now() & privileges_kept(), 0, err);
}
