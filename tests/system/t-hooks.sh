#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Programs of the administrator around a move: asked before, told after, and never in its way.
# shellcheck disable=SC2154,SC2016,SC2317 # out, err: lib.sh; single quotes: expands in the host; traps and wait_until

hook() { # HOST NAME: installs what it reads, without the first line
	{ echo '#!/bin/sh' && cat; } | in_host "$1" sh -c 'mkdir -p /etc/relocd/hooks.d && cat >"/etc/relocd/hooks.d/$1" && chmod 755 "/etc/relocd/hooks.d/$1"' _ "$2"
}
no_hooks() {
	in_host hostA rm -rf /etc/relocd/hooks.d /run/hooked
	in_host hostB rm -rf /etc/relocd/hooks.d /run/hooked
}
noting() { # HOST: one that keeps what it is told, as lines of JSON
	hook "$1" 10-note <<<'cat >>/run/hooked; env | sort | tr "\n" " " >/run/hooked.env; [ "$1" = "$(tail -n 1 /run/hooked | jq -r .event)" ]'
}
told() { in_host "$1" sh -c 'cat /run/hooked 2>/dev/null || true' | jq -r '[.event, .side, .partition, .outcome // "-"] | join(" ")' | paste -sd ,; }
is_told() { [ "$(told "$1")" = "$2" ]; }

test_hooks_are_told() {
	trap no_hooks EXIT
	toolbox_partition p 10.77.0.61
	noting hostA
	noting hostB
	in_host hostB wparctl relocate p hostB
	wait_until 5 is_told hostA "pre-move source p -,post-move source p done"
	wait_until 5 is_told hostB "post-move destination p done"
	in_host hostA cat /run/hooked | jq -se '.[0].asked.host == "hostB" and .[0].asked.user == "root" and .[0].schema == 1
		and .[1].result.downtime_ms > 0 and .[1].error == null and .[1].epoch == .[0].epoch' >/dev/null ||
		die "$(in_host hostA cat /run/hooked)"
	assert_contains "$(in_host hostA cat /run/hooked.env)" "LC_ALL=C PATH=/usr"
	! in_host hostA grep -q RELOCD /run/hooked.env || die "the environment of relocd"
}

test_a_hook_refuses() {
	trap no_hooks EXIT
	toolbox_partition p 10.77.0.61
	noting hostA
	hook hostA 20-no <<<'[ "$1" != pre-move ] || { echo "not on Mondays" >&2; exit 3; }'
	hook hostA 30-never <<<'touch /run/hooked.never'
	hook hostA 05-backup~ <<<'exit 1'
	assert_exit 4 in_host hostB wparctl relocate p hostB
	assert_contains "$err" "20-no refuses the move: not on Mondays"
	assert_contains "$err" "(WPAR-M018)"
	assert_eq Active "$(state_of hostA p)"
	wait_until 5 is_told hostA "pre-move source p -,move-failed source p refused"
	in_host hostA wparctl --json history p --failed | jq -e '.data[0] | .outcome == "refused" and .error.code == "WPAR-M018"' >/dev/null
	# nothing that others can write is run; nor does it let a move pass
	in_host hostA sh -c 'rm /etc/relocd/hooks.d/20-no; chmod 775 /etc/relocd/hooks.d/30-never; rm -f /run/hooked.never'
	assert_exit 4 in_host hostA wparctl relocate p hostB
	assert_contains "$err" "30-never is not root's alone"
	in_host hostA sh -c '[ ! -e /run/hooked.never ]; chmod 755 /etc/relocd/hooks.d/30-never; chown 1000 /etc/relocd/hooks.d'
	assert_exit 4 in_host hostA wparctl relocate p hostB
	in_host hostA chown 0 /etc/relocd/hooks.d
	in_host hostA wparctl relocate p hostB
}

