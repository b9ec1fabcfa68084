// SPDX-License-Identifier: Apache-2.0
// Each verb as it is called from a shell: what it asks of relocd, what it prints for people and for
// programs, and its exit code. The program is the one that was built beside this test.
#include "tests/unit/fake_relocd.h"
#include "wparctl/verbs.h"

#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>

#define WORDS_MAX 32

// ---- a relocd that answers by a table -----------------------------------------------------------

struct answer {
	const char *request; // how it begins, "POST /v1/moves "
	const char *status;
	const char *body; // ' stands for "
};

static const struct answer *answers; // ends with request NULL
static char sent[16384];             // a line for each request: METHOD PATH BODY

static char *quoted(const char *text)
{
	char *copy = strdup(text);
	for (char *c = copy; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	return copy;
}

static const struct answer *answer_to(const char *request)
{
	static const struct answer nothing = {NULL, "200 OK", "{'schema':1,'data':null}"};
	for (const struct answer *a = answers; a && a->request; a++)
		if (!strncmp(a->request, request, strlen(a->request)))
			return a;
	return &nothing;
}

static void serve(struct fake *fake, int fd)
{
	const char *request = fake->request + strspn(fake->request, "\r\n");
	size_t head = strcspn(request, "\r"), used = strlen(sent);
	const char *body = strstr(request, "\r\n\r\n");
	int length = (int)head - (int)strlen(" HTTP/1.1");
	snprintf(sent + used, sizeof(sent) - used, "%.*s%s%s\n", length, request,
		 body && body[4] ? " " : "", body ? body + 4 : "");
	const struct answer *a = answer_to(request);
	char *text = quoted(a->body);
	dprintf(fd,
		"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
		a->status, strlen(text), text);
	free(text);
}

// ---- running wparctl ----------------------------------------------------------------------------

static char out[32768], err[8192];

static const char *program(void)
{
	static char path[PATH_MAX + 32];
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	assert_true(n > 0);
	self[n] = 0;
	*strrchr(self, '/') = 0;
	snprintf(path, sizeof(path), "%s/../../bin/wparctl", self);
	return path;
}

static void slurp(int file, char *text, size_t size)
{
	ssize_t n = pread(file, text, size - 1, 0);
	text[n > 0 ? n : 0] = 0;
	close(file);
}

static _Noreturn void become(const struct fake *fake, const char *const *words, int in, int to,
			     int errors)
{
	const char *argv[WORDS_MAX + 4] = {"wparctl", "-c", fake->path};
	size_t n = 3;
	for (; *words; words++)
		argv[n++] = *words;
	dup2(in, STDIN_FILENO);
	dup2(to, STDOUT_FILENO);
	dup2(errors, STDERR_FILENO);
	execv(program(), (char *const *)argv);
	_exit(99);
}

static int run_words(struct fake *fake, const char *input, const char *const *words)
{
	int in = open("/tmp", O_TMPFILE | O_RDWR, 0600), status = -1;
	int to = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	int errors = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	assert_true(in >= 0 && to >= 0 && errors >= 0);
	assert_int_equal(pwrite(in, input, strlen(input), 0), strlen(input));
	fake->serve = serve;
	fake->hang_up = true; // a stream has a connection of its own
	sent[0] = 0;
	pid_t pid = fork();
	if (pid == 0)
		become(fake, words, in, to, errors);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	close(in);
	slurp(to, out, sizeof(out));
	slurp(errors, err, sizeof(err));
	return WEXITSTATUS(status);
}

// "set db1 env=a~b": words divided by spaces; "~" is a space in a word.
static int run(struct fake *fake, const char *line)
{
	char *text = strdup(line), *rest = text;
	const char *words[WORDS_MAX] = {NULL};
	size_t n = 0;
	for (char *word; (word = strsep(&rest, " ")) && n + 1 < WORDS_MAX;) {
		for (char *c = word; *c; c++)
			*c = *c == '~' ? ' ' : *c;
		words[n++] = word;
	}
	int code = run_words(fake, "", words);
	free(text);
	return code;
}

static void has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in: %s", part, text);
}

// The one request that was sent.
static void was_sent(const char *request, const char *body)
{
	size_t length = strlen(request);
	if (strncmp(sent, request, length) != 0 || (sent[length] != ' ' && sent[length] != '\n') ||
	    strchr(sent, '\n')[1])
		fail_msg("sent %s instead of %s", sent, request);
	if (!body) {
		assert_int_equal(sent[length], '\n');
		return;
	}
	char *text = quoted(body);
	json_t *is = json_loads(sent + length, 0, NULL), *wanted = json_loads(text, 0, NULL);
	assert_non_null(wanted);
	if (!is || !json_equal(is, wanted))
		fail_msg("sent %s instead of %s", sent, text);
	json_decref(is);
	json_decref(wanted);
	free(text);
}

static json_t *envelope(void)
{
	json_t *whole = json_loads(out, 0, NULL);
	if (!whole)
		fail_msg("not one JSON value: %s", out);
	assert_int_equal(json_integer_value(json_object_get(whole, "schema")), 1);
	return whole;
}

// ---- what each verb asks ------------------------------------------------------------------------

