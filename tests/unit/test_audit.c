// SPDX-License-Identifier: Apache-2.0
// The audit of CRIU's images: what a partition may bring passes, and everything beyond its
// definition is refused by name.
#include "tests/unit/audit_images.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <sched.h>
#include <sys/socket.h>

static struct image_set set;
static struct audit_grant grant;

static int set_up(void **state)
{
	(void)state;
	image_set_init(&set);
	grant = image_grant;
	return 0;
}

static void expect_passes(void)
{
	struct error err = {0};
	if (image_set_audit(&set, &grant, &err) < 0)
		fail_msg("%s", err.message);
}

static void expect_refused(const char *says)
{
	struct error err = {0};
	assert_int_equal(image_set_audit(&set, &grant, &err), -1);
	if (err.id != ERR_IMAGES || !strstr(err.message, says))
		fail_msg("%s: %s", error_code(&err), err.message);
}

static void test_what_is_granted_passes(void **state)
{
	(void)state;
	expect_passes();
	set.with_ghost = true;
	expect_passes();
}

static void test_each_capability_set(void **state)
{
	static const char *const names[] = {"inheritable", "permitted", "effective", "bounding",
					    "ambient"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		set_up(state);
		set.sets[i][0] |= 1u << CAP_SYS_ADMIN;
		expect_refused(names[i]);
		set_up(state);
		set.sets[i][1] |= 1u << (CAP_BPF - 32);
		expect_refused("capability 39");
	}
	set_up(state);
	uint32_t three[] = {0, 0, 1};
	set.creds.effective = three;
	set.creds.n_effective = 3;
	expect_refused("capability 64");
}

static void test_other_users(void **state)
{
	uint32_t *fields[] = {&set.creds.uid, &set.creds.euid, &set.creds.suid, &set.creds.fsuid,
			      &set.creds.gid, &set.creds.egid, &set.creds.sgid, &set.creds.fsgid};
	uint32_t group = 0;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		set_up(state);
		*fields[i] = 0;
		expect_refused(i < 4 ? "runs as user 0" : "runs as group 0");
	}
	set_up(state);
	set.creds.groups = &group;
	set.creds.n_groups = 1;
	expect_refused("has group 0");
	grant.capabilities |= 1ull << CAP_SETUID | 1ull << CAP_SETGID;
	set.creds.uid = 33;
	expect_passes();
	set_up(state); // a set-uid program could have done it
	grant.no_new_privileges = false;
	set.creds.uid = 0;
	expect_passes();
}

static void test_no_new_privs_and_seccomp_missing(void **state)
{
	set.creds.no_new_privs = 0;
	expect_refused("no_new_privs");
	set_up(state);
	set.creds.has_no_new_privs = false;
	expect_refused("no_new_privs");
	set_up(state);
	set.thread.seccomp_mode = 0;
	expect_refused("seccomp filter");
	set_up(state);
	set.thread.has_seccomp_mode = false;
	expect_refused("seccomp filter");
	set_up(state);
	set.thread.seccomp_filter = 1;
	expect_refused("filter 1 is not there");
	set_up(state);
	set.filter.program.len = 0;
	expect_refused("filter is empty");
	set_up(state);
	grant.seccomp = false;
	set.thread.seccomp_mode = 0;
	expect_passes();
}

static void test_priorities(void **state)
{
	set.thread.has_policy = true;
	set.thread.policy = SCHED_FIFO;
	expect_refused("priority");
	set_up(state);
	set.thread.has_nice = true;
	set.thread.nice = -5;
	expect_refused("priority");
	grant.capabilities |= 1ull << CAP_SYS_NICE;
	expect_passes();
}

