#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Memory that is copied while the partition runs: rounds, their end, and partitions that write faster
# than they can be copied.
# shellcheck disable=SC2154,SC2016 # out, err: lib.sh; single quotes: expands in the host

track() { # NAME FROM TO [OPTION...]: moves it in rounds; the result as JSON
	in_host "$2" timeout 60 wparctl --json relocate "$1" "$3" --engine track "${@:4}" | tail -n 1 | jq -e .data
}

# A partition that writes all over MIB of memory as fast as it can.
writer() { # MIB [CREATE-OPTION...]
	local mib=$1
	shift
	toolbox
	cp -u "$BUILD/tests/tools/dirtier" "$lab_dir/shared/toolbox/bin/"
	redis_address=10.77.0.62 # what redis() asks
	toolbox_partition w $redis_address "$@" -- /bin/dirtier "$mib" 4000 6379
	wait_until 10 redis ping
}

# What its control group limits processors to, as the kernel has it.
processors() {
	in_host hostA sh -c 'cat $(find /sys/fs/cgroup -path "*/wpar/w/cpu.cfs_quota_us" -o -path "*/wpar/w/cpu.max" | head -n 1)'
}

# The writer runs as before, at full speed.
assert_undisturbed() { # PROCESSORS-BEFORE
	assert_eq Active "$(state_of hostA w)" "state"
	assert_eq "$1" "$(processors)" "limit of processors"
	assert_eq PONG "$(redis ping)"
	assert_eq "" "$(partitions hostB)" "partitions on hostB"
	assert_eq "" "$(in_host hostA sh -c 'ls /run/relocd/moves | grep throttle' || true)" "records of throttling"
}

test_nothing_is_lost_in_rounds() {
	local result move
	redis_partition r 10.77.0.61 --memory 512M
	client redis_data fill 10.77.0.61 6379 100
	meter_start "$lab_dir/meter.json"
	result=$(track r hostA hostB)
	assert_eq track "$(jq -r .engine <<<"$result")" "engine"
	jq -e '(.rounds | length >= 1) and .rounds[0].bytes > 4000000 and .phases.precopy > 0' <<<"$result" >/dev/null ||
		die "rounds: $result"
	# what was copied before is not copied again
	jq -e '[.rounds[1:][].bytes] | add // 0 | . < 20000000' <<<"$result" >/dev/null || die "rounds: $result"
	move=$(track r hostB hostA | jq -r .move)
	meter_stop || die "the client lost its connection: $(jq -c '{lost,errors,sequence_breaks}' "$lab_dir/meter.json")"
	assert_eq "$(jq .acked "$lab_dir/meter.json")" "$(redis get counter)" "stored increments"
	client redis_data verify 10.77.0.61 6379 100
	result=$(in_host hostB wparctl explain "$move" --timeline /tmp/r.svg)
	assert_contains "$result" "limited by: "
	assert_contains "$result" "ROUND"
	in_host hostB grep -q '^</svg>' /tmp/r.svg
	in_host hostB rm /tmp/r.svg
	# asked by its name or by the move, on either host: the figures are where it left
	assert_contains "$(in_host hostA wparctl explain r)" "ROUND"
	assert_contains "$(in_host hostB wparctl explain r)" "ROUND"
	assert_contains "$(in_host hostA wparctl explain "$move")" "ROUND"
	in_host hostA wparctl explain r --timeline /tmp/r.svg >/dev/null
	in_host hostA grep -q 'pre-copy' /tmp/r.svg
	in_host hostA rm /tmp/r.svg
}