static const struct {
	const char *line, *request, *body;
} asks[] = {
	{"show db1", "GET /v1/partitions/db1", NULL},
	{"set db1 memory=1G cpus=1.5 pids=", "PATCH /v1/partitions/db1",
	 "{'resources':{'memory_bytes':1073741824,'cpu_millis':1500,'pids':0}}"},
	{"set db1 priority=-2 groups=night,web autostart=yes restart=always",
	 "PATCH /v1/partitions/db1",
	 "{'priority':-2,'groups':['night','web'],'autostart':true,'restart':'always'}"},
	{"set db1 --on-next-start dns= grace=2m user=5:6 hostname=h", "PATCH /v1/partitions/db1",
	 "{'on_next_start':true,'dns':[],'grace_ms':120000,'process':{'uid':5,'gid':6},"
	 "'hostname':'h'}"},
	{"set db1 process.cwd=/data process.env=[A=1,B=2] networks=[{bridge:~br0,addresses:~[]}]",
	 "PATCH /v1/partitions/db1",
	 "{'process':{'cwd':'/data','env':['A=1','B=2']},'networks':[{'bridge':'br0','addresses':[]"
	 "}]}"},
	{"set db1 readonly=true", "PATCH /v1/partitions/db1", "{'readonly':true}"},
	{"rename db1 db2", "PATCH /v1/partitions/db1", "{'name':'db2'}"},
	{"start db1", "POST /v1/partitions/db1/start", "{}"},
	{"stop db1", "POST /v1/partitions/db1/stop", "{'kill':false}"},
	{"stop db1 --grace 2s --kill", "POST /v1/partitions/db1/stop",
	 "{'kill':true,'grace_ms':2000}"},
	{"restart db1 --grace 1s", "POST /v1/partitions/db1/restart",
	 "{'kill':false,'grace_ms':1000}"},
	{"remove db1", "DELETE /v1/partitions/db1", NULL},
	{"remove db1 --force --volumes", "DELETE /v1/partitions/db1?force=1&volumes=1", NULL},
	{"list", "GET /v1/partitions", NULL},
	{"list --local --state Active", "GET /v1/partitions?local=1&state=Active", NULL},
	{"status db1", "GET /v1/partitions/db1", NULL},
	{"status a/b", "GET /v1/partitions/a%2Fb", NULL},
	{"validate db1 hostB hostC", "POST /v1/partitions/db1/validate",
	 "{'hosts':['hostB','hostC']}"},
	{"relocate db1 hostB --no-wait", "POST /v1/moves", "{'partition':'db1','host':'hostB'}"},
	{"relocate db1 hostB --no-wait --deadline 90s --end-exec", "POST /v1/moves",
	 "{'partition':'db1','host':'hostB','options':{'deadline_ms':90000,'end_exec':true}}"},
	{"relocate db1 hostB --no-wait --max-downtime 50ms --on-diverge abort --bandwidth 1MiB/s "
	 "--compress lz4 --streams 3 "
	 "--strict-downtime --engine stop --restore eager",
	 "POST /v1/moves",
	 "{'partition':'db1','host':'hostB','options':{'strict_downtime':true,"
	 "'on_diverge':'abort','compress':'lz4','engine':'stop','restore':'eager','max_downtime_ms'"
	 ":50,"
	 "'bandwidth_bytes':1048576,'streams':3}}"},
	{"relocate db1 --back --no-wait", "POST /v1/moves", "{'partition':'db1','back':true}"},
	{"relocate db1 hostB --dry-run", "POST /v1/partitions/db1/validate", "{'hosts':['hostB']}"},
	{"moves", "GET /v1/moves", NULL},
	{"cancel m-1", "POST /v1/moves/m-1/cancel", "{}"},
	{"explain db1", "GET /v1/moves/db1", NULL},
	{"recover db1", "POST /v1/moves/db1/recover", "{}"},
	{"recover db1 --keep hostB --reason it~burnt --peer-is-dead", "POST /v1/moves/db1/recover",
	 "{'keep':'hostB','reason':'it burnt','peer_is_dead':true}"},
	{"recover db1 --keep hostB --reason x", "POST /v1/moves/db1/recover",
	 "{'keep':'hostB','reason':'x','peer_is_dead':false}"},
	{"history", "GET /v1/history", NULL},
	{"history db1 --failed --since 2026-01-31T10:00:00+02:00",
	 "GET /v1/history?of=db1&since=2026-01-31T08%3A00%3A00Z&failed=1", NULL},
	{"adopt db1 db2 --peer-is-dead --reason it~burnt", "POST /v1/adopt",
	 "{'names':['db1','db2'],'peer_is_dead':true,'reason':'it burnt'}"},
	{"adopt --from hostA --peer-is-dead --reason x", "POST /v1/adopt",
	 "{'from':'hostA','peer_is_dead':true,'reason':'x'}"},
	{"events", "GET /v1/events", NULL},
	{"hosts", "GET /v1/hosts", NULL},
	{"cordon hostB", "POST /v1/hosts/hostB/cordon", "{}"},
	{"cordon hostB --reason new~memory", "POST /v1/hosts/hostB/cordon",
	 "{'reason':'new memory'}"},
	{"uncordon hostB", "POST /v1/hosts/hostB/uncordon", "{}"},
	{"check-host hostB", "GET /v1/hosts/hostB/check", NULL},
	{"cluster init", "POST /v1/cluster/init", "{}"},
	{"cluster add-host hostB --address 10.0.0.2", "POST /v1/cluster/add-host",
	 "{'name':'hostB','address':'10.0.0.2'}"},
	{"cluster join wpar1.x", "POST /v1/cluster/join", "{'token':'wpar1.x'}"},
	{"cluster status", "GET /v1/cluster", NULL},
	{"cluster renew", "POST /v1/cluster/renew", "{'host':null,'ca':false}"},
	{"cluster renew hostB --ca", "POST /v1/cluster/renew", "{'host':'hostB','ca':true}"},
	{"cluster revoke hostB --reason stolen", "POST /v1/cluster/revoke",
	 "{'host':'hostB','reason':'stolen'}"},
	{"cluster remove-host hostB", "POST /v1/cluster/remove-host",
	 "{'host':'hostB','lost':false}"},
	{"cluster remove-host hostB --lost --reason burnt", "POST /v1/cluster/remove-host",
	 "{'host':'hostB','lost':true,'reason':'burnt'}"},
	{"cluster trust-local --reason alone", "POST /v1/cluster/trust-local",
	 "{'reason':'alone'}"},
	{"version", "GET /v1/version", NULL},
	{"logs db1", "GET /v1/partitions/db1/logs", NULL},
	{"logs -f db1 --since 2026-01-31T10:00:00+02:00",
	 "GET /v1/partitions/db1/logs?follow=1&since=2026-01-31T08%3A00%3A00Z", NULL},
	{"-c hostB start db1", "POST /v1/partitions/db1/start?host=hostB", "{}"},
	{"-c hostB list --local", "GET /v1/partitions?local=1&host=hostB", NULL},
	{"-c hostB logs db1", "GET /v1/partitions/db1/logs?host=hostB", NULL},
	{"create db1 --image oci:/i:latest --start", "POST /v1/partitions",
	 "{'name':'db1','image':'oci:/i:latest','start':true}"},
};

