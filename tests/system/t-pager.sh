#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Restore on demand: a partition runs on the other host before its memory is there. Whatever happens to the
# page server, no page is lost.
# shellcheck disable=SC2154,SC2016,SC2317 # out, err: lib.sh; single quotes: expands in the host; wait_until

# A Redis with MIB of data on hostA: more than what is better restored at once.
pager_redis() { # MIB
	trap 'rm -f "$lab_dir/shared/redis/data/dump.rdb"' EXIT
	redis_partition r 10.77.0.61
	redis config set save ''
	pager_mib=$1
	client redis_data fill 10.77.0.61 6379 "$1"
}
pager_verify() { client redis_data verify 10.77.0.61 6379 "$pager_mib" || die "pages are lost"; }

# Moves r to hostB and stops its page server there while it fills: once r runs, and at once then.
stopped_while_it_fills() {
	local log=$lab_dir/hostB.log
	in_host hostB timeout 60 bash -c '
		until pager=$(pgrep -x pager:r); do :; done
		grep -q -m 1 "partition r: Arriving -> Active" <(exec tail -c +$2 -s 0.01 -F "$1" 2>/dev/null)
		kill -STOP $pager' _ "$log" $(($(stat -c %s "$log") + 1)) &
	relocate "$lab_dir/moves" r hostA hostB
	wait $! || die "the fill was over too soon"
	in_host hostB pgrep -x pager:r >/dev/null || die "no page server"
}
go_on() { in_host hostB bash -c 'kill -CONT $(pgrep -x pager:r)'; }
is_filled() { [ "$(in_host hostB wparctl --json status r | jq '[.data] | flatten[0].filled_percent')" = null ] && ! in_host hostB pgrep -x pager:r; }

test_on_demand() {
	pager_redis 100
	meter_start "$lab_dir/meter.json"
	relocate "$lab_dir/moves" r hostA hostB
	pager_verify
	wait_until 10 is_filled
	grep -q 'of memory come on demand' "$lab_dir/hostB.log" || die "all was restored before it ran"
	relocate "$lab_dir/moves" r hostB hostA
	pager_verify
	meter_stop
	assert_eq "$(jq .acked "$lab_dir/meter.json")" "$(redis get counter)" "stored increments"
}

# Forks that read all of it, servers that are killed meanwhile.
test_killed_while_it_fills() {
	local kills
	pager_redis 300
	in_host hostB timeout 60 bash -c '
		until pgrep -x redis-server >/dev/null && pgrep -x pager:r >/dev/null; do :; done
		for i in 1 2 3 4 5; do kill -9 $(pgrep -x pager:r) || break; sleep 0.03; done; true' &
	relocate "$lab_dir/moves" r hostA hostB
	redis bgsave
	wait $!
	pager_verify
	wait_until 20 is_filled
	kills=$(grep -c 'page server of r ended with signal 9' "$lab_dir/hostB.log") || true
	[ "$kills" -ge 2 ] || die "only $kills page servers were killed"
	wait_until 20 saved
	pager_verify
	# What the fork saw: the next Redis reads it.
	in_host hostB wparctl restart r --kill
	wait_until 20 loaded
	pager_verify
}
loaded() { [ "$(redis ping)" = PONG ]; }
saved() { redis info persistence | grep -q 'rdb_bgsave_in_progress:0' && redis info persistence | grep -q 'rdb_last_bgsave_status:ok'; }

test_eager_when_asked() {
	pager_redis 100
	in_host hostA wparctl relocate r hostB --restore eager
	! in_host hostB pgrep -x pager:r >/dev/null || die "it has a page server"
	pager_verify
	assert_exit 2 in_host hostB wparctl relocate r hostA --restore later
}

# What comes on demand is needed once while it arrives, all else twice.
test_room_for_memory() {
	local available
	pager_redis 500
	available=$(in_host hostB awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
	trap 'in_host hostB rm -f /etc/relocd/relocd.yaml; lab relocd hostB restart' EXIT
	in_host hostB sh -c "[ ! -e /etc/relocd/relocd.yaml ] && echo 'limits: {memory_for_arrivals: $((100000 / available))%}' >/etc/relocd/relocd.yaml"
	lab relocd hostB restart
	assert_refused 4 WPAR-V003 hostA wparctl relocate r hostB --restore eager
	in_host hostA wparctl relocate r hostB
	pager_verify
}

test_move_waits_for_the_fill() {
	pager_redis 400
	stopped_while_it_fills
	assert_contains "$(in_host hostB wparctl status r)" "filling "
	assert_contains "$(in_host hostB wparctl validate r hostA)" "memory is still being filled"
	lab relocd hostB restart # no business of the page server's
	assert_contains "$(in_host hostB wparctl status r)" "filling "
	in_host hostB wparctl --json relocate r hostA --no-wait
	wait_until 10 waits_for_fill
	go_on
	wait_until 60 in_host hostA bash -c 'wparctl --json status r | grep -q "\"Active\""'
	pager_verify
}
waits_for_fill() { in_host hostB wparctl --json moves | jq -e '.data[] | select(.partition == "r" and .phase == "filling")'; }

test_stopped_while_it_fills() {
	pager_redis 400
	stopped_while_it_fills
	assert_exit 0 in_host hostB wparctl stop r --kill
	assert_eq Defined "$(state_of hostB r)"
	wait_until 5 nobody_fills
}
nobody_fills() { ! in_host hostB pgrep 'pager:r|keeper:r|guard:r'; }

# The server has all that it needs without its keeper.
test_keeper_dies() {
	pager_redis 400
	stopped_while_it_fills
	in_host hostB bash -c 'kill -9 $(pgrep -x keeper:r)'
	go_on
	pager_verify
	wait_until 10 nobody_fills
	pager_verify
	assert_eq Failed "$(state_of hostB r)"
}

# Nobody can go on: it is lost, and says so; it does not run on without its memory.
test_no_successor() {
	pager_redis 400
	stopped_while_it_fills
	# Builtins only: a successor fills all of it in less time than a busy machine needs for a few forks.
	in_host hostB timeout 60 bash -c '
		keeper=$(pgrep -x keeper:r)
		while [ -d /proc/$keeper ]; do
			read -r children </proc/$keeper/task/$keeper/children
			for child in $children; do
				read -r comm </proc/$child/comm && [ "$comm" != pager:r ] || kill -9 $child
			done
		done 2>/dev/null; true'
	wait_until 10 is_broken
	assert_contains "$(in_host hostB wparctl status r)" "page server"
	wait_until 5 nobody_fills
	assert_exit 0 in_host hostB wparctl start r
}
is_broken() { [ "$(state_of hostB r)" = Broken ]; }

# Neither is left: who has their descriptors starts another server.
test_keeper_and_server_die() {
	pager_redis 400
	stopped_while_it_fills
	in_host hostB bash -c 'kill -9 $(pgrep -x keeper:r) $(pgrep -x pager:r)'
	pager_verify
	wait_until 10 nobody_fills
	pager_verify
	assert_eq Failed "$(state_of hostB r)"
}
