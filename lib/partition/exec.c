// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/exec.h"

#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/paths.h"
#include "lib/base/spawn.h"

#include <errno.h>
#include <fcntl.h>

static json_t *strings(const char *const *list)
{
	json_t *array = json_array();
	for (size_t i = 0; list && list[i]; i++)
		json_array_append_new(array, json_string(list[i]));
	return array;
}

static json_t *request_json(const struct partition_def *def, pid_t init_pid,
			    const struct exec_request *request)
{
	return json_pack("{s:s, s:i, s:o, s:i, s:o, s:o, s:s?, s:s?, s:b, s:i, s:i}", "op", "exec",
			 "v", 1, "definition", definition_to_json(def), "pid", (int)init_pid,
			 "args", strings(request->args), "env", strings(request->env), "user",
			 request->user, "cwd", request->cwd, "tty", (int)request->tty, "rows",
			 (int)request->rows, "cols", (int)request->cols);
}

// Pipes: [i][0] is ours, [i][1] enter's descriptor i. With a terminal, stderr goes where stdout
// goes.
static int make_stdio(int ends[3][2], bool tty, struct error *err)
{
	for (int i = 0; i < (tty ? 2 : 3); i++) {
		int made[2];
		if (pipe2(made, O_CLOEXEC) < 0)
			return error_sys(err, ERR_EXEC, errno, "cannot make a pipe");
		ends[i][0] = made[i == 0];
		ends[i][1] = made[i != 0];
	}
	return 0;
}

static int start_enter(int ends[3][2], int control, int init_pidfd, bool tty, pid_t *pid,
		       int *pidfd, struct error *err)
{
	const char *argv[] = {paths_program("enter"), NULL};
	const struct spawn_fd fds[] = {
		{ends[0][1], 0}, {ends[1][1], 1}, {tty ? ends[1][1] : ends[2][1], 2},
		{control, 3},    {init_pidfd, 4},
	};
	struct spawn what = SPAWN_INIT;
	what.argv = argv;
	what.fds = fds;
	what.fd_count = ARRAY_SIZE(fds);
	what.new_session = true;
	return spawn_start(&what, pid, pidfd, err);
}

static void close_ends(int ends[3][2], int side)
{
	for (int i = 0; i < 3; i++)
		if (ends[i][side] >= 0)
			close(ends[i][side]);
}

int exec_start(const struct partition_def *def, pid_t init_pid, int init_pidfd,
	       const struct exec_request *request, struct exec_session *session, struct error *err)
{
	int ends[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}}, pair[2];
	*session = (struct exec_session){
		.pidfd = -1, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .control = -1};
	if (!request->args || !request->args[0] || !*request->args[0])
		return error_set(err, ERR_USAGE, "there is no command to execute");
	_cleanup_json_ json_t *json = request_json(def, init_pid, request);
	if (!json)
		return error_set(err, ERR_NOMEM, "no memory for a request");
	if (chan_pair(pair, err) < 0)
		return -1;
	_cleanup_close_ int ours = pair[0], theirs = pair[1];
	int failed = make_stdio(ends, request->tty, err) < 0 ||
		     chan_send(ours, json, NULL, 0, err) < 0 ||
		     start_enter(ends, theirs, init_pidfd, request->tty, &session->pid,
				 &session->pidfd, err) < 0;
	close_ends(ends, 1);
	if (failed) {
		close_ends(ends, 0);
		return -1;
	}
	session->stdin_fd = ends[0][0];
	session->stdout_fd = ends[1][0];
	session->stderr_fd = ends[2][0];
	session->control = take_fd(&ours);
	return 0;
}

int exec_resize(struct exec_session *session, unsigned rows, unsigned cols, struct error *err)
{
	_cleanup_json_ json_t *message = json_pack("{s:[i,i]}", "resize", (int)rows, (int)cols);
	return chan_send(session->control, message, NULL, 0, err);
}

void exec_close(struct exec_session *session)
{
	int *fds[] = {&session->pidfd, &session->stdin_fd, &session->stdout_fd, &session->stderr_fd,
		      &session->control};
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (*fds[i] >= 0)
			close(take_fd(fds[i]));
}
