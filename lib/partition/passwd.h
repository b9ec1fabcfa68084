// SPDX-License-Identifier: Apache-2.0
// Users and groups of a partition, from its own /etc/passwd and /etc/group (passwd(5), group(5)).
// Read by hand: the C library's functions would load modules of the partition's root filesystem.
#ifndef WPAR_PARTITION_PASSWD_H
#define WPAR_PARTITION_PASSWD_H

#include "lib/base/error.h"

#include <sys/types.h>

#define PASSWD_GROUPS_MAX 64

struct passwd_user {
	uid_t uid;
	gid_t gid;
	gid_t groups[PASSWD_GROUPS_MAX]; // supplementary
	size_t group_count;
	char name[64];  // "" when the user is not listed
	char home[256]; // "/" when the user is not listed
};

// "USER[:GROUP]", each a name or a number, looked up below the folder `root` ("/" for the caller's
// own; no link leads out of it). Without a group the user's own and supplementary groups are taken.
// A number needs not be listed (its group is then 0). ERR_EXEC for an unknown name.
int passwd_find(const char *root, const char *spec, struct passwd_user *user, struct error *err);

// The home of a user number into home; "/" when it is not listed.
void passwd_home(const char *root, uid_t uid, char *home, size_t size);

#endif
