// SPDX-License-Identifier: Apache-2.0
#include "relocd/api/metrics.h"

#include "lib/base/buf.h"
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/transport/cert.h"
#include "relocd/api/metrics_inner.h"
#include "relocd/cluster/hosts.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

#define TEXT_MAX    (8 << 20)
#define PEERS_FRESH 10000 // milliseconds for which it is known who can be reached

const double metrics_bounds[METRICS_BUCKETS] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
						0.5,   1,      2.5,   5,    10,    30,   60,  300};

// ---- what is counted ----------------------------------------------------------------------------

static void observe(struct histogram *h, double seconds)
{
	for (size_t i = 0; i < METRICS_BUCKETS; i++)
		h->buckets[i] += seconds <= metrics_bounds[i];
	h->count++;
	h->sum += seconds;
}

static double seconds_of(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key)) / 1000;
}

static void count_move(struct metrics *m, const char *kind, const char *outcome, const char *class)
{
	for (size_t i = 0; i < m->outcome_count; i++) {
		struct outcome *o = &m->outcomes[i];
		if (!strcmp(o->kind, kind) && !strcmp(o->outcome, outcome) &&
		    !strcmp(o->class, class)) {
			o->count++;
			return;
		}
	}
	if (m->outcome_count == ARRAY_SIZE(m->outcomes))
		return;
	struct outcome *o = &m->outcomes[m->outcome_count++];
	*o = (struct outcome){.count = 1};
	snprintf(o->kind, sizeof(o->kind), "%s", kind);
	snprintf(o->outcome, sizeof(o->outcome), "%s", outcome);
	snprintf(o->class, sizeof(o->class), "%s", class);
}

void metrics_note_move(struct daemon *d, const struct move *move)
{
	struct metrics *m = d->metrics;
	const struct registry_move *row = &move->row;
	const char *class = json_string_value(json_object_get(row->error, "class"));
	if (!m || move->dry_run)
		return;
	count_move(m, move->incoming ? "arrival" : "departure", row->state, class ? class : "");
	if (move->incoming) // the departure has the figures
		return;
	m->bytes += (double)json_integer_value(json_object_get(row->result, "transferred_bytes"));
	if (json_object_get(row->result, "downtime_ms"))
		observe(&m->downtime, seconds_of(row->result, "downtime_ms"));
	const json_t *phases = json_object_get(row->result, "phases");
	for (size_t i = 0; i < PHASE_COUNT; i++)
		if (json_object_get(phases, phase_name((enum move_phase)i)))
			observe(&m->phases[i], seconds_of(phases, phase_name((enum move_phase)i)));
}

// ---- the text -----------------------------------------------------------------------------------

static void put(struct buf *to, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct buf *to, const char *format, ...)
{
	char line[1024];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	buf_append(to, line, n < (int)sizeof(line) ? (size_t)n : sizeof(line) - 1, NULL);
}

