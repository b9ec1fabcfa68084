// SPDX-License-Identifier: Apache-2.0
#include "wparctl/args.h"

#include "lib/base/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- "did you mean" -----------------------------------------------------------------------------

static void consider(const char *word, const char *candidate, const char **best, size_t *least)
{
	size_t far = word_distance(word, candidate);
	if (far < *least && far < strlen(candidate)) {
		*least = far;
		*best = candidate;
	}
}

// "cluster" alone: what may follow it.
static int half_a_verb(const char *word, struct error *err)
{
	char rest[200] = "";
	size_t length = strlen(word), used = 0;
	const struct verb *verb;
	for (size_t n = 0; (verb = verb_at(n)); n++)
		if (!strncmp(verb->name, word, length) && verb->name[length] == ' ' &&
		    used < sizeof(rest))
			used += (size_t)snprintf(rest + used, sizeof(rest) - used, "%s%s",
						 used ? ", " : "", verb->name + length + 1);
	if (!used)
		return 0;
	error_set(err, ERR_USAGE, "%s: a second word is missing", word);
	return error_hint(err, "one of: %s", rest);
}

static int unknown_verb(const char *word, struct error *err)
{
	if (half_a_verb(word, err) < 0)
		return -1;
	const char *best = NULL;
	size_t least = 3;
	const struct verb *verb;
	for (size_t n = 0; (verb = verb_at(n)); n++)
		consider(word, verb->name, &best, &least);
	error_set(err, ERR_USAGE, "there is no verb \"%s\"", word);
	return best ? error_hint(err, "did you mean \"%s\"?", best) : -1;
}

static int unknown_option(const struct verb *verb, const char *word, struct error *err)
{
	const char *best = NULL;
	size_t least = 3;
	for (const struct verb_option *o = global_options; o->name; o++)
		consider(word, o->name, &best, &least);
	for (const struct verb_option *o = verb ? verb->options : global_options; o->name; o++)
		consider(word, o->name, &best, &least);
	error_set(err, ERR_USAGE, "there is no option %s%s", strlen(word) > 1 ? "--" : "-", word);
	if (best)
		return error_hint(err, "did you mean --%s?", best);
	return verb ? error_hint(err, "see `wparctl %s --help`", verb->name) : -1;
}

// ---- the table ----------------------------------------------------------------------------------

static const struct verb_option *in_list(const struct verb_option *list, const char *name,
					 size_t length, char letter)
{
	for (; list->name; list++)
		if (letter ? list->letter == letter
			   : strlen(list->name) == length && !strncmp(list->name, name, length))
			return list;
	return NULL;
}

// By name, or by letter when that is not 0.
static const struct verb_option *find_option(const struct verb *verb, const char *name,
					     size_t length, char letter)
{
	const struct verb_option *found = in_list(global_options, name, length, letter);
	return found || !verb ? found : in_list(verb->options, name, length, letter);
}

// The verb of one word, or of two; *words of the command line were used.
static const struct verb *find_verb(const char *first, const char *second, int *words)
{
	char both[64];
	snprintf(both, sizeof(both), "%s %s", first, second ? second : "");
	const struct verb *verb = verb_find(both);
	*words = verb ? 2 : 1;
	return verb ? verb : verb_find(first);
}

// ---- reading ------------------------------------------------------------------------------------

struct reader {
	struct args *args;
	char **argv; // what is left
	struct error *err;
};

static void give(struct reader *reader, const struct verb_option *option, const char *value)
{
	struct args *args = reader->args;
	args->given[args->given_count++] = (struct args_given){option, value};
}

static int need_value(const struct verb_option *option, struct error *err)
{
	return error_set(err, ERR_USAGE, "--%s wants a value: %s", option->name, option->value);
}

static int read_long(struct reader *reader, const char *word)
{
	size_t length = strcspn(word, "=");
	const char *value = word[length] ? word + length + 1 : NULL;
	const struct verb_option *option = find_option(reader->args->verb, word, length, 0);
	if (!option)
		return unknown_option(reader->args->verb, word, reader->err);
	if (value && !option->value)
		return error_set(reader->err, ERR_USAGE, "--%s takes no value", option->name);
	if (!value && option->value && !(value = *reader->argv++))
		return need_value(option, reader->err);
	give(reader, option, value);
	return 0;
}

