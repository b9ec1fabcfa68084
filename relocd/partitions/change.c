// SPDX-License-Identifier: Apache-2.0
// Changing and renaming partitions. What is changed is validated as a whole, exactly as at its
// creation. Of one that runs some things change at once, the rest waits for its next start.
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/partition/cgroup.h"
#include "lib/partition/keeper_client.h"
#include "lib/partition/name.h"
#include "lib/partition/strv.h"
#include "relocd/daemon/events.h"
#include "relocd/partitions/lifecycle.h"
#include "relocd/partitions/revive.h"
#include "relocd/partitions/volumes.h"

#include <errno.h>
#include <string.h>

static const char *const at_once[] = {"resources.memory_bytes",
				      "resources.cpu_millis",
				      "resources.pids",
				      "priority",
				      "groups",
				      "autostart",
				      "restart",
				      NULL};

// What identifies it, what only relocd knows, and what would make it another partition.
static const char *const fixed[] = {"name",  "uuid",         "owner", "epoch",
				    "image", "cpu_features", NULL};

static bool is_in(const char *const *list, const char *key)
{
	return strv_has((char *const *)list, key);
}

static bool same(const json_t *a, const json_t *b)
{
	return a == b || (a && b && json_equal(a, b));
}

// ---- the new definition -------------------------------------------------------------------------

// RFC 7396. The caller's.
static json_t *merge_patch(const json_t *target, const json_t *patch)
{
	const char *key;
	json_t *value;
	if (!json_is_object(patch))
		return json_deep_copy(patch);
	json_t *result = json_is_object(target) ? json_deep_copy(target) : json_object();
	json_object_foreach ((json_t *)patch, key, value) {
		if (json_is_null(value))
			json_object_del(result, key);
		else
			json_object_set_new(result, key,
					    merge_patch(json_object_get(result, key), value));
	}
	return result;
}

static int check_fixed(const json_t *before, const json_t *after, struct error *err)
{
	for (size_t i = 0; fixed[i]; i++)
		if (!same(json_object_get(before, fixed[i]), json_object_get(after, fixed[i])))
			return error_set(err, ERR_DEFINITION, "%s cannot be changed", fixed[i]);
	return 0;
}

struct change {
	struct daemon *d;
	struct partition *p;       // busy, so it stays
	json_t *before, *next;     // with what is pending
	struct partition_def *def; // next, parsed
	bool on_next_start, runs;
};

static void change_clear(struct change *c)
{
	json_decref(c->before);
	json_decref(c->next);
	definition_free(c->def);
}

static int make_next(struct change *c, const json_t *patch, struct error *err)
{
	_cleanup_json_ json_t *notes = json_array(), *changed = merge_patch(c->before, patch);
	json_object_del(changed, "on_next_start");
	if (check_fixed(c->before, changed, err) < 0 ||
	    partition_complete(&c->d->config, changed, notes, err) < 0)
		return -1;
	if (json_object_get(changed, "revision") || json_object_get(changed, "pending"))
		return error_set(err, ERR_DEFINITION, "revision and pending cannot be changed");
	c->def = definition_from_json(changed, err);
	c->next = c->def ? definition_to_json(c->def) : NULL;
	if (c->def && !c->next)
		return error_set(err, ERR_NOMEM, "no memory for a definition");
	return c->next ? 0 : -1;
}

static int check_next(struct change *c, struct error *err)
{
	daemon_lock(c->d);
	int failed = partition_addresses_free(c->d, c->next, c->def->name, err);
	daemon_unlock(c->d);
	if (failed || lifecycle_check_host(c->def, err) < 0 ||
	    volumes_check(&c->d->config, c->def, err) < 0)
		return -1;
	return volumes_make(&c->d->config, c->def, err);
}

// ---- limits -------------------------------------------------------------------------------------

static struct cgroup_limits limits_of(const json_t *definition)
{
	const json_t *r = json_object_get(definition, "resources");
	return (struct cgroup_limits){
		(uint64_t)json_integer_value(json_object_get(r, "memory_bytes")),
		(uint64_t)json_integer_value(json_object_get(r, "cpu_millis")),
		(uint64_t)json_integer_value(json_object_get(r, "pids"))};
}