static void head(struct buf *to, const char *name, const char *type, const char *help)
{
	put(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

// A label's value: backslash, quote and newline escaped.
static const char *label(char to[200], const char *text)
{
	size_t n = 0;
	for (; *text && n < 190; text++) {
		if (*text == '\\' || *text == '"' || *text == '\n')
			to[n++] = '\\';
		to[n++] = *text == '\n' ? 'n' : *text;
	}
	to[n] = 0;
	return to;
}

static void put_histogram(struct buf *to, const char *name, const char *labels,
			  const struct histogram *h)
{
	const char *comma = labels[0] ? "," : "";
	for (size_t i = 0; i < METRICS_BUCKETS; i++)
		put(to, "%s_bucket{%s%sle=\"%g\"} %llu\n", name, labels, comma, metrics_bounds[i],
		    (unsigned long long)h->buckets[i]);
	put(to, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, comma,
	    (unsigned long long)h->count);
	put(to, "%s_sum%s%s%s %.9g\n", name, labels[0] ? "{" : "", labels, labels[0] ? "}" : "",
	    h->sum);
	put(to, "%s_count%s%s%s %llu\n", name, labels[0] ? "{" : "", labels, labels[0] ? "}" : "",
	    (unsigned long long)h->count);
}

static void put_partitions(struct buf *to, const struct daemon *d)
{
	char name[200], type[200];
	unsigned doubt = 0;
	head(to, "relocd_partition_info", "gauge", "Partitions of this host and their states.");
	for (const struct partition *p = d->partitions; p; p = p->next) {
		const char *kind = json_string_value(json_object_get(p->row.definition, "type"));
		put(to, "relocd_partition_info{name=\"%s\",type=\"%s\",state=\"%s\"} 1\n",
		    label(name, p->row.name), label(type, kind ? kind : ""),
		    state_name(p->row.state));
		doubt += p->row.state == STATE_IN_DOUBT;
	}
	head(to, "relocd_partitions_in_doubt", "gauge",
	     "Partitions of which it is not known on which host they run.");
	put(to, "relocd_partitions_in_doubt %u\n", doubt);
}

static void put_moves(struct buf *to, const struct daemon *d)
{
	const struct metrics *m = d->metrics;
	unsigned queued = 0;
	head(to, "relocd_moves_total", "counter", "Moves that have ended.");
	for (size_t i = 0; i < m->outcome_count; i++)
		put(to, "relocd_moves_total{kind=\"%s\",outcome=\"%s\",class=\"%s\"} %llu\n",
		    m->outcomes[i].kind, m->outcomes[i].outcome, m->outcomes[i].class,
		    (unsigned long long)m->outcomes[i].count);
	head(to, "relocd_move_phase_duration_seconds", "histogram",
	     "How long the phases of moves from here took.");
	for (size_t i = 0; i < PHASE_COUNT; i++) {
		char labels[64];
		snprintf(labels, sizeof(labels), "phase=\"%s\"", phase_name((enum move_phase)i));
		if (m->phases[i].count)
			put_histogram(to, "relocd_move_phase_duration_seconds", labels,
				      &m->phases[i]);
	}
	head(to, "relocd_move_downtime_seconds", "histogram",
	     "From freeze to resume of moves from here.");
	put_histogram(to, "relocd_move_downtime_seconds", "", &m->downtime);
	head(to, "relocd_move_transferred_bytes_total", "counter",
	     "Bytes that moves from here sent.");
	put(to, "relocd_move_transferred_bytes_total %.0f\n", m->bytes);
	for (const struct move *move = d->moves; move; move = move->next)
		queued += move->queued;
	head(to, "relocd_move_queue_length", "gauge", "Moves that wait for others to end.");
	put(to, "relocd_move_queue_length %u\n", queued);
}

static void put_certificate(struct buf *to, const char *which, const char *path)
{
	struct tm parts;
	X509 *cert = access(path, R_OK) == 0 ? cert_load(path, NULL) : NULL;
	if (cert && ASN1_TIME_to_tm(X509_get0_notAfter(cert), &parts))
		put(to, "relocd_certificate_not_after_timestamp_seconds{certificate=\"%s\"} %lld\n",
		    which, (long long)timegm(&parts));
	X509_free(cert);
}

static void put_certificates(struct buf *to, const struct config *c)
{
	head(to, "relocd_certificate_not_after_timestamp_seconds", "gauge",
	     "When certificates of this host end.");
	put_certificate(to, "host", c->tls_cert);
	put_certificate(to, "ca", c->tls_ca);
}

// Asks them, unless that was done lately.
static void look_for_peers(struct daemon *d)
{
	struct metrics *m = d->metrics;
	if (m->peers && clock_ms_since(m->peers_ns) < PEERS_FRESH)
		return;
	struct error err;
	json_t *hosts = hosts_all(d, &peer_relocd, &err);
	if (!hosts)
		return;
	json_decref(m->peers);
	m->peers = hosts;
	m->peers_ns = clock_now_ns();
}

static void put_peers(struct buf *to, const json_t *hosts)
{
	char name[200];
	size_t i;
	json_t *host;
	head(to, "relocd_peer_up", "gauge", "Whether another host of the cluster can be reached.");
	json_array_foreach (hosts, i, host) {
		const char *text = json_string_value(json_object_get(host, "name"));
		if (text && !json_is_true(json_object_get(host, "self")))
			put(to, "relocd_peer_up{peer=\"%s\"} %d\n", label(name, text),
			    json_is_true(json_object_get(host, "reachable")));
	}
}

char *metrics_text(struct daemon *d)
{
	char host[200];
	struct buf text = BUF_INIT(TEXT_MAX);
	pthread_mutex_lock(&d->metrics->scrape);
	look_for_peers(d);
	head(&text, "relocd_build_info", "gauge", "The version that runs.");
	put(&text, "relocd_build_info{version=\"%s\",host=\"%s\"} 1\n", WPAR_VERSION,
	    label(host, d->config.host));
	daemon_lock(d);
	put_partitions(&text, d);
	put_moves(&text, d);
	daemon_unlock(d);
	put_certificates(&text, &d->config);
	put_peers(&text, d->metrics->peers);
	pthread_mutex_unlock(&d->metrics->scrape);
	if (buf_append(&text, "", 1, NULL) == 0)
		return (char *)text.data;
	buf_free(&text);
	return NULL;
}