// Whether "POST /v1/moves/m-1/cancel?x" is the operation "POST /v1/moves/{}/cancel".
static bool is_operation(const char *request, const char *operation)
{
	size_t length = strcspn(operation, "\n");
	for (const char *end = operation + length; operation < end;)
		if (!strncmp(operation, "{}", 2)) {
			operation += 2;
			request += strcspn(request, "/?");
		} else if (*operation++ != *request++) {
			return false;
		}
	return !*request || *request == '?';
}

// The table of verbs says what each uses.
static void in_the_table(const char *line, const char *request)
{
	char word[2][32] = {"", ""}, both[80];
	while (*line == '-') // -c HOST
		line += strcspn(line, " ") + 1, line += strcspn(line, " ") + 1;
	sscanf(line, "%31s %31s", word[0], word[1]);
	snprintf(both, sizeof(both), "%s %s", word[0], word[1]);
	const struct verb *verb = verb_find(word[0]);
	verb = verb ? verb : verb_find(both);
	assert_non_null(verb);
	for (const char *at = verb->calls; at; at = strchr(at, '\n')) {
		at += *at == '\n';
		if (is_operation(request, at))
			return;
	}
	fail_msg("%s: the table of verbs lacks %s", verb->name, request);
}

static void each_verb_asks_for_it(void **state)
{
	for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
		answers = NULL;
		run(*state, asks[i].line);
		was_sent(asks[i].request, asks[i].body);
		in_the_table(asks[i].line, asks[i].request);
	}
}

static void every_verb_is_tried(void **state)
{
	static const char *const elsewhere[] = {"wait", "exec"}; // streams: tests of their own
	const struct verb *verb;
	(void)state;
	for (size_t n = 0; (verb = verb_at(n)); n++) {
		bool tried = !strcmp(verb->name, elsewhere[0]) || !strcmp(verb->name, elsewhere[1]);
		for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++)
			tried = tried || strstr(asks[i].line, verb->name);
		if (!tried)
			fail_msg("nothing tries %s", verb->name);
	}
}

// ---- what is refused here -----------------------------------------------------------------------

static void wrong_usage_sends_nothing(void **state)
{
	static const char *const lines[] = {
		"relocate",
		"relocate db1",
		"relocate --back",
		"relocate --group g",
		"relocate --group g db1 hostB",
		"relocate --group g --back db1",
		"relocate db1 hostB --deadline soon",
		"stop db1 --grace 5",
		"set db1 memory",
		"set db1 memory=much",
		"set db1 =1",
		"set db1 .a=1",
		"set db1 name=db2",
		"set db1 autostart=perhaps",
		"set db1 priority=high",
		"set db1 process.cwd=[",
		"set db1 a=1 a.b=2 --nothing",
		"rename db1",
		"remove",
		"explain",
		"relocate db1 hostB --max-downtime soon",
		"relocate db1 hostB --bandwidth 100",
		"recover db1 --keep hostB",
		"recover db1 --keep hostB --reason=",
		"recover db1 --reason x",
		"recover db1 --peer-is-dead",
		"adopt --peer-is-dead --reason x",
		"adopt db1 --from hostA --peer-is-dead --reason x",
		"adopt db1 --reason x",
		"adopt db1 --peer-is-dead --reason=",
		"cluster remove-host hostB --lost",
		"cluster trust-local",
		"cluster add-host hostB",
		"cluster",
		"events --after soon",
		"events --after -1",
		"moves --since yesterday",
		"logs db1 --since 2026-01-31T10:00:00",
		"create",
		"create db1",
		"create db1 --bundle /a --image oci:/b",
		"create -f /nonexistent/file",
		"create db1 --image docker://redis",
		"--connect= list",
	};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		int code = run(*state, lines[i]);
		if (code != 2 || sent[0])
			fail_msg("%s: exit code %d, sent \"%s\"", lines[i], code, sent);
		if (strncmp(err, "wparctl: ", 9) != 0 || !strstr(err, "(WPAR-I005)\n  hint: "))
			fail_msg("%s: %s", lines[i], err);
	}
}

