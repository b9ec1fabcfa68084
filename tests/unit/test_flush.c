// SPDX-License-Identifier: Apache-2.0
// Writing back with a deadline. syncfs() is our own here: it waits until it is let go.
#include "lib/storage/flush.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <string.h>
#include <unistd.h>

static sem_t answer, answered;
static int result, seen_fd;

int __wrap_syncfs(int fd);
int __wrap_syncfs(int fd)
{
	seen_fd = fd;
	sem_wait(&answer);
	errno = result;
	int returned = result ? -1 : 0;
	sem_post(&answered);
	return returned;
}

static int set_up(void **state)
{
	(void)state;
	result = 0;
	return sem_init(&answer, 0, 0) + sem_init(&answered, 0, 0);
}

static void it_waits_for_the_end(void **state)
{
	(void)state;
	int fd = open("/", O_RDONLY | O_CLOEXEC);
	sem_post(&answer);
	assert_int_equal(flush_file_system(fd, deadline_in_ms(60000), NULL), 0);
	assert_int_not_equal(seen_fd, fd); // its own: ours may be closed while it hangs
	close(fd);
}

static void an_error_is_told(void **state)
{
	(void)state;
	struct error err = {0};
	result = EIO;
	sem_post(&answer);
	assert_int_equal(flush_file_system(0, deadline_in_ms(60000), &err), -1);
	assert_int_equal(err.id, ERR_STORAGE);
	assert_non_null(strstr(err.message, "Input/output error"));
}

static void nobody_waits_for_ever(void **state)
{
	(void)state;
	struct error err = {0};
	assert_int_equal(flush_file_system(0, deadline_in_ms(20), &err), -1);
	assert_int_equal(err.id, ERR_STORAGE);
	assert_non_null(strstr(err.message, "in time"));
	// it comes back some day
	sem_post(&answer);
	sem_wait(&answered);
}

static void no_descriptor(void **state)
{
	(void)state;
	struct error err = {0};
	assert_int_equal(flush_file_system(-1, deadline_in_ms(60000), &err), -1);
	assert_int_equal(err.id, ERR_SYSTEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(it_waits_for_the_end, set_up),
		cmocka_unit_test_setup(an_error_is_told, set_up),
		cmocka_unit_test_setup(nobody_waits_for_ever, set_up),
		cmocka_unit_test_setup(no_descriptor, set_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
