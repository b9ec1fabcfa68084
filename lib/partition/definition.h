// SPDX-License-Identifier: Apache-2.0
// The definition of a partition: what `create` makes, the registry stores, `show` prints and a move
// carries. One struct, one JSON form; reading is strict (unknown keys and wrong types are refused
// by their path) and fills in defaults, so what is printed is always complete.
#ifndef WPAR_PARTITION_DEFINITION_H
#define WPAR_PARTITION_DEFINITION_H

#include "lib/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DEFINITION_UUID_LENGTH  36
#define DEFINITION_MAC_LENGTH   17
#define DEFINITION_NETWORKS_MAX 8
#define DEFINITION_DIGEST_MAX   72 // "sha256:" and 64 digits
#define DEFINITION_DNS_MAX      3  // as many as resolv.conf(5) knows

enum partition_type { PARTITION_APPLICATION, PARTITION_SYSTEM };

struct partition_rlimit {
	int resource;        // RLIMIT_*
	uint64_t soft, hard; // RLIM_INFINITY (all ones): no limit
};

struct partition_process {
	char **args; // NULL-terminated lists; never NULL themselves
	char **env;  // "KEY=value"
	char *cwd;
	uid_t uid;
	gid_t gid;
	gid_t *groups;
	size_t group_count;
	uint64_t capabilities; // bit n = capability n of capability.h: the bounding set
	bool no_new_privileges;
	struct partition_rlimit *rlimits;
	size_t rlimit_count;
};

enum partition_mount_type { MOUNT_BIND, MOUNT_TMPFS };

struct partition_mount {
	char *destination; // absolute, normalised, inside the partition
	enum partition_mount_type type;
	char *source;  // bind: absolute path on the host; tmpfs: NULL
	char *storage; // bind: "shared" | "copied", what a move has to do; tmpfs: NULL
	bool volume;   // the partition's own data, given as a volume; else a plain bind
	unsigned long
		flags;  // MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME ... of mount(2)
	bool recursive; // rbind: then nothing may be mounted below the source
	mode_t mode;    // tmpfs: of its top folder
};

struct partition_network {
	char *bridge;
	char **addresses; // CIDR, IPv4 or IPv6
	char **gateways;  // default routes through this network, at most one of a family
	char mac[DEFINITION_MAC_LENGTH + 1];
};

struct partition_def {
	char *name;
	char uuid[DEFINITION_UUID_LENGTH + 1];
	enum partition_type type;
	char *rootfs; // absolute; "": the root is made of the image
	char *image;  // its reference, as "oci:/path:tag"; NULL: no image
	char image_digest[DEFINITION_DIGEST_MAX]; // of its manifest, "sha256:..."; "": no image
	bool readonly;
	char *storage; // "shared" | "copied"
	struct partition_process process;
	char *hostname;
	json_t *seccomp; // "default", "unconfined", or the seccomp object of an OCI bundle
	struct partition_mount *mounts;
	size_t mount_count;
	char **masked_paths;
	char **readonly_paths;
	uint64_t memory_bytes; // 0: no limit, for all three
	uint64_t cpu_millis;   // thousandths of a processor
	uint64_t pids;
	struct partition_network *networks;
	size_t network_count;
	char **dns;
	char **groups;
	int priority;
	bool autostart;
	char *restart;     // "no" | "on-failure" | "always"
	uint32_t grace_ms; // between the stop signal and SIGKILL of a stop
	char *stop_signal; // "SIGTERM", see signame.h
	char *owner;       // host; "" before it has one
	uint64_t epoch;
	char **cpu_features; // of the host where it was started; empty: not started yet
	// Only in a definition that travels:
	uint64_t revision; // 0: not given
	json_t *pending;   // what of it takes effect at the next start, {key: value}; NULL: none
};

// Reads and validates; missing keys get their defaults (uuid: random; mac: from the uuid;
// hostname: the name; capabilities, masked and read-only paths: as container engines do). "name"
// and "rootfs" must be there; process.args may be empty for type system only (then /sbin/init).
// NULL and ERR_DEFINITION (with the path of the key), ERR_NAME_INVALID or ERR_NOMEM on failure.
struct partition_def *definition_from_json(const json_t *json, struct error *err);
struct partition_def *definition_from_text(const char *text, size_t length, struct error *err);
// The complete JSON form; the caller owns it. NULL: no memory.
json_t *definition_to_json(const struct partition_def *def);
void definition_free(struct partition_def *def); // NULL is fine

// What can be changed by itself: the n-th key of a definition's JSON form, those of "resources" as
// "resources.pids". NULL: no more.
const char *definition_key(unsigned n);
// The value under such a key, borrowed; NULL: not there.
json_t *definition_value(const json_t *definition, const char *key);
// Takes the value over.
int definition_put(json_t *definition, const char *key, json_t *value);
// A copy of the definition with what is pending ({key: value}, NULL: nothing) put in.
json_t *definition_with(const json_t *definition, const json_t *pending);

// A random (version 4) UUID as text.
void definition_make_uuid(char uuid[DEFINITION_UUID_LENGTH + 1]);
// A locally administered unicast MAC that is a function of uuid and index alone.
void definition_make_mac(const char *uuid, unsigned index, char mac[DEFINITION_MAC_LENGTH + 1]);
const char *definition_type_name(enum partition_type type);

static inline void definition_cleanup(struct partition_def **def)
{
	definition_free(*def);
}
#define _cleanup_definition_ __attribute__((cleanup(definition_cleanup)))

#endif