// The kernel would kill processes to obey a limit below what they use.
static int check_memory(struct cgroup *cg, const struct cgroup_limits *old,
			const struct cgroup_limits *new, struct error *err)
{
	uint64_t limit = new->memory_bytes;
	if (!limit || (old->memory_bytes && limit >= old->memory_bytes))
		return 0;
	int64_t used = cgroup_memory_used(cg, err);
	if (used < 0)
		return -1;
	if ((uint64_t)used <= limit)
		return 0;
	return error_set(err, ERR_IN_USE, "it uses %.1f MiB now, which is more than %.1f MiB",
			 (double)used / (1 << 20), (double)limit / (1 << 20));
}

static int set_limits(const struct partition *p, const json_t *running, const json_t *next,
		      struct error *err)
{
	struct cgroup_limits old = limits_of(running), new = limits_of(next);
	if (!memcmp(&old, &new, sizeof(old)))
		return 0;
	_cleanup_cgroup_ struct cgroup *cg = cgroup_open(p->row.name, err);
	if (!cg || check_memory(cg, &old, &new, err) < 0)
		return -1;
	if (cgroup_set_limits(cg, &new, err) == 0)
		return 0;
	cgroup_set_limits(cg, &old, NULL); // all or nothing
	return -1;
}

// ---- taking it over -----------------------------------------------------------------------------

// Divides what is wanted into what holds now and what waits. Both are the caller's.
static void divide(const struct change *c, json_t **running, json_t **pending)
{
	const json_t *now = c->p->row.definition;
	const char *key;
	*running = json_deep_copy(now);
	*pending = json_object();
	for (unsigned n = 0; (key = definition_key(n)); n++) {
		json_t *wanted = definition_value(c->next, key);
		json_t *waiting = json_object_get(c->p->row.pending, key);
		// What waits already goes on waiting unless it was changed again.
		bool touched = !same(wanted, definition_value(c->before, key));
		bool later = touched ? c->on_next_start || !is_in(at_once, key) : waiting != NULL;
		if (same(wanted, definition_value(now, key)))
			continue;
		if (c->runs && later)
			json_object_set(*pending, key, wanted ?: json_null());
		else
			definition_put(*running, key, json_incref(wanted));
	}
}

static json_t *changed_keys(const struct change *c)
{
	json_t *keys = json_array();
	const char *key;
	for (unsigned n = 0; (key = definition_key(n)); n++)
		if (!same(definition_value(c->next, key), definition_value(c->before, key)))
			json_array_append_new(keys, json_string(key));
	return keys;
}

// The kernel may have to free memory first, so this is done without the lock.
static int apply(struct change *c, struct error *err)
{
	_cleanup_json_ json_t *running = NULL, *pending = NULL;
	daemon_lock(c->d);
	c->runs = c->p->row.state == STATE_ACTIVE;
	divide(c, &running, &pending);
	daemon_unlock(c->d);
	return c->runs ? set_limits(c->p, c->p->row.definition, running, err) : 0;
}

static int take_over(struct change *c, struct error *err)
{
	struct registry_partition *row = &c->p->row, before = *row;
	_cleanup_json_ json_t *keys = changed_keys(c);
	if (!json_array_size(keys))
		return 0;
	json_t *running, *pending;
	divide(c, &running, &pending);
	row->definition = running;
	row->pending = pending;
	row->revision++;
	if (partition_save(c->p, err) < 0) {
		registry_partition_clear(row);
		*row = before;
		return -1;
	}
	registry_partition_clear(&before);
	revive_reconsider(c->p);
	events_add(c->d, "partition", "changed", row->name, NULL,
		   json_pack("{s:O, s:I}", "keys", keys, "revision", (json_int_t)row->revision));
	return 0;
}

// ---- rename -------------------------------------------------------------------------------------

static int rename_folder(const char *from, const char *to, struct error *err)
{
	char old[KEEPER_PATH_MAX], new[KEEPER_PATH_MAX];
	keeper_state_dir(from, old);
	keeper_state_dir(to, new);
	if (rename(old, new) < 0 && errno != ENOENT)
		return error_sys(err, ERR_STORAGE, errno, "cannot rename %s", old);
	return 0;
}

// A host name that was the partition's name follows it.
static json_t *renamed(const struct partition *p, const char *to)
{
	json_t *definition = json_deep_copy(p->row.definition);
	const char *hostname = json_string_value(json_object_get(definition, "hostname"));
	if (hostname && !strcmp(hostname, p->row.name) && strlen(to) <= 63)
		json_object_set_new(definition, "hostname", json_string(to));
	json_object_set_new(definition, "name", json_string(to));
	return definition;
}