test_processes_that_share_memory() {
	local mode said
	held() { in_host "$1" wparctl exec m -- /bin/cat /tmp/held; }
	# shellcheck disable=SC2317 # wait_until calls it
	grows() { [ "$(held "$1" | cut -d " " -f 2)" -gt "$2" ]; }
	toolbox
	cp -u "$BUILD/tests/tools/memwriter" "$lab_dir/shared/toolbox/bin/"
	for mode in tree shared; do
		toolbox_partition m 10.77.0.61 --memory 512M -- /bin/memwriter $mode 24 /tmp/held
		wait_until 20 held hostA
		for hosts in "hostA hostB" "hostB hostA"; do
			# shellcheck disable=SC2086 # two words
			track m $hosts >/dev/null
			said=$(held "${hosts#* }")
			assert_contains "$said" "ok "
			wait_until 20 grows "${hosts#* }" "$((${said#ok } + 2))"
			assert_contains "$(held "${hosts#* }")" "ok "
		done
		in_host hostA wparctl stop m --kill
		in_host hostA wparctl remove m
	done
}

test_diverging_is_left_where_it_is() {
	local before
	# shellcheck disable=SC2317 # wait_until calls it
	limited() { [ "$(processors)" != "$before" ]; }
	writer 96 --cpus 1.5
	before=$(processors)
	assert_refused 1 WPAR-M016 hostA wparctl relocate w hostB --engine track --max-downtime 20ms --on-diverge abort
	assert_undisturbed "$before"
	# slowed down, to no avail: it is given its processors back
	in_host hostA timeout 100 wparctl relocate w hostB --engine track --max-downtime 20ms >"$lab_dir/w.out" 2>&1 &
	wait_until 30 limited
	wait $! || true
	if [ "$(state_of hostA w)" = Active ]; then
		assert_contains "$(cat "$lab_dir/w.out")" WPAR-M016
		assert_undisturbed "$before"
	fi
}

test_diverging_moves_all_the_same() {
	local result
	writer 96 --cpus 1.5
	result=$(track w hostA hostB --max-downtime 20ms --on-diverge stop)
	jq -e '.limited_by | startswith("writing: ")' <<<"$result" >/dev/null || die "$result"
	assert_eq PONG "$(redis ping)"
	result=$(track w hostB hostA --bandwidth 50MiB/s --max-downtime 20ms --on-diverge throttle-then-stop)
	assert_eq PONG "$(redis ping)"
	jq -e '[.rounds[].cpu_percent] | min < 100' <<<"$result" >/dev/null || die "it was not slowed down: $result"
}

test_strict_downtime() {
	local before
	writer 384 --cpus 1.5
	before=$(processors)
	# what is certain already is too long: nothing was done yet
	assert_refused 4 WPAR-V007 hostA wparctl relocate w hostB --engine track --strict-downtime --max-downtime 20ms
	assert_undisturbed "$before"
	assert_refused 4 WPAR-V007 hostA wparctl relocate w hostB --engine track --restore eager --strict-downtime --max-downtime 300ms
	assert_contains "$err" "are certain"
	assert_undisturbed "$before"
	# all memory would be copied while it stands still
	assert_refused 4 WPAR-V007 hostA wparctl relocate w hostB --engine stop --strict-downtime --max-downtime 300ms
	# and a dry run says so of the same move
	local run_dry=(wparctl relocate w hostB --dry-run --engine stop)
	in_host hostA "${run_dry[@]}"
	assert_exit 4 in_host hostA "${run_dry[@]}" --strict-downtime --max-downtime 300ms
	assert_contains "$out" WPAR-V007
	assert_undisturbed "$before"
	# what the rounds leave is too much
	assert_refused 4 WPAR-V007 hostA wparctl relocate w hostB --engine track --restore lazy --strict-downtime --max-downtime 300ms --on-diverge stop
	assert_contains "$err" "rounds"
	assert_undisturbed "$before"
}

test_cancel_in_a_round() {
	local before got=0
	writer 64
	before=$(processors)
	in_host hostA timeout 100 wparctl --json relocate w hostB --engine track --bandwidth 8MiB/s >"$lab_dir/w.out" 2>&1 &
	wait_until 20 grep -q '"round":1' "$lab_dir/w.out"
	in_host hostA wparctl cancel w
	wait $! || got=$?
	assert_eq 8 "$got" "status of relocate"
	assert_undisturbed "$before"
	track w hostA hostB --on-diverge stop >/dev/null
	assert_eq PONG "$(redis ping)"
}

# The departure dies in the middle: whoever finds that gives the processors back.
test_departure_dies_while_it_throttles() {
	local before
	writer 96 --cpus 1.5
	before=$(processors)
	# shellcheck disable=SC2317 # wait_until calls it
	limited() { [ "$(processors)" != "$before" ]; }
	in_host hostA timeout 100 wparctl relocate w hostB --engine track --max-downtime 20ms --bandwidth 200MiB/s >"$lab_dir/w.out" 2>&1 &
	wait_until 30 limited
	in_host hostA sh -c 'kill -9 $(pgrep -x departure)'
	wait $! || true
	wait_until 20 eval '[ "$(state_of hostA w)" = Active ]'
	assert_undisturbed "$before"
}

test_own_page_faults_are_refused() {
	toolbox
	cp -u "$BUILD/tests/tools/userfault_holder" "$lab_dir/shared/toolbox/bin/"
	toolbox_partition u 10.77.0.61 --seccomp unconfined -- /bin/userfault_holder
	wait_until 10 in_host hostA sh -c 'ls -l /proc/$(pgrep -x userfault_holde)/fd/77'
	assert_refused 4 WPAR-V020 hostA wparctl relocate u hostB --engine track
	[[ $err =~ fd\ 77\ of\ pid\ [0-9]+ ]] || die "the culprit is not named: $err"
	assert_refused 2 WPAR-I005 hostA wparctl relocate u hostB --engine nonsense
	assert_refused 2 WPAR-I005 hostA wparctl relocate u hostB --on-diverge postcopy
}
