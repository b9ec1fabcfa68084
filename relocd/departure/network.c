// SPDX-License-Identifier: Apache-2.0
// The destination makes the network namespace anew from the definition: what a partition has added
// to it would be lost without a word.
#include "relocd/departure/departure.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/net/contents.h"

#include <fcntl.h>
#include <linux/capability.h>

#define CONTENTS_MAX (4u << 20)

int departure_check_network(struct departure *d, struct error *err)
{
	char folder[KEEPER_PATH_MAX], path[KEEPER_PATH_MAX + 16];
	snprintf(path, sizeof(path), "%s/%s", keeper_run_dir(d->def->name, folder),
		 KEEPER_CONTENTS);
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, CONTENTS_MAX, NULL);
	_cleanup_json_ json_t *before = text ? json_loads(text, 0, NULL) : NULL;
	if (!before)
		return 0; // its keeper is older than this check
	_cleanup_close_ int netns = keeper_netns(d->keeper, err);
	_cleanup_json_ json_t *now = netns < 0 ? NULL : contents_read(netns, err);
	return now ? contents_compare(before, now, err) : -1;
}

int departure_check_network_frozen(struct departure *d, struct error *err)
{
	const uint64_t able = 1ull << CAP_NET_ADMIN | 1ull << CAP_SYS_ADMIN;
	return d->def->process.capabilities & able ? departure_check_network(d, err) : 0;
}
