// SPDX-License-Identifier: Apache-2.0
// /v1/partitions/{}/exec: the connection becomes a session (wpar-exec/1): frames of both directions
// are exchanged with a command inside the partition, in a thread of its own.
#include "relocd/api/api_handlers.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/spawn.h"
#include "lib/client/exec_frame.h"
#include "lib/partition/exec.h"
#include "lib/partition/keeper_client.h"
#include "relocd/supervisor/moves.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PROTOCOL   "wpar-exec/1"
#define QUEUE_MAX  (1 << 20)
#define PAUSE_AT   (128 << 10) // queued bytes at which the side that fills is not read any more
#define REQUEST_MS 10000       // for the first frame to come
#define HANGUP_MS  5000        // for the command to end when the client has gone
#define READ_SIZE  32768

struct session {
	struct daemon *d;
	char name[REGISTRY_NAME_MAX];
	struct MHD_UpgradeResponseHandle *handle;
	int sock;
	struct buf in, out; // frames from and to the client
	struct buf input;   // for the command's standard input
	bool input_ended;   // the client will send no more of it
	struct exec_session exec;
};

// ---- the client ---------------------------------------------------------------------------------

static int send_control(struct session *s, json_t *message, struct error *err)
{
	_cleanup_json_ json_t *owned = message;
	_cleanup_free_ char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;
	if (!text)
		return error_set(err, ERR_NOMEM, "no memory for a frame");
	return exec_frame_append(&s->out, WPAR_CONTROL, text, strlen(text), err);
}

static int flush(struct session *s, struct error *err)
{
	while (s->out.length) {
		ssize_t n = send(s->sock, s->out.data, s->out.length, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return error_sys(err, ERR_UNREACHABLE, errno, "the client has gone");
		buf_consume(&s->out, (size_t)n);
	}
	return 0;
}

static int flush_all(struct session *s, struct error *err)
{
	deadline_t deadline = deadline_in_ms(HANGUP_MS);
	while (s->out.length) {
		if (flush(s, err) < 0)
			return -1;
		if (s->out.length && fdio_wait(s->sock, POLLOUT, deadline, err) <= 0)
			return -1;
	}
	return 0;
}

static int fill(struct session *s, struct error *err)
{
	uint8_t *to = buf_reserve(&s->in, READ_SIZE, err);
	if (!to)
		return -1;
	ssize_t n = recv(s->sock, to, READ_SIZE, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return error_set(err, ERR_UNREACHABLE, "the client has gone");
	s->in.length += (size_t)n;
	return 0;
}

static int resize(struct session *s, const struct wpar_exec_frame *frame, struct error *err)
{
	_cleanup_json_ json_t *message = json_loadb(frame->bytes, frame->length, 0, NULL);
	int rows, cols;
	if (json_unpack(message, "{s:[i, i]}", "resize", &rows, &cols) < 0 || rows < 0 || cols < 0)
		return error_set(err, ERR_PROTOCOL, "a control frame is not one");
	return exec_resize(&s->exec, (unsigned)rows, (unsigned)cols, err);
}

static int take_frame(struct session *s, const struct wpar_exec_frame *frame, struct error *err)
{
	if (frame->channel == WPAR_CONTROL)
		return resize(s, frame, err);
	if (frame->channel != WPAR_STDIN)
		return error_set(err, ERR_PROTOCOL, "a frame of channel %d", (int)frame->channel);
	if (!frame->length)
		s->input_ended = true;
	return s->input_ended ? 0 : buf_append(&s->input, frame->bytes, frame->length, err);
}

static int take_frames(struct session *s, struct error *err)
{
	struct wpar_exec_frame frame;
	size_t size;
	int got;
	while (s->input.length < PAUSE_AT && (got = exec_frame_next(&s->in, &frame, &size, err))) {
		if (got < 0 || take_frame(s, &frame, err) < 0)
			return -1;
		buf_consume(&s->in, size);
	}
	return 0;
}

// ---- the command --------------------------------------------------------------------------------

static void close_input(struct session *s)
{
	if (s->exec.stdin_fd >= 0 && s->exec.stdin_fd != s->exec.stdout_fd)
		close(s->exec.stdin_fd);
	s->exec.stdin_fd = -1;
}

static void feed(struct session *s)
{
	while (s->exec.stdin_fd >= 0 && s->input.length) {
		ssize_t n = write(s->exec.stdin_fd, s->input.data, s->input.length);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) { // it reads no more
			s->input.length = 0;
			close_input(s);
			return;
		}
		buf_consume(&s->input, (size_t)n);
	}
	if (s->exec.stdin_fd < 0)
		s->input.length = 0;
	else if (s->input_ended)
		close_input(s);
}

// Passes on what has come, as far as the command takes it: whole frames are left only while it is
// being waited for.
static int take_input(struct session *s, struct error *err)
{
	size_t before;
	do {
		before = s->in.length;
		if (take_frames(s, err) < 0)
			return -1;
		feed(s);
	} while (s->in.length != before && !s->input.length);
	return 0;
}

// Reads one piece: 1 got some, 0 nothing now, -1 the end (the descriptor is closed).
static int drain(struct session *s, int *fd, enum wpar_channel channel, struct error *err)
{
	char bytes[READ_SIZE];
	ssize_t n = read(*fd, bytes, sizeof(bytes));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n > 0 && exec_frame_append(&s->out, channel, bytes, (size_t)n, err) == 0)
		return 1;
	close(*fd); // end of file; EIO is that of a terminal
	*fd = -1;
	return -1;
}

