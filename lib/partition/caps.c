// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/caps.h"

#include "lib/base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/capability.h>

uint64_t caps_default(void)
{
	static const cap_value_t granted[] = {
		CAP_CHOWN,   CAP_DAC_OVERRIDE,     CAP_FOWNER,     CAP_FSETID,
		CAP_KILL,    CAP_NET_BIND_SERVICE, CAP_SETFCAP,    CAP_SETGID,
		CAP_SETPCAP, CAP_SETUID,           CAP_SYS_CHROOT,
	};
	uint64_t set = 0;
	for (size_t i = 0; i < ARRAY_SIZE(granted); i++)
		set |= 1ull << granted[i];
	return set;
}

int caps_number(const char *name)
{
	char full[CAPS_NAME_MAX];
	bool prefixed = !strncasecmp(name, "cap_", 4);
	int n = snprintf(full, sizeof(full), "%s%s", prefixed ? "" : "cap_", name);
	cap_value_t value;
	// libcap also takes plain numbers; those are not names.
	if (n >= (int)sizeof(full) || isdigit((unsigned char)full[4]) ||
	    cap_from_name(full, &value) < 0 || value > 63)
		return -1;
	return value;
}

const char *caps_name(int number, char name[CAPS_NAME_MAX])
{
	char *text = number < cap_max_bits() ? cap_to_name(number) : NULL;
	bool known = text && !strncmp(text, "cap_", 4);
	for (size_t i = 0; known && i < CAPS_NAME_MAX; i++)
		if (!(name[i] = (char)toupper((unsigned char)text[i])))
			break;
	cap_free(text);
	return known ? name : NULL;
}

int caps_bound(uint64_t set, struct error *err)
{
	for (int i = 0; i < cap_max_bits(); i++) {
		if (set & (1ull << i) || cap_get_bound(i) <= 0)
			continue;
		if (cap_drop_bound(i) < 0)
			return error_sys(err, ERR_LAUNCH, errno, "cannot drop capability %d", i);
	}
	return 0;
}

static void cleanup_cap(cap_t *caps)
{
	if (*caps)
		cap_free(*caps);
}

int caps_apply(uint64_t set, uid_t uid, struct error *err)
{
	__attribute__((cleanup(cleanup_cap))) cap_t caps = cap_init();
	if (!caps)
		return error_set(err, ERR_NOMEM, "no memory for capabilities");
	for (int i = 0; uid == 0 && i < cap_max_bits(); i++) {
		cap_value_t value = i;
		// What this host does not give to us cannot be given on.
		if (!(set & (1ull << i)) || cap_get_bound(i) <= 0)
			continue;
		cap_set_flag(caps, CAP_PERMITTED, 1, &value, CAP_SET);
		cap_set_flag(caps, CAP_EFFECTIVE, 1, &value, CAP_SET);
	}
	cap_reset_ambient();
	if (cap_set_proc(caps) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot set capabilities");
	return 0;
}
