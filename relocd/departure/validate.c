// SPDX-License-Identifier: Apache-2.0
// VALIDATE: nothing is changed on either host. Every check ends in the list; the first failure is
// the error.
#include "relocd/departure/departure.h"

#include "lib/base/cleanup.h"
#include "lib/partition/undumpable.h"
#include "relocd/move/checks.h"
#include "relocd/move/facts.h"
#include "relocd/move/hardlimits.h"
#include "relocd/move/kernelpaths.h"
#include "relocd/move/known.h"
#include "relocd/move/storage.h"
#include "relocd/move/talk.h"

#include <string.h>
#include <sys/statvfs.h>

#define CONNECT_MS 10000
#define ANSWER_MS  60000 // the peer may have to run its self-test of CRIU first
#define EXPECT_MAX 500

static int check_running(struct departure *d, struct error *err)
{
	d->keeper = keeper_connect(d->def->name, err);
	if (d->keeper < 0 || keeper_status(d->keeper, &d->status, err) < 0)
		return -1;
	if (d->status.state != KEEPER_RUNNING)
		return error_set(err, ERR_WRONG_STATE, "partition %s does not run", d->def->name);
	d->cgroup = cgroup_open(d->def->name, err);
	return d->cgroup ? 0 : -1;
}

static int check_criu(struct departure *d, char text[32], struct error *err)
{
	struct criu_version v;
	if (facts_criu(d->start, &d->criu, &v, err) < 0)
		return -1;
	snprintf(text, 32, "%d.%d.%d", v.major, v.minor, v.sublevel);
	return 0;
}

static int check_storage(struct departure *d, struct facts_folder *rootfs, struct error *err)
{
	if (d->def->image)
		return storage_check(d->start, d->def, err) < 0 ? -1 : departure_open_image(d, err);
	if (strcmp(d->def->storage, "shared"))
		return error_set(err, ERR_NOT_SHARED, "its root filesystem %s is on this host only",
				 d->def->rootfs);
	return storage_check(d->start, d->def, err) < 0 ? -1
							: facts_folder(d->def->rootfs, rootfs, err);
}

// What is in its folders in memory. Part of it may have been charged to the partition, but not what
// came with an earlier move.
static uint64_t tree_bytes(const struct departure *d)
{
	char path[64];
	struct statvfs fs;
	snprintf(path, sizeof(path), "/proc/%d/root/dev", (int)d->status.pid);
	if (statvfs(path, &fs) < 0)
		return 0;
	return (uint64_t)(fs.f_blocks - fs.f_bfree) * fs.f_frsize;
}

static void fill_private(const struct departure *d, Wpar__Offer *message)
{
	uint64_t private, shared;
	message->has_private_bytes = cgroup_memory_parts(d->cgroup, &private, &shared, NULL) == 0;
	message->private_bytes = message->has_private_bytes ? private : 0;
}

struct offer {
	Wpar__Offer message;
	char kernel[FACTS_KERNEL_MAX], criu[32];
	char *definition;
	json_t *features, *kernel_paths; // these own the strings of the lists below them
	char **feature_texts, **kernel_path_texts;
	Wpar__Expect *expects, **expect_list;
	uint64_t *volumes, limits[RLIM_NLIMITS];
};

static void offer_free(struct offer *o)
{
	free(o->definition);
	json_decref(o->features);
	json_decref(o->kernel_paths);
	free(o->feature_texts);
	free(o->kernel_path_texts);
	free(o->expects);
	free(o->expect_list);
	free(o->volumes);
}

static int fill_expects(struct departure *d, struct offer *o, struct error *err)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t count;
	if (cgroup_pids(d->cgroup, &pids, &count, err) < 0)
		return -1;
	hardlimits_of(pids, count, o->limits);
	o->message.n_rlimit = RLIM_NLIMITS;
	o->message.rlimit = o->limits;
	if (count > EXPECT_MAX)
		count = EXPECT_MAX;
	o->expects = calloc(count + 1, sizeof(*o->expects));
	o->expect_list = calloc(count + 1, sizeof(*o->expect_list));
	if (!o->expects || !o->expect_list)
		return error_set(err, ERR_NOMEM, "no memory for an offer");
	for (size_t i = 0; i < count; i++) {
		struct facts_task task;
		if (facts_task(pids[i], &task, NULL) < 0)
			continue; // ended meanwhile
		Wpar__Expect *e = &o->expects[o->message.n_expect];
		wpar__expect__init(e);
		e->destination = (uint64_t)task.inner << 8 | 1;
		e->bytes = task.resident_bytes;
		o->expect_list[o->message.n_expect++] = e;
	}
	o->message.expect = o->expect_list;
	return 0;
}

