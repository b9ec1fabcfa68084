// SPDX-License-Identifier: Apache-2.0
// The cluster's CA, requests, certificates and join tokens: what is made, and what is refused.
#include "lib/transport/token.h"
#include "tests/unit/link_fixture.h"

#include <openssl/x509v3.h>

static char *in(const char *file)
{
	static char path[4][320];
	static unsigned turn;
	char *text = path[turn++ % 4];
	snprintf(text, sizeof(path[0]), "%s/%s", fixture_top, file);
	return text;
}

static mode_t mode_of(const char *path)
{
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void test_authority(void **state)
{
	struct error err = {0};
	char first[PKI_FINGERPRINT_MAX], second[PKI_FINGERPRINT_MAX];
	(void)state;
	umask(0);
	fixture_authority("ca");
	assert_int_equal(mode_of(in("ca/ca.key")), 0600);
	assert_int_equal(mode_of(in("ca/ca.pem")), 0644);
	assert_int_equal(pki_fingerprint(in("ca"), first, &err), 0);
	assert_int_equal(strlen(first), 64);
	assert_int_equal(pki_ca_create(in("ca"), &err), -1);
	assert_int_equal(err.id, ERR_CLUSTER_EXISTS);
	assert_int_equal(pki_fingerprint(in("ca"), second, &err), 0);
	assert_string_equal(first, second);
	X509 *authority = cert_load(in("ca/ca.pem"), &err);
	assert_non_null(authority);
	assert_int_equal(X509_check_ca(authority), 1);
	assert_int_equal(X509_get_pathlen(authority), 0);
	X509_free(authority);
}

static void test_host_certificate(void **state)
{
	struct fixture_host host = {0};
	char name[PKI_NAME_MAX + 1];
	(void)state;
	fixture_authority("ca");
	fixture_member(&host, "a", "hostA", "ca");
	assert_int_equal(mode_of(host.key), 0600);
	assert_int_equal(mode_of(host.cert), 0644);
	X509 *cert = cert_load(host.cert, NULL);
	assert_int_equal(cert_name(cert, name, NULL), 0);
	assert_string_equal(name, "hostA");
	assert_int_equal(X509_check_host(cert, "hostA", 0, 0, NULL), 1);
	assert_int_equal(X509_get_extended_key_usage(cert), XKU_SSL_SERVER | XKU_SSL_CLIENT);
	assert_int_equal(X509_check_ca(cert), 0);
	int days, seconds;
	ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert));
	assert_in_range(days, PKI_HOST_DAYS - 1, PKI_HOST_DAYS);
	X509_free(cert);
}

static void test_serials_differ(void **state)
{
	struct error err = {0};
	(void)state;
	fixture_authority("ca");
	_cleanup_free_ char *csr = pki_request(in("ca"), "hostA", &err);
	_cleanup_free_ char *one = pki_sign(in("ca"), csr, "hostA", &err);
	_cleanup_free_ char *two = pki_sign(in("ca"), csr, "hostA", &err);
	X509 *first = cert_parse(one, &err), *second = cert_parse(two, &err);
	assert_int_not_equal(
		ASN1_INTEGER_cmp(X509_get0_serialNumber(first), X509_get0_serialNumber(second)), 0);
	assert_int_equal(X509_get0_serialNumber(first)->length, 20);
	X509_free(first);
	X509_free(second);
}

static void test_a_request_can_be_repeated(void **state)
{
	struct error err = {0};
	(void)state;
	_cleanup_free_ char *one = pki_request(fixture_top, "hostA", &err);
	_cleanup_free_ char *key = fdio_read_file(AT_FDCWD, in("host.key"), PKI_PEM_MAX, NULL);
	_cleanup_free_ char *two = pki_request(fixture_top, "hostA", &err);
	_cleanup_free_ char *same = fdio_read_file(AT_FDCWD, in("host.key"), PKI_PEM_MAX, NULL);
	assert_non_null(one);
	assert_non_null(two);
	assert_string_equal(key, same);
	assert_null(strstr(one, "PRIVATE"));
}

