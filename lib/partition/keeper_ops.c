// SPDX-License-Identifier: Apache-2.0
// The requests that a keeper serves.
#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/memory/pager.h"
#include "lib/partition/jsonread.h"
#include "lib/partition/keeper_inner.h"
#include "lib/partition/strv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

// What a handler answers with; the descriptors stay the keeper's unless `close_fds`.
struct answer {
	json_t *json;
	int fds[FDIO_FDS_MAX];
	size_t fd_count;
	bool close_fds;
};

struct request {
	struct jsonread json;
	const int *fds;
	size_t fd_count;
	struct keeper_connection *connection;
};

static const char *const state_names[] = {"idle", "running", "exited"};

static json_t *exit_json(const struct keeper *k)
{
	if (k->state != KEEPER_EXITED)
		return json_pack("{s:n, s:n, s:n}", "code", "signal", "time");
	json_t *json = keeper_exit_event(k);
	json_object_del(json, "event");
	return json;
}

static json_t *ports_json(const struct keeper *k)
{
	json_t *list = json_array();
	for (size_t i = 0; i < k->port_count; i++)
		json_array_append_new(list, json_string(k->ports[i]));
	return list;
}

static int op_hello(struct keeper *k, const struct request *request, struct answer *answer,
		    struct error *err)
{
	(void)request, (void)err;
	answer->json = json_pack("{s:i, s:i, s:s, s:s}", "v", KEEPER_PROTOCOL, "oldest",
				 KEEPER_OLDEST, "version", WPAR_VERSION, "name", k->def->name);
	return 0;
}

// By a descriptor: it may be longer than a message.
static int op_definition(struct keeper *k, const struct request *request, struct answer *answer,
			 struct error *err)
{
	(void)request;
	_cleanup_json_ json_t *json = definition_to_json(k->def);
	_cleanup_free_ char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	_cleanup_close_ int fd = memfd_create("definition", MFD_CLOEXEC);
	if (!text || fd < 0)
		return error_set(err, ERR_SYSTEM, "cannot hand over the definition");
	if (fdio_write_all(fd, text, strlen(text), err) < 0)
		return -1;
	answer->close_fds = true;
	answer->fds[answer->fd_count++] = take_fd(&fd);
	return 0;
}

static int op_status(struct keeper *k, const struct request *request, struct answer *answer,
		     struct error *err)
{
	struct stat st;
	(void)request;
	if (fstat(k->netns, &st) < 0)
		return error_sys(err, ERR_KEEPER, errno, "cannot look at the network namespace");
	bool running = k->state == KEEPER_RUNNING;
	answer->json = json_pack(
		"{s:i, s:s, s:i, s:i, s:I, s:o, s:[I,I], s:o, s:s?, s:I, s:o}", "v", 1, "state",
		state_names[k->state], "keeper", (int)getpid(), "pid", running ? (int)k->pid : 0,
		"start_time", (json_int_t)(running ? k->start_time : 0), "exit", exit_json(k),
		"stdio", (json_int_t)k->console_inodes[0], (json_int_t)k->console_inodes[1],
		"ports", ports_json(k), "port", k->port_count ? k->ports[0] : NULL, "netns_ino",
		(json_int_t)st.st_ino, "fill", keeper_fill_json(k));
	if (running)
		answer->fds[answer->fd_count++] = k->pidfd;
	return 0;
}

static int op_run(struct keeper *k, const struct request *request, struct answer *answer,
		  struct error *err)
{
	(void)request;
	if (keeper_launch(k, err) < 0)
		return -1;
	answer->json = json_pack("{s:i}", "pid", (int)k->pid);
	return 0;
}

static int op_watch(struct keeper *k, const struct request *request, struct answer *answer,
		    struct error *err)
{
	(void)k, (void)answer, (void)err;
	request->connection->watching = true;
	return 0;
}

static int op_signal(struct keeper *k, const struct request *request, struct answer *answer,
		     struct error *err)
{
	uint64_t number = 0;
	(void)answer;
	if (jsonread_u64(&request->json, "signal", SIGRTMAX, &number, err) < 0)
		return -1;
	if (k->state != KEEPER_RUNNING)
		return error_set(err, ERR_WRONG_STATE, "partition %s does not run", k->def->name);
	if (syscall(SYS_pidfd_send_signal, k->pidfd, (int)number, NULL, 0) < 0)
		return error_sys(err, ERR_KEEPER, errno, "cannot send signal %d", (int)number);
	return 0;
}

