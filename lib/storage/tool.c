// SPDX-License-Identifier: Apache-2.0
#include "lib/storage/tool.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#define TICK_MS     100
#define WORDS_MAX   65536
#define RESERVE_MAX (1ull << 30)
#define RESERVE_MIN (64ull << 20)

int tool_check(struct error *err)
{
	static const char *const tools[] = {TOOL_SKOPEO, TOOL_UMOCI};
	for (size_t i = 0; i < ARRAY_SIZE(tools); i++)
		if (access(tools[i], X_OK) < 0)
			return error_sys(err, ERR_IMAGE_TOOLS, errno, "%s", tools[i]);
	return 0;
}

int tool_check_space(const char *folder, uint64_t bytes, struct error *err)
{
	struct statvfs fs;
	if (statvfs(folder, &fs) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot look at %s", folder);
	uint64_t whole = (uint64_t)fs.f_blocks * fs.f_frsize, reserve = whole / 20;
	uint64_t left = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (reserve > RESERVE_MAX)
		reserve = RESERVE_MAX;
	if (reserve < RESERVE_MIN)
		reserve = RESERVE_MIN;
	if (left >= reserve && left - reserve >= bytes)
		return 0;
	return error_set(err, ERR_NO_SPACE,
			 "%llu MiB are left on the filesystem of %s, %llu MiB more are needed and "
			 "%llu MiB stay free",
			 (unsigned long long)(left >> 20), folder,
			 (unsigned long long)(bytes >> 20), (unsigned long long)(reserve >> 20));
}

struct running {
	const struct tool *tool;
	pid_t pid;
	int out, words; // read ends
	struct buf stderr_tail;
};

static int start(struct running *r, struct error *err)
{
	char temporary[4200], home[4200];
	int out[2], words[2];
	const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", temporary,
				   home, NULL};
	snprintf(temporary, sizeof(temporary), "TMPDIR=%s", r->tool->folder);
	snprintf(home, sizeof(home), "HOME=%s", r->tool->folder);
	if (pipe2(out, O_CLOEXEC) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make a pipe");
	_cleanup_close_ int out_end = out[1];
	r->out = out[0];
	if (pipe2(words, O_CLOEXEC) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make a pipe");
	_cleanup_close_ int words_end = words[1];
	r->words = words[0];
	_cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct spawn_fd fds[] = {{null, 0}, {out_end, 1}, {words_end, 2}, {r->tool->descriptor, 3}};
	struct spawn what = SPAWN_INIT;
	what.argv = r->tool->argv;
	what.envp = env;
	what.fds = fds;
	what.fd_count = r->tool->descriptor < 0 ? 3 : 4;
	what.unshare_flags = CLONE_NEWNET | CLONE_NEWIPC;
	what.new_session = true;
	what.oom_score = "0";
	what.dies_with_us = true;
	what.only_writable = r->tool->folder;
	return spawn_start(&what, &r->pid, NULL, err);
}

// Takes what waits in a pipe; closes it at its end.
static int drain(int *fd, struct buf *into, struct error *err)
{
	uint8_t bytes[16384];
	ssize_t n = read(*fd, bytes, sizeof(bytes));
	if (n <= 0) {
		if (n == 0 || errno != EINTR)
			close(take_fd(fd));
		return 0;
	}
	return into ? buf_append(into, bytes, (size_t)n, err) : 0;
}

static int follow(struct running *r, struct error *err)
{
	const struct tool *tool = r->tool;
	while (r->out >= 0 || r->words >= 0) {
		struct pollfd fds[] = {{r->out, POLLIN, 0}, {r->words, POLLIN, 0}};
		if (poll(fds, 2, TICK_MS) < 0 && errno != EINTR)
			return error_sys(err, ERR_SYSTEM, errno, "poll failed");
		if (fds[0].revents && drain(&r->out, tool->output, err) < 0)
			return -1;
		// Of a program that talks too much the beginning says what is wrong.
		if (fds[1].revents)
			drain(&r->words, r->stderr_tail.length < WORDS_MAX ? &r->stderr_tail : NULL,
			      NULL);
		if (tool->watch && tool->watch->check(tool->watch->arg, err) < 0)
			return -1;
		if (tool_check_space(tool->folder, 0, err) < 0)
			return -1;
		if (deadline_passed(tool->deadline))
			return error_set(err, ERR_DEADLINE, "%s did not end in time",
					 tool->argv[0]);
	}
	return 0;
}

// The last line, without the frame that the tools put around their sentence: msg="..." of skopeo.
static void last_words(char *text)
{
	size_t length = strlen(text);
	while (length && (text[length - 1] == '\n' || text[length - 1] == ' '))
		text[--length] = 0;
	char *line = strrchr(text, '\n');
	char *message = strstr(line ? line : text, "msg=\"");
	if (message) {
		message += 5;
		length = strlen(message);
		if (length && message[length - 1] == '"')
			message[length - 1] = 0;
		memmove(text, message, strlen(message) + 1);
	} else if (line) {
		memmove(text, line + 1, strlen(line));
	}
	for (char *c = text; *c; c++)
		if (*c == '\\' || (unsigned char)*c < ' ')
			*c = ' ';
}

static int failed(struct running *r, int status, struct error *err)
{
	uint8_t *end = buf_reserve(&r->stderr_tail, 1, NULL);
	const char *name = strrchr(r->tool->argv[0], '/') + 1;
	if (!end)
		return error_set(err, ERR_IMAGE, "%s failed", name);
	*end = 0;
	last_words((char *)r->stderr_tail.data);
	return error_set(err, ERR_IMAGE, "%s ended with status %d: %.600s", name,
			 spawn_exit_code(status), (char *)r->stderr_tail.data);
}

int tool_run(const struct tool *tool, struct error *err)
{
	struct running r = {
		.tool = tool, .out = -1, .words = -1, .stderr_tail = BUF_INIT(2 * WORDS_MAX)};
	int status = 0, done = tool_check(err) < 0 ? -1 : start(&r, err);
	if (done == 0) {
		done = follow(&r, err);
		if (done < 0)
			kill(-r.pid, SIGKILL);
		if (spawn_wait(r.pid, &status, done < 0 ? NULL : err) < 0)
			done = -1;
		else if (done == 0 && status)
			done = failed(&r, status, err);
	}
	if (r.out >= 0)
		close(r.out);
	if (r.words >= 0)
		close(r.words);
	buf_free(&r.stderr_tail);
	return done;
}