// ---- errors of relocd ---------------------------------------------------------------------------

#define FAILURE(code) \
	"{'schema':1,'errors':[{'code':'" code "','message':'it is \\u001b[2Jso','hint':'look'}]}"

static void each_class_has_its_exit_code(void **state)
{
	static const struct {
		const char *body;
		int code;
	} classes[] = {
		{FAILURE("WPAR-M006"), 1},  {FAILURE("WPAR-P007"), 2}, {FAILURE("WPAR-P003"), 3},
		{FAILURE("WPAR-V021"), 4},  {FAILURE("WPAR-P004"), 5}, {FAILURE("WPAR-M004"), 6},
		{FAILURE("WPAR-I007"), 7},  {FAILURE("WPAR-M013"), 8}, {FAILURE("WPAR-M007"), 9},
		{FAILURE("WPAR-A002"), 13},
	};
	for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
		size_t c = i % (sizeof(classes) / sizeof(classes[0]));
		answers = (struct answer[]){{"", "500 X", classes[c].body}, {0}};
		assert_int_equal(run(*state, asks[i].line), classes[c].code);
		has(err, "it is ?[2Jso (WPAR-");
		has(err, ")\n  hint: look\n");
		char line[256];
		snprintf(line, sizeof(line), "--json %s", asks[i].line);
		assert_int_equal(run(*state, line), classes[c].code);
		if (strstr(asks[i].line, "logs"))
			continue; // bytes, not JSON
		json_t *whole = envelope();
		json_t *error = json_array_get(json_object_get(whole, "errors"), 0);
		assert_string_equal(json_string_value(json_object_get(error, "hint")), "look");
		assert_string_equal(err, "");
		json_decref(whole);
	}
}

static void nobody_listens(void **state)
{
	static const char *const lines[] = {"-c /nonexistent/sock list", "-c /x/y start db1",
					    "-c /x/y events -f", "-c /x/y relocate db1 hostB"};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_int_equal(run(*state, lines[i]), 6);
		has(err, "cannot reach relocd");
	}
}

#define GONE "{'schema':1,'errors':[{'code':'WPAR-P003','message':'no partition named b'}]}"

static void some_of_several_fail(void **state)
{
	static const char *const lines[] = {"start a b c",  "stop a b c",   "restart a b c",
					    "remove a b c", "status a b c", "cancel a b c"};
	static const struct answer one_fails[] = {
		{"POST /v1/partitions/b/", "404 X", GONE},
		{"DELETE /v1/partitions/b", "404 X", GONE},
		{"GET /v1/partitions/b", "404 X", GONE},
		{"POST /v1/moves/b/", "404 X", GONE},
		{"", "200 OK", "{'schema':1,'data':{'name':'a','state':'Active'}}"},
		{0}};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char line[64];
		answers = one_fails;
		assert_int_equal(run(*state, lines[i]), 11);
		has(err, "wparctl: b: no partition named b (WPAR-P003)\n");
		has(sent, "/c"); // the others were not left out
		snprintf(line, sizeof(line), "--json %s", lines[i]);
		assert_int_equal(run(*state, line), 11);
		json_t *whole = envelope();
		assert_int_equal(json_array_size(json_object_get(whole, "data")), 2);
		assert_int_equal(json_array_size(json_object_get(whole, "errors")), 1);
		json_decref(whole);
	}
	answers = (struct answer[]){{"", "404 X", GONE}, {0}};
	assert_int_equal(run(*state, "start b b"), 3);
}

// ---- what is printed ----------------------------------------------------------------------------

#define LIST                                                                                   \
	"{'schema':1,'data':[{'name':'web','state':'Active','host':'hostB','type':'system',"   \
	"'addresses':['10.0.0.2/24']},{'name':'db1','state':'Departed','host':'hostA','type':" \
	"'application','addresses':[],'departed_to':'hostB'},{'name':'db1','state':'Active',"  \
	"'host':'hostB','type':'application','memory_bytes':536870912,'addresses':[]}],"       \
	"'warnings':[{'code':'WPAR-M004','host':'hostC','message':'hostC does not answer'}]}"

static void list_shows_all_hosts(void **state)
{
	answers = (struct answer[]){{"", "200 OK", LIST}, {0}};
	assert_int_equal(run(*state, "list"), 0);
	assert_string_equal(
		out, "NAME  STATE        HOST   TYPE         ADDRESSES     MEMORY  REASON\n"
		     "db1   Departed     hostA  application  -                  -  now on hostB\n"
		     "db1   Active       hostB  application  -            512 MiB  -\n"
		     "web   Active       hostB  system       10.0.0.2/24        -  -\n"
		     "-     unreachable  hostC  -            -                  -  hostC does not "
		     "answer\n");
	assert_string_equal(err, "");
	assert_int_equal(run(*state, "--quiet list"), 0);
	assert_string_equal(out, "db1\ndb1\nweb\n");
	has(err, "hostC does not answer (WPAR-M004)"); // never silently missing
	assert_int_equal(run(*state, "--json list"), 0);
	json_t *whole = envelope();
	assert_int_equal(json_array_size(json_object_get(whole, "data")), 3);
	assert_int_equal(json_array_size(json_object_get(whole, "warnings")), 1);
	json_decref(whole);
}

