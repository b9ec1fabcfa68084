// SPDX-License-Identifier: Apache-2.0
// The auditor beside an arrival: it is started before the source freezes and gets each image as it
// has come, so that its verdict costs no time.
#include "lib/criu/audit.h"

#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "lib/base/spawn.h"
#include "relocd/arrival/arrival.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#define CHANNEL    3
#define VERDICT_MS 20000
#define END_MS     2000

// Those of the definition that this kernel has, and that therefore must be covered.
static json_t *present_here(char *const *paths)
{
	json_t *list = json_array();
	for (; *paths; paths++) {
		bool kernel = !strncmp(*paths, "/proc/", 6) || !strncmp(*paths, "/sys/", 5);
		struct stat st;
		if (kernel && stat(*paths, &st) == 0)
			json_array_append_new(list, json_string(*paths));
	}
	return list;
}

// "mnt[KEY]:SOURCE"
static json_t *keys_of(const struct keeper_externals *externals)
{
	json_t *list = json_array();
	for (const char **e = externals->restore; *e; e++) {
		const char *open = strchr(*e, '['), *close = open ? strchr(open, ']') : NULL;
		if (close)
			json_array_append_new(list,
					      json_stringn(open + 1, (size_t)(close - open - 1)));
	}
	return list;
}

static int start(struct arrival *a, struct error *err)
{
	_cleanup_json_ json_t *message =
		json_pack("{s:s, s:o, s:o, s:o, s:o}", "op", "start", "definition",
			  definition_to_json(a->def), "binds", keys_of(&a->externals), "masked",
			  present_here(a->def->masked_paths), "read_only",
			  present_here(a->def->readonly_paths));
	if (!message)
		return error_set(err, ERR_NOMEM, "no memory for an audit");
	return chan_send(a->auditor.channel, message, NULL, 0, err);
}

int arrival_audit_begin(struct arrival *a, struct error *err)
{
	int ends[2];
	if (chan_pair(ends, err) < 0)
		return -1;
	a->auditor.channel = ends[0];
	_cleanup_close_ int theirs = ends[1];
	const char *argv[] = {paths_program("auditor"), NULL};
	const struct spawn_fd fds[] = {{theirs, CHANNEL}};
	struct spawn what = SPAWN_INIT;
	what.argv = argv;
	what.fds = fds;
	what.fd_count = ARRAY_SIZE(fds);
	what.oom_score = "0";
	if (spawn_start(&what, &a->auditor.pid, &a->auditor.pidfd, err) < 0)
		return -1;
	return start(a, err);
}

int arrival_audit_image(struct arrival *a, const char *name, struct error *err)
{
	_cleanup_json_ json_t *message = json_pack("{s:s, s:s}", "op", "image", "name", name);
	_cleanup_close_ int fd = -1;
	a->auditor.images++;
	if (audit_reads(name) &&
	    (fd = openat(a->images, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot open image %s", name);
	return chan_send(a->auditor.channel, message, &fd, fd >= 0, err);
}

int arrival_audit_verdict(struct arrival *a, struct error *err)
{
	_cleanup_json_ json_t *answer = NULL;
	if (chan_call(a->auditor.channel, json_pack("{s:s}", "op", "verdict"), NULL, 0,
		      deadline_in_ms(VERDICT_MS), &answer, err) < 0) {
		if (err->id == ERR_UNREACHABLE)
			error_set(err, ERR_IMAGES, "the images brought their auditor to its end");
		return -1;
	}
	if (json_integer_value(json_object_get(answer, "images")) != a->auditor.images)
		return error_set(err, ERR_INTERNAL, "not all images were audited");
	return 0;
}

void arrival_audit_end(struct arrival *a)
{
	int status;
	if (a->auditor.pidfd < 0)
		return;
	close(take_fd(&a->auditor.channel));
	if (fdio_wait(a->auditor.pidfd, POLLIN, deadline_in_ms(END_MS), NULL) != 1)
		kill(a->auditor.pid, SIGKILL);
	if (spawn_wait(a->auditor.pid, &status, NULL) == 0 && status)
		log_warn("the auditor ended with status %d", spawn_exit_code(status));
	close(take_fd(&a->auditor.pidfd));
}
