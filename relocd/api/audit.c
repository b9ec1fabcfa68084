// SPDX-License-Identifier: Apache-2.0
#include "relocd/api/audit.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/partition/name.h"
#include "relocd/daemon/events.h"

#include <string.h>

#define METHOD_MAX 16
#define PATH_MAX_  512

char *audit_text(char *to, size_t size, const char *text)
{
	size_t n = 0;
	for (; *text && n + 5 < size; text++) {
		unsigned char c = (unsigned char)*text;
		if (c > ' ' && c < 127 && c != '\\' && c != '"')
			to[n++] = (char)c;
		else
			n += (size_t)snprintf(to + n, size - n, "\\x%02x", c);
	}
	to[n] = 0;
	return to;
}

// Reads change nothing; a HEAD or an odd method that was refused is told by the refusal.
static const char *kind_of(const char *method, const struct error *why)
{
	if (why)
		return "refused";
	return strcmp(method, "GET") ? "change" : "read";
}

static unsigned status_of(const struct request *q, const struct error *why)
{
	if (q->status)
		return q->status;
	return why ? route_status(why) : MHD_HTTP_OK;
}

// The partition or the move that the path names.
static const char *subject(const struct request *q, const char *path, const char *below)
{
	return q->param[0] && !strncmp(path, below, strlen(below)) &&
			       name_check(q->param, NULL) == 0
		       ? q->param
		       : NULL;
}

// "uid 0 pid 17", "root on hostB"
static void caller_text(const struct request *q, char text[160])
{
	if (q->peer[0])
		snprintf(text, 160, "%s on %s", q->user, q->peer);
	else
		snprintf(text, 160, "uid %d pid %d", (int)q->uid, (int)q->pid);
}

static void log_it(const struct request *q, const char *method, const char *path, unsigned status,
		   const struct error *why)
{
	char caller[160];
	caller_text(q, caller);
	log_info("api: %s (%s): %s %s: %u%s%s%s%s%s", caller, role_name(q->role), method, path,
		 status, why ? ": " : "", why ? why->message : "", why ? " (" : "",
		 why ? error_code(why) : "", why ? ")" : "");
}

void audit_note(struct request *q, const char *method, const char *path, const struct error *why)
{
	char plain_method[METHOD_MAX], plain_path[PATH_MAX_];
	unsigned status = status_of(q, why);
	audit_text(plain_method, sizeof(plain_method), method);
	audit_text(plain_path, sizeof(plain_path), path);
	log_it(q, plain_method, plain_path, status, why);
	json_t *data = json_pack("{s:I, s:i, s:s, s:s, s:s, s:i, s:s?}", "uid",
				 (json_int_t)(int)q->uid, "pid", (int)q->pid, "role",
				 role_name(q->role), "method", plain_method, "path", plain_path,
				 "status", (int)status, "code", why ? error_code(why) : NULL);
	if (q->peer[0]) // the credentials are those of nobody here
		json_object_update_new(data, json_pack("{s:n, s:n, s:s, s:s}", "uid", "pid", "user",
						       q->user, "from", q->peer));
	daemon_lock(q->d);
	events_add(q->d, "audit", kind_of(method, why), subject(q, path, "/v1/partitions/"),
		   subject(q, path, "/v1/moves/"), data);
	daemon_unlock(q->d);
}

static const char *plain(char *to, size_t size, const char *text)
{
	return text ? audit_text(to, size, text) : NULL;
}

void audit_peer_refused(struct daemon *d, const char *what, const char *peer, const char *user,
			const char *move, const struct error *why)
{
	char from[REGISTRY_NAME_MAX], who[64], id[40];
	plain(from, sizeof(from), peer);
	json_t *data = json_pack("{s:n, s:n, s:s?, s:s, s:s, s:s, s:s, s:i, s:s}", "uid", "pid",
				 "user", plain(who, sizeof(who), user), "from", from, "role",
				 role_name(ROLE_NONE), "method", what, "path", "", "status",
				 (int)route_status(why), "code", error_code(why));
	events_add(d, "audit", "refused", NULL, plain(id, sizeof(id), move), data);
}