#define DEFINITION                                                                              \
	"'definition':{'name':'db1','uuid':'u','owner':'hostA','epoch':3,'cpu_features':['x']," \
	"'rootfs':'/srv/a','hostname':'yes','process':{'args':['/bin/a','-x','a: b'],'uid':0}," \
	"'networks':[{'bridge':'br0','gateway':null,'addresses':['10.0.0.5/24'],'mac':"         \
	"'02:00:00:00:00:01'}],'dns':[],'groups':['night'],'priority':0,'autostart':false,"     \
	"'mounts':[{'destination':'/d','source':'/s/wpar-volumes/u/data','volume':true},"       \
	"{'destination':'/e','source':'/x/u/data'}]}"

#define PARTITION                                                                                \
	"{'schema':1,'data':{'name':'db1','state':'Active','host':'hostA','epoch':3,"            \
	"'came_from':'hostB','revision':7,'restarts':2,'pending':['dns','hostname']," DEFINITION \
	"}}"

static void show_prints_what_create_reads(void **state)
{
	answers = (struct answer[]){{"GET", "200 OK", PARTITION}, {0}};
	assert_int_equal(run(*state, "show db1"), 0);
	assert_string_equal(out, "name: db1\n"
				 "rootfs: /srv/a\n"
				 "hostname: 'yes'\n"
				 "process:\n"
				 "  args:\n"
				 "  - /bin/a\n"
				 "  - '-x'\n"
				 "  - 'a: b'\n"
				 "  uid: 0\n"
				 "networks:\n"
				 "- bridge: br0\n"
				 "  addresses:\n"
				 "  - '10.0.0.5/24'\n"
				 "  mac: '02:00:00:00:00:01'\n"
				 "dns: []\n"
				 "groups:\n"
				 "- night\n"
				 "priority: 0\n"
				 "autostart: false\n"
				 "mounts:\n"
				 "- destination: /d\n"
				 "  source: data\n"
				 "  volume: true\n"
				 "- destination: /e\n"
				 "  source: /x/u/data\n");
	char *definition = strdup(out);
	const char *const same[] = {"create", "-f", "-", "--start", NULL};
	assert_int_equal(run_words(*state, definition, same), 0);
	was_sent("POST /v1/partitions",
		 "{'start':true,'definition':{'name':'db1','rootfs':'/srv/a','hostname':'yes',"
		 "'process':{'args':['/bin/a','-x','a: b'],'uid':0},'networks':[{'bridge':'br0',"
		 "'addresses':['10.0.0.5/24'],'mac':'02:00:00:00:00:01'}],'dns':[],'groups':"
		 "['night'],'priority':0,'autostart':false,'mounts':[{'destination':'/"
		 "d','source':'data','volume':true},"
		 "{'destination':'/e','source':'/x/u/data'}]}}");
	assert_string_equal(out, "db1: created and started\n");
	// Another name: another partition, with hardware addresses of its own; options replace.
	const char *const other[] = {"create", "db2", "-f", "-", "--priority", "5",
				     "--user", "9",   "--", "b", NULL};
	assert_int_equal(run_words(*state, definition, other), 0);
	was_sent("POST /v1/partitions",
		 "{'definition':{'name':'db2','rootfs':'/srv/a','hostname':'yes','process':{'args':"
		 "['b'],'uid':9,'gid':9},'networks':[{'bridge':'br0','addresses':['10.0.0.5/24']}],"
		 "'dns':[],'groups':['night'],'priority':5,'autostart':false,'mounts':[{'"
		 "destination':'/d','source':'data','volume':true},"
		 "{'destination':'/e','source':'/x/u/data'}]}}");
	free(definition);
	assert_int_equal(run(*state, "--json show db1"), 0);
	json_t *whole = envelope();
	assert_null(json_object_get(json_object_get(whole, "data"), "uuid"));
	json_decref(whole);
}

static void files_that_are_no_definitions(void **state)
{
	static const char *const files[] = {"",
					    "- a\n",
					    "a: [\n",
					    "a: 1\na: 2\n",
					    "a: &x 1\nb: *x\n",
					    "just text",
					    "--- \na: 1\n---\nb: 2\n",
					    "a: !!int 1\n",
					    "rootfs: /a\n"};
	const char *const words[] = {"create", "-f", "-", NULL};
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		int code = run_words(*state, files[i], words);
		if (code != 2 || sent[0])
			fail_msg("\"%s\": %d, sent %s", files[i], code, sent);
	}
}

static void set_says_what_waits(void **state)
{
	answers = (struct answer[]){{"PATCH", "200 OK", PARTITION}, {0}};
	assert_int_equal(run(*state, "set db1 dns=10.0.0.1 hostname=h"), 0);
	assert_string_equal(out, "db1: set; at its next start: dns, hostname\n");
	assert_int_equal(run(*state, "--quiet set db1 dns=10.0.0.1"), 0);
	assert_string_equal(out, "");
}