// The command has ended: what it wrote is taken; what its children still hold open is not waited
// for.
static void drain_rest(struct session *s)
{
	struct error err;
	while (s->exec.stdout_fd >= 0 && drain(s, &s->exec.stdout_fd, WPAR_STDOUT, &err) > 0)
		if (flush_all(s, &err) < 0)
			return;
	while (s->exec.stderr_fd >= 0 && drain(s, &s->exec.stderr_fd, WPAR_STDERR, &err) > 0)
		if (flush_all(s, &err) < 0)
			return;
}

// 1: the command has ended; 0: go on; -1: the client has gone.
static int turn(struct session *s, struct error *err)
{
	// Before waiting: input that came together with the request is here already.
	if (take_input(s, err) < 0)
		return -1;
	bool want_output = s->out.length < PAUSE_AT, want_input = s->input.length < PAUSE_AT;
	struct pollfd fds[] = {
		{.fd = s->sock,
		 .events = (short)((want_input ? POLLIN : 0) | (s->out.length ? POLLOUT : 0))},
		{.fd = want_output ? s->exec.stdout_fd : -1, .events = POLLIN},
		{.fd = want_output ? s->exec.stderr_fd : -1, .events = POLLIN},
		{.fd = s->input.length ? s->exec.stdin_fd : -1, .events = POLLOUT},
		{.fd = s->exec.pidfd, .events = POLLIN},
	};
	if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
		return error_sys(err, ERR_SYSTEM, errno, "poll failed");
	if ((fds[0].revents & (POLLIN | POLLHUP | POLLERR)) && fill(s, err) < 0)
		return -1;
	if (fds[1].revents)
		drain(s, &s->exec.stdout_fd, WPAR_STDOUT, err);
	if (fds[2].revents)
		drain(s, &s->exec.stderr_fd, WPAR_STDERR, err);
	if (flush(s, err) < 0)
		return -1;
	return fds[4].revents ? 1 : 0;
}

// enter hangs up its command when our control end closes; if that does not help, it is killed.
static void hang_up(struct session *s)
{
	int pidfd = s->exec.pidfd;
	close(take_fd(&s->exec.control));
	if (fdio_wait(pidfd, POLLIN, deadline_in_ms(HANGUP_MS), NULL) <= 0)
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}

// Why a session was ended, for who sits at it: a move with end_exec.
static void say_why(struct session *s)
{
	char text[300] = "";
	daemon_lock(s->d);
	const struct partition *p = partition_find(s->d, s->name);
	const struct move *m = p && p->row.move[0] ? move_find(s->d, p->row.move) : NULL;
	if (m && m->end_exec)
		snprintf(text, sizeof(text), "\r\nthe session was ended: %s moves to %s\r\n",
			 s->name, m->row.target);
	daemon_unlock(s->d);
	if (text[0])
		exec_frame_append(&s->out, WPAR_STDERR, text, strlen(text), NULL);
}

