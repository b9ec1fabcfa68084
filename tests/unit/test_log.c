// SPDX-License-Identifier: Apache-2.0
// A line of the log is one line, whatever a peer or a partition has put into it.
#include "lib/base/log.h"

#include "lib/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// What log_warn() writes of the text.
static void log_of(const char *text, char written[4096])
{
	_cleanup_close_ int file = memfd_create("log", MFD_CLOEXEC);
	_cleanup_close_ int before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	assert_true(file >= 0 && before >= 0);
	assert_int_equal(dup2(file, STDERR_FILENO), STDERR_FILENO);
	log_warn("%s", text);
	assert_int_equal(dup2(before, STDERR_FILENO), STDERR_FILENO);
	ssize_t n = pread(file, written, 4095, 0);
	assert_true(n > 0);
	written[n] = 0;
}

static void control_characters_are_not_written(void **state)
{
	char text[256] = "a", written[4096];
	(void)state;
	for (int c = 1; c < 32; c++)
		text[c] = (char)c;
	strcpy(text + 32, "\x7f\nrelocd: forged\x1b[2J");
	log_of(text, written);
	size_t length = strlen(written);
	assert_true(written[length - 1] == '\n');
	for (size_t i = 0; i + 1 < length; i++)
		assert_true((unsigned char)written[i] >= ' ' && written[i] != 0x7f);
	assert_non_null(strstr(written, "?relocd: forged?[2J"));
}

static void a_long_text_is_cut_off(void **state)
{
	char text[8192], written[4096];
	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	log_of(text, written);
	assert_true(strlen(written) <= 2048 && written[strlen(written) - 1] == '\n');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(control_characters_are_not_written),
		cmocka_unit_test(a_long_text_is_cut_off),
	};
	log_open("test_log");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
