// SPDX-License-Identifier: Apache-2.0
// New certificates while everything runs: a host makes a new key and asks the host with the CA's
// key to sign it. A new CA is trusted by all hosts beside the old one before it signs anything, and
// the old one is believed until all have certificates of the new one.
#include "relocd/cluster/trust.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/transport/pki.h"
#include "relocd/cluster/cluster.h"
#include "relocd/daemon/events.h"

#include <string.h>
#include <time.h>

#define SIGN_MS  10000
#define RENEW_MS 25000
#define CA_MS    120000

static bool has_ca_key(const char *folder)
{
	char path[600];
	snprintf(path, sizeof(path), "%s/ca.key", folder);
	return access(path, F_OK) == 0;
}

static int ca_host(struct daemon *d, char host[REGISTRY_NAME_MAX], struct error *err)
{
	daemon_lock(d);
	int found = registry_meta_get(d->registry, CLUSTER_CA_HOST, host, REGISTRY_NAME_MAX, err);
	daemon_unlock(d);
	if (found < 0)
		return -1;
	return found ? 0
		     : error_set(err, ERR_CLUSTER_NONE,
				 "%s does not know which host has the key of the CA",
				 d->config.host);
}

// ---- one host -----------------------------------------------------------------------------------

json_t *trust_sign(struct daemon *d, const char *csr, const char *host, struct error *err)
{
	char folder[512], name[PKI_NAME_MAX + 1], key[PKI_FINGERPRINT_MAX];
	if (cluster_folder(&d->config, folder, err) < 0 || pki_request_name(csr, name, err) < 0)
		return NULL;
	if (strcmp(name, host) != 0) {
		error_set(err, ERR_DENIED, "%s asks for a certificate of %s", host, name);
		return NULL;
	}
	_cleanup_free_ char *cert = pki_sign(folder, csr, host, err);
	_cleanup_free_ char *ca = cert ? pki_ca_read(folder, err) : NULL;
	if (!ca || pki_key_of(cert, key, err) < 0)
		return NULL;
	daemon_lock(d);
	int failed = registry_host_set_key(d->registry, host, key, err);
	daemon_unlock(d);
	log_info("cluster: signed a new certificate of %s", host);
	return failed ? NULL : json_pack("{s:s, s:s}", "cert", cert, "ca", ca);
}

static json_t *have_signed(struct daemon *d, const char *folder, const char *csr, struct error *err)
{
	char host[REGISTRY_NAME_MAX];
	json_t *answer = NULL;
	_cleanup_json_ json_t *body = json_pack("{s:s}", "csr", csr);
	if (has_ca_key(folder))
		return trust_sign(d, csr, d->config.host, err);
	if (ca_host(d, host, err) < 0 || peer_ask(d, host, &peer_relocd, "POST", "/v1/cluster/sign",
						  body, deadline_in_ms(SIGN_MS), &answer, err) < 0)
		return NULL;
	return answer;
}

void trust_recover(struct daemon *d)
{
	char folder[512];
	struct error err = {0};
	if (cluster_folder(&d->config, folder, NULL) == 0 && pki_recover(folder, &err) < 0)
		log_error_of(&err, "certificates");
}

int trust_renew_self(struct daemon *d, struct error *err)
{
	char folder[512];
	const char *cert, *ca;
	if (cluster_folder(&d->config, folder, err) < 0 || pki_recover(folder, err) < 0)
		return -1;
	_cleanup_free_ char *csr = pki_renew_request(folder, d->config.host, err);
	_cleanup_json_ json_t *answer = csr ? have_signed(d, folder, csr, err) : NULL;
	if (!answer)
		return -1;
	if (json_unpack(answer, "{s:s, s:s}", "cert", &cert, "ca", &ca) < 0)
		return error_set(err, ERR_PROTOCOL, "the answer holds no certificate");
	// Whoever starts a connection meanwhile waits for a moment: it finds the two not matching.
	if (pki_renew_install(folder, cert, ca, d->config.host, err) < 0)
		return -1;
	log_info("cluster: this host has a new key and certificate");
	daemon_lock(d);
	events_add(d, "cluster", "renewed", NULL, NULL, json_pack("{s:s}", "host", d->config.host));
	daemon_unlock(d);
	return 0;
}

int trust_cas(struct daemon *d, const char *pem, struct error *err)
{
	char folder[512];
	return cluster_folder(&d->config, folder, err) < 0 ? -1 : pki_trust(folder, pem, err);
}

// ---- all hosts ----------------------------------------------------------------------------------

static json_t *renewed(const char *host, int64_t not_after)
{
	char text[CLOCK_TEXT_MAX] = "";
	time_t at = (time_t)not_after;
	struct tm parts;
	if (gmtime_r(&at, &parts))
		strftime(text, sizeof(text), "%FT%TZ", &parts);
	return json_pack("{s:s, s:s}", "host", host, "certificate_not_after", text);
}