static void relay(struct session *s, struct error *err)
{
	int result, status = 0;
	int fds[] = {s->exec.stdin_fd, s->exec.stdout_fd, s->exec.stderr_fd};
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			fdio_set_nonblock(fds[i], true, NULL);
	while ((result = turn(s, err)) == 0)
		;
	if (result < 0)
		hang_up(s);
	spawn_wait(s->exec.pid, &status, NULL);
	if (result > 0) {
		drain_rest(s);
		if (spawn_exit_code(status) > 128)
			say_why(s);
		send_control(s, json_pack("{s:i}", "exit", spawn_exit_code(status)), err);
		flush_all(s, err);
	}
	exec_close(&s->exec);
}

// ---- begin --------------------------------------------------------------------------------------

static int receive_request(struct session *s, json_t **request, struct error *err)
{
	deadline_t deadline = deadline_in_ms(REQUEST_MS);
	struct wpar_exec_frame frame;
	size_t size;
	int got;
	while ((got = exec_frame_next(&s->in, &frame, &size, err)) == 0) {
		int ready = fdio_wait(s->sock, POLLIN, deadline, err);
		if (ready == 0)
			return error_set(err, ERR_DEADLINE, "no request came");
		if (ready < 0 || fill(s, err) < 0)
			return -1;
	}
	if (got < 0)
		return -1;
	*request = frame.channel == WPAR_CONTROL
			   ? json_loadb(frame.bytes, frame.length, JSON_REJECT_DUPLICATES, NULL)
			   : NULL;
	buf_consume(&s->in, size);
	return *request ? 0 : error_set(err, ERR_PROTOCOL, "the first frame is not a request");
}

// JSON array of texts -> NULL-terminated vector pointing into it; the caller frees the vector.
static const char **texts(const json_t *list, struct error *err)
{
	const char **all = calloc(json_array_size(list) + 1, sizeof(*all));
	for (size_t i = 0; all && i < json_array_size(list); i++) {
		all[i] = json_string_value(json_array_get(list, i));
		if (!all[i]) {
			free(all);
			error_set(err, ERR_USAGE, "the request holds a list of other than texts");
			return NULL;
		}
	}
	if (!all)
		error_set(err, ERR_NOMEM, "no memory for a request");
	return all;
}

static int start_in(struct session *s, const struct partition_def *def,
		    const struct exec_request *request, struct error *err)
{
	struct keeper_status status;
	_cleanup_close_ int conn = keeper_connect(s->name, err);
	if (conn < 0 || keeper_status(conn, &status, err) < 0)
		return -1;
	_cleanup_close_ int pidfd = status.pidfd;
	if (status.state != KEEPER_RUNNING)
		return error_set(err, ERR_EXEC, "%s does not run", s->name);
	return exec_start(def, status.pid, pidfd, request, &s->exec, err);
}

static struct partition_def *definition_of(struct session *s, struct error *err)
{
	daemon_lock(s->d);
	struct partition *p = partition_get_for(s->d, s->name, ACT_EXEC, err);
	struct partition_def *def = p ? definition_from_json(p->row.definition, err) : NULL;
	daemon_unlock(s->d);
	return def;
}

// A text that may be absent or null.
static int text_of(const json_t *value, const char *key, const char **text, struct error *err)
{
	*text = json_string_value(value);
	if (!value || json_is_null(value) || *text)
		return 0;
	return error_set(err, ERR_USAGE, "the request's \"%s\" is not a text", key);
}

