// SPDX-License-Identifier: Apache-2.0
// relocd: options, start, signals, end.
#include "lib/base/cleanup.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "relocd/api/api.h"
#include "relocd/api/metrics.h"
#include "relocd/cluster/cluster.h"
#include "relocd/cluster/trust.h"
#include "relocd/daemon/events.h"
#include "relocd/daemon/faultpoints.h"
#include "relocd/daemon/maintain.h"
#include "relocd/daemon/privileges.h"
#include "relocd/daemon/reload.h"
#include "relocd/partitions/images.h"
#include "relocd/partitions/lifecycle.h"
#include "relocd/partitions/ownership.h"
#include "relocd/peers/learn.h"
#include "relocd/peers/listener.h"
#include "relocd/supervisor/moves.h"
#include "relocd/supervisor/recover.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>

static const char usage[] =
	"usage: relocd [--config FILE]\n"
	"  --config FILE   instead of relocd.yaml in /etc/relocd (which need not exist)\n"
	"  --check-config  check the configuration and end\n"
	"  --backup FILE   write a copy of the registry of this host, also while relocd runs\n"
	"  --restore FILE  put such a copy back (relocd must be stopped), and end\n"
	"  --fault-points  list the points at which a fault can be ordered (relocd(8))\n"
	"  --list-codes    list all error codes: code, exit status, what to do\n"
	"  --debug         log more\n"
	"  --version       show the version\n"
	"  --help          show this\n"
	"relocd stays in the foreground and logs to standard error; see relocd(8).\n";

struct options {
	const char *config; // NULL: the usual one
	const char *backup, *restore;
	bool check_config, fault_points, list_codes, version, help;
};

struct signals {
	struct daemon *d;
	const struct options *options;
	int fd;
};

static int fail(const struct error *err)
{
	fprintf(stderr, "relocd: %s (%s)\n  hint: %s\n", err->message, error_code(err),
		error_hint_of(err));
	return (int)error_class_of(err);
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option known[] = {
		{"config", required_argument, NULL, 'c'}, {"check-config", no_argument, NULL, 'k'},
		{"backup", required_argument, NULL, 'b'}, {"restore", required_argument, NULL, 'r'},
		{"fault-points", no_argument, NULL, 'f'}, {"list-codes", no_argument, NULL, 'l'},
		{"debug", no_argument, NULL, 'd'},        {"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},         {0},
	};
	int option;
	while ((option = getopt_long(argc, argv, "c:h", known, NULL)) >= 0) {
		if (option == 'c')
			o->config = optarg;
		else if (option == 'd')
			log_debug_enable(true);
		else if (option == 'b')
			o->backup = optarg;
		else if (option == 'r')
			o->restore = optarg;
		o->check_config |= option == 'k';
		o->fault_points |= option == 'f';
		o->list_codes |= option == 'l';
		o->version |= option == 'V';
		o->help |= option == 'h';
		if (option == '?')
			return -1;
	}
	return optind == argc && !(o->backup && o->restore) ? 0 : -1;
}

static int list_codes(void)
{
	const char *code, *hint;
	enum error_class class;
	for (unsigned i = 0; error_nth(i, &code, &class, &hint); i++)
		printf("%s %3d  %s\n", code, (int)class, hint);
	return 0;
}

static int load_config(const struct options *o, struct config *config, struct error *err)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/relocd.yaml", paths_etc());
	return config_load(o->config ? o->config : path, o->config != NULL, config, err);
}

static int check_config(const struct options *o)
{
	struct config config;
	struct error err;
	if (load_config(o, &config, &err) < 0)
		return fail(&err);
	printf("the configuration is right: host %s, listening on %s\n", config.host,
	       config.listen);
	config_free(&config);
	return 0;
}

// ---- signals ------------------------------------------------------------------------------------

// The service manager is told, so that `systemctl reload` returns when it is done (sd_notify(3)).
static void tell_reloading(void)
{
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)(clock_now_ns() / 1000));
}

static void reload(const struct signals *s)
{
	struct config fresh;
	struct error err;
	char later[256];
	tell_reloading();
	if (load_config(s->options, &fresh, &err) < 0) {
		log_error_of(&err, "reload: nothing was changed");
	} else {
		reload_apply(s->d, &fresh, later, sizeof(later));
		log_info("reload: the configuration is in force%s%s",
			 later[0] ? "; for a change of these relocd has to be restarted: " : "",
			 later);
		events_add(s->d, "host", "reloaded", NULL, NULL,
			   json_pack("{s:s}", "needs_restart", later));
	}
	sd_notify(0, "READY=1");
}

