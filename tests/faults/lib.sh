#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A move of a Redis from hostA to hostB to which something happens, and a look at what came of it: one copy
# at most at any time, one at the end, nothing lost that was acknowledged, connections alive where the rules
# of wpar-protocol(7) allow it, nothing left behind. Sourced with LAB set.
# shellcheck disable=SC2034,SC2154,SC2016 # for and of those who source it; single quotes: expands in the host
# shellcheck source=tests/system/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../system/lib.sh"

DATA_MIB=16
SETTLE_SECONDS=${SETTLE_SECONDS:-90}
hosts=(hostA hostB)

# ---- the faults that are ordered ---------------------------------------------------------------

# The lines of stdin, on both hosts; what has struck before is forgotten.
order_faults() {
	local host lines
	lines=$(cat)
	for host in "${hosts[@]}"; do
		in_host "$host" sh -c "umask 077; rm -f /run/relocd/faults; cat >/etc/relocd/faults" <<<"$lines"
	done
}
no_faults() { for host in "${hosts[@]}"; do in_host "$host" rm -f /etc/relocd/faults /run/relocd/faults 2>/dev/null || true; done; }
struck() { for host in "${hosts[@]}"; do in_host "$host" cat /run/relocd/faults 2>/dev/null || true; done; }
has_struck() { [ -n "$(struck)" ]; }
host_of() { case $1 in departure*) echo hostA ;; *) echo hostB ;; esac; } # POINT

# ---- the partition and its client --------------------------------------------------------------

# r, on hostA: a Redis beside a witness that counts into a file which both hosts see.
witnessed_redis() {
	local root=$lab_dir/shared/witnessed
	redis_address=10.77.0.61
	[ -e "$root" ] || make_rootfs witnessed redis-server "$BUILD/tests/tools/witness"
	rm -f "$root/data/witness"
	in_host hostA wparctl create r --rootfs /srv/shared/witnessed --user 999:999 --address $redis_address/24 --bridge br0 -- \
		/bin/witness /data/witness /bin/redis-server --bind '* -::*' --port 6379 --protected-mode no --save '' --dir /data
	in_host hostA wparctl start r
	wait_until 10 redis ping
	client redis_data fill $redis_address 6379 $DATA_MIB
}

# How often it began to count; a number that is missing, or was counted twice, ends the test.
starts() {
	local said
	said=$(witness --check "$lab_dir/shared/witnessed/data/witness") || die "two copies, or one that was taken back: $said"
	echo "${said% *}"
}
witness() { "$BUILD/tests/tools/witness" "$@"; }

copies() { for host in "${hosts[@]}"; do in_host "$host" pgrep -x redis-server 2>/dev/null || true; done | wc -l; }
states() { echo "$(state_of hostA r 2>/dev/null):$(state_of hostB r 2>/dev/null)"; }
no_process_of_moves() { [ -z "$(for host in "${hosts[@]}"; do in_host "$host" ls /run/relocd/moves 2>/dev/null; done)" ]; }

# Where the move has ended: stays, moved; lost: it died, and the host that has it says so; doubt: a person is asked.
end_of_move() {
	case $(states) in
	Active: | Active:Departed) echo stays ;;
	Departed:Active) echo moved ;;
	Failed: | Defined: | Broken: | Departed:Broken | Departed:Failed | Departed:Defined) echo lost ;;
	*In-doubt*) echo doubt ;;
	esac
}

settled() {
	local end
	end=$(end_of_move)
	case $end in
	stays | moved) [ "$(copies)" = 1 ] && no_process_of_moves ;;
	lost) [ "$(copies)" = 0 ] && no_process_of_moves ;;
	doubt) [ "${may_doubt-}" = 1 ] ;;
	*) return 1 ;;
	esac
}

say_all() {
	echo "states $(states), $(copies) copies"
	for host in "${hosts[@]}"; do
		in_host "$host" sh -c 'echo "$(hostname): $(ls /run/relocd/moves 2>&1), $(ps -e -o comm= | grep -E "departure|arrival|mover|criu|keeper" | sort | uniq -c | tr -s "\n " " ")"' || true
	done
	cat "$lab_dir/relocate.out"
}

# ---- a move ------------------------------------------------------------------------------------

fault_begin() {
	witnessed_redis >/dev/null
	before=$(snapshot)
	METER_INTERVAL_US=5000 METER_TIMEOUT_MS=${patience:-15000} meter_start "$lab_dir/meter.json"
	connection=$(meter_connection)
	move_status=
}

