// SPDX-License-Identifier: Apache-2.0
#include "wparctl/since.h"

#include "lib/base/units.h"

#include <string.h>
#include <time.h>

// An offset such as "+02:00" after the seconds, as seconds east of UTC.
static int read_offset(const char *rest, long *east)
{
	unsigned hours, minutes;
	char sign, end;
	if (*rest == '.')
		rest += 1 + strspn(rest + 1, "0123456789");
	*east = 0;
	if (!strcmp(rest, "Z") || !strcmp(rest, "z"))
		return 0;
	if (sscanf(rest, "%c%2u:%2u%c", &sign, &hours, &minutes, &end) != 3 || hours > 23 ||
	    minutes > 59 || (sign != '+' && sign != '-'))
		return -1;
	*east = (long)(hours * 3600 + minutes * 60) * (sign == '-' ? -1 : 1);
	return 0;
}

int since_text(const char *text, char when[SINCE_MAX], struct error *err)
{
	uint64_t ms;
	long east;
	struct tm parts = {0};
	const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &parts) : NULL;
	when[0] = 0;
	if (!text)
		return 0;
	time_t then = time(NULL);
	if (rest && read_offset(rest, &east) == 0)
		then = timegm(&parts) - east;
	else if (!rest && units_parse_duration(text, &ms, NULL) == 0)
		then -= (time_t)(ms / 1000);
	else
		return error_set(err, ERR_USAGE,
				 "--since \"%s\": an age as 10m or a time as "
				 "2026-01-31T08:00:00Z is wanted",
				 text);
	gmtime_r(&then, &parts);
	strftime(when, SINCE_MAX, "%FT%TZ", &parts);
	return 0;
}
