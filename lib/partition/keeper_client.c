// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/keeper_client.h"

#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/paths.h"
#include "lib/base/spawn.h"
#include "lib/net/port.h"
#include "lib/partition/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define START_MS   30000
#define ABANDON_MS 5000

char *keeper_run_dir(const char *name, char path[KEEPER_PATH_MAX])
{
	snprintf(path, KEEPER_PATH_MAX, "%s/partitions/%s", paths_run(), name);
	return path;
}

char *keeper_state_dir(const char *name, char path[KEEPER_PATH_MAX])
{
	snprintf(path, KEEPER_PATH_MAX, "%s/partitions/%s", paths_state(), name);
	return path;
}

char *keeper_socket_path(const char *name, char path[KEEPER_PATH_MAX])
{
	snprintf(path, KEEPER_PATH_MAX, "%s/partitions/%s/keeper.sock", paths_run(), name);
	return path;
}

// ---- start -------------------------------------------------------------------------------------

// The definition may be longer than a pipe is deep.
static int definition_file(const struct partition_def *def, struct error *err)
{
	_cleanup_json_ json_t *json = definition_to_json(def);
	_cleanup_free_ char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	_cleanup_close_ int fd = memfd_create("definition", MFD_CLOEXEC);
	if (!text || fd < 0)
		return error_set(err, ERR_SYSTEM, "cannot hand over the definition");
	if (fdio_write_all(fd, text, strlen(text), err) < 0)
		return -1;
	lseek(fd, 0, SEEK_SET);
	return take_fd(&fd);
}

// Reads the one byte, or the error, that the keeper reports.
static int await_ready(int report, struct error *err)
{
	char text[8192];
	size_t length = 0;
	deadline_t deadline = deadline_in_ms(START_MS);
	for (;;) {
		int ready = fdio_wait(report, POLLIN, deadline, err);
		if (ready < 0)
			return -1;
		if (!ready)
			return error_set(err, ERR_DEADLINE, "the keeper was not ready in %d s",
					 START_MS / 1000);
		ssize_t n = read(report, text + length, sizeof(text) - length);
		if (n < 0)
			return error_sys(err, ERR_KEEPER, errno, "cannot read from the keeper");
		length += (size_t)n;
		if (n == 0 || length == sizeof(text))
			break;
	}
	if (length == 1 && text[0] == '1')
		return 0;
	_cleanup_json_ json_t *why = json_loadb(text, length, 0, NULL);
	if (!why)
		return error_set(err, ERR_KEEPER, "the keeper ended without a word");
	return error_from_json(err, why);
}

// Nobody could ever tell that keeper to end.
static void abandon(const struct partition_def *def, pid_t keeper)
{
	char path[KEEPER_PATH_MAX], port[IFNAMSIZ];
	kill(keeper, SIGKILL);
	waitpid(keeper, NULL, 0);
	for (size_t i = 0; i < def->network_count; i++) {
		port_name(def->name, (unsigned)i, port);
		port_remove(port, NETNS_CURRENT, NULL);
	}
	cgroup_remove(def->name, deadline_in_ms(ABANDON_MS), NULL);
	fdio_remove_tree(AT_FDCWD, keeper_run_dir(def->name, path), NULL);
}

int keeper_start(const struct partition_def *def, bool arriving, pid_t *pid, struct error *err)
{
	const char *argv[] = {paths_program("keeper"), arriving ? "--arriving" : NULL, NULL};
	int ends[2];
	pid_t child;
	_cleanup_close_ int text = definition_file(def, err);
	if (text < 0)
		return -1;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make a pipe");
	_cleanup_close_ int in = ends[0], out = ends[1];
	const struct spawn_fd fds[] = {{text, 3}, {out, 4}};
	struct spawn what = SPAWN_INIT;
	what.argv = argv;
	what.fds = fds;
	what.fd_count = ARRAY_SIZE(fds);
	what.new_session = true;
	if (spawn_start(&what, &child, NULL, err) < 0)
		return -1;
	close(take_fd(&out));
	if (await_ready(in, err) < 0) {
		// It is about to exit by itself, unless it hangs.
		if (err && err->id == ERR_DEADLINE)
			kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		return -1;
	}
	_cleanup_close_ int conn = keeper_connect(def->name, err);
	if (conn < 0) {
		abandon(def, child);
		return -1;
	}
	if (pid)
		*pid = child;
	return 0;
}

