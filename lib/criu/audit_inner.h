// SPDX-License-Identifier: Apache-2.0
// Shared by the parts of the audit: tasks (audit_tasks.c), mounts and files (audit_mounts.c).
#ifndef WPAR_CRIU_AUDIT_INNER_H
#define WPAR_CRIU_AUDIT_INNER_H

#include "images/criu_audit.pb-c.h"
#include "lib/criu/audit.h"

#include <linux/capability.h>

#define AUDIT_SET_MAX    200000
#define AUDIT_MOUNTS_MAX 4096

// Numbers in ascending order.
struct audit_set {
	uint32_t *numbers;
	size_t count, room;
};

int audit_add(struct audit_set *set, uint32_t number, struct error *err);
bool audit_has(const struct audit_set *set, uint32_t number);
size_t audit_place(const struct audit_set *set, uint32_t number);

struct audit_thread {
	uint32_t process, id;
};

struct audit_mounted {
	uint32_t id, flags, device;
	char *point;
	char *part;  // what part of the root's filesystem it must be; NULL: it is no such mount
	char *super; // by what CRIU tells that it is the same filesystem
	bool mask;
};

struct audit_namespaces {
	uint32_t pid, net, ipc, uts, mnt, user, cgroup, time;
};

struct audit {
	const struct audit_grant *grant;
	struct audit_namespaces *root, own; // of CRIU at the dump; of the tasks
	bool have_ids;
	struct audit_set cores;       // thread ids that have a core image
	struct audit_thread *threads; // that will be restored
	size_t thread_count, thread_room;
	struct audit_set leaders, ended; // processes; those that only end once more
	struct audit_set filtered;
	struct audit_set filters_used;
	uint32_t filters;
	struct audit_mounted *mounts;
	size_t mount_count;
	bool have_root_mount;
	uint32_t root_device;
	char root_path[4096]; // of the root mount in its filesystem
	char *root_super;
	unsigned procs, sysfses;
	struct audit_set mounts_used;
};

static inline bool audit_grants(const struct audit *a, unsigned capability)
{
	return a->grant->capabilities >> capability & 1;
}

int audit_damaged(const char *name, struct error *err);

typedef int audit_taker(struct audit *a, const char *name, const uint8_t *bytes, size_t length,
			struct error *err);
audit_taker audit_inventory, audit_process, audit_core, audit_ids, audit_seccomp;
audit_taker audit_mount, audit_file, audit_ghost, audit_memfd;

int audit_end_tasks(struct audit *a, struct error *err);
int audit_end_mounts(struct audit *a, struct error *err);

#endif
