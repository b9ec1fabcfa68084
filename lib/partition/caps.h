// SPDX-License-Identifier: Apache-2.0
// Capability sets as bit masks (bit n = capability n, capabilities(7)); names and application by
// libcap.
#ifndef WPAR_PARTITION_CAPS_H
#define WPAR_PARTITION_CAPS_H

#include "lib/base/error.h"

#include <stdint.h>
#include <sys/types.h>

// What container engines grant: CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP
// SETGID SETPCAP SETUID SYS_CHROOT.
uint64_t caps_default(void);

// "CAP_KILL", "kill" or "KILL" -> its number; -1 for an unknown one.
int caps_number(const char *name);
// "CAP_KILL" into name (at least 32 bytes); NULL past the last one known to libcap.
#define CAPS_NAME_MAX 32
const char *caps_name(int number, char name[CAPS_NAME_MAX]);

// Takes everything outside of `set` from the bounding set of this process. Needs CAP_SETPCAP.
int caps_bound(uint64_t set, struct error *err);
// After the user was changed (with PR_SET_KEEPCAPS where it matters): root gets exactly `set` as
// permitted and effective, other users nothing; inheritable and ambient are emptied.
int caps_apply(uint64_t set, uid_t uid, struct error *err);

#endif
