#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Moves that succeed: what travels, what stays, what both hosts say afterwards.
# shellcheck disable=SC2154,SC2016 # out, err: lib.sh; single quotes: expands in the partition

test_there_and_back() {
	local connection
	redis_partition r 10.77.0.61
	client redis_data fill 10.77.0.61 6379 16
	meter_start "$lab_dir/meter.json"
	connection=$(meter_connection)
	relocate "$lab_dir/moves" r hostA hostB
	assert_eq Active "$(state_of hostB r)"
	[ "$(state_of hostA r)" != Active ] || die "r is Active on both hosts"
	relocate "$lab_dir/moves" r hostB hostA
	assert_eq Active "$(state_of hostA r)"
	[ "$(state_of hostB r)" != Active ] || die "r is Active on both hosts"
	assert_eq "$connection" "$(meter_connection)" connection
	meter_stop
	assert_eq "$(jq .acked "$lab_dir/meter.json")" "$(redis get counter)" "stored increments"
	client redis_data verify 10.77.0.61 6379 16
}

# A new connection, and the address answers from one place only.
test_reachable_after_move() {
	redis_partition r 10.77.0.61
	relocate "$lab_dir/moves" r hostA hostB
	client ip neigh flush all
	assert_eq PONG "$(redis ping)"
	assert_eq 0 "$(in_host hostA sh -c 'ps -e -o comm= | grep -c redis-server')" "redis-server left on hostA"
	assert_eq 1 "$(in_host hostB sh -c 'ps -e -o comm= | grep -c redis-server')" "redis-server on hostB"
}

test_nothing_left_at_the_source() {
	local before
	toolbox
	# the record of the departed partition may stay; links, mounts, groups and processes may not
	before=$(snapshot | grep -v '^\[')
	redis_partition r 10.77.0.61
	relocate "$lab_dir/moves" r hostA hostB
	in_host hostB wparctl remove r --force
	wait_until 5 left_equals "$before" || die "$(diff <(echo "$before") <(snapshot))"
}
left_equals() { [ "$(snapshot | grep -v '^\[')" = "$1" ]; }

test_processes_go_on() {
	local before after
	toolbox_partition p 10.77.0.61 -- /bin/sh -c 'i=0; while :; do i=$((i+1)); echo $i >/tmp/count; sleep 0.05; done'
	wait_until 5 inside p /bin/sh -c '[ -s /tmp/count ]'
	before=$(inside p /bin/cat /tmp/count)
	relocate "$lab_dir/moves" p hostA hostB
	after=$(in_host hostB wparctl exec p -- /bin/cat /tmp/count)
	[ "$after" -ge "$before" ] || die "went back from $before to $after"
	wait_until 5 in_host hostB wparctl exec p -- /bin/sh -c "read -r n </tmp/count; [ \$n -gt $((after + 5)) ]"
}

test_identity_travels() {
	local before
	toolbox_partition p 10.77.0.61 --user 999:999 --hostname inner --memory 128M --pids 50
	look() { in_host "$1" wparctl exec --user 0:0 p -- /bin/sh -c '
		hostname; cat /proc/1/cgroup
		grep -E "^(Name|Uid|Gid|Cap|Seccomp:|NoNewPrivs)" /proc/1/status
		ip -o link show eth0 | grep -o "link/ether [0-9a-f:]*"; ip -o addr show eth0 | grep -o "inet6* [^ ]*"; ip route'; }
	before=$(look hostA)
	relocate "$lab_dir/moves" p hostA hostB
	assert_eq "$before" "$(look hostB)" "identity"
	in_host hostB bash -c '
		file=$(ls /sys/fs/cgroup/{memory/wpar/p/memory.limit_in_bytes,wpar/p/memory.max} 2>/dev/null)
		[ "$(cat $file)" = $((128 << 20)) ]'
}

# commit.md section 9: a move must not turn the partition's monotonic clock.
test_monotonic_clock() {
	local before after
	toolbox_partition p 10.77.0.61
	before=$(inside p /bin/sh -c 'read -r t _ </proc/uptime; echo ${t%.*}')
	relocate "$lab_dir/moves" p hostA hostB
	after=$(in_host hostB wparctl exec p -- /bin/sh -c 'read -r t _ </proc/uptime; echo ${t%.*}')
	[[ $after -ge $before && $((after - before)) -lt 30 ]] || die "uptime went from $before to $after"
}

test_console_goes_on() {
	toolbox_partition p 10.77.0.61 -- /bin/sh -c 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done'
	wait_until 5 in_host hostA sh -c 'wparctl logs p | grep -q "line 3"'
	relocate "$lab_dir/moves" p hostA hostB
	wait_until 10 in_host hostB sh -c 'wparctl logs p | tail -n 1 | grep -qE "line ([2-9][0-9]|[1-9][0-9]{2})"'
}

test_stop_after_move() {
	redis_partition r 10.77.0.61
	relocate "$lab_dir/moves" r hostA hostB
	in_host hostB wparctl stop r
	assert_eq Defined "$(state_of hostB r)"
	in_host hostB wparctl start r
	wait_until 10 redis ping
	assert_eq PONG "$(redis ping)"
}

test_report() {
	local json
	redis_partition r 10.77.0.61
	json=$(in_host hostA wparctl --json relocate r hostB | tail -n 1)
	jq -e '.schema == 1 and .data.from == "hostA" and .data.to == "hostB" and .data.partition == "r"
		and .data.outcome == "done" and (.data.move | startswith("m-"))
		and .data.downtime_ms > 0 and .data.total_ms >= .data.downtime_ms
		and .data.transferred_bytes > 0 and (.data.phases | length > 3)' <<<"$json" >/dev/null || die "$json"
	assert_exit 0 in_host hostB wparctl relocate r hostA
	assert_contains "$out$err" downtime
}

test_two_at_once() {
	redis_partition r 10.77.0.61
	toolbox_partition p 10.77.0.62
	relocate "$lab_dir/moves" r hostA hostB &
	relocate "$lab_dir/moves2" p hostA hostB
	wait $!
	assert_eq Active "$(state_of hostB r)"
	assert_eq Active "$(state_of hostB p)"
}
