// SPDX-License-Identifier: Apache-2.0
// criu-selftest: does this CRIU really work on this kernel?
//
// In network and mount namespaces of its own it dumps a small tree that holds established TCP
// connections, sees it killed, restores it, and asks whether the connections carry data and the
// tasks kept their memory. Leaves nothing behind. "criu check" is no substitute: it is content
// with versions that cannot dump a single socket here.
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/spawn.h"
#include "lib/base/version.h"
#include "lib/criu/failure.h"
#include "lib/criu/program.h"
#include "lib/criu/rpc.h"
#include "relocd/selftest/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>

enum { EXIT_OK, EXIT_UNABLE, EXIT_USAGE };

enum { LIMIT_MS = 30000 };

// On our own tmpfs; CRIU keeps its cache of kernel features in /run, and only if that is a tmpfs.
#define IMAGES "/run/images"

// Set in the environment of the second start.
#define INSIDE "CRIU_SELFTEST_INSIDE"

struct options {
	const char *criu, *preload;
	bool quiet;
};

static int loopback_up(struct error *err)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot bring up a loopback");
	return 0;
}

// Makes the namespaces and starts us again in them: the files that a program has mapped belong to
// the mount namespace in which it was started, and CRIU looks for them in the one where it is.
static int isolate(char **argv, struct error *err)
{
	char self[4096];
	ssize_t n;

	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make namespaces");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") < 0 ||
	    mkdir(IMAGES, 0700) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot prepare /run");
	if (loopback_up(err) < 0)
		return -1;
	// By name: /proc/self/exe itself leads to the old mount.
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[n > 0 ? n : 0] = 0;
	setenv(INSIDE, "1", 1);
	execv(self, argv);
	return error_sys(err, ERR_SYSTEM, errno, "cannot start criu-selftest again");
}

// Answers yes to every notification until the request is done.
static int until_done(struct criu_rpc *c, const char *what, const char *gate, int images,
		      deadline_t deadline, struct criu_event *ev, struct error *err)
{
	char log[32];
	bool seen = false;

	snprintf(log, sizeof(log), "%s.log", what);
	for (;;) {
		if (criu_rpc_next(c, deadline, ev, err) < 0)
			return criu_failure_error(err, ERR_CRIU_UNABLE, what, images, log,
						  err->message);
		if (ev->type == CRIU_EVENT_NONE)
			return error_set(err, ERR_CRIU_UNABLE, "%s: no end in %d s", what,
					 LIMIT_MS / 1000);
		if (ev->type == CRIU_EVENT_DONE)
			break;
		seen |= strcmp(ev->script, gate) == 0;
		if (criu_rpc_answer(c, true, err) < 0)
			return -1;
	}
	if (!ev->success)
		return criu_failure_error(err, ERR_CRIU_UNABLE, what, images, log, ev->message);
	if (!seen)
		return error_set(err, ERR_CRIU_UNABLE, "%s: no %s notification", what, gate);
	return 0;
}

// One criu child for one request; `ev` is how it ended.
static int run_request(const struct criu_program *p, const struct criu_options *o,
		       deadline_t deadline, struct criu_event *ev, struct error *err)
{
	bool dump = o->pid > 0;
	struct criu_rpc *c;
	pid_t pid;
	int r;

	if (criu_program_start(p, &c, &pid, err) < 0)
		return -1;
	r = dump ? criu_rpc_dump(c, o, err) : criu_rpc_restore(c, o, err);
	if (r == 0)
		r = until_done(c, dump ? "dump" : "restore", dump ? "post-dump" : "post-restore",
			       o->images_fd, deadline, ev, err);
	criu_rpc_free(c);
	if (r < 0)
		kill(pid, SIGKILL);
	spawn_wait(pid, &(int){0}, NULL);
	return r;
}

static struct criu_options common_options(int images)
{
	struct criu_options o = CRIU_OPTIONS_INIT;

	o.images_fd = images;
	o.tcp_established = true;
	o.skip_network_lock = true;
	o.ignore_cgroups = true;
	o.notify_scripts = true;
	return o;
}

