// SPDX-License-Identifier: Apache-2.0
// Scope-bound release of resources (GNU cleanup attribute), so that error paths need no labels.
#ifndef WPAR_BASE_CLEANUP_H
#define WPAR_BASE_CLEANUP_H

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void cleanup_closedir(DIR **d)
{
	if (*d)
		closedir(*d);
}

static inline void cleanup_json(json_t **j)
{
	json_decref(*j);
}

#define _cleanup_free_     __attribute__((cleanup(cleanup_free)))
#define _cleanup_close_    __attribute__((cleanup(cleanup_close)))
#define _cleanup_fclose_   __attribute__((cleanup(cleanup_fclose)))
#define _cleanup_closedir_ __attribute__((cleanup(cleanup_closedir)))
#define _cleanup_json_     __attribute__((cleanup(cleanup_json)))

// Hands a descriptor over to the caller: the variable forgets it.
static inline int take_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

static inline void *take_ptr_(void **p)
{
	void *taken = *p;
	*p = NULL;
	return taken;
}

#define take_ptr(p) ((__typeof__(p))take_ptr_((void **)&(p)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
