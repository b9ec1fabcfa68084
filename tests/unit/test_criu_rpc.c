// SPDX-License-Identifier: Apache-2.0
// The RPC client against a stand-in for CRIU that speaks raw protobuf.
#include "images/criu_rpc.pb-c.h"
#include "lib/criu/rpc.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	struct criu_rpc *c;
	int criu;
	struct error err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int ours;

	assert_int_equal(criu_rpc_socketpair(&ours, &f->criu, &f->err), 0);
	f->c = criu_rpc_new(ours, &f->err);
	assert_non_null(f->c);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	criu_rpc_free(f->c);
	if (f->criu >= 0)
		close(f->criu);
	free(f);
	return 0;
}

static Criu__Req *heard(struct fixture *f)
{
	uint8_t buf[4096];
	ssize_t n = recv(f->criu, buf, sizeof(buf), MSG_DONTWAIT);
	Criu__Req *req;

	assert_true(n > 0);
	req = criu__req__unpack(NULL, (size_t)n, buf);
	assert_non_null(req);
	return req;
}

static void say(struct fixture *f, const Criu__Resp *resp)
{
	uint8_t buf[4096];
	size_t n = criu__resp__pack(resp, buf);

	assert_int_equal(send(f->criu, buf, n, 0), n);
}

static void notify(struct fixture *f, const char *script, int pid)
{
	Criu__Resp resp = CRIU__RESP__INIT;
	Criu__Notify n = CRIU__NOTIFY__INIT;

	n.script = (char *)script;
	n.has_pid = pid > 0;
	n.pid = pid;
	resp.type = CRIU__REQ_TYPE__NOTIFY;
	resp.success = true;
	resp.notify = &n;
	say(f, &resp);
}

static void sends_the_options_of_a_dump(void **state)
{
	struct fixture *f = *state;
	const char *external[] = {"mnt[/data]:data", "net[4026531840]:pnet"};
	const struct criu_inherit_fd inherit[] = {{"pipe:[77]", 9}, {"pnet", 11}};
	struct criu_options o = CRIU_OPTIONS_INIT;
	Criu__Req *req;

	o.images_fd = 5;
	o.pid = 1234;
	o.page_server_fd = 8;
	o.tcp_established = o.skip_network_lock = o.ignore_cgroups = true;
	o.link_remap = o.notify_scripts = true;
	o.freeze_cgroup = "/sys/fs/cgroup/wpar/x";
	o.log_file = "dump.log";
	o.log_level = 2;
	o.ghost_limit = 7;
	o.external = external;
	o.nr_external = 2;
	o.inherit = inherit;
	o.nr_inherit = 2;
	assert_int_equal(criu_rpc_dump(f->c, &o, &f->err), 0);
	req = heard(f);
	assert_int_equal(req->type, CRIU__REQ_TYPE__DUMP);
	assert_int_equal(req->opts->images_dir_fd, 5);
	assert_false(req->opts->has_work_dir_fd);
	assert_int_equal(req->opts->pid, 1234);
	assert_int_equal(req->opts->ps->fd, 8);
	assert_true(req->opts->tcp_established);
	assert_true(req->opts->link_remap);
	assert_true(req->opts->notify_scripts);
	assert_false(req->opts->file_locks);
	assert_false(req->opts->shell_job);
	assert_int_equal(req->opts->network_lock, CRIU__NETWORK_LOCK__SKIP);
	assert_true(req->opts->has_manage_cgroups_mode);
	assert_int_equal(req->opts->manage_cgroups_mode, 0);
	assert_string_equal(req->opts->freeze_cgroup, "/sys/fs/cgroup/wpar/x");
	assert_string_equal(req->opts->log_file, "dump.log");
	assert_int_equal(req->opts->log_level, 2);
	assert_int_equal(req->opts->ghost_limit, 7);
	assert_int_equal(req->opts->n_external, 2);
	assert_string_equal(req->opts->external[1], "net[4026531840]:pnet");
	assert_int_equal(req->opts->n_inherit_fd, 2);
	assert_string_equal(req->opts->inherit_fd[0]->key, "pipe:[77]");
	assert_int_equal(req->opts->inherit_fd[1]->fd, 11);
	criu__req__free_unpacked(req, NULL);
}

static void sends_the_options_of_a_restore(void **state)
{
	struct fixture *f = *state;
	struct criu_options o = CRIU_OPTIONS_INIT;
	Criu__Req *req;

	o.images_fd = 5;
	o.work_fd = 6;
	o.root = "/run/relocd/root";
	o.rst_sibling = true;
	assert_int_equal(criu_rpc_restore(f->c, &o, &f->err), 0);
	req = heard(f);
	assert_int_equal(req->type, CRIU__REQ_TYPE__RESTORE);
	assert_int_equal(req->opts->work_dir_fd, 6);
	assert_false(req->opts->has_pid);
	assert_null(req->opts->ps);
	assert_null(req->opts->freeze_cgroup);
	assert_false(req->opts->has_manage_cgroups_mode);
	assert_int_equal(req->opts->network_lock, CRIU__NETWORK_LOCK__NFTABLES);
	assert_string_equal(req->opts->root, "/run/relocd/root");
	assert_true(req->opts->rst_sibling);
	criu__req__free_unpacked(req, NULL);
}

