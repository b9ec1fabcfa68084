// SPDX-License-Identifier: Apache-2.0
// Completion: what wparctl offers, and that the real shells take it when TAB is pressed.
#include "lib/base/clock.h"
#include "lib/registry/state.h"
#include "tests/unit/fake_relocd.h"
#include "wparctl/complete.h"

#include <limits.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>

static const char partitions[] =
	"{\"schema\":1,\"data\":[{\"name\":\"db1\",\"state\":\"Active\",\"groups\":[\"night\"]},"
	"{\"name\":\"web1\",\"state\":\"Defined\",\"groups\":[\"night\",\"day\"]},"
	"{\"name\":\"gone\",\"state\":\"Departed\"},{\"name\":\"a b\",\"state\":\"Active\"},"
	"{\"name\":\"x\\u001b\",\"state\":\"Active\"}]}";
static const char hosts[] = "{\"schema\":1,\"data\":[{\"name\":\"hostA\",\"address\":\"10.0.0.1\"},"
			    "{\"name\":\"hostB\",\"address\":\"10.0.0.2\"}]}";
static const char moves[] = "{\"schema\":1,\"data\":[{\"id\":\"m-1\",\"partition\":\"db1\"}]}";

static void serve(struct fake *fake, int fd)
{
	fake_answer(fake, "200 OK",
		    strstr(fake->request, "/hosts")   ? hosts
		    : strstr(fake->request, "/moves") ? moves
						      : partitions);
	fake_write(fd, fake->answer, strlen(fake->answer));
}

// ---- what is offered ----------------------------------------------------------------------------

// The words that fit the last one of `line`, which are divided by single spaces, each with a space
// after it.
static const char *words_for(struct fake *fake, const char *line)
{
	static char found[4096];
	char *copy = strdup(line), *rest = copy, *words[32], *text = NULL;
	int count = 0;
	size_t length = 0;
	fake->serve = serve;
	fake->hang_up = true;
	words[count++] = "-c";
	words[count++] = fake->path;
	for (char *word; (word = strsep(&rest, " "));)
		words[count++] = word;
	FILE *to = open_memstream(&text, &length);
	complete_print(to, count, words);
	fclose(to);
	found[0] = 0;
	rest = text;
	for (char *each; (each = strsep(&rest, "\n"));)
		if (each[0])
			strcat(strncat(found, each, strcspn(each, "\t")), " ");
	free(text);
	free(copy);
	return found;
}

static void offers(struct fake *fake, const char *line, const char *wanted)
{
	const char *words = words_for(fake, line);
	if (strcmp(words, wanted) != 0)
		fail_msg("\"%s\": \"%s\" instead of \"%s\"", line, words, wanted);
}

static void verbs_and_options(void **state)
{
	offers(*state, "rel", "relocate ");
	offers(*state, "re", "rename restart remove relocate recover ");
	offers(*state, "clu", "cluster ");
	offers(*state, "cluster re", "renew revoke remove-host ");
	offers(*state, "cluster remove-host --l", "--lost ");
	offers(*state, "stop --", "--grace --kill --connect --json --quiet --help --version ");
	offers(*state, "nothing ", "");
	offers(*state, "--json lis", "list ");
}

static void names_and_hosts(void **state)
{
	offers(*state, "start ", "db1 web1 "); // one that is elsewhere now is no choice
	offers(*state, "start db1 w", "web1 ");
	offers(*state, "relocate ", "db1 web1 ");
	offers(*state, "relocate db1 h", "hostA hostB ");
	offers(*state, "relocate db1 w", "web1 ");
	offers(*state, "relocate --group n", "night ");
	offers(*state, "relocate --group night h", "hostA hostB ");
	offers(*state, "validate db1 ", "hostA hostB ");
	offers(*state, "show db1 ", "");
	offers(*state, "cancel ", "db1 web1 m-1 ");
	offers(*state, "wait ", "m-1 ");
	offers(*state, "-c h", "hostA hostB ");
	offers(*state, "cluster add-host ", "");
	offers(*state, "exec db1 -- ", ":files ");
}

static void values(void **state)
{
	offers(*state, "create x --restart ", "no on-failure always ");
	offers(*state, "create x --restart = al", "always "); // as bash divides it
	offers(*state, "create x --restart =", "no on-failure always ");
	offers(*state, "create x --restart=al", "--restart=always ");
	offers(*state, "create x --rootfs ", ":dirs ");
	offers(*state, "create -f ", ":files ");
	offers(*state, "create x --seccomp d", "default :files ");
	offers(*state, "create x --memory ", "");
	offers(*state, "set db1 au", "autostart= :nospace ");
	offers(*state, "recover db1 --keep ", "hostA hostB ");
}

static void all_states(void **state)
{
	char wanted[256] = "";
	for (unsigned s = 0; s < STATE_COUNT; s++)
		strcat(strcat(wanted, state_name(s)), " ");
	offers(*state, "list --state ", wanted);
}

static void nothing_without_relocd(void **state)
{
	struct fake *fake = *state;
	fake->path[strlen(fake->path) - 1] = 'x';
	offers(fake, "start ", "");
	offers(fake, "sta", "start status ");
	fake->path[strlen(fake->path) - 1] = 'k';
}

