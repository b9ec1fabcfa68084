// SPDX-License-Identifier: Apache-2.0
// The options of `create` and the words of `set` as bodies of requests.
#ifndef WPARCTL_OPTIONS_H
#define WPARCTL_OPTIONS_H

#include "lib/base/error.h"
#include "wparctl/args.h"

#include <jansson.h>

// {"definition":{...}} with --rootfs and --file, {"bundle":DIR, ...overrides} with --bundle,
// {"image":REF, ...overrides} with --image; the caller's. NULL: ERR_USAGE.
json_t *options_create(const struct args *args, struct error *err);

// The changes of `set NAME KEY=VALUE...` as a merge patch (RFC 7396) over the definition, with
// "on_next_start"; the caller's. NULL: ERR_USAGE.
json_t *options_set(const struct args *args, struct error *err);
// The n-th key that it has a form of its own for; NULL past the end.
const char *options_set_key(size_t n);

// "bridge=br0,address=10.0.0.5/24,gateway=10.0.0.1,mac=auto"
json_t *options_net(const char *text, struct error *err);
// "SRC:DST[:ro][,storage=shared|copied]"
json_t *options_volume(const char *text, struct error *err);
// Sets resources.memory_bytes, cpu_millis or pids (key "memory", "cpus", "pids") in an object; an
// empty text takes the limit away.
int options_resource(json_t *resources, const char *key, const char *text, struct error *err);
// "UID[:GID]" as numbers; without GID it is UID.
int options_user(const char *text, json_int_t *uid, json_int_t *gid, struct error *err);
// "KEY=VALUE" of all --env of a command line; NULL: one of them is not.
json_t *options_env(const struct args *args, struct error *err);

#endif
