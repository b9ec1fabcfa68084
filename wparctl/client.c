// SPDX-License-Identifier: Apache-2.0
#include "wparctl/client.h"

#include <stdio.h>

void client_error(struct error *err, const struct wpar_error *why)
{
	if (!err || !why->error_class)
		return;
	error_set(err, error_id_of(why->code), "%s", why->message);
	err->sys = why->sys;
	snprintf(err->hint, sizeof(err->hint), "%s", why->hint);
	error_at(err, why->host[0] ? why->host : NULL, why->partition[0] ? why->partition : NULL,
		 why->phase[0] ? why->phase : NULL);
}