# One that hangs is killed with all that it started; after a move nobody waits for it.
test_a_hook_hangs() {
	trap 'no_hooks; in_host hostA rm -f /etc/relocd/relocd.yaml; lab relocd hostA restart' EXIT
	in_host hostA sh -c 'echo "hooks: {timeout: 1s}" >/etc/relocd/relocd.yaml'
	lab relocd hostA restart
	toolbox_partition p 10.77.0.61
	hook hostA 10-hang <<<'[ "$1" = pre-move ] || exit 0; echo waiting; sleep 4711 & sleep 4711'
	assert_exit 4 in_host hostA wparctl relocate p hostB
	assert_contains "$err" "10-hang did not end within 1000 ms: waiting"
	! in_host hostA pgrep -f 'sleep 4711' || die "what it started still runs"
	hook hostA 10-hang <<<'[ "$1" = pre-move ] && exit 0; exec sleep 4711'
	in_host hostA timeout 10 wparctl relocate p hostB
	assert_eq Active "$(state_of hostB p)"
	failure() {
		in_host hostA curl -sS --unix-socket /run/relocd/relocd.sock 'http://localhost/v1/events?kind=move&last=20' |
			jq -se 'any(.[]; .event == "hook-failed" and .data.for == "post-move" and .data.hook == "10-hang")'
	}
	wait_until 15 failure || die "$(in_host hostA wparctl events | tail -n 12)"
}

# While hooks of pre-move run a move can be cancelled, and a restart of relocd asks them again.
test_a_move_that_waits_for_a_hook() {
	local move got=0
	trap 'in_host hostA rm -f /run/hook-may-go; no_hooks' EXIT
	toolbox_partition p 10.77.0.61
	hook hostA 10-wait <<<'echo "$1" >>/run/hooked.order; [ "$1" != pre-move ] || until [ -e /run/hook-may-go ]; do sleep 0.05; done'
	move=$(in_host hostA wparctl relocate p hostB --no-wait)
	wait_until 5 in_host hostA grep -q pre-move /run/hooked.order
	assert_exit 5 in_host hostA wparctl relocate p hostB
	in_host hostA wparctl cancel p
	in_host hostA wparctl wait "$move" || got=$?
	assert_eq 8 $got "status of the cancelled move"
	wait_until 5 in_host hostA grep -q move-failed /run/hooked.order
	in_host hostA rm /run/hooked.order
	move=$(in_host hostA wparctl relocate p hostB --no-wait)
	wait_until 5 in_host hostA grep -q pre-move /run/hooked.order
	lab relocd hostA restart
	assert_eq queued "$(in_host hostB wparctl --json moves | jq -r --arg m "$move" '.data[] | select(.id == $m) | .state')"
	in_host hostA touch /run/hook-may-go
	in_host hostA wparctl wait "$move"
	assert_eq Active "$(state_of hostB p)"
	in_host hostA grep -c pre-move /run/hooked.order | grep -qx 2
}

# A commit that nobody heard: both are told of the doubt, and of its end when a person has decided,
# which the history keeps.
test_hooks_learn_of_doubt() {
	trap 'in_host hostA rm -f /etc/relocd/faults /run/relocd/faults; in_host hostB rm -f /etc/relocd/faults /run/relocd/faults; no_hooks' EXIT
	toolbox_partition p 10.77.0.61
	noting hostA
	in_host hostA sh -c 'echo departure:send:commit:after kill >/etc/relocd/faults'
	in_host hostB sh -c 'echo arrival:receive:commit stop >/etc/relocd/faults'
	assert_exit 9 in_host hostA timeout 60 wparctl relocate p hostB
	wait_until 10 is_told hostA "pre-move source p -,in-doubt source p in-doubt"
	in_host hostA wparctl recover p --keep hostA --reason 'the test says so'
	wait_until 10 is_told hostA "pre-move source p -,in-doubt source p in-doubt,move-failed source p aborted"
	in_host hostB wparctl --json history p | jq -e '[.data[] | select(.kind == "decision")] | map(.what) == ["kept", "given-up"]
		and all(.[]; .reason == "the test says so") and .[0].host == "hostA" and .[0].asked.user == "root"
		and .[1].host == "hostB" and .[1].asked.host == "hostA"' >/dev/null || die "$(in_host hostB wparctl --json history p)"
	assert_contains "$(in_host hostA wparctl history)" "the test says so"
}