// The strings of a JSON array as a list that protobuf-c takes; NULL without memory.
static char **texts_of(const json_t *array)
{
	size_t count = json_array_size(array);
	char **texts = calloc(count + 1, sizeof(*texts));
	for (size_t i = 0; texts && i < count; i++)
		texts[i] = (char *)json_string_value(json_array_get(array, i));
	return texts;
}

// The processor's features at the partition's start travel with it; those of this host stand in.
static int fill_features(struct departure *d, struct offer *o, struct error *err)
{
	o->features = json_array();
	for (char **f = d->def->cpu_features; f && *f; f++)
		json_array_append_new(o->features, json_string(*f));
	if (json_array_size(o->features) == 0) {
		json_decref(o->features);
		o->features = facts_cpu_features(err);
	}
	o->feature_texts = texts_of(o->features);
	if (!o->features || !o->feature_texts)
		return error_set(err, ERR_NOMEM, "no memory for an offer");
	o->message.n_cpu_features = json_array_size(o->features);
	o->message.cpu_features = o->feature_texts;
	return 0;
}

static int fill_kernel_paths(struct departure *d, struct offer *o, struct error *err)
{
	if (!(o->kernel_paths = kernelpaths_of(d->status.pid, err)))
		return -1;
	if (!(o->kernel_path_texts = texts_of(o->kernel_paths)))
		return error_set(err, ERR_NOMEM, "no memory for an offer");
	o->message.n_kernel_paths = json_array_size(o->kernel_paths);
	o->message.kernel_paths = o->kernel_path_texts;
	return 0;
}

static int fill_offer(struct departure *d, struct offer *o, const struct facts_folder *rootfs,
		      struct error *err)
{
	wpar__offer__init(&o->message);
	_cleanup_json_ json_t *definition = definition_to_json(d->def);
	o->definition = definition ? json_dumps(definition, JSON_COMPACT) : NULL;
	if (!o->definition)
		return error_set(err, ERR_NOMEM, "no memory for an offer");
	facts_kernel(o->kernel);
	o->message.move = (char *)d->move;
	o->message.epoch = d->epoch;
	o->message.definition = o->definition;
	o->message.has_dry_run = true;
	o->message.dry_run = d->dry_run;
	o->message.kernel = o->kernel;
	o->message.criu = o->criu;
	o->message.memory_bytes = d->memory_bytes;
	fill_private(d, &o->message);
	o->message.rootfs_ino = rootfs->inode;
	o->message.rootfs_ctime_ns = rootfs->ctime_ns;
	o->message.has_image_bytes = o->message.has_upper_bytes = d->def->image != NULL;
	o->message.image_bytes = d->image_bytes;
	o->message.upper_bytes = d->upper_bytes;
	o->message.has_tree_bytes = true;
	o->message.tree_bytes = tree_bytes(d);
	o->message.has_realtime_ns = true;
	o->message.realtime_ns = clock_realtime_ns();
	o->message.has_restore = true;
	o->message.restore = d->restore;
	o->message.n_stdio = 2;
	o->message.stdio = d->status.stdio;
	if (fill_features(d, o, err) < 0 || fill_kernel_paths(d, o, err) < 0 ||
	    storage_inodes(d->def, &o->volumes, &o->message.n_volume_ino, err) < 0)
		return -1;
	o->message.volume_ino = o->volumes;
	return fill_expects(d, o, err);
}

static int take_checks(struct departure *d, const struct link_message *message, json_t *checks,
		       bool *rounds, struct error *err)
{
	Wpar__Checks *answer = wpar__checks__unpack(NULL, message->length, message->payload);
	*rounds = answer && answer->has_rounds && answer->rounds;
	d->on_demand = answer && answer->has_on_demand && answer->on_demand;
	_cleanup_json_ json_t *theirs = answer ? json_loads(answer->checks, 0, NULL) : NULL;
	if (answer)
		wpar__checks__free_unpacked(answer, NULL);
	if (!json_is_array(theirs))
		return error_set(err, ERR_PROTOCOL, "CHECKS is malformed");
	json_array_extend(checks, theirs);
	return 0;
}

