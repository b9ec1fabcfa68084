// SPDX-License-Identifier: Apache-2.0
#include "lib/transport/pki.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/transport/pki_inner.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>

// Clocks of two hosts may differ a little when a certificate is used at once.
#define BACKDATE_SECONDS 3600

int pki_name_check(const char *host, struct error *err)
{
	size_t length = host ? strnlen(host, PKI_NAME_MAX + 1) : 0;
	bool fits = length >= 1 && length <= PKI_NAME_MAX && isalnum((unsigned char)host[0]);
	for (size_t i = 0; fits && i < length; i++)
		fits = isascii((unsigned char)host[i]) &&
		       (isalnum((unsigned char)host[i]) || strchr("._-", host[i]));
	return fits ? 0 : error_set(err, ERR_NAME_INVALID, "the host name is not valid");
}

void pki_path(char path[4096], const char *dir, const char *file)
{
	snprintf(path, 4096, "%s/%s", dir, file);
}

// ---- keys
EVP_PKEY *pki_key_load(const char *path, struct error *err)
{
	_cleanup_(BIO) BIO *bio = BIO_new_file(path, "r");
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"") : NULL;
	if (!key)
		cert_error(err, "cannot read the key %s", path);
	return key;
}

// Written under another name first: a key is either whole or not there.
static int key_store(const char *path, const EVP_PKEY *key, struct error *err)
{
	char temporary[4096 + 8];
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	unlink(temporary);
	_cleanup_close_ int fd =
		open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot create %s", temporary);
	_cleanup_(BIO) BIO *bio = BIO_new(BIO_s_secmem());
	char *pem;
	if (!bio || !PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
		return cert_error(err, "cannot encode a key");
	long length = BIO_get_mem_data(bio, &pem);
	if (fdio_write_all(fd, pem, (size_t)length, err) < 0)
		return error_wrap(err, "%s", temporary);
	// link, not rename: never over a key that appeared meanwhile.
	if (fsync(fd) < 0 || link(temporary, path) < 0 || unlink(temporary) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot create %s", path);
	return 0;
}

EVP_PKEY *pki_key_load_or_make(const char *path, struct error *err)
{
	if (access(path, F_OK) == 0)
		return pki_key_load(path, err);
	EVP_PKEY *key = EVP_EC_gen("P-256");
	if (!key)
		cert_error(err, "cannot make a key");
	else if (key_store(path, key, err) < 0) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	return key;
}

static bool is_p256(const EVP_PKEY *key)
{
	char group[32];
	size_t length;
	return key && EVP_PKEY_is_a(key, "EC") &&
	       EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group),
					      &length) &&
	       !strcmp(group, "prime256v1");
}

// ---- certificates
static int set_serial(X509 *cert)
{
	// 159 random bits, positive: unique without a counter file (RFC 5280 4.1.2.2).
	_cleanup_(BIGNUM) BIGNUM *number = BN_new();
	return number && BN_rand(number, 159, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
	       BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
}

static int set_subject(X509_NAME *subject, const char *name)
{
	return X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name,
					  -1, -1, 0);
}

static int add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	int added = extension && X509_add_ext(cert, extension, -1);
	X509_EXTENSION_free(extension);
	return added;
}

static X509 *begin_cert(const char *name, const EVP_PKEY *key, int days)
{
	X509 *cert = X509_new();
	if (cert && X509_set_version(cert, X509_VERSION_3) && set_serial(cert) &&
	    set_subject(X509_get_subject_name(cert), name) &&
	    X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATE_SECONDS) &&
	    X509_time_adj_ex(X509_getm_notAfter(cert), days, 0, NULL) &&
	    X509_set_pubkey(cert, (EVP_PKEY *)key))
		return cert;
	X509_free(cert);
	return NULL;
}

X509 *pki_make_authority(EVP_PKEY *key)
{
	// A name of its own, so that a person can tell the CAs of two clusters apart.
	unsigned char mark[4];
	char name[64];
	if (RAND_bytes(mark, sizeof(mark)) != 1)
		return NULL;
	snprintf(name, sizeof(name), "wpar cluster CA %02x%02x%02x%02x", mark[0], mark[1], mark[2],
		 mark[3]);
	_cleanup_(X509) X509 *cert = begin_cert(name, key, PKI_CA_DAYS);
	if (cert && X509_set_issuer_name(cert, X509_get_subject_name(cert)) &&
	    add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	    add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	    add_extension(cert, cert, NID_subject_key_identifier, "hash") &&
	    X509_sign(cert, key, EVP_sha256()))
		return take_ptr(cert);
	return NULL;
}

