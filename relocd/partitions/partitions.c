// SPDX-License-Identifier: Apache-2.0
#include "relocd/partitions/partitions.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/net/address.h"
#include "lib/partition/keeper_client.h"
#include "lib/partition/name.h"
#include "relocd/daemon/events.h"
#include "relocd/partitions/images.h"
#include "relocd/partitions/lifecycle.h"
#include "relocd/partitions/ownership.h"
#include "relocd/partitions/volumes.h"
#include "relocd/supervisor/hooks.h"

#include <fcntl.h>
#include <string.h>

#define REMOVE_MS 60000

// ---- the table ----------------------------------------------------------------------------------

static void insert(struct partition *p)
{
	struct partition **at = &p->daemon->partitions;
	while (*at && strcmp((*at)->row.name, p->row.name) < 0)
		at = &(*at)->next;
	p->next = *at;
	*at = p;
}

static void take_out(struct partition *p)
{
	struct partition **at = &p->daemon->partitions;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
}

void partition_sort(struct partition *p)
{
	take_out(p);
	insert(p);
}

// Takes row->definition over.
static struct partition *link_row(struct daemon *d, struct registry_partition *row)
{
	struct partition *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->daemon = d;
	p->row = *row;
	p->watch = -1;
	row->definition = row->pending = NULL;
	insert(p);
	return p;
}

static void unlink_row(struct partition *p)
{
	take_out(p);
	loop_remove(p->daemon->loop, p->watch_id);
	loop_remove(p->daemon->loop, p->revive_watch);
	if (p->watch >= 0)
		close(p->watch);
	registry_partition_clear(&p->row);
	free(p);
}

static int load_row(struct registry_partition *row, void *arg)
{
	return link_row(arg, row) ? 0 : -1;
}

int partitions_load(struct daemon *d, struct error *err)
{
	return registry_partitions(d->registry, load_row, d, err);
}

void partitions_free(struct daemon *d)
{
	while (d->partitions)
		unlink_row(d->partitions);
}

struct partition *partition_find(struct daemon *d, const char *name)
{
	for (struct partition *p = d->partitions; p; p = p->next)
		if (!strcmp(p->row.name, name))
			return p;
	return NULL;
}

struct partition *partition_get(struct daemon *d, const char *name, struct error *err)
{
	if (name_check(name, err) < 0)
		return NULL;
	struct partition *p = partition_find(d, name);
	if (!p) {
		error_set(err, ERR_NAME_UNKNOWN, "no partition %s on %s", name, d->config.host);
		error_at(err, d->config.host, name, NULL);
	}
	return p;
}

struct partition *partition_get_for(struct daemon *d, const char *name, enum partition_act act,
				    struct error *err)
{
	struct partition *p = partition_get(d, name, err);
	if (!p)
		return NULL;
	if (p->busy || p->clearing) {
		error_set(err, ERR_WRONG_STATE, "%s is being %s right now", name,
			  p->busy ? p->busy : "cleared");
		error_at(err, d->config.host, name, NULL);
		return NULL;
	}
	bool runs_or_moves = act == ACT_START || act == ACT_RESTART || act == ACT_MOVE;
	if (runs_or_moves && ownership_check(d, name, err) < 0)
		return NULL;
	if (state_allows(p->row.state, act, name, err) < 0) {
		if (p->row.state == STATE_DEPARTED && err)
			error_hint(err, "it is on %s: `wparctl status %s` there",
				   p->row.departed_to, name);
		error_at(err, d->config.host, name, NULL);
		return NULL;
	}
	return p;
}

static const char *text_or_none(const char *text)
{
	return text && text[0] ? text : NULL;
}

