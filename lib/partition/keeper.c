// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/keeper.h"

#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/memory/pager.h"
#include "lib/partition/keeper_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#define DEFINITION_FD  3
#define READY_FD       4
#define DEFINITION_MAX (1 << 20)
#define REQUEST_MS     5000 // for a message that has begun to arrive
#define POLL_FIXED     5    // signals, listener, two console pipes, page server
#define POLL_MAX       (POLL_FIXED + KEEPER_CONNECTIONS_MAX)

// ---- start -------------------------------------------------------------------------------------

static struct partition_def *read_definition(struct error *err)
{
	_cleanup_free_ char *text =
		fdio_read_file(AT_FDCWD, "/proc/self/fd/3", DEFINITION_MAX, err);
	return text ? definition_from_text(text, strlen(text), err) : NULL;
}

// The end of relocd or of its terminal is not ours: only `quit` and the end of a released init are.
static int set_signals(struct keeper *k, struct error *err)
{
	static const int ignored[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE, SIGQUIT};
	sigset_t set;
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 ||
	    (k->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		return error_sys(err, ERR_KEEPER, errno, "cannot watch for signals");
	return 0;
}

static void shield(void)
{
	// Needs CAP_SYS_RESOURCE; without it the keeper competes like anybody else.
	fdio_write_control(AT_FDCWD, "/proc/self/oom_score_adj", "-900", NULL);
}

static void set_name(const char *partition)
{
	char who[80];
	snprintf(who, sizeof(who), "keeper:%s", partition);
	prctl(PR_SET_NAME, who, 0, 0, 0); // the kernel keeps 15 letters
	snprintf(who, sizeof(who), "keeper %s", partition);
	log_open(who);
}

static void report(const struct error *err)
{
	_cleanup_json_ json_t *json = err ? error_to_json(err) : NULL;
	_cleanup_free_ char *text = json ? json_dumps(json, JSON_COMPACT) : strdup("1");
	if (text)
		fdio_write_all(READY_FD, text, strlen(text), NULL);
	close(READY_FD);
}

// ---- the loop ----------------------------------------------------------------------------------

static void accept_connection(struct keeper *k)
{
	int fd = accept4(k->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	for (size_t i = 0; i < KEEPER_CONNECTIONS_MAX; i++) {
		if (k->connections[i].fd >= 0)
			continue;
		k->connections[i] = (struct keeper_connection){.fd = fd};
		return;
	}
	log_warn("too many connections");
	close(fd);
}

static void serve(struct keeper *k, struct keeper_connection *connection)
{
	int fds[FDIO_FDS_MAX];
	size_t count = FDIO_FDS_MAX;
	struct error err = {0};
	_cleanup_json_ json_t *message = NULL;
	int failed =
		chan_recv(connection->fd, deadline_in_ms(REQUEST_MS), &message, fds, &count, &err);
	if (failed)
		log_error_of(&err, "reading a request");
	if (failed || !message) {
		close(connection->fd);
		connection->fd = -1;
		return;
	}
	keeper_handle(k, connection, message, fds, count);
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

static void drain_signals(struct keeper *k)
{
	struct signalfd_siginfo info;
	while (read(k->signals, &info, sizeof(info)) > 0)
		;
	keeper_reap(k);
}

static void turn(struct keeper *k)
{
	struct pollfd fds[POLL_MAX] = {
		{k->signals, POLLIN, 0},
		{k->listener, POLLIN, 0},
		{k->console_fds[0], POLLIN, 0},
		{k->console_fds[1], POLLIN, 0},
		{k->pager ? pager_news_fd(k->pager) : -1, POLLIN, 0},
	};
	for (size_t i = 0; i < KEEPER_CONNECTIONS_MAX; i++)
		fds[POLL_FIXED + i] = (struct pollfd){k->connections[i].fd, POLLIN, 0};
	if (poll(fds, POLL_MAX, deadline_poll_ms(k->hurry_until)) < 0)
		return;
	keeper_end_hurry(k);
	for (int stream = 0; stream < 2; stream++)
		if (fds[2 + stream].revents)
			keeper_read_console(k, stream);
	if (fds[4].revents)
		keeper_pager_news(k);
	if (fds[0].revents)
		drain_signals(k);
	for (size_t i = 0; i < KEEPER_CONNECTIONS_MAX && !k->ending; i++)
		if (fds[POLL_FIXED + i].revents && k->connections[i].fd >= 0)
			serve(k, &k->connections[i]);
	if (fds[1].revents)
		accept_connection(k);
}

static int run(struct keeper *k)
{
	struct error err = {0};
	if (!(k->def = read_definition(&err))) {
		report(&err);
		return 1;
	}
	close(DEFINITION_FD);
	set_name(k->def->name);
	if (set_signals(k, &err) < 0 || keeper_setup(k, &err) < 0) {
		keeper_teardown(k);
		report(&err);
		return 1;
	}
	report(NULL);
	while (!k->ending)
		turn(k);
	keeper_teardown(k);
	return 0;
}

// $RELOCD_KEEPER_PROTOCOL: an older version of the protocol, as a keeper of an older relocd speaks
// it; tests show with it that a newer relocd copes.
static int protocol_played(void)
{
	const char *text = getenv("RELOCD_KEEPER_PROTOCOL");
	int version = text ? atoi(text) : KEEPER_PROTOCOL;
	return version >= KEEPER_OLDEST && version < KEEPER_PROTOCOL ? version : KEEPER_PROTOCOL;
}

int keeper_main(int argc, char **argv)
{
	struct keeper k = {.listener = -1,
			   .signals = -1,
			   .pidfd = -1,
			   .host_netns = -1,
			   .netns = -1,
			   .hurry_until = DEADLINE_NEVER,
			   .stage = STAGE_NONE,
			   .console_fds = {-1, -1}};
	for (size_t i = 0; i < KEEPER_CONNECTIONS_MAX; i++)
		k.connections[i].fd = -1;
	log_open("keeper");
	k.protocol = protocol_played();
	k.arriving = argc == 2 && !strcmp(argv[1], "--arriving");
	if (argc > 2 || (argc == 2 && !k.arriving)) {
		log_error("usage: keeper [--arriving]  (started by relocd)");
		return 2;
	}
	shield();
	int code = run(&k);
	definition_free(k.def);
	return code;
}
