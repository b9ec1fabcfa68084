#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Several moves: at once, in a queue, cancelled in each phase, and the way back.
# shellcheck disable=SC2154,SC2016,SC2317 # out, err: lib.sh; single quotes: expands in the host; wait_until

start() { # NAME HOST HOST-WHERE-IT-IS BODY-REST: prints the move's id
	in_host "$3" curl -sS --unix-socket /run/relocd/relocd.sock -H 'Content-Type: application/json' \
		-d "{\"partition\":\"$1\",\"host\":\"$2\"}" http://localhost/v1/moves | jq -r .data.move
}
move_state() { in_host hostA wparctl --json moves --all | jq -r --arg id "$1" '.data[] | select(.id == $id) | .state'; }
is_state() { [ "$(move_state "$1")" = "$2" ]; }

test_swap() {
	local a b
	redis_partition r 10.77.0.61
	toolbox_partition p 10.77.0.62
	relocate "$lab_dir/moves" p hostA hostB
	meter_start "$lab_dir/meter.json"
	a=$(start r hostB hostA)
	b=$(start p hostA hostB)
	in_host hostA wparctl wait "$a"
	in_host hostB wparctl wait "$b"
	assert_eq Active "$(state_of hostB r)"
	assert_eq Active "$(state_of hostA p)"
	meter_stop
	assert_eq "$(jq .acked "$lab_dir/meter.json")" "$(redis get counter)" "stored increments"
}

test_queue() {
	local first second third got=0
	toolbox
	trap 'in_host hostB bash -c "kill -CONT \$(pgrep -x keeper:p)" 2>/dev/null || true; in_host hostA rm -f /etc/relocd/relocd.yaml; lab relocd hostA restart' EXIT
	in_host hostA sh -c 'echo "limits: {moves: 1}" >/etc/relocd/relocd.yaml'
	lab relocd hostA restart
	toolbox_partition p 10.77.0.61
	toolbox_partition q 10.77.0.62
	toolbox_partition s 10.77.0.63
	in_host hostB timeout 30 bash -c 'until kill -STOP $(pgrep -x keeper:p) 2>/dev/null; do :; done' &
	first=$(start p hostB hostA)
	second=$(start q hostB hostA)
	third=$(start s hostB hostA)
	assert_eq "queued queued" "$(move_state "$second") $(move_state "$third")"
	assert_eq Active "$(state_of hostA q)" # it may still be used, and moved only once
	assert_exit 5 in_host hostA wparctl relocate q hostB
	assert_contains "$err" WPAR-M002
	in_host hostA wparctl cancel q
	in_host hostA wparctl wait "$second" || got=$?
	assert_eq 8 $got "status of a move that was cancelled in the queue"
	wait # the first one is held by now
	in_host hostB bash -c 'kill -CONT $(pgrep -x keeper:p)'
	in_host hostA wparctl wait "$first" "$third"
	assert_eq "Active Active Active" "$(state_of hostB p) $(state_of hostA q) $(state_of hostB s)"
}

test_back() {
	toolbox_partition p 10.77.0.61
	back() { in_host "$1" curl -sS --unix-socket /run/relocd/relocd.sock -H 'Content-Type: application/json' \
		-d '{"partition":"p","back":true}' http://localhost/v1/moves; }
	assert_contains "$(back hostA)" WPAR-M003
	relocate "$lab_dir/moves" p hostA hostB
	in_host hostB wparctl wait "$(back hostB | jq -r .data.move)"
	assert_eq Active "$(state_of hostA p)"
}

# Held in a phase by a stopped process of the destination, then cancelled: the source runs on at once, and
# the destination is as it was when it goes on.
cancelled_in() { # PHASE WHAT-IS-STOPPED
	local got=0 move before
	redis_partition r 10.77.0.61
	in_host hostA wparctl validate r hostB
	before=$(snapshot)
	in_host hostB timeout 30 bash -c "until kill -STOP \$($2) 2>/dev/null; do :; done" &
	in_host hostA timeout 60 wparctl relocate r hostB >"$lab_dir/relocate.out" 2>&1 &
	move=$!
	in_host hostA timeout 30 bash -c "until wparctl --json moves | grep -q '\"phase\": *\"$1\"'; do :; done"
	in_host hostA wparctl cancel r
	wait $move || got=$?
	assert_eq 8 $got "status ($(cat "$lab_dir/relocate.out"))"
	assert_eq PONG "$(redis ping)"
	in_host hostB bash -c "kill -CONT \$($2)" || true
	wait_until 10 at_rest "$before"
	relocate "$lab_dir/moves" r hostA hostB
}
at_rest() { [ "$(snapshot)" = "$1" ]; }

test_cancel_in_prepare() { cancelled_in prepare 'pgrep -x keeper:r'; }
# only the one of the move, when there is its keeper
test_cancel_in_restore() { cancelled_in restore 'pgrep -x keeper:r >/dev/null && pgrep -f "[c]riu.* swrk|[r]estore --rpc"'; }
