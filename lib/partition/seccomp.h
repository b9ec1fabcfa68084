// SPDX-License-Identifier: Apache-2.0
// System call filters by libseccomp: the default profile, or one from an OCI bundle (linux.seccomp
// of the runtime spec). The JSON is what the definition holds: "default", "unconfined" or an
// object.
#ifndef WPAR_PARTITION_SECCOMP_H
#define WPAR_PARTITION_SECCOMP_H

#include "lib/base/error.h"

#include <jansson.h>
#include <stdint.h>

// Whether the profile can be built here; names what cannot be honoured (notify, unknown actions
// ...) with ERR_DEFINITION. `capabilities`: the default profile allows more with some of them.
int seccomp_check(const json_t *profile, uint64_t capabilities, struct error *err);

// Loads it into the calling process. no_new_privileges as it is set already; without it
// CAP_SYS_ADMIN is needed. "unconfined" does nothing.
int seccomp_apply(const json_t *profile, uint64_t capabilities, struct error *err);

#endif
