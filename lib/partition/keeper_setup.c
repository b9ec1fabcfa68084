// SPDX-License-Identifier: Apache-2.0
// Building and taking down what a keeper holds.
#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/net/contents.h"
#include "lib/net/neighbour.h"
#include "lib/net/port.h"
#include "lib/partition/keeper_inner.h"
#include "lib/partition/station.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#define CGROUP_REMOVE_MS 5000
#define HURRY_MS         3000 // as long as the kernel asks by itself

static int refuse_second_keeper(struct keeper *k, struct error *err)
{
	_cleanup_close_ int other = chan_connect(k->socket_path, NULL);
	if (other >= 0)
		return error_set(err, ERR_WRONG_STATE, "partition %s has a keeper already",
				 k->def->name);
	return 0;
}

static int make_groups(struct keeper *k, struct error *err)
{
	const struct cgroup_limits limits = {k->def->memory_bytes, k->def->cpu_millis,
					     k->def->pids};
	if (!(k->place = cgroup_place_self(err)) || !(k->cg = cgroup_create(k->def->name, err)))
		return -1;
	k->cgroup_made = true;
	// Its /dev has to allow devices: where nothing else keeps the partition from making one of
	// the host's there, it must not have the capability to.
	if (!cgroup_confines_devices(k->cg) && k->def->process.capabilities & 1ull << CAP_MKNOD)
		return error_set(
			err, ERR_CGROUP,
			"this host cannot limit devices (neither the v1 devices controller nor "
			"BPF), so no partition may have CAP_MKNOD here");
	return cgroup_set_limits(k->cg, &limits, err);
}

// ---- network -----------------------------------------------------------------------------------

static int create_port(struct keeper *k, size_t index, struct error *err)
{
	const struct partition_network *network = &k->def->networks[index];
	_cleanup_station_ struct station station = {0};
	char *name = k->ports[index], inner[IFNAMSIZ];
	if (station_of(network, &station, err) < 0)
		return -1;
	snprintf(inner, sizeof(inner), "eth%zu", index);
	port_name(k->def->name, (unsigned)index, name);
	struct port_spec spec = {.ifname = name,
				 .inner = inner,
				 .bridge = network->bridge,
				 .mac = station.mac,
				 .addresses = station.addresses,
				 .address_count = station.address_count,
				 .gateways = station.gateways,
				 .gateway_count = station.gateway_count,
				 .host_netns = k->host_netns,
				 .netns = k->netns,
				 .disabled = k->arriving};
	// One left behind by a keeper that was killed: its partition is gone, or the groups would
	// not have been empty.
	if (port_remove(name, k->host_netns, err) < 0 || port_create(&spec, err) < 0)
		return -1;
	k->port_count = index + 1;
	return 0;
}

// What the definition made of the network, for a move to see what was added inside (contents.h).
static int note_contents(struct keeper *k, struct error *err)
{
	char path[KEEPER_PATH_MAX + 16];
	_cleanup_json_ json_t *contents = contents_read(k->netns, err);
	_cleanup_free_ char *text = contents ? json_dumps(contents, JSON_COMPACT) : NULL;
	snprintf(path, sizeof(path), "%s/%s", k->run_dir, KEEPER_CONTENTS);
	return text ? fdio_replace_file(path, text, strlen(text), 0600, err) : -1;
}

static void forget_contents(const struct keeper *k)
{
	char path[KEEPER_PATH_MAX + 16];
	snprintf(path, sizeof(path), "%s/%s", k->run_dir, KEEPER_CONTENTS);
	if (*k->run_dir)
		unlink(path);
}

void keeper_hurry(struct keeper *k, bool hurry)
{
	for (size_t i = 0; i < k->port_count; i++) {
		char inner[IFNAMSIZ];
		struct error err;
		snprintf(inner, sizeof(inner), "eth%zu", i);
		if (neighbour_hurry(inner, hurry, &err) < 0)
			log_error_of(&err, "neighbours");
	}
}

void keeper_calm_down(struct keeper *k)
{
	k->hurry_until = deadline_in_ms(HURRY_MS);
}

void keeper_end_hurry(struct keeper *k)
{
	if (!deadline_passed(k->hurry_until))
		return;
	k->hurry_until = DEADLINE_NEVER;
	keeper_hurry(k, false);
}

static int make_network(struct keeper *k, struct error *err)
{
	k->host_netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (k->host_netns < 0 || unshare(CLONE_NEWNET) < 0 ||
	    (k->netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) < 0)
		return error_sys(err, ERR_NETWORK, errno, "cannot make a network namespace");
	if (port_loopback_up(k->netns, err) < 0)
		return -1;
	for (size_t i = 0; i < k->def->network_count; i++)
		if (create_port(k, i, err) < 0)
			return -1;
	if (note_contents(k, err) < 0)
		return -1;
	keeper_hurry(k, k->arriving);
	return 0;
}

// ---- the whole ---------------------------------------------------------------------------------

int keeper_setup(struct keeper *k, struct error *err)
{
	keeper_run_dir(k->def->name, k->run_dir);
	keeper_state_dir(k->def->name, k->state_dir);
	keeper_socket_path(k->def->name, k->socket_path);
	if (fdio_mkdir_p(k->run_dir, 0700, err) < 0 || fdio_mkdir_p(k->state_dir, 0700, err) < 0 ||
	    refuse_second_keeper(k, err) < 0)
		return -1;
	if (!(k->console = console_open(k->state_dir, CONSOLE_SIZE_MAX, err)))
		return -1;
	if (make_groups(k, err) < 0 || make_network(k, err) < 0 ||
	    stage_prepare(&k->stage, k->def, k->run_dir, !k->arriving, err) < 0)
		return -1;
	k->listener = chan_listen(k->socket_path, err);
	return k->listener < 0 ? -1 : 0;
}

void keeper_teardown(struct keeper *k)
{
	struct error err = {0};
	keeper_end_pager(k);
	if (k->listener >= 0)
		unlink(k->socket_path);
	for (size_t i = 0; i < k->port_count; i++)
		if (port_remove(k->ports[i], k->host_netns, &err) < 0)
			log_error_of(&err, "taking the port down");
	stage_remove(&k->stage);
	cgroup_close(k->cg);
	if (k->cgroup_made &&
	    cgroup_remove(k->def->name, deadline_in_ms(CGROUP_REMOVE_MS), &err) < 0)
		log_error_of(&err, "removing the groups");
	cgroup_place_free(k->place);
	console_close(k->console);
	forget_contents(k);
	// The folder stays when something else of the partition is in it.
	if (*k->run_dir)
		rmdir(k->run_dir);
}