// An engine that has rounds is of no use with a host that cannot take them. Such a host does not
// unpack either.
static int take_rounds(struct departure *d, bool rounds, struct error *err)
{
	const char *wanted =
		json_string_value(json_object_get(json_object_get(d->start, "options"), "engine"));
	if (!rounds)
		d->compress = SQUEEZE_OFF;
	if (rounds || !d->engine->round)
		return 0;
	if (wanted && strcmp(wanted, "auto"))
		return error_set(err, ERR_VERSION, "relocd on %s takes no memory in rounds",
				 d->peer);
	snprintf(d->engine_why, sizeof(d->engine_why), "relocd on %s takes no memory in rounds",
		 d->peer);
	d->engine = &memory_engine_stop;
	return 0;
}

static int ask_peer(struct departure *d, struct offer *o, json_t *checks, struct error *err)
{
	Wpar__Hello *hello;
	d->link = link_connect(d->peer_address, d->peer, &d->tls, false, deadline_in_ms(CONNECT_MS),
			       err);
	if (!d->link)
		return -1;
	const char *address = json_string_value(json_object_get(d->start, "address"));
	if (talk_hello(d->link, d->host, address, deadline_in_ms(CONNECT_MS), &hello, err) < 0)
		return -1;
	wpar__hello__free_unpacked(hello, NULL);
	if (known_refuse(json_object_get(d->start, "revoked"), d->link, err) < 0)
		return -1;
	struct link_message message;
	if (talk_send(d->link, WIRE_OFFER, &o->message.base, err) < 0 ||
	    departure_wait(d, WIRE_CHECKS, deadline_in_ms(ANSWER_MS), &message, err) < 0)
		return -1;
	bool rounds = false;
	int done = take_checks(d, &message, checks, &rounds, err);
	link_done(d->link, &message);
	return done < 0 ? -1 : take_rounds(d, rounds, err);
}

static void check_here(struct departure *d, struct offer *o, json_t *checks,
		       struct facts_folder *rootfs)
{
	struct error why;
	int done = check_running(d, &why);
	checks_add(checks, d->host, "partition", done, &why, "the partition runs");
	if (done < 0)
		return;
	char filling[80];
	if (departure_is_filling(&d->status, filling))
		checks_warn(checks, d->host, "memory", filling, "a move waits until that is done");
	checks_add(checks, d->host, "resources",
		   undumpable_check(d->cgroup, d->status.pid, d->end_exec, &why), &why,
		   "nothing in it is beyond CRIU");
	checks_add(checks, d->host, "contents", departure_check_network(d, &why), &why,
		   "its network is as its definition says");
	checks_add(checks, d->host, "criu", check_criu(d, o->criu, &why), &why,
		   "CRIU has passed its self-test");
	checks_add(checks, d->host, "storage", check_storage(d, rootfs, &why), &why,
		   "the root filesystem and the volumes are there and shared");
	departure_measure(d, checks);
}

// What no round can shorten. A warning, unless it was asked to be more.
static void check_downtime(struct departure *d, json_t *checks)
{
	char sentence[256];
	struct departure_prediction p;
	struct error why;
	departure_predict(d, &p);
	if (p.total_ms <= d->max_downtime_ms) {
		checks_pass(checks, d->host, "downtime", "%s", p.text);
		return;
	}
	snprintf(sentence, sizeof(sentence), "%s; %.0f ms are wanted", p.text, d->max_downtime_ms);
	error_set(&why, ERR_DOWNTIME, "%s", sentence);
	if (d->strict_downtime)
		checks_fail(checks, d->host, "downtime", &why);
	else
		checks_warn(checks, d->host, "downtime", sentence,
			    "allow more: --max-downtime, or move.max_downtime in relocd.yaml");
}

static void check_engine(struct departure *d, json_t *checks)
{
	if (d->engine_why[0])
		checks_warn(checks, d->host, "memory", d->engine_why,
			    "memory is copied while the partition stands still");
}

int departure_validate(struct departure *d, struct error *err)
{
	__attribute__((cleanup(offer_free))) struct offer offer = {0};
	struct facts_folder rootfs = {0};
	_cleanup_json_ json_t *checks = json_array();
	struct error why;
	check_here(d, &offer, checks, &rootfs);
	if (checks_ok(checks) &&
	    (fill_offer(d, &offer, &rootfs, &why) < 0 || ask_peer(d, &offer, checks, &why) < 0))
		checks_fail(checks, d->peer, "peer", &why);
	if (checks_ok(checks)) {
		check_engine(d, checks);
		check_downtime(d, checks);
	}
	report_event(&d->report, json_pack("{s:s, s:O}", "event", "checks", "checks", checks));
	return checks_error(checks, err);
}
