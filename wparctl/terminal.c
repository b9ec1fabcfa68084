// SPDX-License-Identifier: Apache-2.0
#include "wparctl/terminal.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

static struct termios before;
static volatile sig_atomic_t raw;

void terminal_restore(void)
{
	// Async-signal-safe: tcsetattr(3) is.
	if (raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
	raw = 0;
}

// The handler was reset on entry (SA_RESETHAND): the signal kills when it is raised again.
static void on_fault(int signal)
{
	terminal_restore();
	raise(signal);
}

int terminal_raw(struct error *err)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGPIPE};
	struct sigaction action = {.sa_handler = on_fault, .sa_flags = (int)SA_RESETHAND};
	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot read the terminal's settings");
	struct termios changed = before;
	cfmakeraw(&changed);
	atexit(terminal_restore);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigaction(faults[i], &action, NULL);
	raw = 1;
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &changed) < 0) {
		raw = 0;
		return error_sys(err, ERR_SYSTEM, errno, "cannot change the terminal's settings");
	}
	return 0;
}

void terminal_size(unsigned *rows, unsigned *cols)
{
	struct winsize size = {0};
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col)
		ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	*rows = size.ws_row ? size.ws_row : 24;
	*cols = size.ws_col ? size.ws_col : 80;
}
