// SPDX-License-Identifier: Apache-2.0
// Reads a command line by the table of verbs. Options may stand anywhere before "--".
#ifndef WPARCTL_ARGS_H
#define WPARCTL_ARGS_H

#include "lib/base/error.h"
#include "wparctl/verbs.h"

struct args_given {
	const struct verb_option *option;
	const char *value; // NULL for a switch
};

struct args {
	const struct verb *verb; // NULL: none was named
	char **names;            // the arguments that are no options
	size_t count;
	char **command; // after "--"; NULL terminated; NULL when there was no "--"
	struct args_given *given;
	size_t given_count;
};

// argv is main's, with the program's name; what *args points to is part of it. With --help, and
// for --version without a verb, the rest is not checked. ERR_USAGE names what is wrong; args->verb
// is then set as far as it was understood.
int args_parse(struct args *args, int argc, char **argv, struct error *err);
void args_free(struct args *args);

bool args_has(const struct args *args, const char *option);
// Of an option given more than once the last counts; NULL: not given.
const char *args_value(const struct args *args, const char *option);
// Goes over all values of a repeated option: start with *at = 0; NULL at the end.
const char *args_next(const struct args *args, const char *option, size_t *at);

#endif
