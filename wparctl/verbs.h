// SPDX-License-Identifier: Apache-2.0
// The one table of verbs: what is parsed, what --help says, what wparctl(1) contains, what shells
// complete and what runs all come from here. It is kept in one file for each group of verbs.
#ifndef WPARCTL_VERBS_H
#define WPARCTL_VERBS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct args;
struct ctl;

// What shells complete is taken from the name of a value: NAME, HOST, STATE, GROUP, MOVE, DIR,
// FILE and words of small letters, divided by "|"; of anything else they offer nothing.
struct verb_option {
	const char *name;  // without "--"; NULL ends a list
	char letter;       // short form, 0: none
	const char *value; // what it takes, NULL: a switch
	const char *text;
};

#define VERB_ANY UINT_MAX

struct verb {
	const char *name;    // one word, or two ("cluster init"); NULL ends a group
	const char *summary; // for the list of verbs
	const char *form;    // what follows the name; lines are broken here
	const char *text;    // paragraphs
	const struct verb_option *options;
	const char *args;  // names of the arguments, for completion: "NAME... HOST"
	unsigned min, max; // how many of them
	enum verb_command {
		COMMAND_NONE,
		COMMAND_OPTIONAL,
		COMMAND_NEEDED,
	} command;           // "-- CMD ARG..."
	const char *example; // lines
	const char *calls;   // the operations of the control API that it uses, in lines
	// Prints what it has to say and returns the exit code.
	int (*run)(struct ctl *ctl, const struct args *args);
};

struct verb_group {
	const char *title; // NULL ends the list
	const struct verb *verbs;
};

extern const struct verb partition_verbs[], move_verbs[], host_verbs[];
extern const struct verb_group verb_groups[];
// The n-th verb of all groups, NULL past the end.
const struct verb *verb_at(size_t n);
const struct verb *verb_find(const char *name);

// Options that every verb takes.
extern const struct verb_option global_options[];
// "code meaning" in order; meaning NULL ends the list.
struct exit_code {
	int code;
	const char *meaning;
};
extern const struct exit_code exit_codes[];

#endif