static void test_namespaces(void **state)
{
	(void)state;
	set.other_ids.mnt++;
	expect_refused("namespaces of its own");
	set_up(state);
	set.ids.user = set.other_ids.user = 30;
	expect_refused("user namespace");
	set_up(state);
	set.ids.net = set.other_ids.net = 30;
	expect_refused("network namespace");
	set_up(state);
	set.ids.pid = set.other_ids.pid = set.root.pid;
	expect_refused("with the host");
	set_up(state);
	set.ids.mnt = set.other_ids.mnt = set.root.mnt;
	expect_refused("with the host");
}

static void test_mounts(void **state)
{
	(void)state;
	set.mounts[4].key = (char *)"host-root";
	expect_refused("not granted");
	set_up(state);
	set.mounts[4].key = NULL;
	set.mounts[4].has_external = set.mounts[4].external = true;
	expect_refused("not granted");
	set_up(state);
	set.mounts[4].key = NULL; // a tmpfs with contents of the peer's
	expect_refused("/dev is not one of those granted");
	set_up(state);
	image_mount(&set, 0, 20, 0, "/etc", "/mnt", NULL);
	expect_refused("another filesystem than the root");
	set_up(state);
	image_mount(&set, 0, 20, 0, "/srv/root/../../etc", "/mnt", NULL);
	expect_refused("no proper root");
	set_up(state);
	image_mount(&set, 0, 20, 0, "/srv/rootkit", "/mnt", NULL);
	expect_refused("another filesystem than the root");
	set_up(state);
	image_mount(&set, 0, 20, MS_NODEV, "/srv/root/data", "/data", NULL);
	expect_passes();
	set.mounts[set.mount_count - 1].device++;
	expect_refused("another filesystem than the root");
	set_up(state);
	image_mount(&set, 3, 20, 0, "/", "/dev/all", NULL); // devtmpfs
	expect_refused("another filesystem than the root");
}

// CRIU puts the flags of the images on what we offer, and on the root.
static void test_flags_of_mounts(void **state)
{
	(void)state;
	set.mounts[4].flags = MS_NOSUID;
	expect_refused("/dev lacks ro, nosuid, nodev or noexec");
	set_up(state);
	set.mounts[4].key = (char *)"empty"; // read-only here
	expect_refused("/dev lacks ro");
	set_up(state);
	set.mounts[5].flags = MS_NOSUID;
	expect_refused("/ lacks nodev");
	set_up(state);
	grant.read_only_root = true;
	expect_refused("/ lacks nodev, or ro");
	set.mounts[5].flags |= MS_RDONLY;
	expect_passes();
	set_up(state);
	image_mount(&set, 0, 20, MS_RDONLY, "/srv/root/data", "/data", NULL);
	expect_refused("/data lacks nodev");
	grant.capabilities |= 1ull << CAP_SYS_ADMIN; // which may change them
	set.mounts[4].flags = set.mounts[5].flags = 0;
	expect_passes();
}

// CRIU would make a new mount of what does not look like the root in all of these.
static void test_mounts_of_other_sources(void **state)
{
	(void)state;
	for (int what = 0; what < 5; what++) {
		set_up(state);
		set.mounts[5].root = (char *)"/";
		image_mount(&set, 0, 20, MS_NODEV, "/data", "/data", NULL);
		Criu__AuditMount *m = &set.mounts[set.mount_count - 1];
		if (what == 0)
			m->source = (char *)"/dev/vda2";
		else if (what == 1)
			m->options = (char *)"rw,errors=continue";
		else if (what == 2)
			m->type = (char *)"ext4";
		else if (what == 3)
			m->fstype = 16; // any, by its name
		if (what == 4)
			expect_passes();
		else
			expect_refused("another filesystem than the root");
	}
	set_up(state);
	set.mounts[4].has_plugin = set.mounts[4].plugin = true;
	expect_refused("plugin");
	set_up(state); // by a symbolic link /srv/root/link to / it would be the host's
	image_mount(&set, 0, 20, MS_NODEV, "/srv/root/link/etc", "/data", NULL);
	expect_refused("another place of the root");
}

