// SPDX-License-Identifier: Apache-2.0
// Who may come in at the control socket: roles by credentials, how many connections, descriptors
// that come ahead of a request.
#include "lib/base/cleanup.h"
#include "relocd/api/accept.h"
#include "relocd/api/audit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <semaphore.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static struct roles *roles_from(const char *text)
{
	struct config config;
	struct error err;
	if (config_parse("", text, strlen(text), &config, &err) < 0)
		fail_msg("%s", err.message);
	struct roles *roles = roles_new(&config, &err);
	assert_non_null(roles);
	config_free(&config);
	return roles;
}

static void roles_by_user_and_group(void **state)
{
	(void)state;
	gid_t none[] = {54321}, daemon_group[] = {54321, 1}, group;
	struct roles *roles = roles_from("roles: {admin: [\"1001\"], operator: [\"group:daemon\"], "
					 "viewer: [\"1002\", \"1001\", nosuchuser]}\n"
					 "api: {group: nosuchgroup}\n");
	assert_int_equal(roles_of(roles, 0, none, 1), ROLE_ADMIN);
	assert_int_equal(roles_of(roles, 1001, none, 1), ROLE_ADMIN);
	assert_int_equal(roles_of(roles, 1002, none, 1), ROLE_VIEWER);
	assert_int_equal(roles_of(roles, 1002, daemon_group, 2), ROLE_OPERATOR);
	assert_int_equal(roles_of(roles, 1003, none, 1), ROLE_NONE);
	assert_int_equal(roles_of(roles, (uid_t)-1, none, 0), ROLE_NONE);
	assert_false(roles_group(roles, &group));
	assert_true(roles_name_others(roles));
	roles_free(roles);
}

static void the_group_may_look(void **state)
{
	(void)state;
	gid_t groups[] = {1}, group;
	struct roles *roles = roles_from("api: {group: daemon}\nroles: {admin: [root], viewer: "
					 "[\"group:daemon\"]}\n");
	assert_true(roles_group(roles, &group));
	assert_int_equal(group, 1);
	assert_int_equal(roles_of(roles, 1003, groups, 1), ROLE_VIEWER);
	assert_false(roles_name_others(roles));
	roles_free(roles);
}

// What a reload changes holds for whoever asks next.
static void roles_are_renewed(void **state)
{
	(void)state;
	struct config config;
	struct error err = {0};
	const gid_t none[] = {65534};
	const char *text = "host: a\nroles: {viewer: [\"1004\"]}\n";
	struct roles *roles = roles_from("host: a\nroles: {admin: [\"1001\"]}\n");
	assert_int_equal(config_parse("", text, strlen(text), &config, &err), 0);
	assert_int_equal(roles_renew(roles, &config, &err), 0);
	config_free(&config);
	assert_int_equal(roles_of(roles, 1001, none, 1), ROLE_NONE);
	assert_int_equal(roles_of(roles, 1004, none, 1), ROLE_VIEWER);
	assert_int_equal(roles_of(roles, 0, none, 1), ROLE_ADMIN);
	roles_free(roles);
}

static void text_for_the_log(void **state)
{
	(void)state;
	char text[24];
	assert_string_equal(audit_text(text, sizeof(text), "/v1/a\n\"\\ \xff"),
			    "/v1/a\\x0a\\x22\\x5c\\x20");
	assert_string_equal(audit_text(text, 8, "0123456789"), "012");
}

// ---- connections --------------------------------------------------------------------------------

struct fixture {
	char folder[64];
	struct sockaddr_un address;
	struct roles *roles;
	struct acceptor *acceptor;
	sem_t served;
	int last; // socket that was served
};

