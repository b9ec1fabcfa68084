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

# Where a move takes long, restored sockets ask for their clients' hardware addresses while the port is
# closed, and what they have to say waits for the answer. It must not be thrown away when the partition
# runs: the client would wait until one side sends again, and after a long freeze that is seconds.
test_answer_is_not_lost_for_a_neighbour() {
	local moves=$lab_dir/neighbour-moves asking gap
	redis_partition r 10.77.0.61
	client redis_data fill 10.77.0.61 6379 200
	meter_start "$lab_dir/meter.json"
	in_host hostB timeout 60 bash -c 'until [ -e /tmp/moved ]; do
		for keeper in $(pgrep keeper:r); do nsenter -n -t $keeper bash -c "echo >/dev/udp/10.77.0.100/9"; done
		sleep 0.03; done 2>/dev/null; rm /tmp/moved' &
	asking=$!
	MOVE_OPTIONS="--engine stop" relocate "$moves" r hostA hostB
	in_host hostB touch /tmp/moved
	wait $asking
	meter_stop || die "the client lost its connection"
	relocate "$moves" r hostB hostA # at once: what the haste has changed is no reason to refuse
	gap=$(jq '.max_gap.ms | floor' "$lab_dir/meter.json")
	[ "$gap" -lt "$(head -n 1 "$moves" | jq '.downtime_ms + 500 | floor')" ] || die "the client waited $gap ms: $(head -n 1 "$moves")"
}

test_nothing_left_at_the_source() {
	local before
	toolbox
	# the record of the departed partition may stay; links, mounts, groups and processes may not
	before=$(snapshot_unlisted)
	redis_partition r 10.77.0.61
	relocate "$lab_dir/moves" r hostA hostB
	in_host hostB wparctl remove r --force
	wait_until 5 left_equals "$before" || die "$(diff <(echo "$before") <(snapshot))"
}
left_equals() { [ "$(snapshot_unlisted)" = "$1" ]; }

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

# Mounts keep their flags, and the host's devices stay out, wherever it is.
test_mounts_and_devices() {
	local before from=hostA to=hostB
	look() { in_host "$1" wparctl exec p -- /bin/sh -c '
		while read -r _ _ _ _ point flags _; do echo "$point $flags"; done </proc/1/mountinfo' | sort; }
	mkdir -p "$lab_dir/shared/volume"
	toolbox_partition p 10.77.0.61 --cap-add MKNOD --volume /srv/shared/volume:/data:ro
	before=$(look hostA)
	grep -qE '^/ (.*,)?nodev(,|$)' <<<"$before" || die "the root has devices: $before"
	grep -qE '^/data ro,(.*,)?nodev(,|$)' <<<"$before" || die "the volume has devices: $before"
	while :; do
		assert_exit 1 in_host $from wparctl exec p -- /bin/mknod /dev/disk b 7 0
		assert_contains "$err" "not permitted"
		assert_exit 0 in_host $from wparctl exec p -- /bin/sh -c "
			mknod /dev/zero$to c 1 5 && head -c 1 /dev/zero$to >/dev/null"
		relocate "$lab_dir/moves" p $from $to
		assert_eq "$before" "$(look $to)" "mounts on $to"
		[ $to = hostB ] || break
		from=hostB to=hostA
	done
}

# The hosts of the lab differ by eleven days of uptime; nothing that waits may notice.
test_clocks() {
	local host rounds from=hostA
	checker() { in_host "$1" wparctl exec c -- /bin/cat /tmp/clocks; }
	# shellcheck disable=SC2317 # wait_until calls it
	goes_on() { [[ $(checker "$1") =~ ^(bad|ok\ $(($2 + 2))$) ]]; }
	toolbox
	cp "$BUILD/tests/tools/clock_checker" "$lab_dir/shared/toolbox/bin/"
	toolbox_partition c 10.77.0.61 --user 1000:1000 --cap-drop ALL -- /bin/clock_checker /tmp/clocks
	wait_until 10 goes_on hostA 0
	for host in hostB hostA; do
		relocate "$lab_dir/moves" c "$from" $host
		from=$host
		rounds=$(checker $host)
		wait_until 10 goes_on $host "${rounds#ok }"
		assert_contains "$(checker $host)" "ok "
		# a command inside sees the same clocks
		assert_eq "$(in_host $host wparctl exec c -- /bin/readlink /proc/1/ns/time)" \
			"$(in_host $host wparctl exec c -- /bin/readlink /proc/self/ns/time)" "time namespace of exec"
	done
}

# A move must not turn the partition's monotonic clock.
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

# Memory of every kind that two processes share, checked page by page while it moves there and back.
test_memory_of_every_kind() {
	local round packed plain
	held() { in_host "$1" wparctl exec m -- /bin/cat /tmp/held; }
	# shellcheck disable=SC2317 # wait_until calls it
	grows() { [ "$(held "$1" | cut -d " " -f 2)" -gt "$2" ]; }
	toolbox
	cp "$BUILD/tests/tools/memory_holder" "$lab_dir/shared/toolbox/bin/"
	toolbox_partition m 10.77.0.61 --memory 256M --user 999:999 -- /bin/memory_holder /tmp/held 8
	wait_until 10 held hostA
	for hosts in "hostA hostB" "hostB hostA"; do
		# shellcheck disable=SC2086 # two words
		relocate "$lab_dir/moves" m $hosts
		round=$(held "${hosts#* }")
		assert_contains "$round" "ok "
		wait_until 10 grows "${hosts#* }" "$((${round#ok } + 3))"
		assert_contains "$(held "${hosts#* }")" "ok "
	done
	# Packed, the same memory takes less of the link.
	sent() { in_host "$1" timeout 60 wparctl --json relocate m "$2" --engine stop --compress "$3" | tail -n 1 | jq .data.transferred_bytes; }
	packed=$(sent hostA hostB zstd)
	round=$(held hostB)
	wait_until 10 grows hostB "$((${round#ok } + 3))"
	assert_contains "$(held hostB)" "ok "
	plain=$(sent hostB hostA off)
	[ $((2 * packed)) -lt "$plain" ] || die "$packed bytes packed, $plain plain"
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
