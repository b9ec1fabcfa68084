// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/strv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t strv_length(char *const *list)
{
	size_t n = 0;
	while (list && list[n])
		n++;
	return n;
}

void strv_free(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

char **strv_new(const char *const *from)
{
	char **list = calloc(strv_length((char *const *)from) + 1, sizeof(*list));
	for (size_t i = 0; list && from && from[i]; i++) {
		if (!(list[i] = strdup(from[i]))) {
			strv_free(list);
			return NULL;
		}
	}
	return list;
}

static int add_owned(char ***list, char *text)
{
	size_t n = strv_length(*list);
	char **longer = text ? reallocarray(*list, n + 2, sizeof(*longer)) : NULL;
	if (!longer) {
		free(text);
		return -1;
	}
	longer[n] = text;
	longer[n + 1] = NULL;
	*list = longer;
	return 0;
}

int strv_add(char ***list, const char *text)
{
	return add_owned(list, strdup(text));
}

int strv_addf(char ***list, const char *format, ...)
{
	char *text;
	va_list args;
	va_start(args, format);
	int n = vasprintf(&text, format, args);
	va_end(args);
	return n < 0 ? -1 : add_owned(list, text);
}

bool strv_has(char *const *list, const char *text)
{
	for (size_t i = 0; list && list[i]; i++)
		if (!strcmp(list[i], text))
			return true;
	return false;
}

static char **find_key(char *const *list, const char *key, size_t length)
{
	for (size_t i = 0; list && list[i]; i++)
		if (!strncmp(list[i], key, length) && list[i][length] == '=')
			return (char **)&list[i];
	return NULL;
}

int strv_env_set(char ***list, const char *entry)
{
	char **old = find_key(*list, entry, strcspn(entry, "="));
	if (!old)
		return strv_add(list, entry);
	char *text = strdup(entry);
	if (!text)
		return -1;
	free(*old);
	*old = text;
	return 0;
}

const char *strv_env_get(char *const *list, const char *key)
{
	char **found = find_key(list, key, strlen(key));
	return found ? *found + strlen(key) + 1 : NULL;
}
