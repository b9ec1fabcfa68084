// SPDX-License-Identifier: Apache-2.0
// NULL-terminated lists of strings, as argv and environ are. All strings are owned by the list.
#ifndef WPAR_PARTITION_STRV_H
#define WPAR_PARTITION_STRV_H

#include <stdbool.h>
#include <stddef.h>

// None of these fails softly: NULL or -1 means no memory.
char **strv_new(const char *const *from); // a copy; NULL makes an empty list
int strv_add(char ***list, const char *text);
int strv_addf(char ***list, const char *format, ...) __attribute__((format(printf, 2, 3)));
size_t strv_length(char *const *list);
bool strv_has(char *const *list, const char *text);
void strv_free(char **list); // NULL is fine

// Sets KEY=value in an environment list, replacing an older value of the same key.
int strv_env_set(char ***list, const char *entry);
// The value of KEY, or NULL.
const char *strv_env_get(char *const *list, const char *key);

#endif
