// SPDX-License-Identifier: Apache-2.0
#include "relocd/daemon/daemon.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "relocd/daemon/events.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#define IDLE_MS 2000

static int make_folders(struct error *err)
{
	static const struct {
		const char *(*top)(void);
		const char *below;
		mode_t mode;
	} folders[] = {
		{paths_state, "", 0700},
		{paths_state, "/moves", 0700},
		{paths_state, "/partitions", 0700},
		{paths_run, "", 0755},
		{paths_run, "/partitions", 0700},
	};
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		char path[512];
		snprintf(path, sizeof(path), "%s%s", folders[i].top(), folders[i].below);
		if (fdio_mkdir_p(path, folders[i].mode, err) < 0)
			return -1;
	}
	return 0;
}

// One relocd for one state folder. The lock goes with the process.
static int lock_state(struct error *err)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/lock", paths_state());
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0; // stays open until we end
	int why = errno;
	close(fd);
	if (why == EWOULDBLOCK)
		return error_set(err, ERR_SYSTEM, "another relocd works on %s", paths_state());
	return error_sys(err, ERR_SYSTEM, why, "cannot lock %s", path);
}

static void init_lock(struct daemon *d)
{
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&d->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&d->lock, NULL);
}

int daemon_open(struct daemon *d, struct error *err)
{
	char path[512];
	init_lock(d);
	if (make_folders(err) < 0 || lock_state(err) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/registry.db", paths_state());
	d->registry = registry_open(path, err);
	d->loop = d->registry ? loop_new(&d->lock, err) : NULL;
	return d->loop ? events_open(d, err) : -1;
}

void daemon_close(struct daemon *d)
{
	events_close(d);
	loop_free(d->loop);
	registry_close(d->registry);
	config_free(&d->config);
	while (d->old_configs) {
		struct old_config *old = d->old_configs;
		d->old_configs = old->next;
		config_free(&old->config);
		free(old);
	}
}

void daemon_lock(struct daemon *d)
{
	pthread_mutex_lock(&d->lock);
}

void daemon_unlock(struct daemon *d)
{
	pthread_mutex_unlock(&d->lock);
}

void daemon_changed(struct daemon *d)
{
	pthread_cond_broadcast(&d->changed);
}

void daemon_pause(struct daemon *d, deadline_t deadline)
{
	struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
	if (deadline == DEADLINE_NEVER)
		pthread_cond_wait(&d->changed, &d->lock);
	else
		pthread_cond_timedwait(&d->changed, &d->lock, &until);
}

bool daemon_wait(struct daemon *d, deadline_t deadline)
{
	if (!d->stopping && !deadline_passed(deadline))
		daemon_pause(d, deadline);
	return !d->stopping && !deadline_passed(deadline);
}

bool daemon_idle(struct daemon *d)
{
	deadline_t deadline = deadline_in_ms(IDLE_MS);
	daemon_lock(d);
	while (d->threads && !deadline_passed(deadline))
		daemon_pause(d, deadline);
	bool idle = !d->threads;
	daemon_unlock(d);
	return idle;
}

struct job {
	struct daemon *d;
	void (*work)(struct daemon *d, const char *name);
	char name[REGISTRY_NAME_MAX];
};

static void *run_job(void *arg)
{
	struct job *job = arg;
	struct daemon *d = job->d;
	job->work(d, job->name);
	free(job);
	daemon_lock(d);
	d->threads--;
	daemon_changed(d);
	daemon_unlock(d);
	return NULL;
}

int daemon_thread(struct daemon *d, void (*work)(struct daemon *d, const char *name),
		  const char *name, struct error *err)
{
	struct job *job = calloc(1, sizeof(*job));
	if (!job)
		return error_set(err, ERR_NOMEM, "no memory for a thread");
	*job = (struct job){.d = d, .work = work};
	snprintf(job->name, sizeof(job->name), "%s", name);
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, run_job, job);
	if (rc) {
		free(job);
		return error_sys(err, ERR_SYSTEM, rc, "cannot start a thread");
	}
	pthread_detach(thread);
	d->threads++;
	return 0;
}

void daemon_address(struct daemon *d, char address[REGISTRY_ADDRESS_MAX])
{
	struct registry_host self;
	struct error err;
	address[0] = 0;
	int found = registry_host_get(d->registry, d->config.host, &self, &err);
	if (found < 0)
		log_error_of(&err, "own address");
	if (found > 0)
		strcpy(address, self.address);
}

json_t *daemon_shared(const struct daemon *d)
{
	json_t *list = json_array();
	for (size_t i = 0; i < d->config.shared_count; i++)
		json_array_append_new(list, json_string(d->config.shared[i]));
	return list;
}

json_t *daemon_tls(const struct daemon *d)
{
	return json_pack("{s:s, s:s, s:s}", "ca", d->config.tls_ca, "cert", d->config.tls_cert,
			 "key", d->config.tls_key);
}
