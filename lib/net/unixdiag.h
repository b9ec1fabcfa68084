// SPDX-License-Identifier: Apache-2.0
// The UNIX sockets of a network namespace, by sock_diag(7).
#ifndef WPAR_NET_UNIXDIAG_H
#define WPAR_NET_UNIXDIAG_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

struct unixdiag_socket {
	ino_t inode; // socket:[N]
	bool listening;
	unsigned waiting;                      // connections that nobody accepted yet
	char path[sizeof(struct sockaddr_un)]; // where it was bound; "": unnamed or abstract
	ino_t file;                            // the file at that path
	dev_t filesystem;
};

// Calls `each` for every socket; it returns 0, or -1 with err to stop. `sock` is one of
// backlog_open (lib/net/backlog.h). -1: ERR_NETWORK, or what `each` gave.
int unixdiag_each(int sock,
		  int (*each)(const struct unixdiag_socket *socket, void *arg, struct error *err),
		  void *arg, struct error *err);

#endif
