// SPDX-License-Identifier: Apache-2.0
// Stands before mkdtemp(3) and mkstemp(3) in unit tests (ld --wrap): notes what was made in the
// file that UNIT_SCRATCH names. tests/unit/run looks there whether anything was left behind, also
// by a test that crashed.
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *__real_mkdtemp(char *template);
int __real_mkstemp(char *template);
char *__wrap_mkdtemp(char *template);
int __wrap_mkstemp(char *template);

static void note(const char *path)
{
	char line[PATH_MAX + 2];
	const char *list = getenv("UNIT_SCRATCH");
	int fd = list ? open(list, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
	if (fd < 0)
		return;
	int length = snprintf(line, sizeof(line), "%s\n", path);
	if (write(fd, line, (size_t)length) != length)
		perror(list);
	close(fd);
}

char *__wrap_mkdtemp(char *template)
{
	char *made = __real_mkdtemp(template);
	if (made)
		note(made);
	return made;
}

int __wrap_mkstemp(char *template)
{
	int fd = __real_mkstemp(template);
	if (fd >= 0)
		note(template);
	return fd;
}
