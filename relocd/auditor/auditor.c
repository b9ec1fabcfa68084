// SPDX-License-Identifier: Apache-2.0
// auditor: reads CRIU's images in a sandbox and says whether they ask for more than the partition's
// definition grants. Started by arrival, not by hand: descriptor 3 is a channel (chan.h).
//   {"op":"start","definition":{},"binds":[],"masked":[],"read_only":[]}
//   {"op":"image","name":""}, with a descriptor where audit_reads(name)   no answer
//   {"op":"verdict"}   {"ok":true,"images":COUNT} or {"error":{}}
#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/sandbox.h"
#include "lib/base/version.h"
#include "lib/criu/audit.h"
#include "lib/partition/definition.h"
#include "lib/partition/stage.h"
#include "lib/partition/strv.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define CHANNEL  3
#define START_MS 10000

struct auditor {
	struct partition_def *def;
	char **binds, **masked, **read_only;
	uint32_t *bind_flags;
	uint64_t limits[RLIM_NLIMITS];
	struct audit_grant grant;
	struct audit *audit;
	json_int_t images;
	struct error first; // what was wrong first
};

static char **texts_of(const json_t *array)
{
	size_t count = json_array_size(array);
	char **texts = calloc(count + 1, sizeof(*texts));
	for (size_t i = 0; texts && i < count; i++) {
		const char *text = json_string_value(json_array_get(array, i));
		texts[i] = strdup(text ? text : "");
	}
	return texts;
}

static bool is_confined(const json_t *seccomp)
{
	const char *name = json_string_value(seccomp);
	return !name || strcmp(name, "unconfined") != 0;
}

static void grant_mounts(struct auditor *a)
{
	const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
	for (size_t i = 0; a->binds[i]; i++)
		a->bind_flags[i] = (uint32_t)(stage_flags(a->def, a->binds[i]) & flags);
}

// What the definition does not name is the host's, and has been checked with the offer.
static void grant_limits(struct auditor *a)
{
	const struct partition_process *p = &a->def->process;
	for (size_t i = 0; i < ARRAY_SIZE(a->limits); i++)
		a->limits[i] = RLIM_INFINITY;
	for (size_t i = 0; i < p->rlimit_count; i++)
		a->limits[p->rlimits[i].resource] = p->rlimits[i].hard;
}

static int take_start(struct auditor *a, const json_t *start, struct error *err)
{
	a->def = definition_from_json(json_object_get(start, "definition"), err);
	if (!a->def)
		return -1;
	a->binds = texts_of(json_object_get(start, "binds"));
	a->masked = texts_of(json_object_get(start, "masked"));
	a->read_only = texts_of(json_object_get(start, "read_only"));
	a->bind_flags = a->binds ? calloc(strv_length(a->binds) + 1, sizeof(uint32_t)) : NULL;
	if (!a->bind_flags || !a->masked || !a->read_only)
		return error_set(err, ERR_NOMEM, "no memory for an audit");
	grant_mounts(a);
	grant_limits(a);
	const struct partition_process *p = &a->def->process;
	a->grant = (struct audit_grant){
		.capabilities = p->capabilities,
		.uid = p->uid,
		.gid = p->gid,
		.groups = p->groups,
		.group_count = p->group_count,
		.no_new_privileges = p->no_new_privileges,
		.seccomp = is_confined(a->def->seccomp),
		.read_only_root = a->def->readonly,
		.binds = a->binds,
		.bind_flags = a->bind_flags,
		.limits = a->limits,
		.limit_count = ARRAY_SIZE(a->limits),
		.masked = a->masked,
		.read_only = a->read_only,
	};
	a->audit = audit_open(&a->grant, err);
	return a->audit ? 0 : -1;
}

static int begin(struct auditor *a, struct error *err)
{
	static const int calls[] = {
		__NR_recvmsg, __NR_sendmsg,
#ifdef __NR_poll
		__NR_poll,
#endif
		__NR_ppoll,   __NR_pread64, __NR_fstat, __NR_newfstatat,
	};
	_cleanup_json_ json_t *start = NULL;
	if (sandbox_drop(err) < 0 ||
	    chan_recv(CHANNEL, deadline_in_ms(START_MS), &start, NULL, NULL, err) < 0)
		return -1;
	// The definition is the peer's as well: nothing is read before the sandbox is closed.
	if (sandbox_close(calls, ARRAY_SIZE(calls), err) < 0)
		return -1;
	return take_start(a, start, err);
}

static int read_image(struct auditor *a, const char *name, int fd, struct error *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot look at image %s", name);
	if (st.st_size > AUDIT_IMAGE_MAX)
		return error_set(err, ERR_IMAGES, "image %s is larger than %u MiB", name,
				 AUDIT_IMAGE_MAX >> 20);
	_cleanup_free_ uint8_t *bytes = malloc((size_t)st.st_size + 1);
	if (!bytes)
		return error_set(err, ERR_NOMEM, "no memory for image %s", name);
	if (fdio_pread_all(fd, bytes, (size_t)st.st_size, 0, err) < 0)
		return -1;
	return audit_image(a->audit, name, bytes, (size_t)st.st_size, err);
}

static void take_image(struct auditor *a, const json_t *q, int fd)
{
	const char *name = json_string_value(json_object_get(q, "name"));
	a->images++;
	if (error_is_set(&a->first))
		return;
	if (!name || (audit_reads(name) && fd < 0))
		error_set(&a->first, ERR_INTERNAL, "an image came without its name or contents");
	else if (fd >= 0)
		read_image(a, name, fd, &a->first);
}

static void answer(struct auditor *a)
{
	if (!error_is_set(&a->first))
		audit_end(a->audit, &a->first);
	if (error_is_set(&a->first))
		chan_reply_error(CHANNEL, &a->first);
	else
		chan_reply(CHANNEL, json_pack("{s:I}", "images", a->images), NULL, 0, NULL);
}

static int serve(struct auditor *a, struct error *err)
{
	for (;;) {
		_cleanup_json_ json_t *q = NULL;
		_cleanup_close_ int fd = -1;
		size_t count = 1;
		int got = chan_recv(CHANNEL, DEADLINE_NEVER, &q, &fd, &count, err);
		if (got < 0 || !q)
			return got;
		if (!count)
			fd = -1;
		const char *op = json_string_value(json_object_get(q, "op"));
		if (op && !strcmp(op, "image"))
			take_image(a, q, fd);
		else if (op && !strcmp(op, "verdict"))
			answer(a);
	}
}

int main(int argc, char **argv)
{
	if (version_asked(argc, argv, "auditor"))
		return 0;
	static struct auditor a;
	struct error err = {0};
	log_open("auditor");
	if (begin(&a, &err) < 0)
		a.first = err;
	if (serve(&a, &err) < 0)
		log_error_of(&err, "audit");
	_exit(0); // what libraries do at their end is not in the sandbox's list
}