static int dump(const struct criu_program *p, struct tree *t, int images, deadline_t deadline,
		struct error *err)
{
	struct criu_options o = common_options(images);
	struct criu_event ev;

	o.pid = t->root;
	o.log_file = "dump.log";
	if (run_request(p, &o, deadline, &ev, err) < 0)
		return -1;
	return tree_gone(t, deadline, err);
}

static int restore(const struct criu_program *p, struct tree *t, int images, deadline_t deadline,
		   struct error *err)
{
	struct criu_options o = common_options(images);
	struct criu_event ev;

	o.rst_sibling = true;
	o.log_file = "restore.log";
	if (run_request(p, &o, deadline, &ev, err) < 0)
		return -1;
	t->root = ev.pid;
	if (tree_ask(t, deadline, err) < 0 || tree_ask(t, deadline, err) < 0)
		return error_wrap(err, "after the restore");
	return 0;
}

static int test(const struct criu_program *p, struct tree *t, struct error *err)
{
	deadline_t deadline = deadline_in_ms(LIMIT_MS);
	_cleanup_close_ int images = -1;

	images = open(IMAGES, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (images < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot open " IMAGES);
	if (tree_start(t, deadline, err) < 0)
		return error_wrap(err, "before the dump");
	if (dump(p, t, images, deadline, err) < 0)
		return -1;
	return restore(p, t, images, deadline, err);
}

static int run(const struct options *o, char **argv, struct error *err)
{
	__attribute__((cleanup(tree_stop))) struct tree t = TREE_INIT;
	struct criu_version v;
	struct criu_program p;
	int64_t began = clock_now_ns();
	struct utsname kernel;

	uname(&kernel);
	if (geteuid() != 0)
		return error_set(err, ERR_NOT_ROOT, "the self-test of CRIU must be run as root");
	if (!getenv(INSIDE))
		return isolate(argv, err);
	if (criu_program_find(o->criu, o->preload, &p, err) < 0 ||
	    criu_program_version(&p, deadline_in_ms(LIMIT_MS), &v, err) < 0)
		return -1;
	if (test(&p, &t, err) < 0)
		return error_wrap(err, "CRIU %d.%d.%d (%s) does not work on kernel %s", v.major,
				  v.minor, v.sublevel, p.program, kernel.release);
	if (!o->quiet)
		printf("CRIU %d.%d.%d (%s) works on kernel %s: tasks of two users with TCP "
		       "connections dumped and restored in %.0f ms%s\n",
		       v.major, v.minor, v.sublevel, p.program, kernel.release,
		       clock_ms_since(began), p.preload[0] ? ", with criu-preload.so" : "");
	return 0;
}

static void usage(FILE *to)
{
	fputs("usage: criu-selftest [--criu auto|FOLDER|PROGRAM] [--preload auto|none|FILE] "
	      "[--quiet]\n"
	      "Dumps and restores tasks that hold TCP connections.\n"
	      "exit status: 0 it works, 1 it does not (the reason is printed), 2 usage\n",
	      to);
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option table[] = {
		{"criu", required_argument, NULL, 'c'},
		{"preload", required_argument, NULL, 'p'},
		{"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (c == 'c')
			o->criu = optarg;
		else if (c == 'p')
			o->preload = optarg;
		else if (c == 'q')
			o->quiet = true;
		else
			return c == 'h' ? 1 : -1;
	}
	return optind < argc ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct options o = {0};
	struct error err = {0};
	if (version_asked(argc, argv, "criu-selftest"))
		return EXIT_OK;
	int parsed = parse(argc, argv, &o);

	if (parsed != 0) {
		usage(parsed > 0 ? stdout : stderr);
		return parsed > 0 ? EXIT_OK : EXIT_USAGE;
	}
	signal(SIGPIPE, SIG_IGN);
	if (run(&o, argv, &err) == 0)
		return EXIT_OK;
	printf("%s\n", err.message);
	return EXIT_UNABLE;
}
