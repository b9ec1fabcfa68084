// SPDX-License-Identifier: Apache-2.0
// exec and logs: bytes between this terminal and a partition.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "wparctl/ctl.h"
#include "wparctl/options.h"
#include "wparctl/since.h"
#include "wparctl/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#define EXEC_FAILED 125

// ---- exec ---------------------------------------------------------------------------------------

struct relay {
	struct wpar_exec *session;
	int signals; // signalfd
	bool input;  // standard input is still passed on
	bool tty;    // the command has a terminal
	int code;    // -1: it still runs
	struct error err;
};

static json_t *exec_request(const struct args *args, struct error *err)
{
	json_t *request = json_pack("{s:[], s:b}", "args", "tty", args_has(args, "tty"));
	json_t *words = json_object_get(request, "args");
	const char *user = args_value(args, "user"), *dir = args_value(args, "workdir");
	bool text = true;
	for (char **word = args->command; *word; word++)
		text = text && !json_array_append_new(words, json_string(*word));
	text = text && (!user || !json_object_set_new(request, "user", json_string(user))) &&
	       (!dir || !json_object_set_new(request, "cwd", json_string(dir)));
	if (!text) {
		json_decref(request);
		error_set(err, ERR_USAGE, "an argument is not text in UTF-8");
		return NULL;
	}
	json_t *env = options_env(args, err);
	if (!env) {
		json_decref(request);
		return NULL;
	}
	json_object_set_new(request, "env", env);
	if (args_has(args, "tty")) {
		unsigned rows, cols;
		terminal_size(&rows, &cols);
		json_object_set_new(request, "rows", json_integer(rows));
		json_object_set_new(request, "cols", json_integer(cols));
	}
	return request;
}

static void take_control(struct relay *relay, const struct wpar_exec_frame *frame)
{
	_cleanup_json_ json_t *message = json_loadb(frame->bytes, frame->length, 0, NULL);
	json_t *error = json_object_get(message, "error");
	json_t *code = json_object_get(message, "exit");
	if (json_is_integer(code)) {
		relay->code = (int)json_integer_value(code) & 0xff;
	} else if (error) {
		error_from_json(&relay->err, error);
		relay->code = EXEC_FAILED;
	}
}

// What the command wrote goes where it belongs; a reader of ours that went away ends the session.
static int put_out(struct relay *relay, const struct wpar_exec_frame *frame)
{
	int to = frame->channel == WPAR_STDERR ? STDERR_FILENO : STDOUT_FILENO;
	if (frame->channel == WPAR_STDIN)
		return error_set(&relay->err, ERR_PROTOCOL, "relocd sent input to us");
	return fdio_write_all(to, frame->bytes, frame->length, &relay->err);
}

static int take_frames(struct relay *relay)
{
	struct wpar_exec_frame frame;
	while (relay->code < 0) {
		int got = wpar_exec_receive(relay->session, &frame, &relay->err);
		if (got <= 0)
			return got;
		if (frame.channel == WPAR_CONTROL)
			take_control(relay, &frame);
		else if (put_out(relay, &frame) < 0)
			return -1;
	}
	return 0;
}

static int take_input(struct relay *relay)
{
	char bytes[32768];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0)
		relay->input = false;
	return wpar_exec_send(relay->session, WPAR_STDIN, bytes, n > 0 ? (size_t)n : 0,
			      &relay->err);
}

// SIGWINCH becomes a resize; the others end us, with the terminal as it was.
static int take_signal(struct relay *relay)
{
	struct signalfd_siginfo info;
	if (read(relay->signals, &info, sizeof(info)) != sizeof(info))
		return 0;
	if (info.ssi_signo != SIGWINCH) {
		relay->code = 128 + (int)info.ssi_signo;
		return 0;
	}
	unsigned rows, cols;
	terminal_size(&rows, &cols);
	return relay->tty ? wpar_exec_resize(relay->session, rows, cols, &relay->err) : 0;
}

static int relay_once(struct relay *relay)
{
	bool pending = wpar_exec_pending(relay->session);
	struct pollfd ready[] = {
		{.fd = wpar_exec_fd(relay->session), .events = POLLIN | (pending ? POLLOUT : 0)},
		{.fd = relay->signals, .events = POLLIN},
		// More is read only when the last was sent: what runs there sets the pace.
		{.fd = relay->input && !pending ? STDIN_FILENO : -1, .events = POLLIN},
	};
	if (poll(ready, ARRAY_SIZE(ready), -1) < 0)
		return errno == EINTR ? 0 : error_sys(&relay->err, ERR_SYSTEM, errno, "poll");
	if (ready[1].revents && take_signal(relay) < 0)
		return -1;
	if (ready[2].revents && take_input(relay) < 0)
		return -1;
	if (wpar_exec_flush(relay->session, &relay->err) < 0)
		return take_frames(relay); // the reason may be waiting to be read
	return ready[0].revents ? take_frames(relay) : 0;
}

static int open_signals(struct error *err)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGQUIT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? error_sys(err, ERR_SYSTEM, errno, "signalfd") : fd;
}

static int relay_all(struct relay *relay, bool raw)
{
	if (!relay->input && wpar_exec_send(relay->session, WPAR_STDIN, NULL, 0, &relay->err) < 0)
		return -1;
	if (raw && terminal_raw(&relay->err) < 0)
		return -1;
	int failed = 0;
	while (!failed && relay->code < 0)
		failed = relay_once(relay) < 0;
	terminal_restore();
	return failed ? -1 : 0;
}

int exec_run(struct ctl *ctl, const struct args *args)
{
	bool tty = args_has(args, "tty"), input = args_has(args, "interactive");
	struct relay relay = {.input = input, .tty = tty, .code = -1, .signals = -1};
	json_t *request = exec_request(args, &relay.err);
	if (!request)
		return out_error(ctl, NULL, &relay.err);
	if (wpar_exec(ctl->wpar, args->names[0], request, &relay.session, &relay.err) < 0) {
		out_error(ctl, args->names[0], &relay.err);
		return EXEC_FAILED;
	}
	relay.signals = open_signals(&relay.err);
	if (relay.signals < 0 || relay_all(&relay, tty && input && isatty(STDIN_FILENO)) < 0)
		relay.code = EXEC_FAILED;
	if (error_is_set(&relay.err))
		out_error(ctl, args->names[0], &relay.err);
	wpar_exec_close(relay.session);
	if (relay.signals >= 0)
		close(relay.signals);
	return relay.code;
}

// ---- logs ---------------------------------------------------------------------------------------

int logs_run(struct ctl *ctl, const struct args *args)
{
	struct error err;
	struct wpar_stream *stream;
	char when[SINCE_MAX];
	const void *bytes = NULL;
	size_t length = 0;
	enum wpar_next next;
	if (since_text(args_value(args, "since"), when, &err) < 0 ||
	    wpar_logs(ctl->wpar, args->names[0], args_has(args, "follow"), when[0] ? when : NULL,
		      &stream, &err) < 0)
		return out_error(ctl, args->names[0], &err);
	while ((next = wpar_stream_read(stream, -1, DEADLINE_NEVER, &bytes, &length, &err)) >
	       WPAR_NEXT_END)
		if (next == WPAR_NEXT_DATA &&
		    fdio_write_all(STDOUT_FILENO, bytes, length, &err) < 0) {
			next = WPAR_NEXT_ERROR;
			break;
		}
	wpar_stream_close(stream);
	return next == WPAR_NEXT_ERROR ? out_error(ctl, args->names[0], &err) : 0;
}
