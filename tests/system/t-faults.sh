#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Faults that are ordered at the points of a move.
# shellcheck disable=SC2154 # out, err: lib.sh

# Orders the lines of stdin on both hosts; what has struck before is forgotten.
order_faults() {
	local host lines
	lines=$(cat)
	for host in hostA hostB; do
		in_host $host rm -f /run/relocd/faults
		in_host $host sh -c "umask 077; cat >/etc/relocd/faults" <<<"$lines"
	done
}
no_faults() { for host in hostA hostB; do in_host "$host" rm -f /etc/relocd/faults /run/relocd/faults; done; }
struck() { for host in hostA hostB; do in_host "$host" cat /run/relocd/faults 2>/dev/null || true; done; }

# What only a move comes by that fails, that has an image or further connections, or that is slow.
of_failures='phase:(ask|return)|record:(abort|revoked|kept)|(send|receive):(abort|refuse|ping|want|blob|upper_end|mark)'

# No point is listed in vain: a move that succeeds comes by all but those of failures.
test_each_point_is_there() {
	local missing host
	trap no_faults EXIT
	redis_partition r 10.77.0.61
	in_host hostA relocd --fault-points | sed 's/$/ delay 0/' | order_faults
	relocate "$lab_dir/moves" r hostA hostB
	missing=$(comm -23 <(in_host hostA relocd --fault-points | sort) <(struck | cut -d ' ' -f 1 | sort) | grep -Ev "$of_failures") || true
	assert_eq "" "$missing" "points that a move did not come by"
	# each once, until it is ordered anew
	relocate "$lab_dir/moves" r hostB hostA
	for host in hostA hostB; do
		assert_eq "" "$(in_host $host cut -d ' ' -f 1 /run/relocd/faults | sort | uniq -d)" "struck twice on $host"
	done
}

copies() { for host in hostA hostB; do in_host $host pgrep -x redis-server || true; done | wc -l; }
# Where it runs; nothing: nowhere, or on both.
runs_at() {
	local host at=
	for host in hostA hostB; do
		[ "$(state_of $host r)" != Active ] || at+=$host
	done
	[ "$at" = hostAhostB ] || echo "$at"
}
no_process_of_moves() { [ -z "$(for host in hostA hostB; do in_host $host ls /run/relocd/moves; done)" ]; }
settled() { [ -n "$(runs_at)" ] && [ "$(copies)" = 1 ] && no_process_of_moves; }
lost() { [ "$(state_of hostA r):$(state_of hostB r)" = Departed:Broken ] && [ "$(copies)" = 0 ]; }
ended() { settled || { is_forward "$point" && lost; }; }

# The destination has promised to go on, and who was to keep that is killed: commit.md allows it to be lost.
is_forward() { [[ $1 =~ ^arrival:(record:resuming:after|phase:switch|criu:(post-restore|pre-resume)) ]]; }

faults_state() { for host in hostA hostB; do echo "$host: $(state_of $host r), $(in_host $host ls /run/relocd/moves)"; done; }

# A move during which ACTION strikes at POINT. At the end one copy runs, its client has lost nothing but
# time, and it can be moved; or it is lost, where that may be, and said to be. Prints a line: what the
# move's exit code was, where it is, how long the client waited.
strike() { # POINT ACTION...
	local point=$1 got=0 at
	order_faults <<<"$*"
	redis_partition r 10.77.0.61 >/dev/null
	client redis_data fill 10.77.0.61 6379 16
	meter_start "$lab_dir/meter.json"
	in_host hostA timeout 100 wparctl relocate r hostB >"$lab_dir/relocate.out" 2>&1 || got=$?
	[ -n "$(struck)" ] || die "$*: it did not strike: $(cat "$lab_dir/relocate.out")"
	wait_until 60 ended || die "$*: not settled, $(copies) copies: $(faults_state)"
	no_faults
	at=$(runs_at)
	if [ -z "$at" ]; then
		meter_stop || true
		printf '%-46s %-10s exit %-2s lost, and said to be\n' "$point" "$2" "$got"
		return
	fi
	meter_stop || die "$*: the client lost its connection: $(jq -c '{lost,errors,sequence_breaks}' "$lab_dir/meter.json")"
	assert_eq "$(jq .acked "$lab_dir/meter.json")" "$(redis get counter)" "$*: stored increments"
	client redis_data verify 10.77.0.61 6379 16
	[ "$at" = hostB ] || relocate "$lab_dir/moves" r hostA hostB
	assert_eq PONG "$(redis ping)"
	printf '%-46s %-10s exit %-2s on %s, the client waited %.0f ms\n' "$point" "$2" "$got" "$at" "$(jq .max_gap.ms "$lab_dir/meter.json")"
}

struck_at() { # ACTION POINT...
	local action=$1 point
	trap no_faults EXIT
	shift
	for point; do
		# shellcheck disable=SC2086 # an action may have a time
		strike "$point" $action
		in_host hostA wparctl remove r --force >/dev/null 2>&1 || in_host hostB wparctl remove r --force >/dev/null
	done
}

# A selection; `make check-faults` takes them all.
test_killed_at_the_source() {
	struck_at kill departure:receive:round_ack departure:criu:query-ext-files:before departure:record:final:after \
		departure:record:commit:before departure:record:commit:after departure:receive:running
}
test_killed_at_the_destination() {
	struck_at kill arrival:send:arranged:after arrival:receive:object arrival:record:prepared:after \
		arrival:receive:commit arrival:record:resuming:before arrival:send:running:before
}
test_link_cut() {
	struck_at drop-link departure:send:round:after departure:send:manifest:after arrival:send:ready:after \
		departure:send:commit:after arrival:send:running:after
}
test_disk_full() {
	struck_at no-space departure:record:final:before departure:record:commit:before arrival:record:prepared:before
	struck_at short-write departure:record:commit:before arrival:record:prepared:before
}