static void test_limits(void **state)
{
	set.limit[1].hard++;
	expect_refused("hard limit 1 is above");
	grant.capabilities |= 1ull << CAP_SYS_RESOURCE;
	expect_passes();
	set_up(state);
	set.task.has_oom_score = true;
	set.task.oom_score = -1;
	expect_refused("spared when memory runs out");
	set.task.oom_score = 500;
	expect_passes();
}

static void test_the_kernels_filesystems(void **state)
{
	(void)state;
	image_mount(&set, 1, 20, MS_NOSUID | MS_NODEV | MS_NOEXEC, "/", "/mnt", NULL);
	expect_refused("more of the kernel");
	set_up(state);
	image_mount(&set, 1, 20, MS_NOSUID | MS_NODEV | MS_NOEXEC, "/kcore", "/proc/keys", NULL);
	expect_refused("more of the kernel");
	set_up(state);
	set.mounts[2].flags &= ~(uint32_t)MS_RDONLY;
	expect_refused("/sys writable");
	set_up(state);
	set.mounts[3].flags = 0;
	expect_refused("nosuid");
	set_up(state);
	set.mounts[0].flags &= ~(uint32_t)MS_RDONLY;
	expect_refused("/proc/sys is not read-only");
	set_up(state);
	set.mounts[1].key = (char *)"run";
	expect_refused("/proc/keys is not masked");
	set_up(state);
	set.mounts[1].point = (char *)"/proc/other";
	expect_refused("/proc/keys is not masked");
	set_up(state);
	set.mounts[1] = set.mounts[0];
	expect_refused("/proc/keys is not masked");
}

static void test_open_files(void **state)
{
	static const struct {
		uint32_t type;
		const char *says;
	} kinds[] = {{10, "packet socket"}, {12, "whole filesystem"}, {15, "never granted"},
		     {16, "never granted"}, {19, "never granted"},    {0, "not known"},
		     {77, "not known"}};
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		set_up(state);
		set.file.type = kinds[i].type;
		expect_refused(kinds[i].says);
	}
	set_up(state);
	set.path.has_external = set.path.external = true;
	expect_refused("outside of the partition");
	set_up(state);
	set.path.name = (char *)"/srv/../../etc/shadow";
	expect_refused("no proper path");
	set_up(state);
	set.path.mount = 99;
	expect_refused("mount 99");
	set_up(state);
	set.file.type = 4;
	set.file.socket = &set.socket;
	expect_passes();
	set.socket.type = SOCK_RAW;
	expect_refused("raw socket");
	grant.capabilities |= 1ull << CAP_NET_RAW;
	expect_passes();
}

static void test_files_that_would_be_made(void **state)
{
	(void)state;
	set.with_ghost = true;
	set.ghost.mode = S_IFBLK | 0666;
	expect_refused("device node");
	set.ghost.mode = S_IFCHR | 0666;
	expect_refused("device node");
	set.ghost.mode = S_IFREG | S_ISUID | 0755;
	expect_refused("set-uid");
	set.ghost.mode = S_IFREG | S_ISGID | 0755;
	expect_refused("set-uid");
	set_up(state);
	set.memfd.mode |= S_ISUID;
	expect_refused("memfd.img would make a set-uid file");
}

static void test_labels(void **state)
{
	(void)state;
	set.inventory.has_lsm = true;
	set.inventory.lsm = 2; // AppArmor, as every kernel of Debian
	expect_passes();
	set.creds.label = (char *)"unconfined";
	expect_passes();
	set.creds.label = (char *)"docker-default";
	expect_refused("security module");
	set_up(state);
	set.creds.label = (char *)"system_u:system_r:kernel_t:s0";
	expect_refused("security module");
	set_up(state);
	set.creds.socket_label = (char *)"system_u:system_r:kernel_t:s0";
	expect_refused("security module");
}