static void test_what_is_not_signed(void **state)
{
	struct error err = {0};
	(void)state;
	fixture_authority("ca");
	_cleanup_free_ char *csr = pki_request(in("ca"), "hostB", &err);
	assert_null(pki_sign(in("ca"), csr, "hostA", &err));
	assert_int_equal(err.id, ERR_CERTIFICATE);
	assert_non_null(strstr(err.message, "hostB"));
	assert_null(pki_sign(in("ca"), csr, "../a", &err));
	assert_int_equal(err.id, ERR_NAME_INVALID);
	assert_null(pki_sign(in("ca"), "nonsense", "hostB", &err));
	assert_int_equal(err.id, ERR_CERTIFICATE);
	// A request whose signature does not fit any more.
	char *middle = csr + strlen(csr) - 60;
	*middle = *middle == 'A' ? 'B' : 'A';
	assert_null(pki_sign(in("ca"), csr, "hostB", &err));
	assert_int_equal(err.id, ERR_CERTIFICATE);
	// A host that is not where the cluster was made.
	mkdir(in("b"), 0755);
	_cleanup_free_ char *other = pki_request(in("b"), "hostB", &err);
	assert_null(pki_sign(in("b"), other, "hostB", &err));
	assert_int_equal(err.id, ERR_CLUSTER_NONE);
}

static void test_a_request_with_another_kind_of_key(void **state)
{
	struct error err = {0};
	char text[8192] = "";
	(void)state;
	fixture_authority("ca");
	EVP_PKEY *key = EVP_RSA_gen(2048);
	X509_REQ *request = X509_REQ_new();
	X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN", MBSTRING_ASC,
				   (const unsigned char *)"hostA", -1, -1, 0);
	X509_REQ_set_pubkey(request, key);
	X509_REQ_sign(request, key, EVP_sha256());
	BIO *bio = BIO_new(BIO_s_mem());
	PEM_write_bio_X509_REQ(bio, request);
	assert_true(BIO_read(bio, text, sizeof(text) - 1) > 0);
	assert_null(pki_sign(in("ca"), text, "hostA", &err));
	assert_int_equal(err.id, ERR_CERTIFICATE);
	assert_non_null(strstr(err.message, "P-256"));
	BIO_free(bio);
	X509_REQ_free(request);
	EVP_PKEY_free(key);
}

static void test_what_is_not_installed(void **state)
{
	struct error err = {0};
	char fingerprint[PKI_FINGERPRINT_MAX];
	(void)state;
	fixture_authority("ca");
	fixture_authority("other");
	mkdir(in("a"), 0755);
	_cleanup_free_ char *csr = pki_request(in("a"), "hostA", &err);
	_cleanup_free_ char *cert = pki_sign(in("ca"), csr, "hostA", &err);
	_cleanup_free_ char *ca = pki_ca_read(in("ca"), &err);
	_cleanup_free_ char *foreign = pki_ca_read(in("other"), &err);
	assert_non_null(cert);
	assert_int_equal(pki_install(in("a"), cert, foreign, "hostA", NULL, &err), -1);
	assert_int_equal(err.id, ERR_CERTIFICATE);
	pki_fingerprint(in("other"), fingerprint, &err);
	assert_int_equal(pki_install(in("a"), cert, ca, "hostA", fingerprint, &err), -1);
	assert_int_equal(err.id, ERR_PEER_UNTRUSTED);
	assert_int_equal(pki_install(in("a"), cert, ca, "hostB", NULL, &err), -1);
	assert_int_equal(pki_install(in("a"), "x", ca, "hostA", NULL, &err), -1);
	_cleanup_free_ char *own = pki_request(in("other"), "hostA", &err);
	assert_non_null(own);
	assert_int_equal(pki_install(in("other"), cert, ca, "hostA", NULL, &err), -1); // its key
	assert_int_equal(access(in("a/host.pem"), F_OK), -1);
	assert_int_equal(access(in("a/ca.pem"), F_OK), -1);
	pki_fingerprint(in("ca"), fingerprint, &err);
	assert_int_equal(pki_install(in("a"), cert, ca, "hostA", fingerprint, &err), 0);
}

// ---- renewal

static void renew(const struct fixture_host *host, const char *name, const char *authority)
{
	struct error err = {0};
	_cleanup_free_ char *csr = pki_renew_request(host->dir, name, &err);
	_cleanup_free_ char *cert = csr ? pki_sign(in(authority), csr, name, &err) : NULL;
	_cleanup_free_ char *ca = cert ? pki_ca_read(in(authority), &err) : NULL;
	if (!ca || pki_renew_install(host->dir, cert, ca, name, &err) < 0)
		fail_msg("%s", err.message);
}

static void key_of(const struct fixture_host *host, char key[PKI_FINGERPRINT_MAX])
{
	_cleanup_free_ char *pem = fdio_read_file(AT_FDCWD, host->cert, 65536, NULL);
	assert_int_equal(pki_key_of(pem, key, NULL), 0);
}

