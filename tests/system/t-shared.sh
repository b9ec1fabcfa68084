#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Files that both hosts see, and what hangs on this host: sockets with a path, locks, connections that
# wait to be accepted, sessions of exec.
# shellcheck disable=SC2154,SC2016 # out, err: lib.sh; single quotes: expands in the host

holder() { # NAME [OPTION...] -- ARG...: a partition that runs shared_holder; /data is shared by both hosts
	local name=$1
	shift
	toolbox
	cp -u "$BUILD/tests/tools/shared_holder" "$lab_dir/shared/toolbox/bin/"
	mkdir -p "$lab_dir/shared/common"
	chmod 1777 "$lab_dir/shared/common"
	toolbox_partition "$name" 10.77.0.61 --volume /srv/shared/common:/data "$@"
}
ask() { in_host "$1" wparctl exec s -- /bin/shared_holder ask "$2"; }

# Sockets on a volume keep their names through aborts and the moves after them.
test_socket_paths() {
	local got
	holder s -- /bin/sh -c 'shared_holder serve /data/s & shared_holder serve /tmp/s & cd /data; exec shared_holder serve ./t'
	for path in /data/s /data/t /tmp/s; do
		wait_until 5 ask hostA $path
	done
	for _ in 1 2; do
		# when CRIU there takes the names
		in_host hostB timeout 30 bash -c 'until pgrep -f "[r]estore --rpc"; do :; done; kill -9 $(pgrep -x mover)' >/dev/null 2>&1 &
		got=0
		in_host hostA timeout 100 wparctl relocate s hostB || got=$?
		wait $! || true # the destination finds out by asking
		if [ $got = 0 ]; then # too late
			in_host hostB wparctl relocate s hostA
			continue
		fi
		for path in /data/s /data/t /tmp/s; do
			assert_eq ok "$(ask hostA $path)" "$path after an abort"
		done
		assert_eq "s t" "$(find "$lab_dir/shared/common" -mindepth 1 -type s -printf '%f\n' | sort | xargs)" "sockets on the volume"
		assert_eq 2 "$(find "$lab_dir/shared/common" -mindepth 1 | wc -l)" "files on the volume"
	done
	relocate "$lab_dir/moves" s hostA hostB
	for path in /data/s /data/t /tmp/s; do
		assert_eq ok "$(ask hostB $path)" "$path after the move"
	done
	relocate "$lab_dir/moves" s hostB hostA
	assert_eq ok "$(ask hostA /data/t)"
	assert_eq "s t" "$(find "$lab_dir/shared/common" -mindepth 1 -printf '%f\n' | sort | xargs)" "names on the volume"
}

test_locks_on_shared_files() {
	local kind
	holder s
	for kind in flock posix ofd; do
		in_host hostA wparctl stop s --kill
		in_host hostA wparctl remove s
		holder s -- /bin/shared_holder lock $kind /data/lock
		wait_until 5 in_host hostA test -s /srv/shared/common/lock.state
		assert_refused 4 WPAR-V023 hostA wparctl relocate s hostB
		[[ $err =~ fd\ [0-9]+\ of\ pid\ [0-9]+\ \(shared_holder\).*/data/lock ]] || die "the culprit is not named: $err"
		rm "$lab_dir/shared/common/"*
	done
}

# Locks on files of its own travel.
test_locks_on_private_files() {
	local kind
	holder s -- /bin/sh -c 'for k in flock posix ofd; do shared_holder lock $k /tmp/$k & done; wait'
	for kind in flock posix ofd; do
		wait_until 5 inside s /bin/cat /tmp/$kind.state
	done
	relocate "$lab_dir/moves" s hostA hostB
	for kind in flock ofd; do
		in_host hostB wparctl exec s -- /bin/sh -c ": >/tmp/$kind.state"
		wait_until 5 in_host hostB wparctl exec s -- /bin/sh -c "[ -s /tmp/$kind.state ]"
		assert_eq "has it" "$(in_host hostB wparctl exec s -- /bin/cat /tmp/$kind.state)" $kind
	done
	# that of a process: another one may not have it
	assert_exit 1 in_host hostB wparctl exec s -- /bin/shared_holder lock posix /tmp/posix
}

# A connection that waits to be accepted: the program is given a moment, a few times.
test_pending_unix_connection() {
	local knock='shared_holder serve /tmp/other & shared_holder knock /tmp/s & exec sleep 1000'
	holder s -- /bin/sh -c "shared_holder ignore /tmp/s & sleep 0.3; $knock"
	wait_until 5 ask hostA /tmp/other
	assert_exit 5 in_host hostA wparctl relocate s hostB
	assert_contains "$err" WPAR-V024
	assert_contains "$err" "UNIX socket /tmp/s"
	assert_eq Active "$(state_of hostA s)"
	assert_eq ok "$(ask hostA /tmp/other)"
}

# --end-exec by the API, as wparctl has it or not.
move_ending_sessions() { # NAME HOST
	in_host hostA curl -sS --unix-socket /run/relocd/relocd.sock -H 'Content-Type: application/json' \
		-d "{\"partition\":\"$1\",\"host\":\"$2\",\"options\":{\"end_exec\":true}}" http://localhost/v1/moves
}

test_end_exec() {
	local move got=0
	toolbox_partition p 10.77.0.61
	inside p /bin/sh -c 'trap "" HUP TERM; sleep 1000 & echo $$ >/tmp/session; while :; do sleep 1; done' 2>"$lab_dir/session.err" &
	wait_until 10 inside p /bin/cat /tmp/session
	assert_refused 4 WPAR-V022 hostA wparctl relocate p hostB
	move=$(move_ending_sessions p hostB | jq -r .data.move)
	wait $! || got=$?
	assert_eq 137 $got "status of the session"
	assert_contains "$(cat "$lab_dir/session.err")" "hostB"
	in_host hostA wparctl wait "$move"
	assert_eq Active "$(state_of hostB p)"
	assert_eq "" "$(in_host hostB wparctl exec p -- /bin/ps -e -o comm= | grep -E '^sh$' || true)" "what is left of the session"
}
