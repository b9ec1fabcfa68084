// SPDX-License-Identifier: Apache-2.0
#include "relocd/partitions/images.h"

#include "lib/base/log.h"
#include "lib/storage/store.h"
#include "relocd/partitions/partitions.h"

#include <string.h>

static bool is_used(void *arg, const char *digest)
{
	struct daemon *d = arg;
	bool found = false;
	daemon_lock(d);
	for (const struct partition *p = d->partitions; p && !found; p = p->next) {
		const char *own = json_string_value(
			json_object_get(json_object_get(p->row.definition, "image"), "digest"));
		found = own && !strcmp(own, digest);
	}
	daemon_unlock(d);
	return found;
}

static void collect(struct daemon *d, const char *name)
{
	(void)name;
	store_collect(is_used, d);
}

void images_collect(struct daemon *d)
{
	struct error err;
	if (daemon_thread(d, collect, "", &err) < 0)
		log_error_of(&err, "images");
}