struct partition *partition_add(struct daemon *d, const struct registry_partition *row,
				struct error *err)
{
	if (registry_partition_put(d->registry, row, err) < 0)
		return NULL;
	struct registry_partition copy = *row;
	copy.definition = json_incref(row->definition);
	copy.pending = json_incref(row->pending);
	struct partition *p = link_row(d, &copy);
	if (!p) {
		registry_partition_clear(&copy);
		error_set(err, ERR_NOMEM, "no memory for partition %s", row->name);
	}
	if (p)
		events_add(d, "partition", "created", p->row.name, text_or_none(p->row.move),
			   json_pack("{s:s, s:s}", "state", state_name(p->row.state), "uuid",
				     p->row.uuid));
	daemon_changed(d);
	return p;
}

int partition_save(struct partition *p, struct error *err)
{
	struct error local;
	if (registry_partition_put(p->daemon->registry, &p->row, err ? err : &local) == 0)
		return 0;
	log_error_of(err ? err : &local, p->row.name);
	return -1;
}

static void note_state(const struct partition *p, enum partition_state before, const char *reason)
{
	log_info("partition %s: %s -> %s%s%s", p->row.name, state_name(before),
		 state_name(p->row.state), reason ? ": " : "", reason ? reason : "");
	events_add(p->daemon, "partition", "state", p->row.name, text_or_none(p->row.move),
		   json_pack("{s:s, s:s, s:s?}", "from", state_name(before), "to",
			     state_name(p->row.state), "reason", reason));
	if (p->row.state == STATE_IN_DOUBT)
		hooks_in_doubt(p->daemon, p->row.move);
}

void partition_set(struct partition *p, enum partition_state state, const char *reason)
{
	enum partition_state before = p->row.state;
	p->row.state = state;
	snprintf(p->row.reason, sizeof(p->row.reason), "%s", reason ? reason : "");
	partition_save(p, NULL);
	if (before != state)
		note_state(p, before, reason);
	daemon_changed(p->daemon);
}

static char *epoch_key(const char *uuid, char key[64])
{
	snprintf(key, 64, "epoch-%s", uuid);
	return key;
}

// One that never moved nobody else can have.
static int remember_epoch(const struct partition *p, struct error *err)
{
	char key[64], text[24];
	if (p->row.epoch <= 1)
		return 0;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)p->row.epoch);
	return registry_meta_put(p->daemon->registry, epoch_key(p->row.uuid, key), text, err);
}

uint64_t partition_known_epoch(struct daemon *d, const char *uuid)
{
	char key[64], text[24] = "0";
	registry_meta_get(d->registry, epoch_key(uuid, key), text, sizeof(text), NULL);
	uint64_t known = strtoull(text, NULL, 10);
	for (const struct partition *p = d->partitions; p; p = p->next)
		if (!strcmp(p->row.uuid, uuid) && p->row.epoch > known)
			known = p->row.epoch;
	return known;
}

int partition_drop(struct partition *p, struct error *err)
{
	struct daemon *d = p->daemon;
	if (remember_epoch(p, err) < 0)
		return -1;
	if (registry_partition_delete(d->registry, p->row.name, err) < 0)
		return -1;
	events_add(d, "partition", "removed", p->row.name, NULL, NULL);
	bool of_image = json_object_get(p->row.definition, "image");
	unlink_row(p);
	if (of_image)
		images_collect(d);
	daemon_changed(d);
	return 0;
}

int partition_wait_idle(struct daemon *d, const char *name, deadline_t deadline, struct error *err)
{
	for (;;) {
		struct partition *p = partition_find(d, name);
		if (!p || (!p->busy && !p->clearing))
			return 0;
		if (!daemon_wait(d, deadline))
			return error_set(err, ERR_DEADLINE, "%s is still being %s", name,
					 p->busy ? p->busy : "cleared");
	}
}

// ---- addresses ----------------------------------------------------------------------------------

static bool has_address(const json_t *definition, const struct address *wanted)
{
	size_t i, j;
	json_t *network, *text;
	json_array_foreach (json_object_get(definition, "networks"), i, network) {
		json_array_foreach (json_object_get(network, "addresses"), j, text) {
			struct address address;
			const char *cidr = json_string_value(text);
			if (cidr && address_parse_cidr(cidr, &address, NULL) == 0 &&
			    address_equal(&address, wanted))
				return true;
		}
	}
	return false;
}

