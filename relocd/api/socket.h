// SPDX-License-Identifier: Apache-2.0
// The control socket: opened by us, or by the service manager (systemd.socket(5),
// sd_listen_fds(3)), which keeps it while we restart, so that requests wait and are not refused.
#ifndef RELOCD_API_SOCKET_H
#define RELOCD_API_SOCKET_H

#include "lib/config/config.h"
#include "relocd/api/roles.h"

#include <stdbool.h>
#include <sys/un.h>

struct api_socket {
	bool inherited; // the service manager's: it stays when we end
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 1];
};

// Returns the listening socket, non-blocking and close-on-exec, the caller's; -1 with err. One that
// was inherited is taken wherever it is; its access is set as that of our own.
int api_socket_open(const struct config *config, struct roles *roles, struct api_socket *s,
		    struct error *err);
// Sets who may connect: root and the group of those who may look; everybody where the configuration
// names others, who are then told apart by their credentials.
int api_socket_allow(const struct api_socket *s, struct roles *roles, struct error *err);

#endif
