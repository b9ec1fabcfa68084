// SPDX-License-Identifier: Apache-2.0
// VALIDATE on the destination: answers each check with a code and a sentence.
#include "relocd/move/checks.h"

#include "lib/base/cleanup.h"
#include "lib/net/probe.h"
#include "lib/partition/station.h"
#include "relocd/arrival/arrival.h"
#include "relocd/move/facts.h"
#include "relocd/move/hardlimits.h"
#include "relocd/move/kernelpaths.h"
#include "relocd/move/storage.h"

#include <string.h>

#define PROBE_MS 200
#define HEADROOM (64u << 20)

// relocd passes further connections on to us that begin with it.
static bool take_token(const json_t *answer, uint8_t token[WIRE_TOKEN])
{
	const char *text = json_string_value(json_object_get(answer, "token"));
	if (!text || strlen(text) != 2 * WIRE_TOKEN)
		return false;
	for (size_t i = 0; i < WIRE_TOKEN; i++) {
		unsigned byte;
		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			return false;
		token[i] = (uint8_t)byte;
	}
	return true;
}

static int check_reservation(struct arrival *a, struct error *err)
{
	json_t *request =
		json_pack("{s:s, s:s, s:I, s:b, s:s, s:o}", "op", "reserve", "move", a->offer->move,
			  "epoch", (json_int_t)a->offer->epoch, "dry_run", (int)a->offer->dry_run,
			  "from", link_peer(a->link), "definition", definition_to_json(a->def));
	_cleanup_json_ json_t *answer = NULL;
	if (report_call(&a->report, request, &answer, err) < 0)
		return -1;
	a->reserved = !a->offer->dry_run;
	a->has_token = take_token(answer, a->token);
	return 0;
}

static int compare_criu(const struct criu_version *mine, const char *theirs, struct error *err)
{
	int major = 0, minor = 0;
	sscanf(theirs, "%d.%d", &major, &minor);
	if (mine->major > major || (mine->major == major && mine->minor >= minor))
		return 0;
	return error_set(err, ERR_VERSION, "CRIU here is %d.%d, older than %s at the source",
			 mine->major, mine->minor, theirs);
}

static int check_criu(struct arrival *a, struct error *err)
{
	struct criu_version v;
	if (facts_criu(a->start, &a->criu, &v, err) < 0)
		return -1;
	return compare_criu(&v, a->offer->criu, err);
}

static int check_cpu(struct arrival *a, struct error *err)
{
	_cleanup_json_ json_t *wanted = json_array(), *have = facts_cpu_features(err);
	if (!have)
		return -1;
	for (size_t i = 0; i < a->offer->n_cpu_features; i++)
		json_array_append_new(wanted, json_string(a->offer->cpu_features[i]));
	return facts_cpu_compare(wanted, have, err);
}

// While it arrives its pages and its folders in memory are here twice: as they came, and restored.
// Only what may come on demand is given back where it came as it is restored.
static uint64_t memory_needed(const struct arrival *a)
{
	const Wpar__Offer *o = a->offer;
	uint64_t once = arrival_demand_possible(a) ? o->private_bytes : 0;
	if (o->memory_bytes > UINT64_MAX / 8 || o->tree_bytes > UINT64_MAX / 8)
		return UINT64_MAX;
	if (once > o->memory_bytes)
		once = o->memory_bytes;
	return o->memory_bytes * 2 - once + o->tree_bytes * 2 + HEADROOM;
}

int arrival_check_memory(struct arrival *a, uint64_t *pages, struct error *err)
{
	uint64_t available, total;
	json_int_t percent =
		json_integer_value(json_object_get(a->start, "memory_for_arrivals_percent"));
	if (facts_memory(&available, &total, err) < 0)
		return -1;
	uint64_t part = percent > 0 && percent <= 100 ? (uint64_t)percent : 80;
	uint64_t needed = memory_needed(a), room = available / 100 * part;
	if (needed > room)
		return error_set(
			err, ERR_MEMORY,
			"it needs %llu MiB while it arrives; %llu%% of %llu MiB are free for that",
			(unsigned long long)(needed >> 20), (unsigned long long)part,
			(unsigned long long)(available >> 20));
	if (a->def->memory_bytes > total / 100 * part)
		return error_set(
			err, ERR_MEMORY,
			"its memory limit of %llu MiB is more than %llu%% of this host's %llu MiB",
			(unsigned long long)(a->def->memory_bytes >> 20), (unsigned long long)part,
			(unsigned long long)(total >> 20));
	*pages = room - a->offer->tree_bytes * 2 - HEADROOM;
	return 0;
}

static int check_memory(struct arrival *a, struct error *err)
{
	uint64_t unused;
	return arrival_check_memory(a, &unused, err);
}

