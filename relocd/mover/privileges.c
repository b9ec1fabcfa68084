// SPDX-License-Identifier: Apache-2.0
#include "relocd/mover/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define USER        "relocd-mover"
#define USER_LACKED "nobody"

static int drop_bounding(struct error *err)
{
	for (cap_value_t cap = 0; CAP_IS_SUPPORTED(cap); cap++)
		if (cap_drop_bound(cap) < 0)
			return error_sys(err, ERR_SYSTEM, errno,
					 "cannot drop a capability from the bounding set");
	return 0;
}

static int become_nobody(struct error *err)
{
	const struct passwd *user = getpwnam(USER);
	if (!user)
		user = getpwnam(USER_LACKED);
	if (!user || user->pw_uid == 0)
		return error_set(err, ERR_SYSTEM, "there is no user " USER " or " USER_LACKED);
	const uid_t uid = user->pw_uid;
	const gid_t gid = user->pw_gid;
	if (drop_bounding(err) < 0)
		return -1;
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot become user %u", (unsigned)uid);
	return 0;
}

static int drop_capabilities(struct error *err)
{
	cap_t none = cap_init();
	if (!none || cap_set_proc(none) < 0 || cap_reset_ambient() < 0) {
		error_sys(err, ERR_SYSTEM, errno, "cannot give up capabilities");
		cap_free(none);
		return -1;
	}
	cap_free(none);
	return 0;
}

int privileges_drop(struct error *err)
{
	const struct rlimit none = {0, 0};
	if (geteuid() == 0 && become_nobody(err) < 0)
		return -1;
	if (drop_capabilities(err) < 0)
		return -1;
	// After the change of user, which resets the last two of them (prctl(2)).
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot confine the mover");
	return 0;
}
