// SPDX-License-Identifier: Apache-2.0
// The options of `create` as the body of a request.
#ifndef WPARCTL_OPTIONS_H
#define WPARCTL_OPTIONS_H

#include "lib/base/error.h"
#include "wparctl/args.h"

#include <jansson.h>

// {"definition":{...}} with --rootfs, {"bundle":DIR, ...overrides} with --bundle; the caller's.
// NULL: ERR_USAGE.
json_t *options_create(const struct args *args, struct error *err);

// "bridge=br0,address=10.0.0.5/24,gateway=10.0.0.1,mac=auto"
json_t *options_net(const char *text, struct error *err);
// "SRC:DST[:ro]"
json_t *options_volume(const char *text, struct error *err);
// "UID[:GID]" as numbers; without GID it is UID.
int options_user(const char *text, json_int_t *uid, json_int_t *gid, struct error *err);
// "KEY=VALUE" of all --env of a command line; NULL: one of them is not.
json_t *options_env(const struct args *args, struct error *err);

#endif
