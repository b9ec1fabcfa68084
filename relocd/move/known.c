// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/known.h"

#include "lib/transport/pki.h"

#include <stdbool.h>
#include <string.h>

static bool is_entry(const char *host, const char *key)
{
	return host && key && pki_name_check(host, NULL) == 0 &&
	       strlen(key) == PKI_FINGERPRINT_MAX - 1 &&
	       strspn(key, "0123456789abcdef") == PKI_FINGERPRINT_MAX - 1;
}

json_t *known_to_json(Wpar__Revoked *const *list, size_t count)
{
	json_t *json = json_array();
	for (size_t i = 0; i < count && i < KNOWN_MAX; i++)
		if (is_entry(list[i]->host, list[i]->key))
			json_array_append_new(json,
					      json_pack("[s, s]", list[i]->host, list[i]->key));
	return json;
}

int known_refuse(const json_t *json, const struct link *link, struct error *err)
{
	size_t i;
	json_t *entry;
	json_array_foreach (json, i, entry) {
		const char *key = json_string_value(json_array_get(entry, 1));
		if (key && !strcmp(key, link_peer_key(link)))
			return error_set(err, ERR_PEER_UNTRUSTED,
					 "the key of %s has been revoked in this cluster",
					 link_peer(link));
	}
	return 0;
}

void known_from_json(const json_t *json, struct known *known)
{
	known->count = 0;
	for (size_t i = 0; i < json_array_size(json) && known->count < KNOWN_MAX; i++) {
		const json_t *entry = json_array_get(json, i);
		const char *host = json_string_value(json_array_get(entry, 0));
		const char *key = json_string_value(json_array_get(entry, 1));
		if (!is_entry(host, key))
			continue;
		Wpar__Revoked *one = &known->entries[known->count];
		wpar__revoked__init(one);
		one->host = (char *)host;
		one->key = (char *)key;
		known->list[known->count++] = one;
	}
}
