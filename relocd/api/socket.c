// SPDX-License-Identifier: Apache-2.0
#include "relocd/api/socket.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#define BACKLOG 128

int api_socket_allow(const struct api_socket *s, struct roles *roles, struct error *err)
{
	gid_t group;
	if (roles_group(roles, &group) && chown(s->path, (uid_t)-1, group) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot give %s to its group", s->path);
	if (chmod(s->path, roles_name_others(roles) ? 0666 : 0660) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot set the mode of %s", s->path);
	return 0;
}

// ---- the service manager's ----------------------------------------------------------------------

static bool has_path(int fd, char path[sizeof(((struct api_socket *)NULL)->path)])
{
	struct sockaddr_un address = {0};
	socklen_t length = sizeof(address);
	if (getsockname(fd, (struct sockaddr *)&address, &length) < 0 || !address.sun_path[0])
		return false;
	memcpy(path, address.sun_path, sizeof(address.sun_path));
	path[sizeof(address.sun_path)] = 0;
	return true;
}

// -1: none. What else was passed is not for us.
static int inherited(struct api_socket *s)
{
	int count = sd_listen_fds(1), found = -1;
	for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + count; fd++) {
		if (found < 0 && sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) > 0 &&
		    has_path(fd, s->path) && fdio_set_nonblock(fd, true, NULL) == 0)
			found = fd;
		else
			close(fd);
	}
	return found;
}

static int take_inherited(int sock, const struct config *c, const struct api_socket *s,
			  struct roles *roles, struct error *err)
{
	_cleanup_close_ int owned = sock;
	if (strcmp(s->path, c->api_socket) != 0)
		log_warn("the service manager listens on %s, api.socket is %s", s->path,
			 c->api_socket);
	return api_socket_allow(s, roles, err) < 0 ? -1 : take_fd(&owned);
}

// ---- our own ------------------------------------------------------------------------------------

static int make_folder_of(const char *path, struct error *err)
{
	_cleanup_free_ char *folder = strdup(path);
	if (!folder)
		return error_set(err, ERR_NOMEM, "no memory for a path");
	*strrchr(folder, '/') = 0;
	return folder[0] ? fdio_mkdir_p(folder, 0755, err) : 0;
}

static int make(const struct api_socket *s, struct roles *roles, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", s->path);
	if (make_folder_of(s->path, err) < 0)
		return -1;
	_cleanup_close_ int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make a socket");
	unlink(s->path);
	// Nobody can connect before the permissions are right, since nobody listens yet.
	mode_t mask = umask(0177);
	int failed = bind(sock, (struct sockaddr *)&address, sizeof(address));
	int why = errno;
	umask(mask);
	if (failed)
		return error_sys(err, ERR_SYSTEM, why, "cannot make %s", s->path);
	if (api_socket_allow(s, roles, err) < 0)
		return -1;
	if (listen(sock, BACKLOG) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot listen on %s", s->path);
	return take_fd(&sock);
}

int api_socket_open(const struct config *config, struct roles *roles, struct api_socket *s,
		    struct error *err)
{
	int sock = inherited(s);
	s->inherited = sock >= 0;
	if (s->inherited)
		return take_inherited(sock, config, s, roles, err);
	snprintf(s->path, sizeof(s->path), "%s", config->api_socket);
	return make(s, roles, err);
}
