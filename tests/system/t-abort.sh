#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Moves that end before the commit: the source runs on with its connections, the destination is as it was.
# shellcheck disable=SC2154,SC2016 # out, err: lib.sh; single quotes: expands in the host

# A Redis that takes a while to copy, with a client that counts.
busy_redis() {
	redis_partition r 10.77.0.61
	client redis_data fill 10.77.0.61 6379 300
	before=$(snapshot)
	meter_start "$lab_dir/meter.json"
	connection=$(meter_connection)
}

# Runs CMD in HOST when the move has come to PHASE on hostA.
in_phase() { # PHASE HOST CMD
	in_host hostA timeout 30 bash -c "until wparctl --json moves | grep -q '\"phase\": *\"$1\"'; do :; done"
	in_host "$2" bash -c "$3"
}

# The move has failed with STATUS and CODE; nobody noticed but for a blip.
assert_undone() { # STATUS CODE FILE
	local got=0
	wait "$move" || got=$?
	assert_eq "$1" "$got" "status of relocate ($(cat "$3"))"
	assert_contains "$(cat "$3")" "$2"
	assert_eq Active "$(state_of hostA r)" "state at the source"
	assert_eq PONG "$(redis ping)" "a new connection"
	assert_eq "$connection" "$(meter_connection)" connection
	meter_stop || die "the client lost its connection: $(jq -c '{lost,errors,sequence_breaks}' "$lab_dir/meter.json")"
	assert_eq "$(jq .acked "$lab_dir/meter.json")" "$(redis get counter)" "stored increments"
	client redis_data verify 10.77.0.61 6379 300
	assert_unchanged "$before"
	# and it can still be moved
	relocate "$lab_dir/moves" r hostA hostB
	assert_eq PONG "$(redis ping)"
}

start_move() { # FILE [OPTION...]
	in_host hostA timeout 100 wparctl relocate r hostB "${@:2}" >"$1" 2>&1 &
	move=$!
}

# What makes a phase long enough to be hit.
long_rounds=(--engine track --bandwidth 60MiB/s)
long_final=(--engine stop)

test_cancel_while_frozen() {
	busy_redis
	start_move "$lab_dir/relocate.out" "${long_final[@]}"
	in_phase final hostA 'wparctl cancel r'
	assert_undone 8 WPAR-M013 "$lab_dir/relocate.out"
}

test_criu_dies_at_the_destination() {
	busy_redis
	start_move "$lab_dir/relocate.out" "${long_final[@]}"
	in_phase final hostB 'kill -9 $(pgrep -f "[c]riu.* swrk")'
	assert_undone 1 WPAR-M011 "$lab_dir/relocate.out"
}

# It gives itself another name when it has got its request.
kill_criu='kill -9 $(pgrep -f "[c]riu.* swrk|[d]ump --rpc|[r]estore --rpc")'

test_criu_dies_at_the_source_before_the_dump() {
	busy_redis
	# that of the move, not the one that VALIDATE asks for its version
	in_host hostA touch /run/before
	in_host hostA timeout 30 bash -c "until find /var/lib/relocd/moves -name '*.departure' -newer /run/before | grep . && $kill_criu; do :; done" >/dev/null 2>&1 &
	start_move "$lab_dir/relocate.out"
	assert_undone 1 WPAR-M010 "$lab_dir/relocate.out"
}

# Its code is in the processes: they are lost, and that is said.
test_criu_dies_at_the_source_in_the_dump() {
	local got=0 before
	before=$(snapshot_unlisted)
	redis_partition r 10.77.0.61
	client redis_data fill 10.77.0.61 6379 300
	in_host hostA timeout 60 bash -c "until grep -q CRIUMFD /proc/\$(pgrep -x redis-server)/maps; do :; done; $kill_criu" >/dev/null 2>&1 &
	start_move "$lab_dir/relocate.out" "${long_final[@]}"
	wait "$move" || got=$?
	assert_eq 14 "$got" "status of relocate ($(cat "$lab_dir/relocate.out"))"
	assert_contains "$(cat "$lab_dir/relocate.out")" WPAR-M012
	assert_eq Broken "$(state_of hostA r)"
	wait_until 10 nothing_left "$before"
	in_host hostA wparctl start r
	wait_until 10 redis ping
}
nothing_left() { [ "$(snapshot_unlisted)" = "$1" ]; }

# It holds what it has dumped, with TCP sockets in repair mode, and cannot undo that any more.
test_criu_dies_at_the_source_after_the_dump() {
	busy_redis
	# the destination cannot vote before this is done
	in_host hostB timeout 30 bash -c "until pgrep -x keeper:r && ${kill_criu/-9/-STOP}; do :; done" >/dev/null 2>&1 &
	start_move "$lab_dir/relocate.out"
	in_phase restore hostA "$kill_criu"
	in_host hostB bash -c "$kill_criu"
	assert_undone 1 WPAR-M011 "$lab_dir/relocate.out"
}

killed_at_the_destination() { # PROGRAM PHASE OPTION...
	busy_redis
	start_move "$lab_dir/relocate.out" "${@:3}"
	in_phase "$2" hostB "kill -9 \$(pgrep -x $1)"
	assert_undone 6 WPAR-M004 "$lab_dir/relocate.out"
}
test_mover_dies_at_the_destination() { killed_at_the_destination mover final "${long_final[@]}"; }
test_mover_dies_in_a_round() { killed_at_the_destination mover precopy "${long_rounds[@]}"; }
test_arrival_dies() { killed_at_the_destination arrival final "${long_final[@]}"; }
test_arrival_dies_in_a_round() { killed_at_the_destination arrival precopy "${long_rounds[@]}"; }

# The destination's cable is cut: the source notices, the partition runs on there, and the destination
# clears up when it is reachable again.
link_cut_in() { # PHASE LONG-PHASE [CMD-IN-FINAL CMD-AFTER-THE-CUT]
	local -n options=$2
	redis_partition r 10.77.0.61
	client redis_data fill 10.77.0.61 6379 300
	before=$(snapshot)
	start_move "$lab_dir/relocate.out" "${options[@]}"
	[ -z "${3-}" ] || in_phase final hostB "$3"
	in_phase "$1" hostB "ip link set up0 down; ${4-true}"
	cut=$(now_ms)
	trap 'in_host hostB ip link set up0 up' EXIT
	local got=0
	wait "$move" || got=$?
	assert_eq 6 "$got" "status of relocate"
	# it may have stood still all the time
	[ $(($(now_ms) - cut)) -lt 10000 ] || die "the source noticed after $(($(now_ms) - cut)) ms"
	assert_contains "$(cat "$lab_dir/relocate.out")" WPAR-M004
	assert_eq Active "$(state_of hostA r)" "state at the source"
	assert_eq PONG "$(redis ping)"
	client redis_data verify 10.77.0.61 6379 300
	in_host hostB ip link set up0 up
	wait_until 60 at_rest "$before"
}
test_link_cut_in_a_round() { link_cut_in precopy long_rounds; }
test_link_cut_before_the_vote() { link_cut_in final long_final; }

# The destination votes, as CRIU goes on only after the cut: it is in doubt, holds what it has, and asks.
test_link_cut_around_the_vote() { link_cut_in restore long_final "${kill_criu/-9/-STOP}" "${kill_criu/-9/-CONT}"; }

at_rest() { [ "$(snapshot)" = "$1" ]; }