static void assert_pair(const struct fixture_host *host)
{
	X509 *cert;
	EVP_PKEY *key;
	assert_int_equal(cert_load_pair(host->cert, host->key, &cert, &key, NULL), 0);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static void test_renewal_of_a_host(void **state)
{
	struct fixture_host host = {0}, foreign = {0};
	char before[PKI_FINGERPRINT_MAX], after[PKI_FINGERPRINT_MAX];
	struct error err = {0};
	(void)state;
	fixture_authority("ca-r");
	fixture_authority("ca-f");
	fixture_member(&host, "r", "hostA", "ca-r");
	key_of(&host, before);
	renew(&host, "hostA", "ca-r");
	key_of(&host, after);
	assert_string_not_equal(before, after);
	assert_pair(&host);
	assert_int_equal(mode_of(host.key), 0600);
	assert_int_equal(access(in("r/host.key.next"), F_OK), -1);
	assert_true(pki_not_after(host.cert) > time(NULL) + (PKI_HOST_DAYS - 2) * 86400);

	// another cluster's, another host's, and a certificate for the old key
	fixture_member(&foreign, "f", "hostA", "ca-f");
	_cleanup_free_ char *csr = pki_renew_request(host.dir, "hostA", &err);
	_cleanup_free_ char *wrong = pki_sign(in("ca-f"), csr, "hostA", &err);
	_cleanup_free_ char *wrong_ca = pki_ca_read(in("ca-f"), &err);
	assert_int_equal(pki_renew_install(host.dir, wrong, wrong_ca, "hostA", &err), -1);
	assert_int_equal(err.id, ERR_CERTIFICATE);
	_cleanup_free_ char *right = pki_sign(in("ca-r"), csr, "hostA", &err);
	_cleanup_free_ char *right_ca = pki_ca_read(in("ca-r"), &err);
	assert_int_equal(pki_renew_install(host.dir, right, right_ca, "hostB", &err), -1);
	assert_int_equal(pki_renew_install(host.dir, right, wrong_ca, "hostA", &err), -1);
	_cleanup_free_ char *old = fdio_read_file(AT_FDCWD, host.cert, 65536, NULL);
	assert_int_equal(pki_renew_install(host.dir, old, right_ca, "hostA", &err), -1);
	key_of(&host, before);
	assert_string_equal(before, after); // nothing of it was taken
	assert_pair(&host);
}

// Cut off after the certificate and before the key.
static void test_renewal_is_completed(void **state)
{
	struct fixture_host host = {0};
	struct error err = {0};
	(void)state;
	fixture_authority("ca-c");
	fixture_member(&host, "c", "hostA", "ca-c");
	_cleanup_free_ char *csr = pki_renew_request(host.dir, "hostA", &err);
	assert_int_equal(pki_recover(host.dir, &err), 0); // a key alone is nothing
	assert_pair(&host);
	_cleanup_free_ char *cert = pki_sign(in("ca-c"), csr, "hostA", &err);
	assert_non_null(cert);
	assert_int_equal(fdio_replace_file(host.cert, cert, strlen(cert), 0644, &err), 0);
	assert_int_equal(pki_recover(host.dir, &err), 0);
	assert_pair(&host);
	assert_int_equal(pki_recover(host.dir, &err), 0);
	assert_pair(&host);
}

static bool verifies(const struct fixture_host *host, const char *ca)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	X509 *cert = cert_load(host->cert, NULL);
	assert_int_equal(X509_STORE_load_file(store, ca), 1);
	assert_int_equal(X509_STORE_CTX_init(context, store, cert, NULL), 1);
	bool good = X509_verify_cert(context) == 1;
	X509_STORE_CTX_free(context);
	X509_STORE_free(store);
	X509_free(cert);
	return good;
}

