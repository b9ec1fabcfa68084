// SPDX-License-Identifier: Apache-2.0
#include "relocd/peers/locate.h"

#include "lib/base/cleanup.h"
#include "lib/registry/state.h"

#include <pthread.h>
#include <string.h>

// ---- memory -------------------------------------------------------------------------------------

struct kept {
	char name[REGISTRY_NAME_MAX]; // "": free
	char host[REGISTRY_NAME_MAX];
	deadline_t until;
};

static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kept kept[LOCATE_KEPT];

static struct kept *find_kept(const char *name)
{
	for (size_t i = 0; i < LOCATE_KEPT; i++)
		if (!strcmp(kept[i].name, name))
			return &kept[i];
	return NULL;
}

// The place of the same name, a free one, or that of the oldest.
static struct kept *place_for(const char *name)
{
	struct kept *place = find_kept(name);
	if (!place)
		place = find_kept("");
	for (size_t i = 0; !place || (place->name[0] && i < LOCATE_KEPT); i++)
		if (!place || kept[i].until < place->until)
			place = &kept[i];
	return place;
}

static void remember(const char *name, const char *host)
{
	pthread_mutex_lock(&kept_lock);
	struct kept *place = place_for(name);
	snprintf(place->name, sizeof(place->name), "%s", name);
	snprintf(place->host, sizeof(place->host), "%s", host);
	place->until = deadline_in_ms(LOCATE_KEPT_MS);
	pthread_mutex_unlock(&kept_lock);
}

void locate_forget(const char *name)
{
	pthread_mutex_lock(&kept_lock);
	struct kept *place = find_kept(name);
	if (place)
		*place = (struct kept){0};
	pthread_mutex_unlock(&kept_lock);
}

bool locate_remembered(const char *name, char host[REGISTRY_NAME_MAX])
{
	pthread_mutex_lock(&kept_lock);
	const struct kept *place = name[0] ? find_kept(name) : NULL;
	bool found = place && !deadline_passed(place->until);
	if (found)
		strcpy(host, place->host);
	pthread_mutex_unlock(&kept_lock);
	return found;
}

// ---- asking -------------------------------------------------------------------------------------

// How much the host's answer makes it the one: 0, it is not.
typedef json_int_t (*rank_of)(const json_t *data);

static json_int_t rank_partition(const json_t *data)
{
	const char *text = json_string_value(json_object_get(data, "state"));
	json_int_t epoch = json_integer_value(json_object_get(data, "epoch"));
	enum partition_state state;
	if (!text || state_of_name(text, &state) < 0 || state == STATE_DEPARTED)
		return 0;
	return state == STATE_ARRIVING ? 1 : 2 + (epoch > 0 ? epoch : 0);
}

static json_int_t rank_move(const json_t *data)
{
	const char *direction = json_string_value(json_object_get(data, "direction"));
	return direction && !strcmp(direction, "out") ? 2 : 1;
}

static void take_best(const struct peer_answer *answers, size_t count, rank_of rank,
		      struct located *found)
{
	json_int_t best = 0;
	for (size_t i = 0; i < count; i++) {
		const struct peer_answer *a = &answers[i];
		json_int_t this = a->data ? rank(a->data) : 0;
		if (this > best) {
			best = this;
			strcpy(found->host, a->host);
		}
		if (!a->data && error_class_of(&a->error) != ERROR_CLASS_NOT_FOUND)
			found->unreachable = *a;
	}
}

static int locate(struct daemon *d, const struct peer_caller *caller, const char *format,
		  const char *name, rank_of rank, struct located *found, struct error *err)
{
	char path[3 * ROUTE_PARAM_MAX], *at = path;
	struct peer_answer *answers = NULL;
	size_t count = 0;
	memset(found, 0, sizeof(*found));
	at += snprintf(path, sizeof(path), "%s", format);
	for (const char *c = name; *c; c++) // what is no letter of a name is encoded
		at += snprintf(at, sizeof(path) - (size_t)(at - path),
			       strchr("/?%#& +", *c) || *c < ' ' || *c == 127 ? "%%%02X" : "%c",
			       (unsigned char)*c);
	snprintf(at, sizeof(path) - (size_t)(at - path), "?local=1");
	if (strlen(name) > REGISTRY_NAME_MAX)
		return 0; // the name of nothing
	int failed = peer_ask_all(d, caller, "GET", path, NULL, deadline_in_ms(PEERS_ASK_MS),
				  &answers, &count, err);
	take_best(answers, count, rank, found);
	peer_answers_free(answers, count);
	return failed;
}

int locate_partition(struct daemon *d, const struct peer_caller *caller, const char *name,
		     struct located *found, struct error *err)
{
	locate_forget(name);
	if (locate(d, caller, "/v1/partitions/", name, rank_partition, found, err) < 0)
		return -1;
	if (found->host[0])
		remember(name, found->host);
	return 0;
}

int locate_move(struct daemon *d, const struct peer_caller *caller, const char *id,
		struct located *found, struct error *err)
{
	return locate(d, caller, "/v1/moves/", id, rank_move, found, err);
}