static void on_signal(void *arg, short revents)
{
	struct signals *s = arg;
	struct signalfd_siginfo info;
	(void)revents;
	if (read(s->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP) {
		reload(s);
		return;
	}
	log_info("stopping; partitions and moves go on");
	s->d->stopping = true;
	daemon_changed(s->d);
	loop_stop(s->d->loop);
}

// Before any thread is made, so that all of them block these.
static int open_signals(struct signals *s, struct error *err)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->fd < 0 ? error_sys(err, ERR_SYSTEM, errno, "cannot open a signalfd") : 0;
}

// ---- start --------------------------------------------------------------------------------------

static int load(struct daemon *d, const struct options *o, struct error *err)
{
	if (load_config(o, &d->config, err) < 0)
		return -1;
	if (geteuid() != 0)
		return error_set(err, ERR_NOT_ROOT, "relocd must run as root");
	if (privileges_bound(err) < 0)
		return -1;
	// From here on, also for the processes that we start, paths_state() is what the file says.
	if (setenv("RELOCD_STATEDIR", d->config.storage_root, 1) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot set the environment");
	return 0;
}

// What was left running is found before anybody can ask for anything.
static int start(struct daemon *d, struct signals *s, struct error *err)
{
	if (open_signals(s, err) < 0 || daemon_open(d, err) < 0 || metrics_start(d, err) < 0 ||
	    partitions_load(d, err) < 0)
		return -1;
	daemon_lock(d);
	uint64_t watch = loop_add(d->loop, s->fd, POLLIN, DEADLINE_NEVER, on_signal, s);
	daemon_unlock(d);
	if (!watch)
		return error_set(err, ERR_NOMEM, "no memory for the signals");
	trust_recover(d);
	if (ownership_open(d, err) < 0)
		return -1;
	lifecycle_reconnect(d);
	ownership_adopt(d);
	moves_resume(d); // also lets run, before anybody can ask, what is frozen and ours
	d->resumed = true;
	daemon_lock(d);
	images_collect(d);
	moves_prune(d);
	int failed = cluster_member(d) ? listener_start(d, err) : 0;
	daemon_unlock(d);
	if (failed || api_start(d, err) < 0)
		return -1;
	ownership_begin(d);
	recover_begin(d);
	learn_begin(d);
	return 0;
}

static void stop(struct daemon *d)
{
	sd_notify(0, "STOPPING=1");
	daemon_lock(d);
	d->stopping = true;
	listener_stop(d);
	events_flush(d);
	daemon_changed(d);
	daemon_unlock(d);
	bool idle = api_stop(d) && daemon_idle(d);
	metrics_stop(d);
	if (!idle)
		return; // threads end with the process; what they have written is complete
	moves_free(d);
	partitions_free(d);
	daemon_close(d);
}

static int serve(const struct options *o)
{
	struct daemon d = {0};
	struct signals s = {.d = &d, .options = o, .fd = -1};
	struct error err = {0};
	if (load(&d, o, &err) < 0 || start(&d, &s, &err) < 0)
		return fail(&err);
	log_info("relocd %s is ready: host %s, API at %s", WPAR_VERSION, d.config.host,
		 d.config.api_socket);
	sd_notify(0, "READY=1");
	int failed = loop_run(d.loop, &err);
	stop(&d);
	return failed ? fail(&err) : 0;
}

// --backup, --restore
static int maintain(const struct options *o)
{
	struct daemon d = {0};
	struct error err = {0};
	int failed = load(&d, o, &err) < 0 || (o->backup ? maintain_backup(o->backup, &err)
							 : maintain_restore(o->restore, &err)) < 0;
	config_free(&d.config);
	if (failed)
		return fail(&err);
	if (o->restore)
		puts("the registry is restored; relocd will start in quarantine: nothing is "
		     "started "
		     "until other hosts have confirmed it, or `wparctl cluster trust-local`");
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = {0};
	log_open("relocd");
	fault_begin("relocd");
	if (parse(argc, argv, &o) < 0) {
		fputs(usage, stderr);
		return ERROR_CLASS_USAGE;
	}
	if (o.help)
		return fputs(usage, stdout) < 0;
	if (o.version)
		return puts("relocd " WPAR_VERSION) < 0;
	if (o.list_codes)
		return list_codes();
	if (o.fault_points)
		return faultpoints_print() < 0;
	if (o.backup || o.restore)
		return maintain(&o);
	return o.check_config ? check_config(&o) : serve(&o);
}