// ---- the shells ---------------------------------------------------------------------------------

struct shell {
	pid_t pid;
	int terminal;
	char text[65536]; // what it wrote
	size_t length;
};

static void folders(char *bin, char *scripts)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	assert_true(n > 0);
	self[n] = 0;
	*strrchr(self, '/') = 0;
	snprintf(bin, PATH_MAX + 16, "%s/../../bin", self);
	assert_non_null(realpath("scripts/completion", scripts));
}

static void type(struct shell *shell, const char *text)
{
	shell->length = 0;
	assert_int_equal(write(shell->terminal, text, strlen(text)), strlen(text));
}

static void wait_for(struct shell *shell, const char *part)
{
	deadline_t end = deadline_in_ms(20000);
	for (;;) {
		struct pollfd ready = {.fd = shell->terminal, .events = POLLIN};
		shell->text[shell->length] = 0;
		if (strstr(shell->text, part))
			return;
		ssize_t n = poll(&ready, 1, deadline_poll_ms(end)) > 0
				    ? read(shell->terminal, shell->text + shell->length,
					   sizeof(shell->text) - 1 - shell->length)
				    : 0;
		if (n <= 0)
			fail_msg("\"%s\" does not come: %s", part, shell->text);
		shell->length += (size_t)n;
	}
}

static void start_shell(struct shell *shell, const char *program, const char *option)
{
	char bin[PATH_MAX + 16], scripts[PATH_MAX], path[PATH_MAX * 2];
	folders(bin, scripts);
	snprintf(path, sizeof(path), "%s:%s", bin, getenv("PATH"));
	struct winsize size = {.ws_row = 50, .ws_col = 200};
	*shell = (struct shell){0};
	shell->pid = forkpty(&shell->terminal, NULL, NULL, &size);
	assert_true(shell->pid >= 0);
	if (shell->pid == 0) {
		setenv("PATH", path, 1);
		setenv("TERM", "dumb", 1);
		setenv("SCRIPTS", scripts, 1);
		setenv("HOME", "/nonexistent", 1);
		execlp(program, program, option, "-i", NULL);
		_exit(99);
	}
}

static void stop_shell(struct shell *shell)
{
	kill(shell->pid, SIGKILL);
	waitpid(shell->pid, NULL, 0);
	close(shell->terminal);
}

// A wparctl that completes as the real one, and otherwise says what it was called with.
#define STAND_IN                                                                     \
	"wparctl() { if [ \"$1\" = --complete ]; then command wparctl \"$@\"; else " \
	"printf 'GO''T<%s>\\n' \"$*\"; fi; }; "

static void press_tab(struct shell *shell, const struct fake *fake)
{
	char line[256];
	type(shell, "wparctl rel\tx\n");
	wait_for(shell, "GOT<relocate x>");
	type(shell, "wparctl cluster remo\t--lo\tx\n");
	wait_for(shell, "GOT<cluster remove-host --lost x>");
	type(shell, "wparctl list --state In\t\n");
	wait_for(shell, "GOT<list --state In-doubt");
	type(shell, "wparctl set x autost\tyes\n"); // nothing goes between
	wait_for(shell, "GOT<set x autostart=yes>");
	snprintf(line, sizeof(line), "wparctl -c %s relocate we\thostB\n", fake->path);
	type(shell, line);
	wait_for(shell, "relocate web1 hostB>");
	type(shell, "wparctl create x --rootfs /nonexis\n"); // no such: nothing breaks
	wait_for(shell, "--rootfs /nonexis>");
	type(shell, "wparctl create x --rootfs /usr/shar\t\n");
	wait_for(shell, "--rootfs /usr/share/");
}

static bool lacks(const char *program)
{
	char call[64];
	snprintf(call, sizeof(call), "command -v %s >/dev/null", program);
	return system(call) != 0;
}

static void bash_completes(void **state)
{
	struct fake *fake = *state;
	struct shell shell;
	fake->serve = serve;
	fake->hang_up = true;
	start_shell(&shell, "bash", "--norc");
	type(&shell, "PS1=; . $SCRIPTS/wparctl.bash; " STAND_IN "echo READ''Y\n");
	wait_for(&shell, "READY");
	press_tab(&shell, fake);
	stop_shell(&shell);
}

static void zsh_completes(void **state)
{
	struct fake *fake = *state;
	struct shell shell;
	if (lacks("zsh")) {
		printf("skipped: zsh is not installed\n");
		skip();
	}
	fake->serve = serve;
	fake->hang_up = true;
	start_shell(&shell, "zsh", "-f");
	type(&shell, "PS1=; unsetopt prompt_sp prompt_cr; fpath=($SCRIPTS $fpath); "
		     "autoload -Uz compinit; compinit -u -D; " STAND_IN "echo READ''Y\n");
	wait_for(&shell, "READY");
	press_tab(&shell, fake);
	stop_shell(&shell);
}

#define WITH_FAKE(test) cmocka_unit_test_setup_teardown(test, fake_start, fake_stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FAKE(verbs_and_options),
		WITH_FAKE(names_and_hosts),
		WITH_FAKE(values),
		WITH_FAKE(all_states),
		WITH_FAKE(nothing_without_relocd),
		WITH_FAKE(bash_completes),
		WITH_FAKE(zsh_completes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