static int address_free(struct daemon *d, const char *cidr, const char *name, struct error *err)
{
	struct address address;
	if (address_parse_cidr(cidr, &address, err) < 0)
		return -1;
	for (const struct partition *p = d->partitions; p; p = p->next) {
		if (!strcmp(p->row.name, name) || p->row.state == STATE_DEPARTED)
			continue;
		if (has_address(p->row.definition, &address)) {
			error_set(err, ERR_ADDRESS_TAKEN,
				  "address %s belongs to partition %s of %s", cidr, p->row.name,
				  d->config.host);
			error_at(err, d->config.host, name, NULL);
			return -1;
		}
	}
	return 0;
}

int partition_addresses_free(struct daemon *d, const json_t *definition, const char *name,
			     struct error *err)
{
	size_t i, j;
	json_t *network, *text;
	json_array_foreach (json_object_get(definition, "networks"), i, network) {
		json_array_foreach (json_object_get(network, "addresses"), j, text) {
			if (address_free(d, json_string_value(text), name, err) < 0)
				return -1;
		}
	}
	return 0;
}

// ---- show ---------------------------------------------------------------------------------------

static json_t *text_or_null(const char *text)
{
	return text && text[0] ? json_string(text) : json_null();
}

static json_t *exit_json(const struct partition *p)
{
	const struct registry_partition *r = &p->row;
	if (r->exit_code < 0 && !r->exit_signal)
		return json_null();
	return json_pack("{s:o, s:o}", "code",
			 r->exit_code < 0 ? json_null() : json_integer(r->exit_code), "signal",
			 r->exit_signal ? json_integer(r->exit_signal) : json_null());
}

static json_t *addresses_json(const json_t *definition)
{
	json_t *list = json_array();
	size_t i;
	json_t *network;
	json_array_foreach (json_object_get(definition, "networks"), i, network) {
		json_array_extend(list, json_object_get(network, "addresses"));
	}
	return list;
}

json_t *partition_wanted(const struct partition *p)
{
	return definition_with(p->row.definition, p->row.pending);
}

static void set_definition(struct partition *p, json_t *definition, json_t *pending)
{
	json_decref(p->row.definition);
	json_decref(p->row.pending);
	p->row.definition = definition;
	p->row.pending = pending;
}

void partition_adopt_pending(struct partition *p)
{
	if (json_object_size(p->row.pending))
		set_definition(p, partition_wanted(p), NULL);
}

json_t *partition_travels(const struct partition *p)
{
	json_t *definition = json_deep_copy(p->row.definition);
	json_object_set_new(definition, "revision", json_integer((json_int_t)p->row.revision));
	if (json_object_size(p->row.pending))
		json_object_set(definition, "pending", p->row.pending);
	return definition;
}

void partition_take_definition(struct partition *p, const json_t *travels)
{
	json_t *definition = json_deep_copy(travels);
	json_int_t revision = json_integer_value(json_object_get(definition, "revision"));
	json_t *pending = json_incref(json_object_get(definition, "pending"));
	json_object_del(definition, "revision");
	json_object_del(definition, "pending");
	set_definition(p, definition, pending);
	p->row.revision = revision > 0 ? (uint64_t)revision : 1;
}

void partition_etag(const struct partition *p, char etag[PARTITION_ETAG_MAX])
{
	snprintf(etag, PARTITION_ETAG_MAX, "\"%s-%llu\"", p->row.uuid,
		 (unsigned long long)p->row.revision);
}

static json_t *pending_keys(const struct partition *p)
{
	json_t *keys = json_array(), *value;
	const char *key;
	json_object_foreach (p->row.pending, key, value)
		json_array_append_new(keys, json_string(key));
	return keys;
}

