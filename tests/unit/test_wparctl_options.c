// SPDX-License-Identifier: Apache-2.0
// The options of create as a request body.
#include "wparctl/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

// The body of "wparctl create WORDS...", NULL and *err when refused.
static json_t *body_of(char **words, struct error *err)
{
	struct args args;
	int count = 0;
	while (words[count])
		count++;
	*err = (struct error){0};
	assert_int_equal(args_parse(&args, count, words, err), 0);
	json_t *body = options_create(&args, err);
	args_free(&args);
	return body;
}

#define BODY(err, ...) body_of((char *[]){"wparctl", "create", "db1", __VA_ARGS__, NULL}, err)

// Compares with JSON that has single quotes.
static void same(json_t *body, const char *wanted)
{
	char text[2048];
	snprintf(text, sizeof(text), "%s", wanted);
	for (char *c = text; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	json_t *json = json_loads(text, 0, NULL);
	assert_non_null(json);
	if (!body || !json_equal(body, json)) {
		char *is = body ? json_dumps(body, 0) : NULL;
		fail_msg("is %s, wanted %s", is ? is : "nothing", text);
	}
	json_decref(json);
	json_decref(body);
}

static void refused(json_t *body, const struct error *err, const char *message)
{
	assert_null(body);
	assert_int_equal(err->id, ERR_USAGE);
	if (!strstr(err->message, message))
		fail_msg("\"%s\" lacks \"%s\"", err->message, message);
}

static void a_small_one(void **state)
{
	struct error err;
	(void)state;
	same(BODY(&err, "--rootfs", "/srv/a", "--", "/bin/a", "--help"),
	     "{'definition':{'name':'db1','rootfs':'/srv/a',"
	     "'process':{'args':['/bin/a','--help']}}}");
}

static void a_full_one(void **state)
{
	struct error err;
	(void)state;
	same(BODY(&err, "--rootfs=/srv/a", "--type", "system", "--hostname", "h", "--storage",
		  "shared", "--memory", "512M", "--cpus", "1.5", "--pids", "100", "--user",
		  "999:998", "--env", "A=1", "--env", "PATH=/x", "--dns", "10.0.0.1", "--volume",
		  "/srv/v:/data:ro,storage=shared", "--group", "night", "--group", "web",
		  "--priority", "-3", "--autostart", "--restart", "on-failure", "--net",
		  "bridge=br1,address=10.0.0.5/24,address=fd::5/64", "--net",
		  "gateway=10.1.0.1,mac=02:00:00:00:00:01", "--net",
		  "bridge=b,gateway=10.2.0.1,gateway=fd::1", "--volume", "data:/d", "--cap-add",
		  "NET_RAW", "--cap-drop", "ALL", "--seccomp", "unconfined", "--start"),
	     "{'start':true,'cap_add':['NET_RAW'],'cap_drop':['ALL'],'definition':{'name':'db1',"
	     "'rootfs':'/srv/a','type':'system','hostname':'h','storage':'shared',"
	     "'resources':{'memory_bytes':536870912,'cpu_millis':1500,'pids':100},"
	     "'process':{'uid':999,'gid':998,'env':['A=1','PATH=/x']},'dns':['10.0.0.1'],"
	     "'mounts':[{'destination':'/data','type':'bind','source':'/srv/v',"
	     "'options':['bind','ro'],'volume':true,'storage':'shared'},{'destination':'/d',"
	     "'type':'bind','source':'data','options':['bind','rw'],'volume':true}],"
	     "'seccomp':'unconfined','groups':['night','web'],'priority':-3,'autostart':true,"
	     "'restart':'on-failure',"
	     "'networks':[{'bridge':'br1','addresses':['10.0.0.5/24','fd::5/64']},"
	     "{'addresses':[],'gateway':'10.1.0.1','mac':'02:00:00:00:00:01'},"
	     "{'bridge':'b','addresses':[],'gateway':['10.2.0.1','fd::1']}]}}");
}

static void a_bundle_with_overrides(void **state)
{
	struct error err;
	(void)state;
	same(BODY(&err, "--bundle", "/b", "--address", "10.0.0.5/24", "--address", "fd::5/64",
		  "--bridge", "br0", "--env", "A=1"),
	     "{'bundle':'/b','name':'db1','process':{'env':['A=1']},"
	     "'networks':[{'bridge':'br0','addresses':['10.0.0.5/24','fd::5/64']}]}");
}

static void keeps_a_path_beside_other_variables(void **state)
{
	struct error err;
	(void)state;
	json_t *body = BODY(&err, "--rootfs", "/a", "--env", "A=1", "--", "a");
	json_t *env = json_object_get(
		json_object_get(json_object_get(body, "definition"), "process"), "env");
	assert_int_equal(json_array_size(env), 2);
	assert_int_equal(strncmp(json_string_value(json_array_get(env, 0)), "PATH=/", 6), 0);
	json_decref(body);
}

static void relative_directories_become_whole(void **state)
{
	struct error err;
	char here[PATH_MAX], wanted[PATH_MAX + 8];
	(void)state;
	assert_non_null(getcwd(here, sizeof(here)));
	snprintf(wanted, sizeof(wanted), "%s/b", here);
	json_t *body = BODY(&err, "--bundle", "b");
	assert_string_equal(json_string_value(json_object_get(body, "bundle")), wanted);
	json_decref(body);
}

static void reads_a_seccomp_file(void **state)
{
	struct error err;
	char path[] = "/tmp/wpar-unit-seccomp-XXXXXX";
	int fd = mkstemp(path);
	(void)state;
	assert_int_equal(write(fd, "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}", 34), 34);
	same(BODY(&err, "--rootfs", "/a", "--seccomp", path),
	     "{'definition':{'name':'db1','rootfs':'/a',"
	     "'seccomp':{'defaultAction':'SCMP_ACT_ALLOW'}}}");
	assert_int_equal(ftruncate(fd, 5), 0);
	refused(BODY(&err, "--rootfs", "/a", "--seccomp", path), &err, "line 1");
	assert_int_equal(pwrite(fd, "[1,2]", 5, 0), 5);
	refused(BODY(&err, "--rootfs", "/a", "--seccomp", path), &err, "not an object");
	close(fd);
	unlink(path);
	refused(BODY(&err, "--rootfs", "/a", "--seccomp", path), &err, "cannot open");
}

static void refuses_what_it_cannot_read(void **state)
{
	struct error err;
	(void)state;
	refused(BODY(&err, "--memory", "1G"), &err, "one of --bundle DIR, --image");
	refused(BODY(&err, "--rootfs", "/a", "--bundle", "/b"), &err, "one of --bundle");
	refused(BODY(&err, "--rootfs", ""), &err, "a directory is wanted");
	refused(BODY(&err, "--rootfs", "/a", "--memory", "lots"), &err, "--memory: \"lots\"");
	refused(BODY(&err, "--rootfs", "/a", "--cpus", "0"), &err, "--cpus: \"0\"");
	refused(BODY(&err, "--rootfs", "/a", "--pids", "0"), &err, "--pids: \"0\"");
	refused(BODY(&err, "--rootfs", "/a", "--pids", "9x"), &err, "--pids: \"9x\"");
	refused(BODY(&err, "--rootfs", "/a", "--user", "redis"), &err, "--user \"redis\"");
	refused(BODY(&err, "--rootfs", "/a", "--user", "1:"), &err, "--user");
	refused(BODY(&err, "--rootfs", "/a", "--user", "1:2:3"), &err, "--user");
	refused(BODY(&err, "--rootfs", "/a", "--user", "4294967295"), &err, "--user");
	refused(BODY(&err, "--rootfs", "/a", "--env", "A"), &err, "KEY=VALUE");
	refused(BODY(&err, "--rootfs", "/a", "--env", "=1"), &err, "KEY=VALUE");
	refused(BODY(&err, "--rootfs", "/a", "--volume", "/a"), &err, "SRC:DST");
	refused(BODY(&err, "--rootfs", "/a", "--volume", "./a:/b"), &err, "SRC:DST");
	refused(BODY(&err, "--rootfs", "/a", "--volume", ":/b"), &err, "SRC:DST");
	refused(BODY(&err, "--rootfs", "/a", "--volume", "/a:/b:rx"), &err, "SRC:DST");
	refused(BODY(&err, "--rootfs", "/a", "--volume", "/a:/b:ro:x"), &err, "SRC:DST");
	refused(BODY(&err, "--rootfs", "/a", "--net", "br0"), &err, "parts are");
	refused(BODY(&err, "--rootfs", "/a", "--net", "bridge="), &err, "parts are");
	refused(BODY(&err, "--rootfs", "/a", "--net", "bridge=a,bridge=b"), &err, "parts are");
	refused(BODY(&err, "--rootfs", "/a", "--net", "vlan=5"), &err, "parts are");
	refused(BODY(&err, "--rootfs", "/a", "--net", "bridge=a", "--address", "10.0.0.1/8"), &err,
		"do not go together");
	refused(BODY(&err, "--rootfs", "/a", "--volume", "/a:/b,storage=far"), &err, "SRC:DST");
	refused(BODY(&err, "--rootfs", "/a", "--volume", "/a:/b,storage=shared:ro"), &err,
		"SRC:DST");
	refused(BODY(&err, "--rootfs", "/a", "--priority", "high"), &err, "--priority \"high\"");
	refused(BODY(&err, "--image", "docker.io/redis"), &err, "--image \"docker.io");
	refused(BODY(&err, "--image", "oci:"), &err, "--image \"oci:\"");
	refused(BODY(&err, "--image", "oci:/a", "--rootfs", "/a"), &err, "one of --bundle");
	refused(BODY(&err, "--rootfs", "/a", "--memory", ""), &err, "--memory wants a value");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_small_one),
		cmocka_unit_test(a_full_one),
		cmocka_unit_test(a_bundle_with_overrides),
		cmocka_unit_test(keeps_a_path_beside_other_variables),
		cmocka_unit_test(relative_directories_become_whole),
		cmocka_unit_test(reads_a_seccomp_file),
		cmocka_unit_test(refuses_what_it_cannot_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
