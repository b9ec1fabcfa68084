// SPDX-License-Identifier: Apache-2.0
// Pid 1 of a lab host: reaps what is orphaned there until it is killed or gets SIGTERM.
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

int main(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) {
		perror("labinit: sigprocmask");
		return 1;
	}
	for (;;) {
		int sig = sigwaitinfo(&set, NULL);

		if (sig == SIGTERM)
			return 0; // the kernel kills the rest of the pid namespace
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}
