// SPDX-License-Identifier: Apache-2.0
#include "relocd/cluster/hosts.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/transport/pki.h"
#include "relocd/cluster/cluster.h"
#include "relocd/daemon/events.h"
#include "relocd/move/facts.h"
#include "relocd/move/talk.h"
#include "relocd/partitions/partitions.h"
#include "relocd/peers/peers.h"

#include <string.h>
#include <time.h>

#define ANSWER_MS 8000 // a host may have to try its CRIU first

// ---- cordon -------------------------------------------------------------------------------------

int hosts_accept(struct daemon *d, struct error *err)
{
	struct registry_host self;
	int found = registry_host_get(d->registry, d->config.host, &self, err);
	if (found < 0)
		return -1;
	if (!found || !self.cordoned)
		return 0;
	error_set(err, ERR_HOST_CORDONED, "%s is cordoned%s%s", d->config.host,
		  self.cordon_reason[0] ? ": " : "", self.cordon_reason);
	error_at(err, d->config.host, NULL, NULL);
	return -1;
}

int hosts_cordon(struct daemon *d, const char *reason, struct error *err)
{
	char address[REGISTRY_ADDRESS_MAX];
	daemon_lock(d);
	daemon_address(d, address);
	// A host without a cluster has no row yet.
	int failed = registry_host_put(d->registry, d->config.host, address, err) < 0 ||
		     registry_host_cordon(d->registry, d->config.host, reason, err) < 0;
	if (!failed) {
		log_info("host %s: %s%s%s", d->config.host,
			 reason ? "cordoned" : "no longer cordoned", reason && *reason ? ": " : "",
			 reason ? reason : "");
		events_add(d, "host", reason ? "cordoned" : "uncordoned", NULL, NULL,
			   json_pack("{s:s?}", "reason", reason));
	}
	daemon_unlock(d);
	return failed ? -1 : 0;
}

// ---- this host ----------------------------------------------------------------------------------

static unsigned count_partitions(const struct daemon *d)
{
	unsigned n = 0;
	for (const struct partition *p = d->partitions; p; p = p->next)
		n += p->row.state != STATE_DEPARTED;
	return n;
}

json_t *hosts_self(struct daemon *d, struct error *err)
{
	struct registry_host self = {0};
	daemon_lock(d);
	int found = registry_host_get(d->registry, d->config.host, &self, err);
	unsigned partitions = count_partitions(d);
	daemon_unlock(d);
	if (found < 0)
		return NULL;
	return json_pack("{s:s, s:s*, s:b, s:b, s:b, s:o, s:b, s:i, s:s, s:n}", "name",
			 d->config.host, "address", self.address[0] ? self.address : NULL, "self",
			 1, "reachable", 1, "cordoned", self.cordoned, "reason",
			 self.cordoned ? json_string(self.cordon_reason) : json_null(), "revoked",
			 0, "partitions", (int)partitions, "version", WPAR_VERSION, "error");
}

static json_t *time_text(int64_t seconds)
{
	char text[CLOCK_TEXT_MAX];
	time_t at = (time_t)seconds;
	struct tm parts;
	if (seconds <= 0 || !gmtime_r(&at, &parts) ||
	    !strftime(text, sizeof(text), "%FT%TZ", &parts))
		return json_null();
	return json_string(text);
}

static json_t *criu_text(struct daemon *d)
{
	struct criu_program program;
	struct criu_version version;
	_cleanup_json_ json_t *start =
		json_pack("{s:s, s:s}", "criu", d->config.criu, "criu_preload", d->config.preload);
	if (facts_criu(start, &program, &version, NULL) < 0)
		return json_null();
	return json_sprintf("%d.%d", version.major, version.minor);
}

static int64_t wall_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static json_t *member_self(struct daemon *d, struct error *err)
{
	char kernel[FACTS_KERNEL_MAX];
	json_t *self = hosts_self(d, err);
	if (!self)
		return NULL;
	facts_kernel(kernel);
	json_object_del(self, "partitions");
	json_object_update_new(
		self, json_pack("{s:i, s:o, s:s, s:o, s:i, s:I}", "protocol", TALK_PROTOCOL, "criu",
				criu_text(d), "kernel", kernel, "certificate_not_after",
				time_text(pki_not_after(d->config.tls_cert)), "clock_skew_ms", 0,
				"clock_ms", (json_int_t)wall_ms()));
	return self;
}