static bool serve(void *arg, int sock)
{
	struct fixture *f = arg;
	f->last = sock;
	sem_post(&f->served);
	return true;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err;
	strcpy(f->folder, "/tmp/test_access.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	f->address.sun_family = AF_UNIX;
	snprintf(f->address.sun_path, sizeof(f->address.sun_path), "%s/s", f->folder);
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(sock, (struct sockaddr *)&f->address, sizeof(f->address)), 0);
	assert_int_equal(listen(sock, 16), 0);
	f->roles = roles_from("host: a\n");
	sem_init(&f->served, 0, 0);
	assert_int_equal(acceptor_start(sock, f->roles, serve, f, &f->acceptor, &err), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	acceptor_free(f->acceptor);
	roles_free(f->roles);
	sem_destroy(&f->served);
	unlink(f->address.sun_path);
	rmdir(f->folder);
	free(f);
	return 0;
}

static int connect_to(struct fixture *f)
{
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(sock, (struct sockaddr *)&f->address, sizeof(f->address)), 0);
	return sock;
}

static void send_fds(int sock, unsigned count)
{
	char line[] = "\r\n";
	char control[CMSG_SPACE(64 * sizeof(int))] = {0};
	struct iovec bytes = {.iov_base = line, .iov_len = 2};
	struct msghdr message = {.msg_iov = &bytes,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = CMSG_SPACE(count * sizeof(int))};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(count * sizeof(int));
	for (unsigned i = 0; i < count; i++) {
		int fd = i % 2 ? open("/", O_PATH | O_CLOEXEC) : open("/dev/null", O_CLOEXEC);
		memcpy(CMSG_DATA(header) + i * sizeof(int), &fd, sizeof(int));
	}
	assert_int_equal(sendmsg(sock, &message, 0), 2);
	for (unsigned i = 0; i < count; i++) {
		int fd;
		memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
		close(fd);
	}
}

static unsigned open_fds(void)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc/self/fd");
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void descriptors_come_with_the_first_bytes(void **state)
{
	struct fixture *f = *state;
	char bytes[8];
	struct stat null, got;
	unsigned before = open_fds();
	int sock = connect_to(f);
	send_fds(sock, 2);
	sem_wait(&f->served);
	int fd = acceptor_descriptor(f->acceptor, f->last, 0);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &got), 0);
	assert_int_equal(stat("/dev/null", &null), 0);
	assert_true(got.st_ino == null.st_ino && got.st_dev == null.st_dev);
	close(fd);
	assert_int_equal(acceptor_descriptor(f->acceptor, f->last, 2), -1);
	assert_int_equal(acceptor_descriptor(f->acceptor, f->last + 100, 0), -1);
	// The bytes are still there for the server, without descriptors.
	assert_int_equal(recv(f->last, bytes, sizeof(bytes), 0), 2);
	acceptor_closed(f->acceptor, f->last);
	close(f->last);
	close(sock);
	assert_int_equal(open_fds(), before);
}

static void too_many_descriptors_end_the_connection(void **state)
{
	struct fixture *f = *state;
	char byte;
	unsigned before = open_fds();
	int sock = connect_to(f);
	send_fds(sock, ACCEPT_FDS_MAX + 1);
	assert_true(recv(sock, &byte, 1, 0) <= 0);
	close(sock);
	// One that is as it should be is served after it.
	sock = connect_to(f);
	send_fds(sock, ACCEPT_FDS_MAX);
	sem_wait(&f->served);
	acceptor_closed(f->acceptor, f->last);
	close(f->last);
	close(sock);
	assert_int_equal(open_fds(), before);
}

static void who_says_nothing_costs_little(void **state)
{
	struct fixture *f = *state;
	int socks[3];
	for (size_t i = 0; i < ARRAY_SIZE(socks); i++)
		socks[i] = connect_to(f);
	for (size_t i = 0; i < ARRAY_SIZE(socks); i++)
		close(socks[i]);
	int sock = connect_to(f);
	assert_int_equal(send(sock, "G", 1, 0), 1);
	sem_wait(&f->served);
	acceptor_closed(f->acceptor, f->last);
	close(f->last);
	close(sock);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(roles_by_user_and_group),
		cmocka_unit_test(the_group_may_look),
		cmocka_unit_test(roles_are_renewed),
		cmocka_unit_test(text_for_the_log),
		TEST(descriptors_come_with_the_first_bytes),
		TEST(too_many_descriptors_end_the_connection),
		TEST(who_says_nothing_costs_little),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