// ---- calls -------------------------------------------------------------------------------------

int keeper_connect(const char *name, struct error *err)
{
	char path[KEEPER_PATH_MAX];
	return chan_connect(keeper_socket_path(name, path), err);
}

// One request and its answer with descriptors. Takes ownership of request; *answer may be NULL.
// A keeper that lacks an operation is older than this program: that is said, not its own words.
static int refused(const char *operation, const json_t *why, struct error *err)
{
	struct error local = {0};
	err = err ? err : &local;
	error_from_json(err, why);
	if (err->id != ERR_PROTOCOL || !strstr(err->message, "has no operation"))
		return -1;
	error_set(
		err, ERR_VERSION,
		"the keeper of this partition was started by an older relocd and cannot do \"%s\"",
		operation);
	return error_hint(err, "stop and start the partition, or move it: then it gets a keeper "
			       "of this version");
}

static int call(int conn, json_t *request, const int *fds, size_t count, json_t **answer,
		int *got_fds, size_t *got_count, struct error *err)
{
	_cleanup_json_ json_t *owned = request, *reply = NULL;
	if (!owned)
		return error_set(err, ERR_NOMEM, "no memory for a request");
	if (chan_send(conn, owned, fds, count, err) < 0 ||
	    chan_recv(conn, deadline_in_ms(KEEPER_CALL_MS), &reply, got_fds, got_count, err) < 0)
		return -1;
	if (!reply)
		return error_set(err, ERR_UNREACHABLE, "the keeper has gone");
	const json_t *why = json_object_get(reply, "error");
	if (why)
		return refused(json_string_value(json_object_get(owned, "op")), why, err);
	if (answer)
		*answer = take_ptr(reply);
	return 0;
}

static int simple(int conn, json_t *request, struct error *err)
{
	return call(conn, request, NULL, 0, NULL, NULL, NULL, err);
}

static json_t *op(const char *name)
{
	return json_pack("{s:s}", "op", name);
}

int keeper_hello(int conn, struct keeper_hello *hello, struct error *err)
{
	_cleanup_json_ json_t *answer = NULL;
	struct error why;
	*hello = (struct keeper_hello){.protocol = 1, .oldest = 1};
	if (call(conn, op("hello"), NULL, 0, &answer, NULL, NULL, &why) == 0) {
		const char *version = json_string_value(json_object_get(answer, "version"));
		hello->protocol = (int)json_integer_value(json_object_get(answer, "v"));
		hello->oldest = (int)json_integer_value(json_object_get(answer, "oldest"));
		snprintf(hello->version, sizeof(hello->version), "%s", version ? version : "");
	} else if (why.id != ERR_VERSION) {
		if (err)
			*err = why;
		return -1;
	}
	if (hello->protocol >= KEEPER_OLDEST && hello->oldest <= KEEPER_PROTOCOL)
		return 0;
	return error_set(err, ERR_VERSION,
			 "the keeper is of relocd %s and speaks protocols %d to %d; this relocd "
			 "speaks %d to %d",
			 hello->version, hello->oldest, hello->protocol, KEEPER_OLDEST,
			 KEEPER_PROTOCOL);
}

json_t *keeper_definition(int conn, struct error *err)
{
	int fd = -1;
	size_t count = 1;
	if (call(conn, op("definition"), NULL, 0, NULL, &fd, &count, err) < 0)
		return NULL;
	_cleanup_close_ int file = count ? fd : -1;
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	_cleanup_free_ char *text = file < 0 ? NULL : fdio_read_file(AT_FDCWD, path, 1 << 20, NULL);
	json_t *definition = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
	if (!definition)
		error_set(err, ERR_PROTOCOL, "the keeper's definition cannot be read");
	return definition;
}

