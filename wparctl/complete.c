// SPDX-License-Identifier: Apache-2.0
#include "wparctl/complete.h"

#include "lib/base/cleanup.h"
#include "wparctl/client.h"
#include "wparctl/options.h"
#include "wparctl/text.h"
#include "wparctl/verbs.h"

#include <ctype.h>
#include <string.h>

#define ASK_MS 1000

struct completion {
	FILE *to;
	const char *current;              // what is written so far
	char front[64];                   // "--option=", which goes before each word
	const struct verb *verb;          // NULL: not named yet
	const char *first;                // the first word of a verb of two, else NULL
	const struct verb_option *awaits; // the value of this one comes next
	unsigned position;                // of the argument
	bool command;                     // after "--"
	bool group;                       // --group takes the place of the first argument
	const char *socket, *host;
};

// What would need quotes, or is empty, is nothing to put on a command line.
static void offer(const struct completion *c, const char *word, const char *remark)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				   "_.-=";
	if (strncmp(word, c->current, strlen(c->current)) != 0 || !word[0] ||
	    strspn(word, safe) != strlen(word))
		return;
	_cleanup_free_ char *plain = text_plain(remark);
	fprintf(c->to, "%s%s\t%s\n", c->front, word, plain ? plain : "");
}

// ---- what relocd knows --------------------------------------------------------------------------

static json_t *ask(const struct completion *c, const char *path)
{
	json_t *data = NULL;
	struct wpar *wpar = wpar_open(c->socket, NULL);
	if (!wpar)
		return NULL;
	if (wpar_set_host(wpar, c->host, NULL) < 0 ||
	    wpar_call(wpar, "GET", path, NULL, ASK_MS, &data, NULL) < 0)
		data = NULL;
	wpar_close(wpar);
	return data;
}

static const char *text_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key)) ?: "";
}

// The texts at `key` of each object of a list; at `remark` is what goes beside.
static void offer_each(const struct completion *c, const char *path, const char *key,
		       const char *remark)
{
	_cleanup_json_ json_t *list = ask(c, path);
	size_t i;
	json_t *item;
	json_array_foreach (list, i, item)
		offer(c, text_at(item, key), text_at(item, remark));
}

static void offer_names(const struct completion *c)
{
	_cleanup_json_ json_t *list = ask(c, "/v1/partitions");
	size_t i;
	json_t *item;
	if (!list) // a host that does not answer holds the list up
		list = ask(c, "/v1/partitions?local=1");
	json_array_foreach (list, i, item)
		if (strcmp(text_at(item, "state"), "Departed") != 0)
			offer(c, text_at(item, "name"), text_at(item, "state"));
}

static void offer_groups(const struct completion *c)
{
	_cleanup_json_ json_t *list = ask(c, "/v1/partitions"), *seen = json_object();
	size_t i, k;
	json_t *item, *group;
	json_array_foreach (list, i, item)
		json_array_foreach (json_object_get(item, "groups"), k, group) {
			const char *name = json_string_value(group) ?: "";
			if (!json_object_get(seen, name))
				offer(c, name, "");
			json_object_set_new(seen, name, json_true());
		}
}

// ---- by the table -------------------------------------------------------------------------------

static void offer_states(const struct completion *c)
{
	static const char *const states[] = {"Defined",  "Active",   "Failed", "Frozen",  "Moving",
					     "Arriving", "In-doubt", "Broken", "Departed"};
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		offer(c, states[i], "");
}

static void offer_keys(const struct completion *c)
{
	const char *key;
	char word[32];
	for (size_t n = 0; (key = options_set_key(n)); n++) {
		snprintf(word, sizeof(word), "%s=", key);
		offer(c, word, "");
	}
	fputs(":nospace\n", c->to);
}

// One word of the name of a value: "HOST", "no", "FILE".
static void offer_kind(const struct completion *c, const char *kind)
{
	if (!strcmp(kind, "NAME"))
		offer_names(c);
	else if (!strcmp(kind, "HOST"))
		offer_each(c, "/v1/hosts", "name", "address");
	else if (!strcmp(kind, "MOVE"))
		offer_each(c, "/v1/moves", "id", "partition");
	else if (!strcmp(kind, "GROUP"))
		offer_groups(c);
	else if (!strcmp(kind, "STATE"))
		offer_states(c);
	else if (!strcmp(kind, "KEY=VALUE"))
		offer_keys(c);
	else if (!strcmp(kind, "FILE") || !strcmp(kind, "DIR"))
		fputs(kind[0] == 'F' ? ":files\n" : ":dirs\n", c->to);
	else if (islower((unsigned char)kind[0]) && !strpbrk(kind, "=[:"))
		offer(c, kind, "");
}

static void offer_kinds(const struct completion *c, const char *name, size_t length)
{
	_cleanup_free_ char *kinds = strndup(name, length);
	char *rest = kinds;
	if (kinds && strpbrk(kinds, "[,:")) // a form of several parts
		return;
	for (char *kind; (kind = strsep(&rest, "|"));)
		offer_kind(c, kind);
}