static int start(struct session *s, const json_t *q, struct error *err)
{
	struct exec_request request = {0};
	json_t *args, *env = NULL, *user = NULL, *cwd = NULL;
	json_error_t why;
	int tty = 0, rows = 0, cols = 0;
	if (json_unpack_ex((json_t *)q, &why, JSON_STRICT, "{s:o, s?o, s?o, s?o, s?b, s?i, s?i}",
			   "args", &args, "env", &env, "user", &user, "cwd", &cwd, "tty", &tty,
			   "rows", &rows, "cols", &cols) < 0)
		return error_set(err, ERR_USAGE, "the request is not right: %s", why.text);
	if ((user && !json_is_null(user) && !json_is_string(user)) ||
	    (cwd && !json_is_null(cwd) && !json_is_string(cwd)))
		return error_set(err, ERR_USAGE, "user and cwd of the request must be texts");
	if (text_of(user, "user", &request.user, err) < 0 ||
	    text_of(cwd, "cwd", &request.cwd, err) < 0)
		return -1;
	if (!json_array_size(args))
		return error_set(err, ERR_USAGE, "the request names no command");
	_cleanup_free_ const char **arg_list = texts(args, err);
	_cleanup_free_ const char **env_list = arg_list ? texts(env, err) : NULL;
	_cleanup_definition_ struct partition_def *def = env_list ? definition_of(s, err) : NULL;
	if (!def)
		return -1;
	request.args = arg_list;
	request.env = env_list;
	request.user = json_string_value(user);
	request.cwd = json_string_value(cwd);
	request.tty = tty;
	request.rows = rows > 0 ? (unsigned)rows : 0;
	request.cols = cols > 0 ? (unsigned)cols : 0;
	return start_in(s, def, &request, err);
}

static void serve(struct session *s)
{
	struct error err = {0};
	_cleanup_json_ json_t *request = NULL;
	if (receive_request(s, &request, &err) < 0 || start(s, request, &err) < 0) {
		error_at(&err, s->d->config.host, s->name, NULL);
		log_error_of(&err, "exec");
		send_control(s, json_pack("{s:o}", "error", error_to_json(&err)), NULL);
		flush_all(s, NULL);
		return;
	}
	relay(s, &err);
}

static void *run(void *arg)
{
	struct session *s = arg;
	serve(s);
	buf_free(&s->in);
	buf_free(&s->out);
	buf_free(&s->input);
	MHD_upgrade_action(s->handle, MHD_UPGRADE_ACTION_CLOSE);
	free(s);
	return NULL;
}

static void on_upgrade(void *arg, struct MHD_Connection *connection, void *context,
		       const char *extra, size_t length, MHD_socket sock,
		       struct MHD_UpgradeResponseHandle *handle)
{
	struct session *s = arg;
	pthread_t thread;
	(void)connection;
	(void)context;
	s->handle = handle;
	s->sock = sock;
	if (buf_append(&s->in, extra, length, NULL) == 0 &&
	    pthread_create(&thread, NULL, run, s) == 0) {
		pthread_detach(thread);
		return;
	}
	log_warn("exec: no memory for a session");
	buf_free(&s->in);
	MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
	free(s);
}

static int check_upgrade(struct request *q, struct error *err)
{
	const char *wanted = MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND,
							 MHD_HTTP_HEADER_UPGRADE);
	if (wanted && !strcasecmp(wanted, PROTOCOL))
		return 0;
	q->status = MHD_HTTP_UPGRADE_REQUIRED;
	return error_set(err, ERR_USAGE, "exec needs the header `Upgrade: " PROTOCOL "`");
}

int api_partition_exec(struct request *q, struct error *err)
{
	struct session *s = calloc(1, sizeof(*s));
	if (!s)
		return error_set(err, ERR_NOMEM, "no memory for a session");
	*s = (struct session){.d = q->d,
			      .in = BUF_INIT(QUEUE_MAX),
			      .out = BUF_INIT(QUEUE_MAX),
			      .input = BUF_INIT(QUEUE_MAX)};
	snprintf(s->name, sizeof(s->name), "%s", q->param);
	_cleanup_definition_ struct partition_def *def = NULL;
	if (check_upgrade(q, err) < 0 || !(def = definition_of(s, err))) {
		free(s);
		return -1;
	}
	q->response = MHD_create_response_for_upgrade(on_upgrade, s);
	if (!q->response) {
		free(s);
		return error_set(err, ERR_NOMEM, "no memory for a session");
	}
	MHD_add_response_header(q->response, MHD_HTTP_HEADER_UPGRADE, PROTOCOL);
	q->status = MHD_HTTP_SWITCHING_PROTOCOLS;
	return 0;
}
