#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A cancel in each phase of a move, from either end, twice, and while the other end is gone.
# shellcheck disable=SC2154,SC2016 # out, err: lib.sh; single quotes: expands in the host
# shellcheck source=tests/system/t-faults.sh
source "$(dirname "${BASH_SOURCE[0]}")/t-faults.sh"

has_struck() { [ -n "$(struck)" ]; }
go_on() { # HOST PROGRAM
	in_host "$1" bash -c "kill -CONT \$(pgrep -x '$2')" || true
}
let_go() {
	no_faults
	go_on hostA departure
	go_on hostB arrival
}
at_rest() { [ "$(snapshot)" = "$1" ]; }

# Begins a move of r to hostB whose process is stopped at POINT; $move waits for its end.
hold_at() { # POINT
	order_faults <<<"$1 stop"
	in_host hostA timeout 60 wparctl relocate r hostB --engine track >"$lab_dir/relocate.out" 2>&1 &
	move=$!
	wait_until 20 has_struck || die "$1 has not struck: $(cat "$lab_dir/relocate.out")"
	no_faults
}

# The source goes on at once where the destination is stopped; after that the destination has nothing.
cancelled_at() { # POINT HOST-THAT-IS-ASKED
	local got=0
	hold_at "$1"
	assert_exit 0 in_host "$2" wparctl cancel r
	[[ $1 == arrival:* ]] || go_on hostA departure
	wait "$move" || got=$?
	assert_eq 8 "$got" "$1: status of relocate ($(cat "$lab_dir/relocate.out"))"
	assert_exit 0 in_host "$2" wparctl cancel r # is cancelled: that is what was asked for
	assert_eq PONG "$(redis ping)" "$1: the source"
	go_on hostB arrival
	wait_until 10 at_rest "$before" || die "$1: left: $(diff <(echo "$before") <(snapshot))"
}

# Its client notices nothing, and it can be moved afterwards.
cancelled() { # POINT:HOST...
	local each
	trap let_go EXIT
	redis_partition r 10.77.0.61
	in_host hostA wparctl validate r hostB
	before=$(snapshot)
	meter_start "$lab_dir/meter.json"
	for each; do
		cancelled_at "${each%@*}" "${each#*@}"
	done
	relocate "$lab_dir/moves" r hostA hostB
	meter_stop || die "the client lost its connection"
	assert_eq "$(jq .acked "$lab_dir/meter.json")" "$(redis get counter)" "stored increments"
}
test_cancel_before_the_freeze() {
	cancelled arrival:receive:offer@hostA arrival:phase:prepare@hostB arrival:receive:round@hostA \
		departure:receive:round_ack@hostB
}
test_cancel_while_it_stands_still() {
	cancelled departure:phase:freeze@hostA arrival:receive:frozen@hostB arrival:receive:object@hostA \
		arrival:record:prepared:before@hostB departure:receive:ready@hostA
}

# From either end, with the reason; the move goes on to its end.
test_cancel_after_the_commit() {
	local host
	trap let_go EXIT
	redis_partition r 10.77.0.61
	hold_at arrival:receive:commit
	for host in hostA hostB; do
		assert_exit 5 in_host $host wparctl cancel r
		assert_contains "$err" committed
	done
	go_on hostB arrival
	wait "$move"
	assert_eq Active "$(state_of hostB r)"
	assert_exit 5 in_host hostB wparctl cancel r # has ended
}

# The relocd of the source is gone: before its vote the destination may end the move by itself, after
# it only the source can.
test_cancel_while_the_source_is_gone() {
	local got=0
	trap 'let_go; in_host hostA wparctl list --local >/dev/null 2>&1 || lab relocd hostA start' EXIT
	redis_partition r 10.77.0.61
	hold_at departure:receive:round_ack
	lab relocd hostA kill
	assert_exit 0 in_host hostB wparctl cancel r
	wait_until 10 nobody_at hostB
	go_on hostA departure
	lab relocd hostA start
	wait_until 10 is_active_at_source
	wait "$move" || got=$?
	[ "$got" != 0 ] || die "the move was not cancelled"
	hold_at departure:receive:ready
	lab relocd hostA kill
	assert_exit 9 in_host hostB wparctl cancel r
	assert_contains "$err" hostA
	go_on hostA departure
	lab relocd hostA start
	wait "$move" || die "the move that could not be cancelled: $(cat "$lab_dir/relocate.out")"
	assert_eq Active "$(state_of hostB r)"
	assert_eq PONG "$(redis ping)"
}
nobody_at() { [ -z "$(partitions "$1")" ]; }
is_active_at_source() { [ "$(state_of hostA r)" = Active ]; }

# The destination is cut off and stopped, too: nothing of the move is left there when it is back.
test_cancel_while_the_destination_is_gone() {
	local got=0
	trap 'in_host hostB ip link set up0 up; let_go' EXIT
	redis_partition r 10.77.0.61
	before=$(snapshot)
	hold_at arrival:receive:object
	in_host hostB ip link set up0 down
	assert_exit 0 in_host hostA wparctl cancel r
	wait "$move" || got=$?
	assert_eq 8 "$got" "status of relocate ($(cat "$lab_dir/relocate.out"))"
	assert_eq PONG "$(redis ping)"
	go_on hostB arrival
	in_host hostB ip link set up0 up
	wait_until 30 at_rest "$before"
}