static int op_externals(struct keeper *k, const struct request *request, struct answer *answer,
			struct error *err)
{
	(void)request;
	answer->json = keeper_mounts_json(k, err);
	return answer->json ? 0 : -1;
}

static int op_trees(struct keeper *k, const struct request *request, struct answer *answer,
		    struct error *err)
{
	(void)request;
	json_t *names = json_array();
	answer->close_fds = true;
	answer->json = json_pack("{s:o}", "names", names);
	for (size_t i = 0; i < k->stage.tree_count && answer->fd_count < FDIO_FDS_MAX; i++) {
		const struct stage_tree *tree = &k->stage.trees[i];
		int fd = open(tree->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return error_sys(err, ERR_KEEPER, errno, "cannot open %s", tree->path);
		answer->fds[answer->fd_count++] = fd;
		json_array_append_new(names, json_string(tree->name));
	}
	return 0;
}

// The upper layer of an image has arrived.
static int op_mount_root(struct keeper *k, const struct request *request, struct answer *answer,
			 struct error *err)
{
	(void)request, (void)answer;
	return k->def->image ? stage_mount_image(&k->stage, k->def, err)
			     : error_set(err, ERR_WRONG_STATE, "the root of %s is a folder",
					 k->def->name);
}

static int op_netns(struct keeper *k, const struct request *request, struct answer *answer,
		    struct error *err)
{
	(void)request, (void)err;
	answer->fds[answer->fd_count++] = k->netns;
	return 0;
}

static int op_drain(struct keeper *k, const struct request *request, struct answer *answer,
		    struct error *err)
{
	(void)request, (void)answer, (void)err;
	keeper_read_console(k, 0);
	keeper_read_console(k, 1);
	console_flush(k->console);
	return 0;
}

static int read_numbers(const struct request *request, int *numbers, struct error *err)
{
	const json_t *list = NULL;
	if (jsonread_array(&request->json, "fds", &list, err) < 0)
		return -1;
	if (json_array_size(list) != request->fd_count)
		return error_set(err, ERR_PROTOCOL, "%zu descriptors for %zu numbers",
				 request->fd_count, json_array_size(list));
	for (size_t i = 0; i < request->fd_count; i++) {
		json_int_t number = json_integer_value(json_array_get(list, i));
		if (number < 3 || number > 1000 || number == KEEPER_CRIU_STDOUT ||
		    number == KEEPER_CRIU_STDERR)
			return error_set(err, ERR_PROTOCOL, "descriptor number %d is not free",
					 (int)number);
		numbers[i] = (int)number;
	}
	return 0;
}

static int op_spawn_criu(struct keeper *k, const struct request *request, struct answer *answer,
			 struct error *err)
{
	char **argv = NULL, **env = NULL;
	int numbers[FDIO_FDS_MAX];
	pid_t pid = 0;
	int failed = jsonread_strings(&request->json, "argv", &argv, err) < 0 ||
		     jsonread_strings(&request->json, "env", &env, err) < 0 ||
		     read_numbers(request, numbers, err) < 0;
	if (!failed && (!argv || !argv[0]))
		failed = error_set(err, ERR_PROTOCOL, "argv is missing");
	if (!failed)
		failed = keeper_spawn(k, (const char *const *)argv, (const char *const *)env,
				      request->fds, numbers, request->fd_count, &pid, err);
	strv_free(argv);
	strv_free(env);
	if (failed)
		return -1;
	answer->json = json_pack("{s:i, s:[i,i]}", "pid", (int)pid, "stdio_fds", KEEPER_CRIU_STDOUT,
				 KEEPER_CRIU_STDERR);
	return 0;
}

static int op_adopt(struct keeper *k, const struct request *request, struct answer *answer,
		    struct error *err)
{
	uint64_t pid = 0;
	(void)answer;
	if (jsonread_u64(&request->json, "pid", INT32_MAX, &pid, err) < 0)
		return -1;
	return keeper_take_init(k, (pid_t)pid, err);
}

static int op_release(struct keeper *k, const struct request *request, struct answer *answer,
		      struct error *err)
{
	(void)request, (void)answer, (void)err;
	k->released = true;
	k->ending = k->ending || k->state == KEEPER_EXITED;
	return 0;
}

static int op_quit(struct keeper *k, const struct request *request, struct answer *answer,
		   struct error *err)
{
	(void)request, (void)answer;
	if (k->state == KEEPER_RUNNING)
		return error_set(err, ERR_WRONG_STATE, "partition %s runs", k->def->name);
	k->ending = true;
	return 0;
}

static int op_page(struct keeper *k, const struct request *request, struct answer *answer,
		   struct error *err)
{
	(void)answer;
	if (request->fd_count != 2)
		return error_set(err, ERR_PROTOCOL, "%zu descriptors for a page server",
				 request->fd_count);
	return keeper_start_pager(k, request->fds[0], request->fds[1], err);
}

static int op_fill(struct keeper *k, const struct request *request, struct answer *answer,
		   struct error *err)
{
	(void)request, (void)answer, (void)err;
	if (k->pager)
		pager_fill(k->pager);
	return 0;
}

static const struct {
	const char *name;
	int (*handle)(struct keeper *k, const struct request *request, struct answer *answer,
		      struct error *err);
	int since; // the version of the protocol that added it
} operations[] = {
	{"status", op_status, 1},
	{"run", op_run, 1},
	{"watch", op_watch, 1},
	{"signal", op_signal, 1},
	{"trees", op_trees, 1},
	{"externals", op_externals, 1},
	{"netns", op_netns, 1},
	{"drain", op_drain, 1},
	{"spawn_criu", op_spawn_criu, 1},
	{"adopt", op_adopt, 1},
	{"release", op_release, 1},
	{"quit", op_quit, 1},
	{"mount_root", op_mount_root, 1},
	{"hello", op_hello, 2},
	{"definition", op_definition, 2},
	{"page", op_page, 3},
	{"fill", op_fill, 3},
};

static int dispatch(struct keeper *k, const struct request *request, struct answer *answer,
		    struct error *err)
{
	const char *op = json_string_value(json_object_get(request->json.object, "op"));
	for (size_t i = 0; op && i < ARRAY_SIZE(operations); i++)
		if (!strcmp(operations[i].name, op) && operations[i].since <= k->protocol)
			return operations[i].handle(k, request, answer, err);
	return error_set(err, ERR_PROTOCOL, "the keeper has no operation \"%.32s\"", op ? op : "");
}

void keeper_handle(struct keeper *k, struct keeper_connection *connection, const json_t *message,
		   const int *fds, size_t fd_count)
{
	struct error err = {0};
	struct answer answer = {.json = NULL};
	struct request request = {.fds = fds, .fd_count = fd_count, .connection = connection};
	int failed = jsonread_open(&request.json, message, ERR_PROTOCOL, ERR_PROTOCOL, &err) < 0 ||
		     dispatch(k, &request, &answer, &err) < 0;
	if (failed) {
		json_decref(answer.json);
		error_at(&err, NULL, k->def->name, NULL);
		chan_reply_error(connection->fd, &err);
	} else if (chan_reply(connection->fd, answer.json ? answer.json : json_object(), answer.fds,
			      answer.fd_count, &err) < 0) {
		log_error_of(&err, "answering");
	}
	for (size_t i = 0; answer.close_fds && i < answer.fd_count; i++)
		close(answer.fds[i]);
	// A watcher that comes late learns of the end at once.
	if (!failed && connection->watching && k->arriving)
		keeper_tell_fill(k); // it may have ended since the watcher asked for the status
	if (!failed && connection->watching && k->state == KEEPER_EXITED) {
		_cleanup_json_ json_t *event = keeper_exit_event(k);
		chan_send(connection->fd, event, NULL, 0, NULL);
	}
}

void keeper_tell_watchers(struct keeper *k, json_t *event)
{
	_cleanup_json_ json_t *owned = event;
	for (size_t i = 0; i < KEEPER_CONNECTIONS_MAX; i++)
		if (k->connections[i].fd >= 0 && k->connections[i].watching)
			chan_send(k->connections[i].fd, owned, NULL, 0, NULL);
}
