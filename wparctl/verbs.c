// SPDX-License-Identifier: Apache-2.0
#include "wparctl/verbs.h"

#include <string.h>

const struct verb_option global_options[] = {
	{"connect", 'c', "HOST",
	 "ask this host of the cluster, through relocd of this machine. With a \"/\" it is the "
	 "path of relocd's control socket (default: that of this machine); both may be given"},
	{"json", 0, NULL,
	 "print {\"schema\":1,\"data\":...} or {\"schema\":1,\"errors\":[...]}; what goes on for a "
	 "while is a line for each event"},
	{"quiet", 'q', NULL,
	 "say nothing of what went well; lists print names only, a move one line"},
	{"help", 'h', NULL, "print help, of the verb when one is given"},
	{"version", 0, NULL, "print the version of wparctl"},
	{0},
};

const struct verb_group verb_groups[] = {
	{"partitions", partition_verbs},
	{"moves", move_verbs},
	{"hosts and the cluster", host_verbs},
	{0},
};

const struct verb *verb_at(size_t n)
{
	for (const struct verb_group *group = verb_groups; group->title; group++)
		for (const struct verb *verb = group->verbs; verb->name; verb++)
			if (n-- == 0)
				return verb;
	return NULL;
}

const struct verb *verb_find(const char *name)
{
	const struct verb *verb;
	for (size_t n = 0; (verb = verb_at(n)); n++)
		if (!strcmp(verb->name, name))
			return verb;
	return NULL;
}

const struct exit_code exit_codes[] = {
	{0, "done, also when there was nothing to do"},
	{1, "failed"},
	{2, "wrong usage"},
	{3, "no such partition, host or move"},
	{4, "refused by validation"},
	{5, "busy or in conflict with something else"},
	{6, "a host or relocd cannot be reached"},
	{7, "a deadline passed"},
	{8, "cancelled"},
	{9, "in doubt: it is not known yet on which host the partition runs"},
	{11, "partly done: of several names some failed"},
	{13, "not permitted"},
	{14, "lost: the partition died in the move, on both hosts"},
	{130, "detached from a move by Ctrl-C"},
	{0, NULL},
};