static void status_has_it_all(void **state)
{
	answers = (struct answer[]){{"GET", "200 OK", PARTITION}, {0}};
	assert_int_equal(run(*state, "status db1"), 0);
	has(out, "came from:     hostB\n");
	has(out, "restarts:      2\n");
	has(out, "at next start: dns, hostname\n");
	has(out, "groups:        night\n");
	assert_int_equal(run(*state, "status db1 --check active"), 0);
	assert_string_equal(out, "");
	assert_int_equal(run(*state, "status db1 --check Defined"), 1);
	assert_int_equal(run(*state, "status db1 db1 --check Active"), 0);
}

static void hosts_tell_what_is_wrong(void **state)
{
	answers = (struct answer[]){
		{"", "200 OK",
		 "{'schema':1,'data':[{'name':'hostA','address':'10.0.0.1','self':true,'reachable':"
		 "true,'cordoned':true,'reason':'new memory','partitions':2,'version':'1'},{'name':"
		 "'hostB','address':'10.0.0.2','self':false,'reachable':false,'error':{'message':"
		 "'no route'}}]}"},
		{0}};
	assert_int_equal(run(*state, "hosts"), 0);
	assert_string_equal(
		out, "HOST   ADDRESS   STATE                PARTITIONS  VERSION  REASON\n"
		     "hostA  10.0.0.1  this host, cordoned           2  1        new memory\n"
		     "hostB  10.0.0.2  unreachable                   -  -        no route\n");
	assert_int_equal(run(*state, "-q hosts"), 0);
	assert_string_equal(out, "hostA\nhostB\n");
}

static void the_cluster_is_compared(void **state)
{
	answers = (struct answer[]){
		{"", "200 OK",
		 "{'schema':1,'data':{'ca_not_after':'2036-01-01T00:00:00Z','hosts':[{'name':"
		 "'hostA','address':'10.0.0.1','self':true,'reachable':true,'version':'1',"
		 "'protocol':2,'criu':'4.1','kernel':'6.1','certificate_not_after':"
		 "'2027-01-01T00:00:00Z','clock_skew_ms':0},{'name':'hostB','address':'10.0.0.2',"
		 "'self':false,'reachable':true,'revoked':true,'clock_skew_ms':-12.5}]}}"},
		{0}};
	assert_int_equal(run(*state, "cluster status"), 0);
	has(out, "hostA  10.0.0.1  this host  1               2  4.1   6.1");
	has(out, "hostB  10.0.0.2  revoked");
	has(out, "-12 ms");
	has(out, "certificate authority until 2036-01-01T00:00:00Z\n");
}

static void checks_of_a_host(void **state)
{
	answers = (struct answer[]){
		{"GET /v1/version", "200 OK", "{'schema':1,'data':{'host':'hostA'}}"},
		{"GET /v1/hosts/hostA/check", "200 OK",
		 "{'schema':1,'data':{'checks':[{'check':'kernel','outcome':'pass','message':'6.1'}"
		 ",{'check':'clock','outcome':'warn','message':'3 s off','hint':'start ntpd'},"
		 "{'check':'bridge','outcome':'fail','message':'no br0','hint':'make it'}]}}"},
		{0}};
	assert_int_equal(run(*state, "check-host"), 4);
	assert_string_equal(out, "CHECK   OUTCOME  MESSAGE\n"
				 "kernel  pass     6.1\n"
				 "clock   warn     3 s off\n"
				 "bridge  fail     no br0\n"
				 "error: no br0\n  hint: make it\n"
				 "warning: 3 s off\n  hint: start ntpd\n");
}

static void recovering(void **state)
{
	answers = (struct answer[]){
		{"", "200 OK",
		 "{'schema':1,'data':{'partition':'db1','move':'m-1','sides':[{'host':'hostA',"
		 "'reachable':true,'state':'In-doubt','decision':'prepared','epoch':3,'move_state':"
		 "'commit'},{'host':'hostB','reachable':false,'error':{'message':'no route'}}],"
		 "'proposal':{'act':'wait','text':'hostB may hold the decision'},'done':'hostB "
		 "runs it'}}"},
		{0}};
	assert_int_equal(run(*state, "recover db1"), 0);
	assert_string_equal(out, "move m-1 of db1\n"
				 "HOST   REACHABLE  STATE     EPOCH  DECISION  MOVE    ERROR\n"
				 "hostA  yes        In-doubt      3  prepared  commit  -\n"
				 "hostB  no         -             -  -         -       no route\n"
				 "proposed: wait: hostB may hold the decision\n");
	assert_int_equal(run(*state, "recover db1 --keep hostB --reason x"), 0);
	has(out, "db1: hostB runs it\n");
}

static void adopting(void **state)
{
	answers = (struct answer[]){
		{"POST /v1/adopt", "200 OK",
		 "{'schema':1,'data':[{'name':'db1','from':'hostA','host':'hostB','state':'Active',"
		 "'epoch':4,'seen':'2026-01-01T00:00:00Z','error':null},{'name':'db2','from':"
		 "'hostA','host':'hostB','state':null,'epoch':0,'seen':null,'error':{'code':"
		 "'WPAR-S003','message':'is on hostA alone'}}]}"},
		{0}};
	assert_int_equal(run(*state, "adopt --from hostA --peer-is-dead --reason x"), 11);
	assert_string_equal(out, "db1: adopted from hostA as it was at 2026-01-01T00:00:00Z: "
				 "Active\n");
	has(err, "db2: is on hostA alone (WPAR-S003)");
}