// At each step each host believes the other, whichever of the two has got how far.
static void test_renewal_of_the_authority(void **state)
{
	struct fixture_host a = {0}, b = {0};
	struct error err = {0};
	char first[PKI_FINGERPRINT_MAX], now[PKI_FINGERPRINT_MAX];
	(void)state;
	fixture_authority("ca-n");
	fixture_member(&a, "na", "hostA", "ca-n");
	fixture_member(&b, "nb", "hostB", "ca-n");
	pki_fingerprint(in("ca-n"), first, NULL);
	assert_false(pki_ca_renewing(in("ca-n")));
	_cleanup_free_ char *both = pki_ca_next(in("ca-n"), &err);
	assert_non_null(both);
	assert_true(pki_ca_renewing(in("ca-n")));
	assert_int_equal(pki_trust(a.dir, both, &err), 0);
	assert_true(verifies(&b, a.ca) && verifies(&a, b.ca));
	assert_int_equal(pki_trust(b.dir, both, &err), 0);
	pki_fingerprint(in("ca-n"), now, NULL);
	assert_string_equal(first, now); // the old one signs until it is switched
	assert_int_equal(fdio_replace_file(in("ca-n/ca.pem"), both, strlen(both), 0644, &err), 0);
	assert_int_equal(pki_ca_switch(in("ca-n"), &err), 0);
	assert_int_equal(pki_ca_switch(in("ca-n"), &err), 0);
	pki_fingerprint(in("ca-n"), now, NULL);
	assert_string_not_equal(first, now);
	// begun again it is the same new one
	_cleanup_free_ char *again = pki_ca_next(in("ca-n"), &err);
	assert_non_null(again);
	pki_fingerprint(in("ca-n"), first, NULL);
	assert_string_equal(first, now);
	renew(&a, "hostA", "ca-n");
	assert_true(verifies(&a, b.ca) && verifies(&b, a.ca));
	_cleanup_free_ char *only = pki_ca_only(in("ca-n"), &err);
	assert_non_null(only);
	// who has no certificate of the new one keeps the old one
	assert_int_equal(pki_trust(b.dir, only, &err), -1);
	assert_int_equal(err.id, ERR_CERTIFICATE);
	assert_true(verifies(&a, b.ca));
	renew(&b, "hostB", "ca-n");
	assert_int_equal(pki_trust(a.dir, only, &err), 0);
	assert_int_equal(pki_trust(b.dir, only, &err), 0);
	assert_true(verifies(&a, b.ca) && verifies(&b, a.ca));
	assert_int_equal(pki_ca_done(in("ca-n"), &err), 0);
	assert_false(pki_ca_renewing(in("ca-n")));
	assert_int_equal(access(in("ca-n/ca.key.next"), F_OK), -1);
}

static void test_foreign_authorities_are_not_trusted(void **state)
{
	struct fixture_host host = {0};
	struct error err = {0};
	(void)state;
	fixture_authority("ca-x");
	fixture_authority("ca-y");
	fixture_member(&host, "x", "hostA", "ca-x");
	_cleanup_free_ char *own = pki_ca_read(in("ca-x"), &err);
	_cleanup_free_ char *other = pki_ca_read(in("ca-y"), &err);
	_cleanup_free_ char *cert = fdio_read_file(AT_FDCWD, host.cert, 65536, NULL);
	char three[3 * PKI_PEM_MAX];
	assert_int_equal(pki_trust(host.dir, other, &err), -1);
	assert_int_equal(err.id, ERR_CERTIFICATE);
	assert_int_equal(pki_trust(host.dir, cert, &err), -1);
	assert_int_equal(pki_trust(host.dir, "", &err), -1);
	assert_int_equal(pki_trust(host.dir, "nonsense", &err), -1);
	snprintf(three, sizeof(three), "%s%s%s", own, other, own);
	assert_int_equal(pki_trust(host.dir, three, &err), -1);
	assert_true(verifies(&host, host.ca));
}

