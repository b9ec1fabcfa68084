// SPDX-License-Identifier: Apache-2.0
// Holds CRIU's images against what a partition was granted, before CRIU restores from them as root:
// users, capabilities, no_new_privs, seccomp, namespaces, mounts, open files. Images are taken in
// one by one, as they arrive; what needs several of them is looked at in the end.
//
// It reads what a stranger may have written: run it in a sandbox (libexec/auditor).
#ifndef WPAR_CRIU_AUDIT_H
#define WPAR_CRIU_AUDIT_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define AUDIT_IMAGE_MAX (64u << 20) // bytes of one image

// What was granted. The lists end with NULL and stay the caller's.
struct audit_grant {
	uint64_t capabilities; // the bounding set, bit n = capability n
	uid_t uid;
	gid_t gid;
	const gid_t *groups;
	size_t group_count;
	bool no_new_privileges;
	bool seccomp; // every task has a filter
	bool read_only_root;
	char *const *binds;         // keys of the external mounts that we offer
	const uint32_t *bind_flags; // of mount(2) that each must have, in their order
	const uint64_t *limits;     // hard limits by RLIMIT_*: none may be above
	size_t limit_count;
	char *const *masked;    // paths of /proc and /sys that must be masked here
	char *const *read_only; // and those that must be read-only
};

struct audit;

struct audit *audit_open(const struct audit_grant *grant, struct error *err);
void audit_free(struct audit *audit);

// Whether an image of this name is looked into at all; the others need not be read.
bool audit_reads(const char *name);
// Takes one image in. ERR_IMAGES: it asks for more than is granted, in a sentence that names it;
// ERR_PROTOCOL: it is damaged, or no image that belongs here.
int audit_image(struct audit *audit, const char *name, const void *bytes, size_t length,
		struct error *err);
// All images were taken in: what remains to be said. The same errors.
int audit_end(struct audit *audit, struct error *err);

#endif
