// SPDX-License-Identifier: Apache-2.0
#include "lib/net/neighbour.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

// A new interface has the kernel's own values, arp(7): one second, three times.
static const struct {
	const char *key, *hurried, *usual;
} keys[] = {
	{"retrans_time_ms", "10", "1000"},
	{"mcast_solicit", "100000", "3"},
};

int neighbour_hurry(const char *ifname, bool hurry, struct error *err)
{
	static const char *const families[] = {"ipv4", "ipv6"};
	char path[128];
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
			const char *value = hurry ? keys[k].hurried : keys[k].usual;
			snprintf(path, sizeof(path), "/proc/sys/net/%s/neigh/%s/%s", families[i],
				 ifname, keys[k].key);
			if (access(path, F_OK) < 0 && errno == ENOENT)
				continue;
			if (fdio_write_control(AT_FDCWD, path, value, err) < 0)
				return -1;
		}
	}
	return 0;
}

// The kernel shows the time in another unit as well, as retrans_time.
bool neighbour_hurries(const char *path)
{
	const char *key = strrchr(path, '/');
	return strstr(path, "/neigh/") &&
	       (!strncmp(key + 1, "retrans_time", 12) || !strcmp(key + 1, "mcast_solicit"));
}