static void test_host_names(void **state)
{
	(void)state;
	static const char *const good[] = {"a", "hostA", "db-1.example_net", "9"};
	static const char *const bad[] = {"",    ".a",  "-a",        "_a",      "a/b",
					  "a b", "a\n", "h\xc3\xa4", "a,DNS:b", "*"};
	char longest[PKI_NAME_MAX + 2];
	struct error err = {0};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(pki_name_check(good[i], NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(pki_name_check(bad[i], &err), -1);
		assert_int_equal(err.id, ERR_NAME_INVALID);
	}
	memset(longest, 'a', sizeof(longest));
	longest[PKI_NAME_MAX + 1] = 0;
	assert_int_equal(pki_name_check(longest, NULL), -1);
	longest[PKI_NAME_MAX] = 0;
	assert_int_equal(pki_name_check(longest, NULL), 0);
	assert_int_equal(pki_name_check(NULL, NULL), -1);
}

#define SOME_CA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_token_round_trip(void **state)
{
	struct token token, again;
	struct error err = {0};
	char text[TOKEN_TEXT_MAX], digest[TOKEN_DIGEST_MAX];
	(void)state;
	assert_int_equal(token_make(&token, "hostB", "hostA", "10.77.0.1:7470", SOME_CA, &err), 0);
	assert_int_equal(token_encode(&token, text, &err), 0);
	assert_int_equal(strncmp(text, "wpar1.", 6), 0);
	assert_int_equal(strspn(text + 6, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					  "0123456789-_"),
			 strlen(text + 6));
	assert_int_equal(token_decode(text, &again, &err), 0);
	assert_memory_equal(&token, &again, sizeof(token));
	token_digest(&token, digest);
	assert_true(token_matches(&again, digest));
	assert_int_equal(token_make(&again, "hostB", "hostA", "10.77.0.1:7470", SOME_CA, &err), 0);
	assert_false(token_matches(&again, digest)); // another secret
	assert_false(token_matches(&again, ""));
	assert_false(token_matches(&again, "zz"));
}

static void refuse_token(const char *text)
{
	struct token token;
	struct error err = {0};
	if (token_decode(text, &token, &err) == 0)
		fail_msg("accepted: %s", text);
	assert_int_equal(err.id, ERR_TOKEN);
}

static void encode_json(const char *json, char text[TOKEN_TEXT_MAX])
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	strcpy(text, "wpar1.");
	size_t n = strlen(text);
	unsigned bits = 0, have = 0;
	for (; *json; json++) {
		bits = bits << 8 | (unsigned char)*json;
		for (have += 8; have >= 6; have -= 6)
			text[n++] = digits[bits >> (have - 6) & 63];
	}
	if (have)
		text[n++] = digits[bits << (6 - have) & 63];
	text[n] = 0;
}

static void refuse_json(const char *json)
{
	char text[TOKEN_TEXT_MAX];
	encode_json(json, text);
	refuse_token(text);
}

static void test_damaged_tokens(void **state)
{
	struct token token;
	char text[TOKEN_TEXT_MAX], longer[TOKEN_TEXT_MAX + 8];
	(void)state;
	assert_int_equal(token_make(&token, "hostB", "hostA", "10.77.0.1:7470", SOME_CA, NULL), 0);
	assert_int_equal(token_encode(&token, text, NULL), 0);
	for (size_t cut = 0; cut < strlen(text); cut++) {
		snprintf(longer, sizeof(longer), "%.*s", (int)cut, text);
		refuse_token(longer);
	}
	snprintf(longer, sizeof(longer), "%s=", text);
	refuse_token(longer);
	snprintf(longer, sizeof(longer), "%sA", text);
	refuse_token(longer);
	snprintf(longer, sizeof(longer), " %s", text);
	refuse_token(longer);
	text[4] = '2';
	refuse_token(text);
	memset(longer, 'A', sizeof(longer) - 1);
	memcpy(longer, "wpar1.", 6);
	longer[sizeof(longer) - 1] = 0;
	refuse_token(longer);
}

static void test_tokens_with_wrong_fields(void **state)
{
	(void)state;
#define SECRET "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define WITH(n, s)                                                             \
	"{\"name\":" n ",\"host\":\"a\",\"address\":\"a:1\",\"ca\":\"" SOME_CA \
	"\",\"secret\":\"" s "\"}"
	struct token token;
	char text[TOKEN_TEXT_MAX];
	encode_json(WITH("\"a\"", SECRET), text);
	assert_int_equal(token_decode(text, &token, NULL),
			 0); // the others differ in one thing each
	refuse_json("[]");
	refuse_json("{}");
	refuse_json(WITH("1", SECRET));
	refuse_json(WITH("\"a/b\"", SECRET));
	refuse_json(WITH("\"a\\u0000\"", SECRET));
	refuse_json(WITH("\"a\"", "AAAA"));
	refuse_json(WITH("\"a\"", SECRET "A"));
	refuse_json(WITH("\"a\",\"more\":1", SECRET));
	refuse_json(WITH("\"a\",\"name\":\"b\"", SECRET));
	refuse_json("{\"name\":\"a\",\"host\":\"a\",\"address\":\"a:1\",\"ca\":\"00\",\"secret\":"
		    "\"" SECRET "\"}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_authority, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_host_certificate, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_serials_differ, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_a_request_can_be_repeated, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_what_is_not_signed, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_a_request_with_another_kind_of_key,
						fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_what_is_not_installed, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_renewal_of_a_host, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_renewal_is_completed, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_renewal_of_the_authority, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_foreign_authorities_are_not_trusted,
						fixture_setup, fixture_teardown),
		cmocka_unit_test(test_host_names),
		cmocka_unit_test(test_token_round_trip),
		cmocka_unit_test(test_damaged_tokens),
		cmocka_unit_test(test_tokens_with_wrong_fields),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