static X509 *make_host(X509 *authority, EVP_PKEY *authority_key, const EVP_PKEY *key,
		       const char *host)
{
	char alternative[PKI_NAME_MAX + 8];
	snprintf(alternative, sizeof(alternative), "DNS:%s", host);
	_cleanup_(X509) X509 *cert = begin_cert(host, key, PKI_HOST_DAYS);
	if (cert && X509_set_issuer_name(cert, X509_get_subject_name(authority)) &&
	    add_extension(cert, authority, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_extension(cert, authority, NID_key_usage, "critical,digitalSignature") &&
	    add_extension(cert, authority, NID_ext_key_usage, "serverAuth,clientAuth") &&
	    add_extension(cert, authority, NID_subject_alt_name, alternative) &&
	    add_extension(cert, authority, NID_subject_key_identifier, "hash") &&
	    add_extension(cert, authority, NID_authority_key_identifier, "keyid:always") &&
	    X509_sign(cert, authority_key, EVP_sha256()))
		return take_ptr(cert);
	return NULL;
}

static char *text_of_bio(BIO *bio)
{
	char *bytes;
	long length = BIO_get_mem_data(bio, &bytes);
	return length > 0 ? strndup(bytes, (size_t)length) : NULL;
}

char *pki_cert_text(X509 *cert, struct error *err)
{
	_cleanup_(BIO) BIO *bio = BIO_new(BIO_s_mem());
	char *text = bio && PEM_write_bio_X509(bio, cert) ? text_of_bio(bio) : NULL;
	if (!text)
		error_set(err, ERR_NOMEM, "no memory for a certificate");
	return text;
}

// ---- one or two CAs in a file
void bundle_free(struct bundle *b)
{
	for (size_t i = 0; i < b->count; i++)
		X509_free(b->certs[i]);
	b->count = 0;
}

static int bundle_read(BIO *bio, const char *what, struct bundle *b, struct error *err)
{
	X509 *cert;
	while (bio && b->count < PKI_CA_MAX && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
		b->certs[b->count++] = cert;
	bool more = b->count == PKI_CA_MAX && BIO_pending(bio) > 1;
	BIO_free_all(bio);
	if (!b->count || more)
		return cert_error(err, "cannot read the CA in %s", what);
	ERR_clear_error(); // that there is no third one
	for (size_t i = 0; i < b->count; i++)
		if (X509_check_ca(b->certs[i]) != 1)
			return cert_error(err, "%s holds a certificate that is no CA's", what);
	return 0;
}

int bundle_parse(const char *pem, struct bundle *b, struct error *err)
{
	size_t length = strnlen(pem, PKI_CA_MAX * PKI_PEM_MAX);
	return bundle_read(BIO_new_mem_buf(pem, (int)length), "the answer", b, err);
}

int bundle_load(const char *dir, struct bundle *b, struct error *err)
{
	char path[4096];
	pki_path(path, dir, "ca.pem");
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, PKI_CA_MAX * PKI_PEM_MAX, err);
	return text ? bundle_read(BIO_new_mem_buf(text, -1), path, b, err) : -1;
}

bool bundle_has(const struct bundle *b, const X509 *cert)
{
	for (size_t i = 0; i < b->count; i++)
		if (!X509_cmp(b->certs[i], cert))
			return true;
	return false;
}

char *bundle_text(const struct bundle *b, struct error *err)
{
	_cleanup_(BIO) BIO *bio = BIO_new(BIO_s_mem());
	bool written = bio;
	for (size_t i = 0; i < b->count && written; i++)
		written = PEM_write_bio_X509(bio, b->certs[i]);
	char *text = written ? text_of_bio(bio) : NULL;
	if (!text)
		error_set(err, ERR_NOMEM, "no memory for a certificate");
	return text;
}

int bundle_store(const char *dir, const struct bundle *b, struct error *err)
{
	char path[4096];
	pki_path(path, dir, "ca.pem");
	_cleanup_free_ char *text = bundle_text(b, err);
	return text ? fdio_replace_file(path, text, strlen(text), 0644, err) : -1;
}

static bool has_issued(X509 *authority, X509 *cert)
{
	return X509_check_issued(authority, cert) == X509_V_OK &&
	       X509_verify(cert, X509_get0_pubkey(authority)) == 1;
}

bool bundle_issued(const struct bundle *b, X509 *cert)
{
	for (size_t i = 0; i < b->count; i++)
		if (has_issued(b->certs[i], cert))
			return true;
	ERR_clear_error();
	return false;
}

// ---- the CA
int pki_ca_create(const char *dir, struct error *err)
{
	char cert_path[4096], key_path[4096];
	pki_path(cert_path, dir, "ca.pem");
	pki_path(key_path, dir, "ca.key");
	if (access(cert_path, F_OK) == 0)
		return error_set(err, ERR_CLUSTER_EXISTS, "%s exists", cert_path);
	_cleanup_(EVP_PKEY) EVP_PKEY *key = pki_key_load_or_make(key_path, err);
	if (!key)
		return -1;
	_cleanup_(X509) X509 *cert = pki_make_authority(key);
	if (!cert)
		return cert_error(err, "cannot make the certificate of the CA");
	_cleanup_free_ char *text = pki_cert_text(cert, err);
	return text ? fdio_replace_file(cert_path, text, strlen(text), 0644, err) : -1;
}

char *pki_request_for(const char *dir, const char *file, const char *host, struct error *err)
{
	char key_path[4096];
	pki_path(key_path, dir, file);
	if (pki_name_check(host, err) < 0)
		return NULL;
	_cleanup_(EVP_PKEY) EVP_PKEY *key = pki_key_load_or_make(key_path, err);
	if (!key)
		return NULL;
	_cleanup_(X509_REQ) X509_REQ *request = X509_REQ_new();
	_cleanup_(BIO) BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	if (request && bio && X509_REQ_set_version(request, X509_REQ_VERSION_1) &&
	    set_subject(X509_REQ_get_subject_name(request), host) &&
	    X509_REQ_set_pubkey(request, key) && X509_REQ_sign(request, key, EVP_sha256()) &&
	    PEM_write_bio_X509_REQ(bio, request))
		text = text_of_bio(bio);
	if (!text)
		cert_error(err, "cannot make a certificate request");
	return text;
}

char *pki_request(const char *dir, const char *host, struct error *err)
{
	return pki_request_for(dir, "host.key", host, err);
}

// The key of a request that is what it claims to be.
static EVP_PKEY *check_request(const char *csr, const char *host, struct error *err)
{
	if (pki_name_check(host, err) < 0)
		return NULL;
	size_t length = strnlen(csr, PKI_PEM_MAX + 1);
	_cleanup_(BIO) BIO *bio = BIO_new_mem_buf(csr, (int)length);
	_cleanup_(X509_REQ) X509_REQ *request =
		bio && length <= PKI_PEM_MAX ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
	if (!request) {
		cert_error(err, "cannot read the certificate request of %s", host);
		return NULL;
	}
	char name[PKI_NAME_MAX + 1];
	if (cert_subject_name(X509_REQ_get_subject_name(request), name, err) < 0) {
		error_wrap(err, "the certificate request of %s", host);
		return NULL;
	}
	if (strcmp(name, host) != 0) {
		error_set(err, ERR_CERTIFICATE,
			  "the certificate request is for %s, expected was %s", name, host);
		return NULL;
	}
	_cleanup_(EVP_PKEY) EVP_PKEY *key = X509_REQ_get_pubkey(request);
	if (!is_p256(key) || X509_REQ_verify(request, key) != 1) {
		cert_error(err,
			   "the certificate request of %s is not signed by a P-256 key of its own",
			   host);
		return NULL;
	}
	return take_ptr(key);
}

char *pki_sign(const char *dir, const char *csr, const char *host, struct error *err)
{
	char cert_path[4096], key_path[4096];
	pki_path(cert_path, dir, "ca.pem");
	pki_path(key_path, dir, "ca.key");
	ERR_clear_error();
	_cleanup_(EVP_PKEY) EVP_PKEY *key = check_request(csr, host, err);
	if (!key)
		return NULL;
	if (access(key_path, F_OK) < 0) {
		error_set(err, ERR_CLUSTER_NONE,
			  "this host has no CA (%s): sign where the cluster was made", key_path);
		return NULL;
	}
	_cleanup_(X509) X509 *authority = cert_load(cert_path, err);
	_cleanup_(EVP_PKEY) EVP_PKEY *authority_key =
		authority ? pki_key_load(key_path, err) : NULL;
	if (!authority_key)
		return NULL;
	if (X509_check_private_key(authority, authority_key) != 1) {
		cert_error(err, "%s is not the key of %s", key_path, cert_path);
		return NULL;
	}
	_cleanup_(X509) X509 *cert = make_host(authority, authority_key, key, host);
	if (!cert) {
		cert_error(err, "cannot make the certificate of %s", host);
		return NULL;
	}
	return pki_cert_text(cert, err);
}

// ---- on the host
static int check_signed(X509 *cert, X509 *authority, const char *fingerprint, struct error *err)
{
	char found[PKI_FINGERPRINT_MAX];
	if (cert_fingerprint(authority, found) < 0)
		return cert_error(err, "cannot hash the certificate of the CA");
	if (fingerprint && strcmp(found, fingerprint) != 0)
		return error_set(err, ERR_PEER_UNTRUSTED,
				 "the CA is not the one of the token (fingerprint %s)", found);
	if (!has_issued(authority, cert))
		return cert_error(err, "the certificate is not signed by the CA that came with it");
	return 0;
}

int pki_check_own(const char *dir, const char *file, X509 *cert, const char *host,
		  struct error *err)
{
	char key_path[4096], name[PKI_NAME_MAX + 1];
	pki_path(key_path, dir, file);
	_cleanup_(EVP_PKEY) EVP_PKEY *key = pki_key_load(key_path, err);
	if (!key)
		return -1;
	if (X509_check_private_key(cert, key) != 1)
		return cert_error(err, "the certificate is not for %s", key_path);
	if (cert_name(cert, name, NULL) < 0 || strcmp(name, host) != 0)
		return error_set(err, ERR_CERTIFICATE, "the certificate is not for host %s", host);
	return 0;
}

int pki_install(const char *dir, const char *cert, const char *ca, const char *host,
		const char *fingerprint, struct error *err)
{
	char cert_path[4096];
	pki_path(cert_path, dir, "host.pem");
	ERR_clear_error();
	_cleanup_bundle_ struct bundle authorities = {0};
	_cleanup_(X509) X509 *own = cert_parse(cert, err);
	if (!own || bundle_parse(ca, &authorities, err) < 0 ||
	    check_signed(own, authorities.certs[0], fingerprint, err) < 0 ||
	    pki_check_own(dir, "host.key", own, host, err) < 0)
		return -1;
	// Encoded anew: nothing but the certificates gets into our files.
	_cleanup_free_ char *own_text = pki_cert_text(own, err);
	if (!own_text || fdio_replace_file(cert_path, own_text, strlen(own_text), 0644, err) < 0)
		return -1;
	return bundle_store(dir, &authorities, err);
}

char *pki_ca_read(const char *dir, struct error *err)
{
	_cleanup_bundle_ struct bundle b = {0};
	return bundle_load(dir, &b, err) < 0 ? NULL : bundle_text(&b, err);
}

int pki_fingerprint(const char *dir, char text[PKI_FINGERPRINT_MAX], struct error *err)
{
	char path[4096];
	pki_path(path, dir, "ca.pem");
	_cleanup_(X509) X509 *authority = cert_load(path, err);
	if (!authority)
		return -1;
	if (cert_fingerprint(authority, text) < 0)
		return cert_error(err, "cannot hash %s", path);
	return 0;
}

int64_t pki_not_after(const char *path)
{
	struct tm parts;
	_cleanup_(X509) X509 *cert = cert_load(path, NULL);
	return cert && ASN1_TIME_to_tm(X509_get0_notAfter(cert), &parts) ? (int64_t)timegm(&parts)
									 : 0;
}

int pki_key_of(const char *cert, char text[PKI_FINGERPRINT_MAX], struct error *err)
{
	_cleanup_(X509) X509 *parsed = cert_parse(cert, err);
	if (!parsed)
		return -1;
	return cert_key_fingerprint(parsed, text) < 0
		       ? cert_error(err, "cannot hash the key of a certificate")
		       : 0;
}

int pki_request_name(const char *csr, char name[PKI_NAME_MAX + 1], struct error *err)
{
	size_t length = strnlen(csr, PKI_PEM_MAX + 1);
	_cleanup_(BIO) BIO *bio = BIO_new_mem_buf(csr, (int)length);
	_cleanup_(X509_REQ) X509_REQ *request =
		bio && length <= PKI_PEM_MAX ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
	if (!request)
		return cert_error(err, "cannot read the certificate request");
	return cert_subject_name(X509_REQ_get_subject_name(request), name, err);
}
