// SPDX-License-Identifier: Apache-2.0
#include "relocd/enter/command.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/partition/confine.h"
#include "lib/partition/exec.h"
#include "lib/partition/jsonread.h"
#include "lib/partition/passwd.h"
#include "lib/partition/strv.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>

// ---- the request -------------------------------------------------------------------------------

static int merge_env(struct command *command, const struct jsonread *r, struct error *err)
{
	char **more = NULL;
	int failed = jsonread_strings(r, "env", &more, err) < 0;
	command->env = strv_new((const char *const *)command->def->process.env);
	for (char **entry = more; !failed && command->env && entry && *entry; entry++) {
		if (!strchr(*entry, '=') || **entry == '=')
			failed = error_set(err, ERR_USAGE, "\"%.40s\" is not KEY=value", *entry);
		else if (strv_env_set(&command->env, *entry) < 0)
			failed = error_set(err, ERR_NOMEM, "no memory for the environment");
	}
	strv_free(more);
	if (!command->env)
		return error_set(err, ERR_NOMEM, "no memory for the environment");
	return failed ? -1 : 0;
}

int command_read(struct command *command, const json_t *request, struct error *err)
{
	struct jsonread r;
	uint64_t rows = 0, cols = 0;
	if (jsonread_open(&r, request, ERR_PROTOCOL, ERR_PROTOCOL, err) < 0)
		return -1;
	command->def = definition_from_json(json_object_get(request, "definition"), err);
	if (!command->def || jsonread_strings(&r, "args", &command->args, err) < 0 ||
	    jsonread_string(&r, "user", &command->user, err) < 0 ||
	    jsonread_string(&r, "cwd", &command->cwd, err) < 0 ||
	    jsonread_bool(&r, "tty", &command->tty, err) < 0 ||
	    jsonread_u64(&r, "rows", 10000, &rows, err) < 0 ||
	    jsonread_u64(&r, "cols", 10000, &cols, err) < 0 || merge_env(command, &r, err) < 0)
		return -1;
	if (!command->args || !command->args[0])
		return error_set(err, ERR_PROTOCOL, "args are missing");
	command->rows = (unsigned)rows;
	command->cols = (unsigned)cols;
	command->cg = cgroup_open(command->def->name, err);
	return command->cg ? 0 : -1;
}

void command_free(struct command *command)
{
	definition_free(command->def);
	cgroup_close(command->cg);
	strv_free(command->args);
	strv_free(command->env);
	free(command->user);
	free(command->cwd);
}

// ---- inside ------------------------------------------------------------------------------------

int command_join(int init_pidfd, struct error *err)
{
	// From the first step inside until exec, /proc/PID/exe of ours is a file of the host that
	// root in there must not be able to open (CVE-2019-5736).
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return error_sys(err, ERR_EXEC, errno, "cannot protect the own program file");
	const int all = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET |
			CLONE_NEWCGROUP | CLONE_NEWTIME;
	if (setns(init_pidfd, all) < 0)
		return error_sys(err, ERR_EXEC, errno, "cannot join the partition's namespaces");
	return 0;
}

static int enter_groups(struct cgroup *cg, struct error *err)
{
	size_t count;
	const int *procs = cgroup_enter_fds(cg, &count);
	for (size_t i = 0; i < count; i++)
		if (write(procs[i], "0", 1) < 0)
			return error_sys(err, ERR_EXEC, errno, "cannot enter the cgroup");
	return 0;
}

static int choose_user(const struct command *command, struct passwd_user *user, struct error *err)
{
	const struct partition_process *p = &command->def->process;
	if (command->user)
		return passwd_find("/", command->user, user, err);
	*user = (struct passwd_user){.uid = p->uid, .gid = p->gid};
	for (size_t i = 0; i < p->group_count && i < PASSWD_GROUPS_MAX; i++)
		user->groups[user->group_count++] = p->groups[i];
	passwd_home("/", p->uid, user->home, sizeof(user->home));
	return 0;
}

static int take_terminal(int terminal, const struct passwd_user *user, struct error *err)
{
	if (terminal < 0)
		return 0;
	if (fchown(terminal, user->uid, (gid_t)-1) < 0 || ioctl(terminal, TIOCSCTTY, 0) < 0)
		return error_sys(err, ERR_EXEC, errno, "cannot take the terminal");
	for (int i = 0; i < 3; i++)
		if (dup2(terminal, i) < 0)
			return error_sys(err, ERR_EXEC, errno, "cannot place the terminal");
	return 0;
}

static int become(const struct command *command, int terminal, char ***env, struct error *err)
{
	const struct partition_def *def = command->def;
	struct passwd_user user;
	setsid();
	fdio_write_control(AT_FDCWD, "/proc/self/oom_score_adj", "0", NULL);
	if (enter_groups(command->cg, err) < 0 || choose_user(command, &user, err) < 0 ||
	    take_terminal(terminal, &user, err) < 0 || confine_reset(err) < 0)
		return -1;
	if (!strv_env_get(*env, "HOME") && strv_addf(env, "HOME=%s", user.home) < 0)
		return error_set(err, ERR_NOMEM, "no memory for the environment");
	const char *cwd = command->cwd ? command->cwd : def->process.cwd;
	if (chdir(cwd) < 0)
		return error_sys(err, ERR_EXEC, errno, "cannot change to folder %s", cwd);
	const struct confine_user who = {user.uid, user.gid, user.groups, user.group_count};
	umask(022);
	return confine_apply(def, &who, err);
}

static _Noreturn void run(const struct command *command, int terminal)
{
	struct error err = {0};
	char **env = command->env;
	int code = EXEC_CANNOT_START;
	if (become(command, terminal, &env, &err) == 0) {
		confine_exec(command->args, env, &err);
		code = err.sys == ENOENT || err.sys == ENOTDIR ? EXEC_NOT_FOUND : EXEC_NOT_RUNNABLE;
	}
	dprintf(2, "exec: %s\n", err.message);
	_exit(code);
}

pid_t command_start(const struct command *command, int terminal, struct error *err)
{
	pid_t pid = fork();
	if (pid == 0)
		run(command, terminal);
	if (pid < 0)
		return error_sys(err, ERR_EXEC, errno, "cannot fork");
	return pid;
}
