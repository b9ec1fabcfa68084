// SPDX-License-Identifier: Apache-2.0
// relocd: options, start, signals, end.
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "relocd/daemon/api.h"
#include "relocd/daemon/cluster.h"
#include "relocd/daemon/events.h"
#include "relocd/daemon/images.h"
#include "relocd/daemon/lifecycle.h"
#include "relocd/daemon/listener.h"
#include "relocd/daemon/metrics.h"
#include "relocd/daemon/moves.h"
#include "relocd/daemon/revive.h"

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
	"  --list-codes    list all error codes: code, exit status, what to do\n"
	"  --debug         log more\n"
	"  --version       show the version\n"
	"  --help          show this\n"
	"relocd stays in the foreground and logs to standard error; see relocd(8).\n";

struct options {
	const char *config; // NULL: the usual one
	bool check_config, list_codes, version, help;
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
		{"config", required_argument, NULL, 'c'},
		{"check-config", no_argument, NULL, 'k'},
		{"list-codes", no_argument, NULL, 'l'},
		{"debug", no_argument, NULL, 'd'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int option;
	while ((option = getopt_long(argc, argv, "c:h", known, NULL)) >= 0) {
		if (option == 'c')
			o->config = optarg;
		else if (option == 'd')
			log_debug_enable(true);
		o->check_config |= option == 'k';
		o->list_codes |= option == 'l';
		o->version |= option == 'V';
		o->help |= option == 'h';
		if (option == '?')
			return -1;
	}
	return optind == argc ? 0 : -1;
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

// What a changed file would do is not guessed at: it is checked now and read at the next start.
static void check_again(const struct signals *s)
{
	struct config config;
	struct error err;
	if (load_config(s->options, &config, &err) < 0) {
		log_error_of(&err, "reload");
		return;
	}
	config_free(&config);
	log_info("reload: the configuration is right; changes take effect when relocd starts anew");
}

static void on_signal(void *arg, short revents)
{
	struct signals *s = arg;
	struct signalfd_siginfo info;
	(void)revents;
	if (read(s->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP) {
		check_again(s);
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
	lifecycle_reconnect(d);
	moves_resume(d);
	d->resumed = true;
	revive_begin(d);
	daemon_lock(d);
	images_collect(d);
	int failed = cluster_member(d) ? listener_start(d, err) : 0;
	daemon_unlock(d);
	return failed ? -1 : api_start(d, err);
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

int main(int argc, char **argv)
{
	struct options o = {0};
	log_open("relocd");
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
	return o.check_config ? check_config(&o) : serve(&o);
}