static int rename_it(struct daemon *d, struct partition *p, const char *to, struct error *err)
{
	char from[REGISTRY_NAME_MAX];
	snprintf(from, sizeof(from), "%s", p->row.name);
	if (name_check(to, err) < 0)
		return -1;
	if (!strcmp(from, to))
		return 0;
	if (partition_find(d, to))
		return error_set(err, ERR_NAME_TAKEN, "partition %s exists", to);
	struct registry_partition row = p->row;
	row.definition = renamed(p, to);
	row.revision++;
	snprintf(row.name, sizeof(row.name), "%s", to);
	if (rename_folder(from, to, err) < 0) {
		json_decref(row.definition);
		return -1;
	}
	if (registry_partition_rename(d->registry, from, &row, err) < 0) {
		rename_folder(to, from, NULL);
		json_decref(row.definition);
		return -1;
	}
	json_decref(p->row.definition);
	p->row = row;
	partition_sort(p);
	log_info("partition %s: is now called %s", from, to);
	events_add(d, "partition", "renamed", to, NULL, json_pack("{s:s}", "from", from));
	return 0;
}

// ---- the whole ----------------------------------------------------------------------------------

static int check_match(const struct partition *p, const char *if_match, struct error *err)
{
	char etag[PARTITION_ETAG_MAX];
	partition_etag(p, etag);
	if (!if_match || !strcmp(if_match, "*") || !strcmp(if_match, etag))
		return 0;
	return error_set(err, ERR_CONFLICT, "%s has changed meanwhile: it is %s now", p->row.name,
			 etag);
}

static struct partition *begin(struct daemon *d, const char *name, enum partition_act act,
			       const char *if_match, struct error *err)
{
	if (partition_wait_idle(d, name, deadline_in_ms(10000), err) < 0)
		return NULL;
	struct partition *p = partition_get_for(d, name, act, err);
	return p && check_match(p, if_match, err) == 0 ? p : NULL;
}

static int do_rename(struct daemon *d, char name[REGISTRY_NAME_MAX], const json_t *patch,
		     const char *if_match, struct error *err)
{
	const char *to = json_string_value(json_object_get(patch, "name"));
	if (!to || strlen(to) >= REGISTRY_NAME_MAX)
		return error_set(err, ERR_NAME_INVALID, "\"name\" must be a name");
	daemon_lock(d);
	struct partition *p = begin(d, name, ACT_RENAME, if_match, err);
	int failed = !p || rename_it(d, p, to, err) < 0;
	daemon_unlock(d);
	if (failed)
		return -1;
	snprintf(name, REGISTRY_NAME_MAX, "%s", to);
	return 0;
}

static int do_change(struct change *c, const char *name, const json_t *patch, const char *if_match,
		     struct error *err)
{
	daemon_lock(c->d);
	c->p = begin(c->d, name, ACT_SET, if_match, err);
	if (c->p) {
		c->p->busy = "changed";
		c->before = partition_wanted(c->p);
	}
	daemon_unlock(c->d);
	if (!c->p)
		return -1;
	int failed = make_next(c, patch, err) < 0 || check_next(c, err) < 0 || apply(c, err) < 0;
	daemon_lock(c->d);
	if (!failed)
		failed = take_over(c, err);
	c->p->busy = NULL;
	daemon_changed(c->d);
	daemon_unlock(c->d);
	return failed ? -1 : 0;
}

int partition_change(struct daemon *d, char name[REGISTRY_NAME_MAX], const json_t *patch,
		     const char *if_match, struct error *err)
{
	const json_t *later = json_object_get(patch, "on_next_start");
	__attribute__((cleanup(change_clear))) struct change c = {
		.d = d, .on_next_start = json_is_true(later)};
	int failed;
	if (later && !json_is_boolean(later))
		return error_set(err, ERR_USAGE, "\"on_next_start\" must be true or false");
	if (json_object_size(patch) == 1 && json_object_get(patch, "name"))
		failed = do_rename(d, name, patch, if_match, err);
	else
		failed = do_change(&c, name, patch, if_match, err);
	if (failed)
		error_at(err, d->config.host, name, NULL);
	return failed;
}