start_move() {
	in_host hostA timeout 200 wparctl relocate r hostB >"$lab_dir/relocate.out" 2>&1 &
	move=$!
}
move_ended() { ! kill -0 "$move" 2>/dev/null; }
wait_move() {
	move_status=0
	wait "$move" || move_status=$?
}

client_is_alive() {
	assert_eq "$connection" "$(meter_connection)" "connection after: $what"
	meter_stop || die "$what: the client lost its connection: $(jq -c '{lost,errors,sequence_breaks}' "$meter_out")"
	assert_eq "$(jq .acked "$meter_out")" "$(redis get counter)" "$what: stored increments"
	client redis_data verify "$redis_address" 6379 $DATA_MIB
}

# It died, which the rules allow here, and is said; it can be started again where it is now, and only there.
start_again() {
	local at=hostA other=hostB
	[[ $(states) != Departed:* ]] || at=hostB other=hostA
	meter_stop >/dev/null 2>&1 || true
	in_host $other wparctl start r >/dev/null 2>&1 || true # of a partition that is elsewhere: it is started there, or refused
	in_host $at wparctl start r >/dev/null 2>&1 || true
	wait_until 20 redis ping || die "$what: cannot be started again"
	[ "$(copies)" = 1 ] || die "$what: started twice"
	assert_eq 2 "$(starts)" "$what: how often it was started"
}

# The end, after FAULT. Sets `end`.
fault_end() { # [may-be-lost]
	WAIT_PAUSE=0.3 wait_until "$SETTLE_SECONDS" settled || die "$what: not settled: $(say_all)"
	end=$(end_of_move)
	no_faults
	if [ "$end" = lost ]; then
		[ "${1-}" = may-be-lost ] || die "$what: the partition was lost: $(say_all)"
		start_again
		waited=-
		return
	fi
	client_is_alive
	waited=$(jq '.max_gap.ms | round' "$meter_out")
	if [ "$end" = stays ]; then
		[ "${1-}" = rebooted ] || assert_unchanged "$before"
		relocate "$lab_dir/moves" r hostA hostB
		assert_eq PONG "$(redis ping)" "$what: after another move"
	fi
	assert_eq 1 "$(starts)" "$what: how often it was started"
}

drop_partition() {
	local host
	no_faults
	for host in "${hosts[@]}"; do
		in_host "$host" wparctl list --local >/dev/null 2>&1 || lab relocd "$host" restart
		[ -z "$(partitions "$host")" ] || in_host "$host" wparctl remove r --force >/dev/null 2>&1 || true
	done
}

# ---- at points ---------------------------------------------------------------------------------

# What only a move comes by that fails, that has an image or further connections, or that is slow.
of_failures='phase:(ask|return)|record:(abort|revoked|kept|refused)|(send|receive):(abort|refuse|ping|want|blob|upper_end|mark)'

points() { "$BUILD/bin/relocd" --fault-points; }

# Each action where it makes sense. Points that only a move that fails comes by have no move here.
list_points() {
	local usual action
	usual=$(points | grep -Ev "$of_failures")
	for action in kill error 'delay 300'; do awk -v a="$action" '{ print $0, a }' <<<"$usual"; done
	grep -E ':(send|receive):' <<<"$usual" | sed 's/$/ drop-link/'
	grep -E ':record:.*:before' <<<"$usual" | sed 's/$/ no-space/; p; s/no-space/short-write/; p; s/short-write/torn/'
}

# The destination has promised to go on, and who was to keep that is killed: that may cost the partition.
may_cost_all() { # POINT ACTION
	[[ $1 =~ ^arrival:(record:resuming:after|phase:(switch|release)|criu:(post-restore|pre-resume)) && $2 == @(kill|torn|error) ]]
}

# ACTION at POINT of a move. Prints a line: the move's exit code, where the partition is, how long the client waited.
strike() { # POINT ACTION...
	local rule=
	what="$1 $2"
	! may_cost_all "$1" "$2" || rule=may-be-lost
	fault_begin
	order_faults <<<"$*"
	start_move
	wait_move
	has_struck || die "$what: it did not strike: $(cat "$lab_dir/relocate.out")"
	fault_end "$rule"
	[ "$end" != lost ] || assert_eq 14 "$move_status" "$what: exit code of a move that has cost the partition"
	printf '%-46s %-12s exit %-2s %-6s client waited %s ms\n' "$1" "$2" "$move_status" "$end" "$waited"
}
