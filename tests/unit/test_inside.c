// SPDX-License-Identifier: Apache-2.0
// What is looked up in a partition's root filesystem: users, and folders that are copied.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/partition/passwd.h"
#include "lib/partition/treecopy.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char root[64];

static void write_file(const char *name, const char *text)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", root, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void make_dir(const char *name, mode_t mode)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", root, name);
	assert_int_equal(mkdir(path, mode), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static int make_root(void **state)
{
	(void)state;
	strcpy(root, "/tmp/test_inside.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	make_dir("etc", 0755);
	write_file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"
				 "broken line\n"
				 "redis:x:999:998:Redis,,,:/var/lib/redis:/bin/false\n"
				 "evil:x:-1:0::/:/bin/sh\n");
	write_file("etc/group", "root:x:0:\nredis:x:998:\nlog:x:4:adm,redis\nssl:x:101:redis\n");
	return 0;
}

static int remove_root(void **state)
{
	(void)state;
	return fdio_remove_tree(AT_FDCWD, root, NULL);
}

static void finds_users_by_name_and_number(void **state)
{
	(void)state;
	struct passwd_user user;
	assert_int_equal(passwd_find(root, "redis", &user, NULL), 0);
	assert_int_equal(user.uid, 999);
	assert_int_equal(user.gid, 998);
	assert_string_equal(user.home, "/var/lib/redis");
	assert_int_equal(user.group_count, 2);
	assert_int_equal(user.groups[0], 4);
	assert_int_equal(passwd_find(root, "999", &user, NULL), 0);
	assert_int_equal(user.gid, 998);
	assert_int_equal(passwd_find(root, "redis:log", &user, NULL), 0);
	assert_int_equal(user.gid, 4);
	assert_int_equal(user.group_count, 0);
	assert_int_equal(passwd_find(root, "4242:17", &user, NULL), 0);
	assert_int_equal(user.uid, 4242);
	assert_int_equal(user.gid, 17);
	assert_string_equal(user.home, "/");
}

static void refuses_unknown_users(void **state)
{
	(void)state;
	static const char *const bad[] = {"nobody",        "evil", "",           ":",
					  "redis:nogroup", "-1",   "4294967296", "1x"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct passwd_user user;
		struct error err = {0};
		assert_int_equal(passwd_find(root, bad[i], &user, &err), -1);
		assert_int_equal(err.id, ERR_EXEC);
	}
}

static void copies_folders_files_and_links(void **state)
{
	(void)state;
	char to[128], path[256], link[64] = "";
	struct stat st;
	make_dir("run", 0755);
	make_dir("run/postgresql", 02775);
	write_file("run/postgresql/file", "text");
	snprintf(path, sizeof(path), "%s/run/link", root);
	assert_int_equal(symlink("/etc/shadow", path), 0);
	snprintf(path, sizeof(path), "%s/run/pipe", root);
	assert_int_equal(mkfifo(path, 0600), 0);
	make_dir("to", 0755);
	snprintf(to, sizeof(to), "%s/to", root);
	assert_int_equal(treecopy_from_root(root, "run", to, NULL), 0);
	snprintf(path, sizeof(path), "%s/postgresql", to);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 02775);
	snprintf(path, sizeof(path), "%s/postgresql/file", to);
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, 100, NULL);
	assert_string_equal(text, "text");
	snprintf(path, sizeof(path), "%s/link", to);
	assert_int_equal(readlink(path, link, sizeof(link) - 1), 11);
	assert_string_equal(link, "/etc/shadow");
	snprintf(path, sizeof(path), "%s/pipe", to);
	assert_int_equal(lstat(path, &st), -1);
}

static void a_link_does_not_lead_out_of_the_root(void **state)
{
	(void)state;
	char path[128], to[128];
	snprintf(path, sizeof(path), "%s/run", root);
	assert_int_equal(symlink("/../../../../../../../../etc", path), 0);
	make_dir("to", 0755);
	snprintf(to, sizeof(to), "%s/to", root);
	// It stays inside: the root's own /etc is what is found there.
	assert_int_equal(treecopy_from_root(root, "run", to, NULL), 0);
	snprintf(path, sizeof(path), "%s/to/passwd", root);
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, 4096, NULL);
	assert_non_null(strstr(text, "broken line"));
	snprintf(path, sizeof(path), "%s/to/fstab", root);
	assert_int_equal(access(path, F_OK), -1);
}

static void nothing_to_copy_is_fine(void **state)
{
	(void)state;
	assert_int_equal(treecopy_from_root(root, "run", root, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(finds_users_by_name_and_number, make_root,
						remove_root),
		cmocka_unit_test_setup_teardown(refuses_unknown_users, make_root, remove_root),
		cmocka_unit_test_setup_teardown(copies_folders_files_and_links, make_root,
						remove_root),
		cmocka_unit_test_setup_teardown(a_link_does_not_lead_out_of_the_root, make_root,
						remove_root),
		cmocka_unit_test_setup_teardown(nothing_to_copy_is_fine, make_root, remove_root),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
