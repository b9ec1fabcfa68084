// SPDX-License-Identifier: Apache-2.0
// The one table of verbs: what is parsed, what --help says and what wparctl(1) contains all come
// from here.
#ifndef WPARCTL_VERBS_H
#define WPARCTL_VERBS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct verb_option {
	const char *name;  // without "--"; NULL ends a list
	char letter;       // short form, 0: none
	const char *value; // what it takes, NULL: a switch
	const char *text;
};

enum verb_id {
	VERB_CREATE,
	VERB_START,
	VERB_STOP,
	VERB_REMOVE,
	VERB_LIST,
	VERB_STATUS,
	VERB_EXEC,
	VERB_LOGS,
	VERB_VALIDATE,
	VERB_RELOCATE,
	VERB_MOVES,
	VERB_WAIT,
	VERB_CANCEL,
	VERB_HOSTS,
	VERB_CLUSTER_INIT,
	VERB_CLUSTER_ADD_HOST,
	VERB_CLUSTER_JOIN,
	VERB_VERSION,
	VERB_COUNT,
};

#define VERB_ANY UINT_MAX

struct verb {
	const char *name;    // one word, or two ("cluster init")
	const char *summary; // for the list of verbs
	const char *form;    // what follows the name; lines are broken here
	const char *text;    // paragraphs
	const struct verb_option *options;
	unsigned min, max; // arguments besides options
	enum verb_command {
		COMMAND_NONE,
		COMMAND_OPTIONAL,
		COMMAND_NEEDED,
	} command;           // "-- CMD ARG..."
	const char *example; // lines
};

extern const struct verb verbs[VERB_COUNT];
// Options that every verb takes.
extern const struct verb_option global_options[];
// "code meaning" in order; meaning NULL ends the list.
struct exit_code {
	int code;
	const char *meaning;
};
extern const struct exit_code exit_codes[];

#endif