static void events_are_lines(void **state)
{
	answers = (struct answer[]){
		{"GET /v1/events?after=5&follow=1", "200 OK",
		 "{'seq':6,'time':'2026-01-01T00:00:00Z','host':'hostA','kind':'partition','event':"
		 "'started','partition':'db1','move':null,'data':{'pid':7}}\n"
		 "{'seq':7,'time':'2026-01-01T00:00:01Z','host':'hostA','kind':'host','event':"
		 "'cordoned','data':{'host':'host\\u001bB'},"
		 "'asked':{'user':'anna','role':'admin','host':'hostA'}}\n"},
		// relocd was restarted, and has pruned meanwhile
		{"GET /v1/events?after=7&follow=1", "410 Gone",
		 "{'schema':1,'errors':[{'code':'WPAR-I009','message':'those are gone'}]}"},
		{0}};
	assert_int_equal(run(*state, "events -f --after 5"), 3);
	has(err, "those are gone");
	assert_string_equal(out,
			    "6  2026-01-01T00:00:00Z  hostA  partition: started  db1  {\"pid\":7}\n"
			    "7  2026-01-01T00:00:01Z  hostA  host: cordoned  "
			    "{\"host\":\"host\\u001BB\"}  anna\n");
	assert_int_equal(run(*state, "--json events -f --after 5"), 3);
	has(out, "{\"schema\":1,\"data\":{\"seq\":6,");
	has(out, "\n{\"schema\":1,\"data\":{\"seq\":7,");
}

static void history_says_who(void **state)
{
	answers = (struct answer[]){
		{"GET /v1/history?of=m-1", "200 OK",
		 "{'schema':1,'data':[{'kind':'move','time':'2026-01-01T00:00:00.000Z','host':'a',"
		 "'what':'relocate','move':'m-1','partition':'db1','from':'a','to':'b','epoch':4,"
		 "'outcome':'aborted','started':'2026-01-01T00:00:00.000Z','ended':null,"
		 "'asked':{'user':'anna','role':'operator','host':'c','time':'t'},"
		 "'phases_ms':{'validate':12.5},'rounds':3,'transferred_bytes':2048,"
		 "'downtime_ms':41.0,'total_ms':900.0,"
		 "'error':{'code':'WPAR-M001','message':'it broke'},'reason':null}]}"},
		{"", "200 OK",
		 "{'schema':1,'data':[{'kind':'decision','time':'2026-01-01T00:00:00.000Z',"
		 "'host':'b','what':'kept','move':'m-1','partition':'db1','reason':'a burnt'},"
		 "{'kind':'partition','time':'2026-01-01T00:00:00.000Z','host':'b','what':'state',"
		 "'partition':'db1','move':null,'reason':'signal 9','data':{'to':'Failed'}}],"
		 "'warnings':[{'code':'WPAR-M004','host':'c','message':'c is gone'}]}"},
		{0}};
	assert_int_equal(run(*state, "history m-1"), 0);
	has(out, "asked:   t by anna (operator) on c\n");
	has(out, "validate 12.5 ms\n");
	has(out, "WPAR-M001: it broke");
	has(out, "2 KiB");
	assert_int_equal(run(*state, "history"), 0);
	has(out, "a burnt");
	has(out, "Failed");
	has(err, "without c: c is gone");
	assert_int_equal(run(*state, "moves --all"), 0);
	has(err, "without c: c is gone");
	assert_int_equal(run(*state, "--json history"), 0);
	has(out, "\"warnings\":[{\"code\":\"WPAR-M004\"");
}

#define MOVE(id, state, started)                                               \
	"{'id':'" id "','partition':'db1','from':'a','to':'b','state':'" state \
	"','phase':'final',"                                                   \
	"'started':'" started "'}"

static void moves_by_state_and_time(void **state)
{
	answers = (struct answer[]){
		{"", "200 OK",
		 "{'schema':1,'data':[" MOVE("m-1", "done", "2026-01-01T00:00:00Z") "," MOVE(
			 "m-2", "done",
			 "2026-01-02T00:00:00.5Z") "," MOVE("m-3", "running",
							    "2026-01-03T00:00:00Z") "]}"},
		{0}};
	assert_int_equal(run(*state, "-q moves"), 0);
	assert_string_equal(out, "m-3\n");
	assert_int_equal(run(*state, "-q moves --all"), 0);
	assert_string_equal(out, "m-1\nm-2\nm-3\n");
	assert_int_equal(run(*state, "-q moves --since 2026-01-02T02:00:00+02:00"), 0);
	assert_string_equal(out, "m-2\nm-3\n");
}

// ---- several moves ------------------------------------------------------------------------------

#define DONE                                                                                  \
	"{'event':'done','result':{'move':'m-1','partition':'p','from':'hostA','to':'hostB'," \
	"'downtime_ms':40,'total_ms':800,'transferred_bytes':1024,'phases':{}}}\n"

#define BUSY "{'schema':1,'errors':[{'code':'WPAR-M002','message':'it moves'}]}"