// ---- all of them --------------------------------------------------------------------------------

static const struct peer_answer *answer_of(const struct peer_answer *answers, size_t count,
					   const char *host)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(answers[i].host, host))
			return &answers[i];
	return NULL;
}

// What is known here of one that said nothing.
static json_t *silent(const struct registry_host *host, const struct peer_answer *answer)
{
	return json_pack("{s:s, s:o, s:b, s:b, s:b, s:n, s:n, s:b, s:o}", "name", host->name,
			 "address", host->address[0] ? json_string(host->address) : json_null(),
			 "self", 0, "reachable", 0, "cordoned", 0, "partitions", "version",
			 "revoked", (int)host->revoked, "error",
			 answer ? error_to_json(&answer->error) : json_null());
}

// Its answer with what is this host's own to say of it.
static json_t *spoken(const struct registry_host *host, json_t *said)
{
	json_t *one = json_copy(said);
	json_object_set_new(one, "name", json_string(host->name));
	json_object_set_new(one, "address", json_string(host->address));
	json_object_set_new(one, "self", json_false());
	json_object_set_new(one, "reachable", json_true());
	return one;
}

static json_t *said_by(const struct peer_answer *answer, bool cluster)
{
	json_t *list = answer ? answer->data : NULL;
	if (cluster)
		list = json_object_get(list, "hosts");
	json_t *one = json_array_get(list, 0);
	return json_is_object(one) ? one : NULL;
}

// The answer was given somewhere between the question and its arrival here: in the middle, as far
// as anybody knows.
static void note_skew(json_t *one, const struct peer_answer *answer)
{
	json_int_t theirs = json_integer_value(json_object_get(one, "clock_ms"));
	int64_t ours = answer->answered_ms - (answer->answered_ms - answer->asked_ms) / 2;
	if (theirs)
		json_object_set_new(one, "clock_skew_ms", json_integer(theirs - ours));
	json_object_del(one, "clock_ms");
}

static json_t *row(struct daemon *d, const struct registry_host *host,
		   const struct peer_answer *answer, bool cluster, struct error *err)
{
	if (!strcmp(host->name, d->config.host))
		return cluster ? member_self(d, err) : hosts_self(d, err);
	json_t *said = said_by(answer, cluster);
	if (!said)
		return silent(host, answer);
	json_t *one = spoken(host, said);
	if (cluster)
		note_skew(one, answer);
	return one;
}

static json_t *rows(struct daemon *d, const struct peer_caller *caller, bool cluster,
		    struct error *err)
{
	_cleanup_free_ struct registry_host *hosts = NULL;
	struct peer_answer *answers = NULL;
	size_t count = 0, answered = 0;
	daemon_lock(d);
	int failed = registry_hosts(d->registry, &hosts, &count, err);
	daemon_unlock(d);
	if (failed ||
	    peer_ask_all(d, caller, "GET", cluster ? "/v1/cluster?local=1" : "/v1/hosts?local=1",
			 NULL, deadline_in_ms(cluster ? ANSWER_MS : PEERS_ASK_MS), &answers,
			 &answered, err) < 0) {
		peer_answers_free(answers, answered);
		return NULL;
	}
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list,
				      row(d, &hosts[i], answer_of(answers, answered, hosts[i].name),
					  cluster, err));
	peer_answers_free(answers, answered);
	return list;
}

json_t *hosts_all(struct daemon *d, const struct peer_caller *caller, struct error *err)
{
	return rows(d, caller, false, err);
}

json_t *hosts_cluster(struct daemon *d, const struct peer_caller *caller, struct error *err)
{
	json_t *list = caller ? rows(d, caller, true, err) : json_pack("[o]", member_self(d, err));
	if (!list)
		return NULL;
	for (size_t i = 0; caller && i < json_array_size(list); i++)
		json_object_del(json_array_get(list, i), "clock_ms"); // ours
	return json_pack("{s:o, s:o}", "hosts", list, "ca_not_after",
			 time_text(pki_not_after(d->config.tls_ca)));
}
