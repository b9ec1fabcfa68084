// SPDX-License-Identifier: Apache-2.0
#include "lib/base/chan.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

int chan_pair(int ends[2], struct error *err)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make a socket pair");
	return 0;
}

static int open_socket(const char *path, struct sockaddr_un *address, struct error *err)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address->sun_path))
		return error_set(err, ERR_SYSTEM, "socket path %s is too long", path);
	memcpy(address->sun_path, path, strlen(path));
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	return fd < 0 ? error_sys(err, ERR_SYSTEM, errno, "cannot make a socket") : fd;
}

int chan_listen(const char *path, struct error *err)
{
	struct sockaddr_un address;
	_cleanup_close_ int fd = open_socket(path, &address, err);
	if (fd < 0)
		return -1;
	unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || chmod(path, 0600) < 0 ||
	    listen(fd, 16) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot listen on %s", path);
	return take_fd(&fd);
}

int chan_connect(const char *path, struct error *err)
{
	struct sockaddr_un address;
	_cleanup_close_ int fd = open_socket(path, &address, err);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_sys(err, ERR_UNREACHABLE, errno, "cannot connect to %s", path);
	return take_fd(&fd);
}

int chan_send(int fd, const json_t *message, const int *fds, size_t count, struct error *err)
{
	_cleanup_free_ char *text = json_dumps(message, JSON_COMPACT);
	if (!text)
		return error_set(err, ERR_NOMEM, "no memory for a message");
	size_t length = strlen(text);
	if (length > CHAN_MESSAGE_MAX)
		return error_set(err, ERR_INTERNAL, "a message of %zu bytes is too long", length);
	return fdio_send_fds(fd, text, length, fds, count, err) < 0 ? -1 : 0;
}

int chan_recv(int fd, deadline_t deadline, json_t **message, int *fds, size_t *count,
	      struct error *err)
{
	size_t none = 0;
	*message = NULL;
	int ready = fdio_wait(fd, POLLIN, deadline, err);
	if (ready < 0)
		return -1;
	if (!ready)
		return error_set(err, ERR_DEADLINE, "no answer from the other process in time");
	_cleanup_free_ char *text = malloc(CHAN_MESSAGE_MAX);
	if (!text)
		return error_set(err, ERR_NOMEM, "no memory for a message");
	ssize_t n = fdio_recv_fds(fd, text, CHAN_MESSAGE_MAX, fds, count ? count : &none, err);
	if (n <= 0)
		return (int)n;
	json_error_t why;
	*message = json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, &why);
	if (!*message)
		return error_set(err, ERR_PROTOCOL, "a message is not JSON: %s", why.text);
	return 0;
}

int chan_call(int fd, json_t *request, const int *fds, size_t count, deadline_t deadline,
	      json_t **answer, struct error *err)
{
	_cleanup_json_ json_t *owned = request, *reply = NULL;
	if (chan_send(fd, owned, fds, count, err) < 0 ||
	    chan_recv(fd, deadline, &reply, NULL, NULL, err) < 0)
		return -1;
	if (!reply)
		return error_set(err, ERR_UNREACHABLE, "the other process has gone");
	const json_t *why = json_object_get(reply, "error");
	if (why)
		return error_from_json(err, why);
	if (answer)
		*answer = take_ptr(reply);
	return 0;
}

int chan_reply(int fd, json_t *answer, const int *fds, size_t count, struct error *err)
{
	_cleanup_json_ json_t *owned = answer;
	json_object_set_new(owned, "ok", json_true());
	return chan_send(fd, owned, fds, count, err);
}

int chan_reply_error(int fd, const struct error *why)
{
	_cleanup_json_ json_t *answer = json_pack("{s:o}", "error", error_to_json(why));
	return chan_send(fd, answer, NULL, 0, NULL);
}