static const struct answer moving[] = {
	{"GET /v1/partitions/odd ", "200 OK",
	 "{'schema':1,'data':{'name':'odd','definition':{'groups':['night']}}}"},
	{"GET /v1/partitions", "200 OK",
	 "{'schema':1,'data':[{'name':'a','state':'Active','host':'hostA','groups':['day','night']}"
	 ",{'name':'there','state':'Active','host':'hostB','groups':['night']},{'name':'gone',"
	 "'state':'Departed','host':'hostA','groups':['night']},{'name':'other','state':'Active',"
	 "'host':'hostA','groups':['day']},{'name':'odd','state':'Active','host':'hostA'}]}"},
	{"POST /v1/moves", "202 Accepted", "{'schema':1,'data':{'move':'m-1'}}"},
	{"GET /v1/moves/m-1/events", "200 OK", DONE},
	{"GET /v1/moves/m-1", "200 OK",
	 "{'schema':1,'data':{'id':'m-1','partition':'p','from':'hostA','to':'hostB'}}"},
	{0}};

static void a_group_moves(void **state)
{
	answers = moving;
	assert_int_equal(run(*state, "relocate --group night hostB"), 0);
	has(out, "there: is on hostB already\n");
	has(sent, "POST /v1/moves {\"partition\":\"a\",\"host\":\"hostB\"}\n");
	has(sent, "POST /v1/moves {\"partition\":\"odd\",\"host\":\"hostB\"}\n");
	assert_null(strstr(sent, "\"other\""));
	assert_null(strstr(sent, "\"gone\""));
	assert_null(strstr(sent, "\"there\""));
	assert_int_equal(run(*state, "relocate --group nobody hostB"), 3);
	assert_null(strstr(sent, "POST"));
	answers = (struct answer[]){{"", "200 OK", LIST}, {0}};
	assert_int_equal(run(*state, "relocate --group night hostB"), 6); // who is in it?
	assert_null(strstr(sent, "POST"));
}

static void stops_at_a_failure_unless_told(void **state)
{
	const struct answer second_fails[] = {
		{"POST /v1/moves", "409 X", BUSY},
		{0},
	};
	answers = second_fails;
	assert_int_equal(run(*state, "relocate a b c hostB"), 5);
	has(out, "b: left where it is\nc: left where it is\n");
	assert_null(strstr(sent, "\"b\""));
	assert_int_equal(run(*state, "relocate a b c hostB --keep-going"), 5);
	has(sent, "\"c\"");
}

static void names_of_moves_are_printed(void **state)
{
	answers = moving;
	assert_int_equal(run(*state, "relocate a b hostB --no-wait"), 0);
	assert_string_equal(out, "m-1\nm-1\n");
	assert_null(strstr(sent, "GET"));
	assert_int_equal(run(*state, "wait m-1"), 0);
	has(out, "p: moved from hostA to hostB in 800.0 ms, downtime 40.0 ms");
	assert_int_equal(run(*state, "-q wait m-1 m-1"), 0);
	assert_string_equal(out,
			    "p: moved from hostA to hostB in 800.0 ms, downtime 40.0 ms, 1 KiB "
			    "transferred\np: moved from hostA to hostB in 800.0 ms, downtime 40.0 "
			    "ms, 1 KiB transferred\n");
}

static void a_trial_of_going_back(void **state)
{
	answers = (struct answer[]){{"GET /v1/partitions/db1", "200 OK", PARTITION}, {0}};
	assert_int_equal(run(*state, "relocate db1 --back --dry-run"), 0);
	has(sent, "POST /v1/partitions/db1/validate {\"hosts\":[\"hostB\"]}\n");
	assert_int_equal(run(*state, "relocate db2 --back --dry-run"), 3);
}

static void a_full_disk_is_no_success(void **state)
{
	struct fake *fake = *state;
	char line[256];
	if (access("/dev/full", W_OK) < 0)
		skip();
	answers = (struct answer[]){{"GET", "200 OK", PARTITION}, {0}};
	fake->serve = serve;
	snprintf(line, sizeof(line), "%s -c %s show db1 >/dev/full 2>/dev/null", program(),
		 fake->path);
	assert_int_equal(WEXITSTATUS(system(line)), 1);
}

#define WITH_FAKE(test) cmocka_unit_test_setup_teardown(test, fake_start, fake_stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FAKE(each_verb_asks_for_it),
		cmocka_unit_test(every_verb_is_tried),
		WITH_FAKE(wrong_usage_sends_nothing),
		WITH_FAKE(each_class_has_its_exit_code),
		WITH_FAKE(nobody_listens),
		WITH_FAKE(some_of_several_fail),
		WITH_FAKE(list_shows_all_hosts),
		WITH_FAKE(show_prints_what_create_reads),
		WITH_FAKE(files_that_are_no_definitions),
		WITH_FAKE(set_says_what_waits),
		WITH_FAKE(status_has_it_all),
		WITH_FAKE(hosts_tell_what_is_wrong),
		WITH_FAKE(the_cluster_is_compared),
		WITH_FAKE(checks_of_a_host),
		WITH_FAKE(recovering),
		WITH_FAKE(adopting),
		WITH_FAKE(events_are_lines),
		WITH_FAKE(history_says_who),
		WITH_FAKE(moves_by_state_and_time),
		WITH_FAKE(a_group_moves),
		WITH_FAKE(stops_at_a_failure_unless_told),
		WITH_FAKE(names_of_moves_are_printed),
		WITH_FAKE(a_trial_of_going_back),
		WITH_FAKE(a_full_disk_is_no_success),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