static int check_same_folder(struct arrival *a, struct error *err)
{
	struct facts_folder folder;
	if (facts_folder(a->def->rootfs, &folder, err) < 0)
		return -1;
	if (folder.inode != a->offer->rootfs_ino || folder.ctime_ns != a->offer->rootfs_ctime_ns)
		return error_set(err, ERR_NOT_SHARED,
				 "%s is another folder here than at the source", a->def->rootfs);
	return 0;
}

static int check_rootfs(struct arrival *a, struct error *err)
{
	if ((a->def->image ? arrival_check_image(a, err) : check_same_folder(a, err)) < 0 ||
	    storage_check(a->start, a->def, err) < 0)
		return -1;
	return storage_compare(a->def, a->offer->volume_ino, a->offer->n_volume_ino, err);
}

static int check_network(const struct partition_network *net, struct error *err)
{
	_cleanup_station_ struct station station = {0};
	if (port_check_bridge(net->bridge, NETNS_CURRENT, err) < 0 ||
	    station_of(net, &station, err) < 0)
		return -1;
	return probe_addresses(net->bridge, station.addresses, station.address_count, &station.mac,
			       deadline_in_ms(PROBE_MS), err);
}

static int check_networks(struct arrival *a, struct error *err)
{
	for (size_t i = 0; i < a->def->network_count; i++)
		if (check_network(&a->def->networks[i], err) < 0)
			return -1;
	return 0;
}

static void check_kernel(struct arrival *a, json_t *checks)
{
	char kernel[FACTS_KERNEL_MAX];
	facts_kernel(kernel);
	if (!strcmp(kernel, a->offer->kernel))
		checks_pass(checks, a->host, "kernel", "both hosts run Linux %s", kernel);
	else
		checks_warn(checks, a->host, "kernel", "the hosts run different kernels",
			    "moves between kernel versions work as far as CRIU supports both");
}

#define CLOCK_WARN_NS 1000000000ll

// Programs see the wall clock of the host that they are on; the others go on (time namespace).
static void check_clock(struct arrival *a, json_t *checks)
{
	char sentence[128];
	int64_t ahead = clock_realtime_ns() - a->offer->realtime_ns;
	if (!a->offer->has_realtime_ns)
		return;
	if (ahead < CLOCK_WARN_NS && ahead > -CLOCK_WARN_NS) {
		checks_pass(checks, a->host, "clock", "both hosts have the same time of day");
		return;
	}
	snprintf(sentence, sizeof(sentence),
		 "the time of day here is %.1f s %s that of the source, and programs will see that",
		 (double)(ahead > 0 ? ahead : -ahead) / 1e9, ahead > 0 ? "ahead of" : "behind");
	checks_warn(checks, a->host, "clock", sentence, "let NTP set the clocks of both hosts");
}

// A bridge without an address of its own takes the lowest of its ports'. If all ports are of
// partitions it changes as they come and go, and the host's own connections stall.
static void check_bridges(struct arrival *a, json_t *checks)
{
	char sentence[160];
	for (size_t i = 0; i < a->def->network_count; i++) {
		const char *bridge = a->def->networks[i].bridge;
		if (port_bridge_steady(bridge))
			continue;
		snprintf(sentence, sizeof(sentence),
			 "bridge %s has neither a hardware address of its own nor a port that is "
			 "not a partition's: its address changes with them",
			 bridge);
		checks_warn(checks, a->host, "bridge", sentence,
			    "give it one: ip link set BRIDGE address 02:...");
	}
}

static int check_kernel_paths(struct arrival *a, struct error *err)
{
	return kernelpaths_check(a->offer->kernel_paths, a->offer->n_kernel_paths, err);
}

// Taken now: the keeper and CRIU, which are started later, inherit them.
static int check_limits(struct arrival *a, struct error *err)
{
	return hardlimits_take(a->offer->rlimit, a->offer->n_rlimit, err);
}

json_t *arrival_checks(struct arrival *a)
{
	static const struct {
		const char *check, *passed;
		int (*run)(struct arrival *a, struct error *err);
	} list[] = {
		{"criu", "CRIU has passed its self-test", check_criu},
		{"masks", "the kernel has all paths that are masked or protected",
		 check_kernel_paths},
		{"cpu", "the processor has all features", check_cpu},
		{"memory", "there is enough memory", check_memory},
		{"storage",
		 "the root filesystem and the volumes are the same folders, or it has room for the "
		 "layers of an image",
		 check_rootfs},
		{"limits", "its processes may have the resource limits that they have",
		 check_limits},
		{"network", "the bridge is there and the addresses are free", check_networks},
	};
	json_t *checks = json_array();
	struct error why;
	check_kernel(a, checks);
	check_clock(a, checks);
	check_bridges(a, checks);
	for (size_t i = 0; i < ARRAY_SIZE(list); i++)
		checks_add(checks, a->host, list[i].check, list[i].run(a, &why), &why,
			   list[i].passed);
	// Last, so that nothing is reserved for a move that is refused anyway.
	if (checks_ok(checks))
		checks_add(checks, a->host, "name", check_reservation(a, &why), &why,
			   "name and addresses are free");
	return checks;
}
