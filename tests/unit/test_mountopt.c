// SPDX-License-Identifier: Apache-2.0
// Small vocabularies of definitions: mount options, paths, capabilities, limits, environments.
#include "lib/base/cleanup.h"
#include "lib/partition/caps.h"
#include "lib/partition/mountopt.h"
#include "lib/partition/rlimit.h"
#include "lib/partition/strv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <cmocka.h>

static void later_words_win(void **state)
{
	(void)state;
	struct mountopt options = {.flags = 0};
	assert_true(mountopt_add(&options, "ro"));
	assert_true(mountopt_add(&options, "nosuid"));
	assert_true(mountopt_add(&options, "rw"));
	assert_int_equal(options.flags, MS_NOSUID);
	assert_true(mountopt_add(&options, "mode=1777"));
	assert_int_equal(options.mode, 01777);
	assert_false(mountopt_add(&options, "mode=8"));
	assert_false(mountopt_add(&options, "mode="));
	assert_false(mountopt_add(&options, "shared"));
	assert_false(mountopt_add(&options, "idmap"));
	assert_string_equal(mountopt_word(MS_RDONLY | MS_NOEXEC, 0), "ro");
	assert_string_equal(mountopt_word(MS_RDONLY | MS_NOEXEC, 1), "noexec");
	assert_null(mountopt_word(MS_RDONLY | MS_NOEXEC, 2));
}

static void paths_become_short(void **state)
{
	(void)state;
	static const char *const pairs[][2] = {
		{"/", "/"},   {"//", "/"},      {"/a/", "/a"},       {"/a//b/./c", "/a/b/c"},
		{"/./", "/"}, {"/..a", "/..a"}, {"/a/...", "/a/..."}};
	static const char *const bad[] = {"", "a", "./a", "/..", "/a/../b", "/a/..", "/a\nb"};
	char path[64];
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		strcpy(path, pairs[i][0]);
		assert_true(mountopt_normalise(path));
		assert_string_equal(path, pairs[i][1]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		strcpy(path, bad[i]);
		assert_false(mountopt_normalise(path));
	}
}

static void capabilities_have_names(void **state)
{
	(void)state;
	char name[CAPS_NAME_MAX];
	assert_int_equal(caps_number("CAP_SYS_ADMIN"), CAP_SYS_ADMIN);
	assert_int_equal(caps_number("net_raw"), CAP_NET_RAW);
	assert_int_equal(caps_number("CAP_"), -1);
	assert_int_equal(caps_number("CAP_5"), -1);
	assert_int_equal(caps_number("ALL"), -1);
	assert_string_equal(caps_name(CAP_KILL, name), "CAP_KILL");
	assert_null(caps_name(63, name));
	assert_false(caps_default() & (1ull << CAP_SYS_ADMIN | 1ull << CAP_NET_RAW));
	assert_true(caps_default() & 1ull << CAP_SETUID);
}

static void limits_have_names(void **state)
{
	(void)state;
	for (int i = 0; i < RLIM_NLIMITS; i++)
		assert_int_equal(rlimit_number(rlimit_name(i)), i);
	assert_int_equal(rlimit_number("RLIMIT_SOULS"), -1);
	assert_null(rlimit_name(-1));
	assert_null(rlimit_name(1000));
}

static void environments_replace_by_key(void **state)
{
	(void)state;
	char **env = strv_new((const char *const[]){"A=1", "AB=2", NULL});
	assert_int_equal(strv_env_set(&env, "A=3"), 0);
	assert_int_equal(strv_env_set(&env, "B=4"), 0);
	assert_int_equal(strv_length(env), 3);
	assert_string_equal(strv_env_get(env, "A"), "3");
	assert_string_equal(strv_env_get(env, "AB"), "2");
	assert_null(strv_env_get(env, "C"));
	strv_free(env);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(later_words_win),
		cmocka_unit_test(paths_become_short),
		cmocka_unit_test(capabilities_have_names),
		cmocka_unit_test(limits_have_names),
		cmocka_unit_test(environments_replace_by_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
