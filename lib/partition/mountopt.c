// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/mountopt.h"

#include "lib/base/cleanup.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

struct word {
	const char *name;
	unsigned long set, clear;
};

static const struct word words[] = {
	{"ro", MS_RDONLY, 0},
	{"nosuid", MS_NOSUID, 0},
	{"nodev", MS_NODEV, 0},
	{"noexec", MS_NOEXEC, 0},
	{"noatime", MS_NOATIME, MS_RELATIME | MS_STRICTATIME},
	{"nodiratime", MS_NODIRATIME, 0},
	{"relatime", MS_RELATIME, MS_NOATIME | MS_STRICTATIME},
	{"strictatime", MS_STRICTATIME, MS_NOATIME | MS_RELATIME},
	{"rw", 0, MS_RDONLY},
	{"suid", 0, MS_NOSUID},
	{"exec", 0, MS_NOEXEC},
	{"atime", 0, MS_NOATIME},
	{"diratime", 0, MS_NODIRATIME},
	{"defaults", 0, 0},
	{"bind", 0, 0},
	// Everything in a partition is private: asking for that changes nothing.
	{"private", 0, 0},
	{"rprivate", 0, 0},
};

static bool add_mode(struct mountopt *options, const char *digits)
{
	char *end;
	unsigned long mode = strtoul(digits, &end, 8);
	if (!*digits || *end || mode > 07777)
		return false;
	options->mode = (mode_t)mode;
	return true;
}

bool mountopt_add(struct mountopt *options, const char *word)
{
	if (!strncmp(word, "mode=", 5))
		return add_mode(options, word + 5);
	if (!strncmp(word, "size=", 5))
		return options->size_given = true;
	if (!strcmp(word, "rbind"))
		return options->recursive = true;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(words[i].name, word))
			continue;
		options->flags &= ~words[i].clear;
		options->flags |= words[i].set;
		return true;
	}
	return false;
}

const char *mountopt_word(unsigned long flags, unsigned n)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (words[i].set & flags && n-- == 0)
			return words[i].name;
	return NULL;
}

static bool is_component(const char *at, size_t length, const char *component)
{
	return length == strlen(component) && !strncmp(at, component, length);
}

bool mountopt_normalise(char *path)
{
	if (*path != '/')
		return false;
	for (const char *c = path; *c; c++)
		if (iscntrl((unsigned char)*c))
			return false;
	char *out = path;
	for (const char *at = path; *at;) {
		at += strspn(at, "/");
		size_t length = strcspn(at, "/");
		if (is_component(at, length, ".."))
			return false;
		if (length && !is_component(at, length, ".")) {
			*out++ = '/';
			memmove(out, at, length);
			out += length;
		}
		at += length;
	}
	if (out == path)
		*out++ = '/';
	*out = 0;
	return true;
}
