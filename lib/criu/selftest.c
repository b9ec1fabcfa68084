// SPDX-License-Identifier: Apache-2.0
#include "lib/criu/selftest.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/paths.h"
#include "lib/base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#define CACHE_NAME "criu-selftest.json"

enum { CACHE_MAX = 16 * 1024 };

// ---- the kept result ----------------------------------------------------------------------------

static json_t *describe(const struct criu_program *p, const struct criu_version *v)
{
	struct utsname kernel;

	uname(&kernel);
	return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i}", "kernel", kernel.release,
			 "kernel_build", kernel.version, "criu", p->program, "preload", p->preload,
			 "major", v->major, "minor", v->minor, "sublevel", v->sublevel);
}

static bool kept(const char *path, const json_t *wanted)
{
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, CACHE_MAX, NULL);
	_cleanup_json_ json_t *found = text ? json_loads(text, 0, NULL) : NULL;

	return found && json_equal(found, wanted);
}

// A result that cannot be kept is no error: the next one runs the test again.
static void keep(const char *path, const json_t *result)
{
	_cleanup_free_ char *text = json_dumps(result, JSON_INDENT(1) | JSON_SORT_KEYS);

	if (text)
		fdio_replace_file(path, text, strlen(text), 0644, NULL);
}

int criu_selftest_cached(const struct criu_program *p, const char *statedir, deadline_t deadline,
			 struct criu_version *version, struct error *err)
{
	_cleanup_json_ json_t *wanted = NULL;
	char path[4096];

	if (criu_program_version(p, deadline, version, err) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/" CACHE_NAME, statedir);
	wanted = describe(p, version);
	if (!wanted)
		return error_set(err, ERR_NOMEM, "no memory for the self-test of CRIU");
	if (kept(path, wanted))
		return 0;
	if (criu_selftest_run(p, deadline, err) < 0)
		return -1;
	keep(path, wanted);
	return 0;
}

// ---- the program --------------------------------------------------------------------------------

// criu-selftest takes a private prefix as its folder.
static void criu_argument(const struct criu_program *p, char out[CRIU_PATH_MAX])
{
	char *slash;

	snprintf(out, CRIU_PATH_MAX, "%s", p->program);
	slash = p->loader[0] ? strrchr(out, '/') : NULL;
	if (slash)
		*slash = 0;
}

static int start(const struct criu_program *p, int out, pid_t *pid, struct error *err)
{
	char criu[CRIU_PATH_MAX];
	const char *const argv[] = {
		paths_program("criu-selftest"),      "--quiet", "--criu", criu, "--preload",
		p->preload[0] ? p->preload : "none", NULL};
	const struct spawn_fd fds[] = {{.from = out, .to = 1}};
	struct spawn what = SPAWN_INIT;

	criu_argument(p, criu);
	what.argv = argv;
	what.fds = fds;
	what.fd_count = ARRAY_SIZE(fds);
	return spawn_start(&what, pid, NULL, err);
}

// Reads until the end of the stream: 1, or 0 when the deadline came first.
static int read_text(int fd, char *text, size_t size, deadline_t deadline, struct error *err)
{
	size_t used = 0;

	for (;;) {
		char rest[256];
		bool room = used < size - 1;
		ssize_t n;
		int ready = fdio_wait(fd, POLLIN, deadline, err);

		text[used] = 0;
		if (ready <= 0)
			return ready;
		n = room ? read(fd, text + used, size - 1 - used) : read(fd, rest, sizeof(rest));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, ERR_SYSTEM, errno, "cannot read from criu-selftest");
		if (n == 0)
			break;
		used += room ? (size_t)n : 0;
	}
	text[strcspn(text, "\n")] = 0;
	return 1;
}

int criu_selftest_run(const struct criu_program *p, deadline_t deadline, struct error *err)
{
	_cleanup_close_ int in = -1, out = -1;
	int ends[2], status = 0, finished;
	char text[600];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make a pipe");
	in = ends[0];
	out = ends[1];
	if (start(p, out, &pid, err) < 0)
		return -1;
	close(take_fd(&out));
	finished = read_text(in, text, sizeof(text), deadline, err);
	if (finished <= 0)
		kill(pid, SIGKILL);
	if (spawn_wait(pid, &status, err) < 0 || finished < 0)
		return -1;
	if (finished == 0)
		return error_set(err, ERR_DEADLINE, "the self-test of CRIU did not end in time");
	if (spawn_exit_code(status) != 0)
		return error_set(err, ERR_CRIU_UNABLE, "%s",
				 text[0] ? text : "the self-test of CRIU failed");
	return 0;
}
