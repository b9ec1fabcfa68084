#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# relocd ends, is killed, is replaced or loses its registry: partitions and moves do not care.
# shellcheck disable=SC2154,SC2016 # out, err: lib.sh; single quotes: expands in the host

# A Redis whose move takes a while, with a client that counts.
restart_redis() { # [MIB]
	redis_partition r 10.77.0.61
	client redis_data fill 10.77.0.61 6379 "${1-16}"
	meter_start "$lab_dir/meter.json"
	connection=$(meter_connection)
}

restart_client_is_fine() {
	assert_eq "$connection" "$(meter_connection)" connection
	meter_stop || die "the client lost its connection: $(jq -c '{lost,errors,sequence_breaks}' "$lab_dir/meter.json")"
	assert_eq "$(jq .acked "$lab_dir/meter.json")" "$(redis get counter)" "stored increments"
}

# Begins to move r to hostB and returns when the move is in PHASE; its id is in $id.
move_until() { # PHASE
	in_host hostA wparctl relocate r hostB --no-wait >"$lab_dir/relocate.out" 2>&1
	id=$(in_host hostA wparctl --json moves | jq -r '[.data[] | select(.partition == "r" and .state == "running")][0].id')
	in_host hostA timeout 30 bash -c "until wparctl --json moves | grep -q '\"phase\": *\"$1\"'; do :; done"
}

test_killed_at_rest() {
	restart_redis
	lab relocd hostA kill
	lab relocd hostB kill
	assert_eq PONG "$(redis ping)"
	lab relocd hostA start
	lab relocd hostB start
	assert_eq Active "$(state_of hostA r)"
	relocate "$lab_dir/moves" r hostA hostB
	lab relocd hostB kill
	lab relocd hostB start
	assert_eq Active "$(state_of hostB r)"
	relocate "$lab_dir/moves" r hostB hostA
	restart_client_is_fine
}

# relocd of HOSTS is killed in PHASE and started again: the move goes on to its end, which the new
# relocd knows with its figures.
killed_during_move() { # PHASE HOST...
	local host
	restart_redis 300
	move_until "$1"
	shift
	for host; do lab relocd "$host" kill; done
	for host; do lab relocd "$host" start; done
	assert_exit 0 in_host hostA wparctl --json wait "$id"
	jq -se 'map(select(.data.downtime_ms > 0 and .data.outcome == "done")) | length == 1' <<<"$out" >/dev/null || die "no result: $out"
	assert_eq Active "$(state_of hostB r)"
	assert_eq Departed "$(state_of hostA r)"
	restart_client_is_fine
	assert_eq "" "$(in_host hostA ls /run/relocd/moves)" "left on hostA"
	wait_until 5 nothing_left hostB
}
nothing_left() { [ -z "$(in_host "$1" ls /run/relocd/moves)" ]; }
test_killed_at_the_source() { killed_during_move final hostA; }
test_killed_at_the_destination() { killed_during_move final hostB; }
test_killed_on_both() { killed_during_move restore hostA hostB; }

# The departure dies with its relocd, the partition frozen: the next relocd lets it run before it
# answers anybody.
test_departure_dies_too() {
	restart_redis 300
	move_until final
	in_host hostA bash -c 'kill -9 $(cat /run/relocd.lab.pid) $(pgrep -x departure)'
	lab relocd hostA kill
	lab relocd hostA start
	assert_eq Active "$(state_of hostA r)"
	assert_exit 1 in_host hostA wparctl wait "$id"
	restart_client_is_fine
	wait_until 20 nobody_at hostB
	relocate "$lab_dir/moves" r hostA hostB
}
nobody_at() { [ -z "$(partitions "$1")" ]; }

# A cancel of a move that an earlier relocd began.
test_cancel_after_restart() {
	restart_redis 300
	move_until final
	in_host hostA bash -c 'kill -STOP $(pgrep -x departure)' # or the move is faster than the restart
	lab relocd hostA kill
	lab relocd hostA start
	in_host hostA wparctl cancel r || die "cannot be cancelled: $(in_host hostA wparctl moves --all)"
	in_host hostA bash -c 'kill -CONT $(pgrep -x departure)'
	assert_exit 8 in_host hostA wparctl wait "$id"
	assert_eq Active "$(state_of hostA r)"
	restart_client_is_fine
}

test_wait_survives_a_restart() {
	local got=0
	restart_redis 300
	move_until final
	in_host hostA wparctl wait "$id" >"$lab_dir/wait.out" 2>&1 &
	local waiting=$!
	lab relocd hostA kill
	lab relocd hostA start
	wait $waiting || got=$?
	assert_eq 0 "$got" "status of wait: $(cat "$lab_dir/wait.out")"
	restart_client_is_fine
}
