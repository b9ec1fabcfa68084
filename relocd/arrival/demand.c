// SPDX-License-Identifier: Apache-2.0
// Restore on demand: the partition runs before its private memory is there, a page server brings
// what it touches (lib/memory/pager.h). The keeper has the server, so that it outlives us.
#include "relocd/arrival/arrival.h"

#include "images/lazyplan.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/memory/pager.h"
#include "lib/memory/restore.h"
#include "relocd/move/facts.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static enum restore_wish wish_of(const Wpar__Offer *offer)
{
	return offer->has_restore ? (enum restore_wish)offer->restore : RESTORE_AUTO;
}

bool arrival_demand_possible(const struct arrival *a)
{
	char why[200];
	return wish_of(a->offer) != RESTORE_EAGER && pager_usable(why, sizeof(why));
}

// In the work directory of CRIU, which only we see: by way of the descriptor.
static int make_listener(const struct arrival *a, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" PAGER_SOCKET,
		 a->images);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, SOMAXCONN) < 0)
		return error_sys(err, ERR_MEMORY, errno, "cannot listen for CRIU");
	return take_fd(&fd);
}

// What is not on demand after all was counted once (checks.c), and is needed twice.
static int check_room(const struct lazyplan *plan, const char *why, struct error *err)
{
	uint64_t available, total, needed = (plan->pages - plan->shared) * LAZYMAP_PAGE;
	if (facts_memory(&available, &total, err) < 0)
		return -1;
	if (needed > available)
		return error_set(err, ERR_MEMORY,
				 "all of its memory must be restored before it runs (%s): it needs "
				 "%llu MiB more, %llu MiB are free",
				 why, (unsigned long long)(needed >> 20),
				 (unsigned long long)(available >> 20));
	log_info("all memory is restored before it runs: %s", why);
	return 0;
}

// Is it wanted, and can it be?
static int decide(struct arrival *a, bool *yes, struct error *err)
{
	char why[200];
	__attribute__((cleanup(lazyplan_free))) struct lazyplan plan = {0};
	if (wish_of(a->offer) == RESTORE_EAGER)
		return 0;
	if (lazyplan_read(a->store, &plan, err) < 0)
		return -1;
	if (!restore_on_demand_pays(wish_of(a->offer), plan.pages * LAZYMAP_PAGE))
		return 0;
	*yes = pager_usable(why, sizeof(why)) &&
	       lazyplan_fits(&plan, a->images, a->def->memory_bytes, why, sizeof(why));
	if (!*yes)
		return check_room(&plan, why, err);
	log_info("%llu MiB of memory come on demand", (unsigned long long)(plan.pages >> 8));
	return 0;
}

// The server reads nothing of the folder before CRIU connects.
static int start_server(struct arrival *a, struct error *err)
{
	_cleanup_close_ int listener = make_listener(a, err);
	return listener < 0 ? -1 : keeper_page(a->keeper, listener, a->images, err);
}

int arrival_demand_begin(struct arrival *a, struct error *err)
{
	struct error refused;
	if (decide(a, &a->on_demand, err) < 0)
		return -1;
	if (a->on_demand && start_server(a, &refused) < 0) {
		log_warn("all memory is restored before it runs: %s", refused.message);
		a->on_demand = false;
	}
	return pagestore_finish(a->store, a->on_demand ? PAGESTORE_LAZY_KEPT : PAGESTORE_EAGER,
				err);
}

void arrival_demand_fill(struct arrival *a)
{
	struct error err;
	if (!a->on_demand)
		return;
	_cleanup_close_ int conn = keeper_connect(a->def->name, &err);
	if (conn < 0 || keeper_fill(conn, &err) < 0)
		log_error_of(&err, "page server");
}

void arrival_demand_drop(struct arrival *a)
{
	struct error err;
	struct dirent *entry;
	_cleanup_closedir_ DIR *dir = a->on_demand ? fdio_opendir(a->images, &err) : NULL;
	while (dir && (entry = fdio_readdir(dir)))
		fdio_remove_tree(a->images, entry->d_name, NULL);
}