static void test_images_that_do_not_belong(void **state)
{
	static const char *const names[] = {
		"userns-9.img",    "netns-2.img",       "netdev-2.img",
		"bpfmap-file.img", "autofs-1.img",      "tmpfs-dev-75.tar.gz.img",
		"creds-1.img",     "binfmt-misc-1.img", "apparmor.img",
		"core-.img",       "corex-1.img",       "files.img.img",
		"passwd"};
	struct error err = {0};
	(void)state;
	struct audit *a = audit_open(&grant, &err);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_true(audit_reads(names[i]));
		assert_int_equal(audit_image(a, names[i], "", 0, &err), -1);
		assert_int_equal(err.id, ERR_IMAGES);
	}
	assert_false(audit_reads("mm-1.img"));
	assert_int_equal(audit_image(a, "mm-1.img", "", 0, &err), 0);
	audit_free(a);
}

// Missing ones, and those that say things twice.
static void test_sets_that_are_not_whole(void **state)
{
	struct error err = {0};
	uint32_t threads[] = {1, 2};
	(void)state;
	set.process.threads = threads;
	set.process.n_threads = 2;
	assert_int_equal(image_set_audit(&set, &grant, &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
	assert_non_null(strstr(err.message, "core-2.img"));
	// Threads of a zombie are not restored, and what is said of them means nothing.
	set.task.state = 6;
	expect_passes();
	set_up(state);
	struct audit *a = audit_open(&grant, &err);
	assert_int_equal(audit_end(a, &err), -1);
	assert_int_equal(image_take(a, "core-1.img", 0x55053847, &set.core.base, &err), 0);
	assert_int_equal(image_take(a, "core-1.img", 0x55053847, &set.core.base, &err), -1);
	audit_free(a);
}

// Every image of the set, cut at every length and with every bit flipped: never a crash, and never
// an error of another kind.
static void test_damage(void **state)
{
	_cleanup_buf_ struct buf b = image_begin(0x55053847);
	(void)state;
	image_add(&b, &set.core.base);
	for (size_t i = 0; i < b.length * 8; i++) {
		struct error err = {0};
		struct audit *a = audit_open(&grant, &err);
		b.data[i / 8] ^= (uint8_t)(1u << i % 8);
		if (audit_image(a, "core-1.img", b.data, b.length, &err) < 0)
			assert_true(err.id == ERR_PROTOCOL || err.id == ERR_IMAGES);
		b.data[i / 8] ^= (uint8_t)(1u << i % 8);
		audit_free(a);
	}
	for (size_t length = 9; length < b.length; length++) {
		struct error err = {0};
		struct audit *a = audit_open(&grant, &err);
		assert_int_equal(audit_image(a, "core-1.img", b.data, length, &err), -1);
		assert_int_equal(err.id, ERR_PROTOCOL);
		audit_free(a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_what_is_granted_passes, set_up),
		cmocka_unit_test_setup(test_each_capability_set, set_up),
		cmocka_unit_test_setup(test_other_users, set_up),
		cmocka_unit_test_setup(test_no_new_privs_and_seccomp_missing, set_up),
		cmocka_unit_test_setup(test_priorities, set_up),
		cmocka_unit_test_setup(test_namespaces, set_up),
		cmocka_unit_test_setup(test_mounts, set_up),
		cmocka_unit_test_setup(test_flags_of_mounts, set_up),
		cmocka_unit_test_setup(test_mounts_of_other_sources, set_up),
		cmocka_unit_test_setup(test_limits, set_up),
		cmocka_unit_test_setup(test_the_kernels_filesystems, set_up),
		cmocka_unit_test_setup(test_open_files, set_up),
		cmocka_unit_test_setup(test_files_that_would_be_made, set_up),
		cmocka_unit_test_setup(test_labels, set_up),
		cmocka_unit_test_setup(test_images_that_do_not_belong, set_up),
		cmocka_unit_test_setup(test_sets_that_are_not_whole, set_up),
		cmocka_unit_test_setup(test_damage, set_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