static void warn(json_t **warnings, json_t *warning)
{
	*warnings = *warnings ? *warnings : json_array();
	json_array_append_new(*warnings, warning);
}

static int renew_here(struct daemon *d, json_t *list, struct error *err)
{
	if (trust_renew_self(d, err) < 0)
		return -1;
	json_array_append_new(list, renewed(d->config.host, pki_not_after(d->config.tls_cert)));
	return 0;
}

static int renew_there(struct daemon *d, const struct peer_caller *caller, const char *host,
		       json_t *list, struct error *err)
{
	_cleanup_json_ json_t *answer = NULL, *body = json_object();
	if (peer_ask(d, host, caller, "POST", "/v1/cluster/renew?local=1", body,
		     deadline_in_ms(RENEW_MS), &answer, err) < 0)
		return -1;
	json_array_extend(list, json_object_get(answer, "renewed"));
	return 0;
}

// This one first: it may be the one that the others ask. Hosts that fail are warnings.
static int renew_all(struct daemon *d, const struct peer_caller *caller, json_t *list,
		     json_t **warnings, struct error *err)
{
	struct peer_answer *answers = NULL;
	_cleanup_json_ json_t *body = json_object();
	size_t count = 0;
	if (renew_here(d, list, err) < 0)
		return -1;
	int failed = peer_ask_all(d, caller, "POST", "/v1/cluster/renew?local=1", body,
				  deadline_in_ms(RENEW_MS), &answers, &count, err);
	for (size_t i = 0; i < count; i++) {
		if (answers[i].data)
			json_array_extend(list, json_object_get(answers[i].data, "renewed"));
		else
			warn(warnings, peer_warning(&answers[i]));
	}
	peer_answers_free(answers, count);
	return failed;
}

// ---- the CA -------------------------------------------------------------------------------------

// All hosts must hear of it: one that did not could talk to nobody afterwards. The first that did
// not is the error.
static int trust_everywhere(struct daemon *d, const struct peer_caller *caller, const char *cas,
			    struct error *err)
{
	struct peer_answer *answers = NULL;
	_cleanup_json_ json_t *body = json_pack("{s:s}", "ca", cas);
	size_t count = 0;
	int failed = peer_ask_all(d, caller, "POST", "/v1/cluster/trust", body,
				  deadline_in_ms(RENEW_MS), &answers, &count, err);
	for (size_t i = 0; i < count && !failed; i++)
		if (!answers[i].data) {
			*err = answers[i].error;
			failed = error_wrap(err, "%s has to know of the new CA first",
					    answers[i].host);
		}
	peer_answers_free(answers, count);
	return failed ? -1 : trust_cas(d, cas, err);
}

static int renew_ca(struct daemon *d, const struct peer_caller *caller, const char *folder,
		    json_t *list, json_t **warnings, struct error *err)
{
	if (pki_recover(folder, err) < 0)
		return -1;
	_cleanup_free_ char *both = pki_ca_next(folder, err);
	if (!both || trust_everywhere(d, caller, both, err) < 0 || pki_ca_switch(folder, err) < 0 ||
	    renew_all(d, caller, list, warnings, err) < 0)
		return -1;
	if (*warnings) {
		log_warn("cluster: some hosts have no certificate of the new CA yet; the old one "
			 "stays");
		return 0; // the same command goes on from here
	}
	_cleanup_free_ char *only = pki_ca_only(folder, err);
	if (!only || trust_everywhere(d, caller, only, err) < 0)
		return -1;
	log_info("cluster: the CA is a new one");
	return pki_ca_done(folder, err);
}

static json_t *renew_ca_there(struct daemon *d, const struct peer_caller *caller, struct error *err)
{
	char host[REGISTRY_NAME_MAX];
	json_t *answer = NULL;
	_cleanup_json_ json_t *body = json_pack("{s:b}", "ca", 1);
	if (ca_host(d, host, err) < 0)
		return NULL;
	peer_ask(d, host, caller, "POST", "/v1/cluster/renew", body, deadline_in_ms(CA_MS), &answer,
		 err);
	return answer;
}

static int renew(struct daemon *d, const struct peer_caller *caller, const char *host, json_t *list,
		 json_t **warnings, struct error *err)
{
	if (!host)
		return renew_all(d, caller, list, warnings, err);
	return strcmp(host, d->config.host) != 0 ? renew_there(d, caller, host, list, err)
						 : renew_here(d, list, err);
}

json_t *trust_renew(struct daemon *d, const struct peer_caller *caller, const char *host, bool ca,
		    json_t **warnings, struct error *err)
{
	char folder[512];
	if (cluster_folder(&d->config, folder, err) < 0)
		return NULL;
	if (ca && !has_ca_key(folder))
		return renew_ca_there(d, caller, err);
	json_t *list = json_array();
	int failed = ca ? renew_ca(d, caller, folder, list, warnings, err)
			: renew(d, caller, host, list, warnings, err);
	if (!failed)
		return json_pack("{s:o}", "renewed", list);
	json_decref(list);
	return NULL;
}