static void read_ports(struct keeper_status *status, const json_t *ports)
{
	size_t i;
	const json_t *port;
	json_array_foreach (ports, i, port) {
		if (i == ARRAY_SIZE(status->ports) || !json_is_string(port))
			break;
		snprintf(status->ports[i], sizeof(status->ports[i]), "%s", json_string_value(port));
		status->port_count = i + 1;
	}
}

static int read_status(const json_t *answer, struct keeper_status *status, struct error *err)
{
	const char *state;
	json_t *code, *signal, *time, *ports;
	json_int_t start, netns, stdio[2];
	const json_t *fill = json_object_get(answer, "fill"); // absent from an older keeper
	int keeper, pid;
	if (json_unpack((json_t *)answer,
			"{s:s, s:i, s:i, s:I, s:{s:o, s:o, s:o}, s:[I,I], s:o, s:I}", "state",
			&state, "keeper", &keeper, "pid", &pid, "start_time", &start, "exit",
			"code", &code, "signal", &signal, "time", &time, "stdio", &stdio[0],
			&stdio[1], "ports", &ports, "netns_ino", &netns) < 0)
		return error_set(err, ERR_PROTOCOL, "the keeper's status cannot be read");
	*status = (struct keeper_status){
		.state = !strcmp(state, "running")  ? KEEPER_RUNNING
			 : !strcmp(state, "exited") ? KEEPER_EXITED
						    : KEEPER_IDLE,
		.keeper_pid = keeper,
		.pid = pid,
		.start_time = (uint64_t)start,
		.pidfd = -1,
		.exit_code = json_is_integer(code) ? (int)json_integer_value(code) : -1,
		.exit_signal = (int)json_integer_value(signal),
		.stdio = {(uint64_t)stdio[0], (uint64_t)stdio[1]},
		.netns_ino = (uint64_t)netns,
		.fill_total = (uint64_t)json_integer_value(json_object_get(fill, "total")),
		.fill_left = (uint64_t)json_integer_value(json_object_get(fill, "left")),
	};
	snprintf(status->exit_time, sizeof(status->exit_time), "%s",
		 json_is_string(time) ? json_string_value(time) : "");
	read_ports(status, ports);
	return 0;
}

int keeper_status(int conn, struct keeper_status *status, struct error *err)
{
	_cleanup_json_ json_t *answer = NULL;
	int fd = -1;
	size_t count = 1;
	*status = (struct keeper_status){.pidfd = -1, .exit_code = -1};
	if (call(conn, op("status"), NULL, 0, &answer, &fd, &count, err) < 0)
		return -1;
	_cleanup_close_ int pidfd = count ? fd : -1;
	if (read_status(answer, status, err) < 0)
		return -1;
	status->pidfd = take_fd(&pidfd);
	return 0;
}

int keeper_run(int conn, struct error *err)
{
	return simple(conn, op("run"), err);
}

int keeper_signal(int conn, int signal, struct error *err)
{
	return simple(conn, json_pack("{s:s, s:i}", "op", "signal", "signal", signal), err);
}

int keeper_watch(int conn, struct error *err)
{
	return simple(conn, op("watch"), err);
}

// The strings of a JSON array as a NULL-terminated list; they stay the array's.
static const char **borrow_strings(const json_t *array)
{
	size_t i;
	const json_t *item;
	const char **list = calloc(json_array_size(array) + 1, sizeof(*list));
	json_array_foreach (list ? array : NULL, i, item)
		list[i] = json_string_value(item) ? json_string_value(item) : "";
	return list;
}

int keeper_externals(int conn, struct keeper_externals *externals, struct error *err)
{
	*externals = (struct keeper_externals){.answer = NULL};
	if (call(conn, op("externals"), NULL, 0, &externals->answer, NULL, NULL, err) < 0)
		return -1;
	const json_t *answer = externals->answer;
	externals->dump = borrow_strings(json_object_get(answer, "dump"));
	externals->restore = borrow_strings(json_object_get(answer, "restore"));
	externals->root = json_string_value(json_object_get(answer, "root"));
	if (externals->dump && externals->restore && externals->root)
		return 0;
	keeper_externals_free(externals);
	return error_set(err, ERR_PROTOCOL, "the keeper's mounts cannot be read");
}