// "-it", "-cSOCKET", "-c SOCKET".
static int read_short(struct reader *reader, const char *letters)
{
	for (; *letters; letters++) {
		const struct verb_option *option =
			find_option(reader->args->verb, NULL, 0, *letters);
		if (!option)
			return unknown_option(reader->args->verb, (char[]){*letters, 0},
					      reader->err);
		if (!option->value) {
			give(reader, option, NULL);
			continue;
		}
		const char *value = letters[1] ? letters + 1 : *reader->argv++;
		if (!value)
			return need_value(option, reader->err);
		give(reader, option, value);
		return 0;
	}
	return 0;
}

static int read_verb(struct reader *reader, char *word)
{
	int words;
	reader->args->verb = find_verb(word, *reader->argv, &words);
	if (!reader->args->verb)
		return unknown_verb(word, reader->err);
	reader->argv += words - 1;
	return 0;
}

static int read_word(struct reader *reader, char *word)
{
	if (word[0] == '-' && word[1] == '-')
		return read_long(reader, word + 2);
	if (word[0] == '-' && word[1])
		return read_short(reader, word + 1);
	if (!reader->args->verb)
		return read_verb(reader, word);
	reader->args->names[reader->args->count++] = word;
	return 0;
}

static int check(const struct args *args, struct error *err)
{
	const struct verb *verb = args->verb;
	if (!verb)
		return error_set(err, ERR_USAGE, "a verb is missing");
	if (args->count < verb->min)
		error_set(err, ERR_USAGE, "%s: too few arguments", verb->name);
	else if (args->count > verb->max)
		error_set(err, ERR_USAGE, "%s: \"%s\" is an argument too many", verb->name,
			  args->names[verb->max]);
	else if (args->command && verb->command == COMMAND_NONE)
		error_set(err, ERR_USAGE, "%s: takes no command", verb->name);
	else if (verb->command == COMMAND_NEEDED && (!args->command || !args->command[0]))
		error_set(err, ERR_USAGE, "%s: a command is missing: -- CMD ARG...", verb->name);
	else
		return 0;
	size_t line = strcspn(verb->form, "\n");
	return error_hint(err, "wparctl %s %.*s%s", verb->name, (int)line, verb->form,
			  verb->form[line] ? " ..." : "");
}

// Requests are JSON, which holds nothing but Unicode.
static int check_text(char **argv, struct error *err)
{
	for (; *argv; argv++) {
		json_t *text = json_string(*argv);
		if (!text)
			return error_set(err, ERR_USAGE, "\"%s\" is not text in UTF-8", *argv);
		json_decref(text);
	}
	return 0;
}

int args_parse(struct args *args, int argc, char **argv, struct error *err)
{
	size_t most = 1; // a word gives at most as many options as it has letters
	for (int i = 0; i < argc; i++)
		most += strlen(argv[i]);
	*args = (struct args){0};
	if (check_text(argv, err) < 0)
		return -1;
	*args = (struct args){
		.names = calloc((size_t)argc + 1, sizeof(char *)),
		.given = calloc(most, sizeof(struct args_given)),
	};
	if (!args->names || !args->given)
		return error_set(err, ERR_NOMEM, "no memory for the command line");
	struct reader reader = {.args = args, .argv = argv + (argc > 0), .err = err};
	for (char *word; (word = *reader.argv);) {
		reader.argv++;
		if (!strcmp(word, "--")) {
			args->command = reader.argv;
			break;
		}
		if (read_word(&reader, word) < 0)
			return -1;
	}
	if (args_has(args, "help") || (!args->verb && args_has(args, "version")))
		return 0;
	return check(args, err);
}

void args_free(struct args *args)
{
	free(args->names);
	free(args->given);
	*args = (struct args){0};
}

bool args_has(const struct args *args, const char *option)
{
	for (size_t i = 0; i < args->given_count; i++)
		if (!strcmp(args->given[i].option->name, option))
			return true;
	return false;
}

const char *args_value(const struct args *args, const char *option)
{
	const char *value = NULL, *next;
	for (size_t at = 0; (next = args_next(args, option, &at));)
		value = next;
	return value;
}

const char *args_next(const struct args *args, const char *option, size_t *at)
{
	while (*at < args->given_count) {
		const struct args_given *given = &args->given[(*at)++];
		if (!strcmp(given->option->name, option))
			return given->value;
	}
	return NULL;
}
