#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A selection of the fault matrix (tests/faults): faults at points of a move, and from outside while it is held
# in a phase. `make check-faults` takes them all.
# shellcheck disable=SC2154 # of_failures: tests/faults/lib.sh
# shellcheck source=tests/faults/lib.sh
source "$top/tests/faults/lib.sh"
# shellcheck source=tests/faults/external.sh
source "$top/tests/faults/external.sh"

# No point is listed in vain: a move that succeeds comes by all but those of failures.
test_each_point_is_there() {
	local missing host
	trap no_faults EXIT
	redis_partition r 10.77.0.61
	points | sed 's/$/ delay 0/' | order_faults
	relocate "$lab_dir/moves" r hostA hostB
	missing=$(comm -23 <(points | sort) <(struck | cut -d ' ' -f 1 | sort) | grep -Ev "$of_failures") || true
	assert_eq "" "$missing" "points that a move did not come by"
	# each once, until it is ordered anew
	relocate "$lab_dir/moves" r hostB hostA
	for host in hostA hostB; do
		assert_eq "" "$(in_host $host cut -d ' ' -f 1 /run/relocd/faults | sort | uniq -d)" "struck twice on $host"
	done
}

# ACTION at each POINT.
struck_at() { # ACTION POINT...
	local action=$1 point
	trap no_faults EXIT
	shift
	for point; do
		strike "$point" "$action"
		drop_partition
	done
}
test_killed_at_the_source() {
	struck_at kill departure:receive:round_ack departure:criu:query-ext-files:before departure:record:final:after \
		departure:record:commit:before departure:record:commit:after departure:receive:running
}
test_killed_at_the_destination() {
	struck_at kill arrival:send:arranged:after arrival:receive:object arrival:record:prepared:after \
		arrival:receive:commit arrival:record:resuming:before arrival:send:running:before
}
test_link_dropped() {
	struck_at drop-link departure:send:round:after departure:send:manifest:after arrival:send:ready:after \
		departure:send:commit:after arrival:send:running:after
}
test_disk_full() {
	struck_at no-space departure:record:final:before departure:record:commit:before arrival:record:prepared:before
	struck_at short-write departure:record:commit:before
	struck_at torn departure:record:commit:before arrival:record:prepared:before
}

# Each FAULT while the move is held as it comes to PLACE.
held_at() { # PLACE FAULT...
	local place=$1 fault
	trap no_faults EXIT
	shift
	for fault; do
		hit "$place" "$fault"
		drop_partition
	done
}
test_the_destination_dies_while_frozen() { held_at departure:phase:final kill-arrival oom-mover-b power-b; }
test_power_fails_at_the_source() { held_at departure:phase:restore power-a; }
test_power_fails_before_the_resuming() { held_at arrival:phase:commit power-b; }
test_records_are_damaged() { held_at departure:phase:switch flip-a; held_at arrival:phase:release flip-b; }
# It had promised to go on: the partition may be lost, which is said, and can be started again there.
test_the_arrival_dies_when_it_must_go_on() { struck_at kill arrival:record:resuming:after; }
test_both_daemons_are_killed() { held_at departure:phase:validate kill-relocds; }