void keeper_externals_free(struct keeper_externals *externals)
{
	free(externals->dump);
	free(externals->restore);
	json_decref(externals->answer);
	*externals = (struct keeper_externals){.answer = NULL};
}

int keeper_trees(int conn, struct keeper_trees *trees, struct error *err)
{
	_cleanup_json_ json_t *answer = NULL;
	int fds[KEEPER_TREES_MAX];
	size_t count = KEEPER_TREES_MAX, i;
	const json_t *name;
	*trees = (struct keeper_trees){.count = 0};
	if (call(conn, op("trees"), NULL, 0, &answer, fds, &count, err) < 0)
		return -1;
	for (i = 0; i < count; i++)
		trees->fds[i] = fds[i];
	trees->count = count;
	const json_t *names = json_object_get(answer, "names");
	if (json_array_size(names) != count) {
		keeper_trees_close(trees);
		return error_set(err, ERR_PROTOCOL, "the keeper's folders cannot be read");
	}
	json_array_foreach (names, i, name) {
		const char *text = json_string_value(name);
		snprintf(trees->names[i], sizeof(trees->names[i]), "%s", text ? text : "");
	}
	return 0;
}

void keeper_trees_close(struct keeper_trees *trees)
{
	for (size_t i = 0; i < trees->count; i++)
		close(trees->fds[i]);
	trees->count = 0;
}

int keeper_netns(int conn, struct error *err)
{
	int fd = -1;
	size_t count = 1;
	if (call(conn, op("netns"), NULL, 0, NULL, &fd, &count, err) < 0)
		return -1;
	return count ? fd : error_set(err, ERR_PROTOCOL, "the keeper sent no descriptor");
}

int keeper_mount_root(int conn, struct error *err)
{
	return simple(conn, op("mount_root"), err);
}

int keeper_drain(int conn, struct error *err)
{
	return simple(conn, op("drain"), err);
}

static json_t *string_array(const char *const *list)
{
	json_t *array = json_array();
	for (size_t i = 0; list && list[i]; i++)
		json_array_append_new(array, json_string(list[i]));
	return array;
}

int keeper_spawn_criu(int conn, const char *const *argv, const char *const *env, const int *fds,
		      const int *numbers, size_t count, pid_t *pid, struct error *err)
{
	_cleanup_json_ json_t *answer = NULL;
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_integer(numbers[i]));
	json_t *request = json_pack("{s:s, s:o, s:o, s:o}", "op", "spawn_criu", "argv",
				    string_array(argv), "env", string_array(env), "fds", list);
	if (call(conn, request, fds, count, &answer, NULL, NULL, err) < 0)
		return -1;
	*pid = (pid_t)json_integer_value(json_object_get(answer, "pid"));
	return 0;
}

int keeper_page(int conn, int listener, int images, struct error *err)
{
	const int fds[] = {listener, images};
	return call(conn, op("page"), fds, ARRAY_SIZE(fds), NULL, NULL, NULL, err);
}

int keeper_fill(int conn, struct error *err)
{
	return simple(conn, op("fill"), err);
}

int keeper_adopt(int conn, pid_t pid, struct error *err)
{
	return simple(conn, json_pack("{s:s, s:i}", "op", "adopt", "pid", (int)pid), err);
}

int keeper_release(int conn, struct error *err)
{
	return simple(conn, op("release"), err);
}

int keeper_quit(int conn, struct error *err)
{
	return simple(conn, op("quit"), err);
}

int keeper_wait_gone(int conn, deadline_t deadline, struct error *err)
{
	for (;;) {
		_cleanup_json_ json_t *event = NULL;
		if (chan_recv(conn, deadline, &event, NULL, NULL, err) < 0)
			return -1;
		if (!event)
			return 0;
	}
}

json_t *keeper_last_exit(const char *name)
{
	char folder[KEEPER_PATH_MAX], path[KEEPER_PATH_MAX + 16];
	snprintf(path, sizeof(path), "%s/exit.json", keeper_state_dir(name, folder));
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, 4096, NULL);
	return text ? json_loads(text, 0, NULL) : NULL;
}
