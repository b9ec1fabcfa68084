// SPDX-License-Identifier: Apache-2.0
// The length of accept queues, asked from the kernel.
#include "lib/net/backlog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int listener(struct sockaddr_in *address)
{
	socklen_t length = sizeof(*address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	*address = (struct sockaddr_in){.sin_family = AF_INET,
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(fd, (struct sockaddr *)address, sizeof(*address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)address, &length), 0);
	return fd;
}

static void counts_connections_that_wait(void **state)
{
	(void)state;
	struct sockaddr_in address;
	struct backlog before, during, after;
	int server = listener(&address), client = socket(AF_INET, SOCK_STREAM, 0);
	int diag = backlog_open(-1, NULL);
	assert_true(diag >= 0);
	assert_int_equal(backlog_waiting(diag, &before, NULL), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(backlog_waiting(diag, &during, NULL), 0);
	int accepted = accept(server, NULL, NULL);
	assert_int_equal(backlog_waiting(diag, &after, NULL), 0);
	assert_true(accepted >= 0);
	assert_int_equal(during.waiting, before.waiting + 1);
	assert_int_equal(after.waiting, before.waiting);
	close(diag);
	close(accepted);
	close(client);
	close(server);
}

static void counts_unix_connections_and_names_one(void **state)
{
	(void)state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct backlog before, during;
	char folder[] = "/tmp/backlog-XXXXXX";
	assert_non_null(mkdtemp(folder));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", folder);
	int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(server, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(server, 8), 0);
	int diag = backlog_open(-1, NULL);
	assert_int_equal(backlog_waiting(diag, &before, NULL), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(backlog_waiting(diag, &during, NULL), 0);
	assert_int_equal(unlink(address.sun_path), 0);
	assert_int_equal(rmdir(folder), 0);
	close(client);
	close(server);
	close(diag);
	assert_int_equal(during.waiting, before.waiting + 1);
	if (before.waiting == 0)
		assert_non_null(strstr(during.where, address.sun_path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_connections_that_wait),
		cmocka_unit_test(counts_unix_connections_and_names_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
