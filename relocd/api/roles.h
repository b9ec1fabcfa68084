// SPDX-License-Identifier: Apache-2.0
// Who may do what on the control socket: roles from the configuration, by the credentials that the
// kernel gives for the other end (unix(7), SO_PEERCRED and SO_PEERGROUPS).
#ifndef RELOCD_ROLES_H
#define RELOCD_ROLES_H

#include "lib/config/config.h"
#include "relocd/api/route.h"

#include <stdbool.h>
#include <sys/types.h>

struct roles;

// Looks the names up; those that are nobody's are logged and have no effect. api.group may look.
struct roles *roles_new(const struct config *config, struct error *err);
// The same from a changed configuration, for all who use these; on failure nothing has changed.
int roles_renew(struct roles *roles, const struct config *config, struct error *err);
void roles_free(struct roles *roles);

// The group whose members may connect to a socket of mode 0660: false when there is none.
bool roles_group(struct roles *roles, gid_t *group);
// Others than root and that group are named: the socket has to be open to all, who are then told
// apart by their credentials.
bool roles_name_others(struct roles *roles);

// The role of a user of these groups. Root has them all.
enum role roles_of(struct roles *roles, uid_t uid, const gid_t *groups, size_t count);
// The role of the other end of a socket, and who that is.
enum role roles_of_socket(struct roles *roles, int sock, uid_t *uid, pid_t *pid);

#endif
