// SPDX-License-Identifier: Apache-2.0
// Renewal of keys and certificates, also of the CA: the new ones are complete before the old ones
// go.
#include "lib/base/fdio.h"
#include "lib/transport/pki_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <string.h>

static int rename_in(const char *dir, const char *from, const char *to, struct error *err)
{
	char old[4096], new[4096];
	pki_path(old, dir, from);
	pki_path(new, dir, to);
	if (rename(old, new) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot rename %s to %s", old, new);
	_cleanup_close_ int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return folder >= 0 && fsync(folder) == 0
		       ? 0
		       : error_sys(err, ERR_STORAGE, errno, "cannot sync %s", dir);
}

// The certificate is already the one of the key that is still beside the old one.
static bool is_half_done(const char *dir, const char *cert_file, const char *key_file)
{
	char cert_path[4096], key_path[4096];
	pki_path(cert_path, dir, cert_file);
	pki_path(key_path, dir, key_file);
	if (access(key_path, F_OK) < 0)
		return false;
	_cleanup_(X509) X509 *cert = cert_load(cert_path, NULL);
	_cleanup_(EVP_PKEY) EVP_PKEY *key = cert ? pki_key_load(key_path, NULL) : NULL;
	bool same = key && X509_check_private_key(cert, key) == 1;
	ERR_clear_error();
	return same;
}

int pki_recover(const char *dir, struct error *err)
{
	if (is_half_done(dir, "host.pem", "host.key.next") &&
	    rename_in(dir, "host.key.next", "host.key", err) < 0)
		return -1;
	if (is_half_done(dir, "ca.pem", "ca.key.next"))
		return rename_in(dir, "ca.key.next", "ca.key", err);
	return 0;
}

char *pki_renew_request(const char *dir, const char *host, struct error *err)
{
	return pki_request_for(dir, "host.key.next", host, err);
}

static bool is_any_trusted(const char *dir, const struct bundle *b)
{
	_cleanup_bundle_ struct bundle now = {0};
	if (bundle_load(dir, &now, NULL) < 0)
		return false;
	for (size_t i = 0; i < b->count; i++)
		if (bundle_has(&now, b->certs[i]))
			return true;
	return false;
}

int pki_renew_install(const char *dir, const char *cert, const char *ca, const char *host,
		      struct error *err)
{
	char cert_path[4096];
	_cleanup_bundle_ struct bundle b = {0};
	pki_path(cert_path, dir, "host.pem");
	ERR_clear_error();
	_cleanup_(X509) X509 *own = cert_parse(cert, err);
	if (!own || bundle_parse(ca, &b, err) < 0 ||
	    pki_check_own(dir, "host.key.next", own, host, err) < 0)
		return -1;
	if (!bundle_issued(&b, own) || !is_any_trusted(dir, &b))
		return error_set(err, ERR_CERTIFICATE,
				 "the new certificate is not signed by a CA of this cluster");
	_cleanup_free_ char *text = pki_cert_text(own, err);
	if (!text || bundle_store(dir, &b, err) < 0 ||
	    fdio_replace_file(cert_path, text, strlen(text), 0644, err) < 0)
		return -1;
	return rename_in(dir, "host.key.next", "host.key", err);
}

int pki_trust(const char *dir, const char *ca, struct error *err)
{
	char cert_path[4096];
	_cleanup_bundle_ struct bundle b = {0};
	pki_path(cert_path, dir, "host.pem");
	_cleanup_(X509) X509 *own = cert_load(cert_path, err);
	if (!own || bundle_parse(ca, &b, err) < 0)
		return -1;
	if (!is_any_trusted(dir, &b))
		return error_set(err, ERR_CERTIFICATE, "none of these CAs is one of this cluster");
	if (!bundle_issued(&b, own))
		return error_set(err, ERR_CERTIFICATE,
				 "this host's certificate is signed by none of these CAs: "
				 "`wparctl cluster renew` first");
	return bundle_store(dir, &b, err);
}

static X509 *load_next(const char *dir, struct error *err)
{
	char path[4096];
	pki_path(path, dir, "ca.pem.next");
	return cert_load(path, err);
}

static int make_next(const char *dir, struct error *err)
{
	char cert_path[4096], key_path[4096];
	pki_path(cert_path, dir, "ca.pem.next");
	pki_path(key_path, dir, "ca.key.next");
	if (access(cert_path, F_OK) == 0)
		return 0;
	_cleanup_(EVP_PKEY) EVP_PKEY *key = pki_key_load_or_make(key_path, err);
	_cleanup_(X509) X509 *cert = key ? pki_make_authority(key) : NULL;
	if (!cert)
		return key ? cert_error(err, "cannot make the certificate of the new CA") : -1;
	_cleanup_free_ char *text = pki_cert_text(cert, err);
	return text ? fdio_replace_file(cert_path, text, strlen(text), 0644, err) : -1;
}

// {first, second}, each once.
static int pair(struct bundle *b, X509 *first, X509 *second)
{
	if (!X509_up_ref(first))
		return -1;
	b->certs[b->count++] = first;
	if (!X509_cmp(first, second))
		return 0;
	if (!X509_up_ref(second))
		return -1;
	b->certs[b->count++] = second;
	return 0;
}

char *pki_ca_next(const char *dir, struct error *err)
{
	_cleanup_bundle_ struct bundle now = {0}, both = {0};
	if (bundle_load(dir, &now, err) < 0 || make_next(dir, err) < 0)
		return NULL;
	_cleanup_(X509) X509 *next = load_next(dir, err);
	// After the switch the new one is the first: then nothing changes here any more.
	if (!next || pair(&both, now.certs[0], now.count > 1 ? now.certs[1] : next) < 0)
		return NULL;
	return bundle_text(&both, err);
}

int pki_ca_switch(const char *dir, struct error *err)
{
	_cleanup_bundle_ struct bundle now = {0}, both = {0};
	_cleanup_(X509) X509 *next = load_next(dir, err);
	if (!next || bundle_load(dir, &now, err) < 0)
		return -1;
	if (!X509_cmp(now.certs[0], next))
		return 0; // done before
	if (pair(&both, next, now.certs[0]) < 0)
		return error_set(err, ERR_NOMEM, "no memory for a certificate");
	if (bundle_store(dir, &both, err) < 0)
		return -1;
	return rename_in(dir, "ca.key.next", "ca.key", err);
}

char *pki_ca_only(const char *dir, struct error *err)
{
	_cleanup_bundle_ struct bundle now = {0};
	if (bundle_load(dir, &now, err) < 0)
		return NULL;
	return pki_cert_text(now.certs[0], err);
}

bool pki_ca_renewing(const char *dir)
{
	char path[4096];
	pki_path(path, dir, "ca.pem.next");
	return access(path, F_OK) == 0;
}

int pki_ca_done(const char *dir, struct error *err)
{
	char path[4096];
	pki_path(path, dir, "ca.pem.next");
	if (unlink(path) < 0 && errno != ENOENT)
		return error_sys(err, ERR_STORAGE, errno, "cannot remove %s", path);
	return 0;
}
