// SPDX-License-Identifier: Apache-2.0
#include "lib/criu/program.h"

#include "lib/base/cleanup.h"
#include "lib/base/paths.h"
#include "lib/base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// The number of the RPC socket in children that get nothing else.
enum { CHILD_RPC_FD = 3 };

static const char *const system_places[] = {"/usr/sbin/criu", "/usr/local/sbin/criu",
					    "/usr/bin/criu", "/usr/local/bin/criu"};

static bool join(char out[CRIU_PATH_MAX], const char *folder, const char *name)
{
	return snprintf(out, CRIU_PATH_MAX, "%s/%s", folder, name) < CRIU_PATH_MAX;
}

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool take_program(struct criu_program *p, const char *path)
{
	*p = (struct criu_program){0};
	return snprintf(p->program, CRIU_PATH_MAX, "%s", path) < CRIU_PATH_MAX &&
	       access(path, X_OK) == 0;
}

// A prefix of install-deps: the links ld.so, lib and criu. `current` is resolved now, so that a
// later install-deps does not change what a running relocd has tested.
static bool take_prefix(struct criu_program *p, const char *folder)
{
	_cleanup_free_ char *real = realpath(folder, NULL);

	*p = (struct criu_program){0};
	return real && join(p->program, real, "criu") && join(p->loader, real, "ld.so") &&
	       join(p->libraries, real, "lib") && access(p->program, X_OK) == 0 &&
	       access(p->loader, X_OK) == 0 && is_folder(p->libraries);
}

static bool take_any(struct criu_program *p)
{
	const char *root = secure_getenv("RELOCD_CRIU_ROOT");
	char current[CRIU_PATH_MAX];

	if (join(current, root ? root : CRIU_PRIVATE_ROOT, "current") && take_prefix(p, current))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(system_places); i++)
		if (take_program(p, system_places[i]))
			return true;
	return false;
}

static bool have_sys_resource(void)
{
	cap_flag_value_t value = CAP_CLEAR;
	cap_t caps = cap_get_proc();

	if (caps) {
		cap_get_flag(caps, CAP_SYS_RESOURCE, CAP_EFFECTIVE, &value);
		cap_free(caps);
	}
	return value == CAP_SET;
}

static int choose_preload(struct criu_program *p, const char *preload, struct error *err)
{
	bool automatic = !preload || strcmp(preload, "auto") == 0;

	if (preload && strcmp(preload, "none") == 0)
		return 0;
	if (automatic)
		preload = paths_program("criu-preload.so");
	if (access(preload, R_OK) < 0 && automatic && have_sys_resource())
		return 0; // dumps take longer without it
	if (access(preload, R_OK) < 0)
		return error_sys(err, ERR_CRIU_MISSING, errno, "cannot use %s", preload);
	if (snprintf(p->preload, CRIU_PATH_MAX, "%s", preload) >= CRIU_PATH_MAX)
		return error_set(err, ERR_CRIU_MISSING, "the path of criu-preload.so is too long");
	return 0;
}

int criu_program_find(const char *path, const char *preload, struct criu_program *p,
		      struct error *err)
{
	if (!path || strcmp(path, "auto") == 0) {
		if (!take_any(p))
			return error_set(err, ERR_CRIU_MISSING, "there is no CRIU on this host");
	} else if (is_folder(path) ? !take_prefix(p, path) : !take_program(p, path)) {
		return error_set(err, ERR_CRIU_MISSING, "%s is not a CRIU that can be started",
				 path);
	}
	return choose_preload(p, preload, err);
}

void criu_program_argv(const struct criu_program *p, int fd, struct criu_argv *out)
{
	size_t n = 0;

	if (p->loader[0]) {
		out->argv[n++] = p->loader;
		out->argv[n++] = "--library-path";
		out->argv[n++] = p->libraries;
		if (p->preload[0]) {
			out->argv[n++] = "--preload";
			out->argv[n++] = p->preload;
		}
	} else if (p->preload[0]) {
		// Only CRIU itself shall have it in its environment, none of its parents.
		snprintf(out->preload, sizeof(out->preload), "LD_PRELOAD=%s", p->preload);
		out->argv[n++] = "/usr/bin/env";
		out->argv[n++] = out->preload;
	}
	snprintf(out->fd, sizeof(out->fd), "%d", fd);
	out->argv[n++] = p->program;
	out->argv[n++] = "--no-default-config";
	out->argv[n++] = "swrk";
	out->argv[n++] = out->fd;
	out->argv[n] = NULL;
}

int criu_program_start(const struct criu_program *p, struct criu_rpc **c, pid_t *pid,
		       struct error *err)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	struct spawn_fd fds[] = {{.to = CHILD_RPC_FD}};
	struct spawn what = SPAWN_INIT;
	struct criu_argv argv;

	if (criu_rpc_socketpair(&ours, &theirs, err) < 0)
		return -1;
	criu_program_argv(p, CHILD_RPC_FD, &argv);
	fds[0].from = theirs;
	what.argv = argv.argv;
	what.fds = fds;
	what.fd_count = ARRAY_SIZE(fds);
	if (spawn_start(&what, pid, NULL, err) < 0)
		return -1;
	*c = criu_rpc_new(take_fd(&ours), err);
	if (*c)
		return 0;
	kill(*pid, SIGKILL);
	spawn_wait(*pid, &(int){0}, NULL);
	return -1;
}

// Ends a child that was asked a question, answered or not.
static void end_child(struct criu_rpc *c, pid_t pid)
{
	criu_rpc_free(c);
	kill(pid, SIGKILL);
	spawn_wait(pid, &(int){0}, NULL);
}

static int unable(const struct criu_program *p, struct error *err)
{
	struct error why = err ? *err : (struct error){0};

	return error_set(err, ERR_CRIU_UNABLE, "%s does not work here: %s", p->program,
			 why.message);
}

int criu_program_version(const struct criu_program *p, deadline_t deadline, struct criu_version *v,
			 struct error *err)
{
	struct criu_rpc *c;
	pid_t pid;
	int r;

	if (criu_program_start(p, &c, &pid, err) < 0)
		return unable(p, err);
	r = criu_rpc_version(c, deadline, v, err);
	end_child(c, pid);
	return r < 0 ? unable(p, err) : 0;
}