// One argument's name, as in "NAME... HOST", and where the next one is.
static const char *offer_argument(const struct completion *c, const char *at, bool wanted,
				  bool *repeats)
{
	size_t length = strcspn(at, " ");
	*repeats = length > 3 && !strncmp(at + length - 3, "...", 3);
	if (wanted || *repeats)
		offer_kinds(c, at, *repeats ? length - 3 : length);
	return at + length + (at[length] == ' ');
}

// After one that may be repeated there may also be the next kind.
static void offer_arguments(const struct completion *c)
{
	const char *at = c->verb->args ? c->verb->args : "";
	bool repeats = false;
	if (c->group)
		at += strcspn(at, " ") + (at[strcspn(at, " ")] == ' ');
	for (unsigned n = 0; *at && n <= c->position && !repeats; n++) {
		at = offer_argument(c, at, n == c->position, &repeats);
		if (repeats && *at && n < c->position)
			offer_argument(c, at, true, &(bool){false});
	}
}

static void offer_options(const struct completion *c)
{
	const struct verb_option *lists[] = {c->verb ? c->verb->options : NULL, global_options};
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		for (const struct verb_option *o = lists[i]; o && o->name; o++) {
			char word[64];
			snprintf(word, sizeof(word), "--%s", o->name);
			offer(c, word, o->text);
		}
}

static void offer_verbs(const struct completion *c)
{
	const struct verb *verb;
	bool cluster = false;
	for (size_t n = 0; (verb = verb_at(n)); n++) {
		size_t length = strcspn(verb->name, " ");
		bool two = verb->name[length] == ' ';
		if (c->first && two && !strncmp(verb->name, c->first, strlen(c->first)))
			offer(c, verb->name + length + 1, verb->summary);
		else if (!c->first && !two)
			offer(c, verb->name, verb->summary);
		else if (!c->first && !cluster) {
			_cleanup_free_ char *word = strndup(verb->name, length);
			offer(c, word ? word : "", "the cluster of hosts");
			cluster = true;
		}
	}
}

// ---- what is there already ----------------------------------------------------------------------

static const struct verb_option *find(const struct verb_option *list, const char *word)
{
	bool is_long = word[1] == '-';
	size_t length = strlen(word);
	for (; list && list->name; list++)
		if (is_long ? !strcmp(list->name, word + 2)
			    : list->letter && list->letter == word[length - 1])
			return list;
	return NULL;
}

static const struct verb_option *option_of(const struct completion *c, const char *word)
{
	const struct verb_option *found = find(c->verb ? c->verb->options : NULL, word);
	return found ? found : find(global_options, word);
}

static void take_value(struct completion *c, const struct verb_option *option, const char *value)
{
	if (!strcmp(option->name, "connect"))
		*(strchr(value, '/') ? &c->socket : &c->host) = value;
	c->group = c->group || !strcmp(option->name, "group");
}

static void take_verb(struct completion *c, const char *word)
{
	char both[64];
	snprintf(both, sizeof(both), "%s %s", c->first ? c->first : "", word);
	c->verb = verb_find(c->first ? both : word);
	if (!c->verb && !c->first)
		c->first = word;
}

static void take(struct completion *c, char *word)
{
	if (c->awaits && !strcmp(word, "="))
		return; // bash divides "--option=value"
	if (c->awaits) {
		take_value(c, c->awaits, word);
		c->awaits = NULL;
	} else if (!strcmp(word, "--")) {
		c->command = true;
	} else if (word[0] == '-' && word[1] && !strchr(word, '=')) {
		const struct verb_option *option = option_of(c, word);
		c->awaits = option && option->value ? option : NULL;
	} else if (word[0] == '-' && word[1]) {
		char *equals = strchr(word, '=');
		_cleanup_free_ char *name = strndup(word, (size_t)(equals - word));
		const struct verb_option *option = name ? option_of(c, name) : NULL;
		if (option)
			take_value(c, option, equals + 1);
	} else if (!c->verb) {
		take_verb(c, word);
	} else {
		c->position++;
	}
}

// "--option=val" in one word, as shells other than bash have it.
static void divide(struct completion *c)
{
	const char *equals = strchr(c->current, '=');
	if (strncmp(c->current, "--", 2) != 0 || !equals)
		return;
	snprintf(c->front, sizeof(c->front), "%.*s", (int)(equals + 1 - c->current), c->current);
	_cleanup_free_ char *name = strndup(c->current, (size_t)(equals - c->current));
	c->awaits = name ? option_of(c, name) : NULL;
	c->current = equals + 1;
}

void complete_print(FILE *to, int count, char **words)
{
	struct completion c = {.to = to, .current = count ? words[count - 1] : ""};
	for (int i = 0; i + 1 < count; i++)
		take(&c, words[i]);
	if (c.command) {
		fputs(":files\n", to);
		return;
	}
	if (!c.awaits)
		divide(&c);
	if (c.awaits && !strcmp(c.current, "="))
		c.current = "";
	if (c.awaits)
		offer_kinds(&c, c.awaits->value ? c.awaits->value : "",
			    strlen(c.awaits->value ? c.awaits->value : ""));
	else if (c.current[0] == '-')
		offer_options(&c);
	else if (!c.verb)
		offer_verbs(&c);
	else
		offer_arguments(&c);
}