static void holds_a_gate(void **state)
{
	struct fixture *f = *state;
	struct pollfd p = {.fd = criu_rpc_fd(f->c), .events = POLLIN};
	struct criu_event ev;
	Criu__Req *req;

	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(criu_rpc_next(f->c, 0, &ev, &f->err), 0);
	assert_int_equal(ev.type, CRIU_EVENT_NONE);
	notify(f, "post-dump", 42);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(criu_rpc_next(f->c, 0, &ev, &f->err), 0);
	assert_int_equal(ev.type, CRIU_EVENT_NOTIFY);
	assert_string_equal(ev.script, "post-dump");
	assert_int_equal(ev.pid, 42);
	assert_int_equal(recv(f->criu, &ev, 1, MSG_DONTWAIT), -1); // nothing answered by itself
	assert_int_equal(criu_rpc_answer(f->c, false, &f->err), 0);
	req = heard(f);
	assert_int_equal(req->type, CRIU__REQ_TYPE__NOTIFY);
	assert_true(req->has_notify_success);
	assert_false(req->notify_success);
	criu__req__free_unpacked(req, NULL);
	// One answer per notification.
	assert_int_equal(criu_rpc_answer(f->c, true, &f->err), -1);
}

static void tells_the_end(void **state)
{
	struct fixture *f = *state;
	Criu__Resp resp = CRIU__RESP__INIT;
	Criu__RestoreResp restore = CRIU__RESTORE_RESP__INIT;
	struct criu_event ev;

	resp.type = CRIU__REQ_TYPE__RESTORE;
	resp.success = true;
	resp.restore = &restore;
	restore.pid = 77;
	resp.cr_errmsg = "Error (criu/x.c:1): a line that means nothing on success";
	say(f, &resp);
	assert_int_equal(criu_rpc_next(f->c, deadline_in_ms(1000), &ev, &f->err), 0);
	assert_int_equal(ev.type, CRIU_EVENT_DONE);
	assert_true(ev.success);
	assert_int_equal(ev.pid, 77);
	resp.success = false;
	resp.restore = NULL;
	resp.has_cr_errno = true;
	resp.cr_errno = 17;
	say(f, &resp);
	assert_int_equal(criu_rpc_next(f->c, deadline_in_ms(1000), &ev, &f->err), 0);
	assert_false(ev.success);
	assert_int_equal(ev.pid, 0);
	assert_int_equal(ev.cr_errno, 17);
	assert_non_null(strstr(ev.message, "means nothing"));
}

static void notices_that_criu_is_gone(void **state)
{
	struct fixture *f = *state;
	struct criu_options o = CRIU_OPTIONS_INIT;
	struct criu_event ev;

	close(f->criu);
	f->criu = -1;
	assert_int_equal(criu_rpc_next(f->c, DEADLINE_NEVER, &ev, &f->err), -1);
	assert_int_equal(f->err.id, ERR_CRIU);
	error_clear(&f->err);
	assert_int_equal(criu_rpc_dump(f->c, &o, &f->err), -1);
	assert_int_equal(f->err.id, ERR_CRIU);
}

static void refuses_garbage(void **state)
{
	struct fixture *f = *state;
	struct criu_event ev;
	static char big[20000];

	assert_int_equal(send(f->criu, "\xff\xff", 2, 0), 2);
	assert_int_equal(criu_rpc_next(f->c, 0, &ev, &f->err), -1);
	assert_int_equal(send(f->criu, big, sizeof(big), 0), sizeof(big));
	assert_int_equal(criu_rpc_next(f->c, 0, &ev, &f->err), -1);
	assert_int_equal(f->err.id, ERR_CRIU);
}

static void asks_for_the_version(void **state)
{
	struct fixture *f = *state;
	Criu__Resp resp = CRIU__RESP__INIT;
	Criu__Version version = CRIU__VERSION__INIT;
	struct criu_version v;
	Criu__Req *req;

	version.major = 4;
	version.minor = 2;
	version.has_sublevel = true;
	version.sublevel = 1;
	resp.type = CRIU__REQ_TYPE__VERSION;
	resp.success = true;
	resp.version = &version;
	say(f, &resp);
	assert_int_equal(criu_rpc_version(f->c, deadline_in_ms(1000), &v, &f->err), 0);
	req = heard(f);
	assert_int_equal(req->type, CRIU__REQ_TYPE__VERSION);
	criu__req__free_unpacked(req, NULL);
	assert_int_equal(v.major, 4);
	assert_int_equal(v.minor, 2);
	assert_int_equal(v.sublevel, 1);
	assert_int_equal(criu_rpc_version(f->c, deadline_in_ms(10), &v, &f->err), -1);
	assert_int_equal(f->err.id, ERR_DEADLINE);
}

static void asks_for_the_features(void **state)
{
	struct fixture *f = *state;
	Criu__Resp resp = CRIU__RESP__INIT;
	Criu__Features features = CRIU__FEATURES__INIT;
	struct criu_features got;

	features.has_lazy_pages = features.lazy_pages = true;
	resp.type = CRIU__REQ_TYPE__FEATURE_CHECK;
	resp.success = true;
	resp.features = &features;
	say(f, &resp);
	assert_int_equal(criu_rpc_features(f->c, deadline_in_ms(1000), &got, &f->err), 0);
	assert_false(got.mem_track);
	assert_true(got.lazy_pages);
	resp.success = false;
	resp.cr_errmsg = "no way";
	say(f, &resp);
	assert_int_equal(criu_rpc_features(f->c, deadline_in_ms(1000), &got, &f->err), -1);
	assert_non_null(strstr(f->err.message, "no way"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sends_the_options_of_a_dump),
		TEST(sends_the_options_of_a_restore),
		TEST(holds_a_gate),
		TEST(tells_the_end),
		TEST(notices_that_criu_is_gone),
		TEST(refuses_garbage),
		TEST(asks_for_the_version),
		TEST(asks_for_the_features),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