json_t *partition_json(const struct partition *p, bool whole)
{
	const struct registry_partition *r = &p->row;
	const json_t *limit =
		json_object_get(json_object_get(r->definition, "resources"), "memory_bytes");
	json_t *o = json_pack(
		"{s:s, s:s, s:O?, s:s, s:o, s:s, s:o, s:o, s:O?, s:o, s:o, s:I, s:o, s:o}", "name",
		r->name, "uuid", r->uuid, "type", json_object_get(r->definition, "type"), "state",
		state_name(r->state), "reason", text_or_null(r->reason), "host",
		p->daemon->config.host, "pid", p->pid ? json_integer(p->pid) : json_null(),
		"addresses", addresses_json(r->definition), "memory_bytes", limit, "started",
		text_or_null(r->started), "exit", exit_json(p), "epoch", (json_int_t)r->epoch,
		"departed_to", text_or_null(r->departed_to), "move", text_or_null(r->move));
	if (!o)
		return NULL;
	json_object_set_new(o, "came_from", text_or_null(r->came_from));
	json_object_set_new(o, "filled_percent",
			    p->filling ? json_integer(p->filled) : json_null());
	json_object_set_new(o, "revision", json_integer((json_int_t)r->revision));
	json_object_set_new(o, "pending", pending_keys(p));
	json_object_set_new(o, "restarts", json_integer(r->restarts));
	json_object_set(o, "autostart", json_object_get(r->definition, "autostart"));
	if (whole)
		json_object_set_new(o, "definition", partition_wanted(p));
	return o;
}

// ---- remove -------------------------------------------------------------------------------------

static void remove_folders(const char *name)
{
	char path[KEEPER_PATH_MAX];
	struct error err;
	if (fdio_remove_tree(AT_FDCWD, keeper_state_dir(name, path), &err) < 0 ||
	    fdio_remove_tree(AT_FDCWD, keeper_run_dir(name, path), &err) < 0)
		log_error_of(&err, name);
}

// One that runs is killed first, if that is wanted.
static int stop_first(struct daemon *d, const char *name, bool force, struct error *err)
{
	daemon_lock(d);
	struct partition *p = partition_get(d, name, err);
	bool active = p && p->row.state == STATE_ACTIVE;
	daemon_unlock(d);
	if (!p)
		return -1;
	return force && active ? lifecycle_stop(d, name, 0, true, err) : 0;
}

// The volumes of one that has departed are in use elsewhere.
static int check_volumes(const struct partition *p, bool volumes, struct error *err)
{
	if (!volumes || p->row.state != STATE_DEPARTED)
		return 0;
	return error_set(err, ERR_WRONG_STATE,
			 "%s runs on %s, with its volumes: remove those there", p->row.name,
			 p->row.departed_to);
}

static struct partition *begin_remove(struct daemon *d, const char *name, bool volumes,
				      struct error *err)
{
	daemon_lock(d);
	int failed = partition_wait_idle(d, name, deadline_in_ms(REMOVE_MS), err);
	struct partition *p = failed ? NULL : partition_get_for(d, name, ACT_REMOVE, err);
	if (p && check_volumes(p, volumes, err) < 0)
		p = NULL;
	else if (p)
		p->busy = "removed";
	else if (!failed && err && err->id == ERR_WRONG_STATE)
		error_hint(err, "stop it first, or use --force");
	daemon_unlock(d);
	return p;
}

int partition_remove(struct daemon *d, const char *name, bool force, bool volumes,
		     struct error *err)
{
	_cleanup_json_ json_t *definition = NULL;
	struct partition *p =
		stop_first(d, name, force, err) < 0 ? NULL : begin_remove(d, name, volumes, err);
	if (!p)
		return -1;
	int failed = lifecycle_sweep(name, force, err);
	daemon_lock(d);
	p->busy = NULL;
	definition = partition_wanted(p);
	if (!failed)
		failed = partition_drop(p, err);
	daemon_changed(d);
	daemon_unlock(d);
	if (failed)
		return -1;
	remove_folders(name);
	if (volumes)
		volumes_remove(&d->config, definition);
	log_info("partition %s: removed", name);
	return 0;
}
