#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Several connections for one move, and several moves on one link.
# shellcheck disable=SC2154,SC2016 # out, err: lib.sh; single quotes: expands in the host

streams() { # NUMBER NAME FROM TO [OPTION...]: moves it in rounds; the result as JSON
	in_host "$3" timeout 60 wparctl --json relocate "$2" "$4" --engine track --streams "$1" "${@:5}" | tail -n 1 | jq -e .data
}

test_nothing_is_lost_over_several() {
	local result
	redis_partition r 10.77.0.61 --memory 512M
	client redis_data fill 10.77.0.61 6379 100
	meter_start "$lab_dir/meter.json"
	result=$(streams 3 r hostA hostB)
	assert_eq 3 "$(jq .streams <<<"$result")" "streams"
	result=$(streams 8 r hostB hostA --compress lz4)
	assert_eq 8 "$(jq .streams <<<"$result")" "streams"
	meter_stop || die "the client lost its connection: $(jq -c '{lost,errors,sequence_breaks}' "$lab_dir/meter.json")"
	assert_eq "$(jq .acked "$lab_dir/meter.json")" "$(redis get counter)" "stored increments"
	client redis_data verify 10.77.0.61 6379 100
	# pages as CRIU sends them keep their order
	result=$(in_host hostA timeout 60 wparctl --json relocate r hostB --engine stop --streams 4 | tail -n 1 | jq .data.streams)
	assert_eq 4 "$result" "streams"
	client redis_data verify 10.77.0.61 6379 100
	assert_refused 2 WPAR-I005 hostB wparctl relocate r hostA --streams 9
	wait_until 10 in_host hostA sh -c '! pgrep -x mover'
	wait_until 10 in_host hostB sh -c '! pgrep -x mover'
}

# Pages that are written again and again: a round must never overtake the one before it.
test_rounds_stay_in_order() {
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
			streams 4 m $hosts >/dev/null
			said=$(held "${hosts#* }")
			assert_contains "$said" "ok "
			wait_until 20 grows "${hosts#* }" "$((${said#ok } + 2))"
			assert_contains "$(held "${hosts#* }")" "ok "
		done
		in_host hostA wparctl stop m --kill
		in_host hostA wparctl remove m
	done
}

# Before the commit a move needs all of its connections.
test_a_connection_dies() {
	redis_partition r 10.77.0.61 --memory 512M
	client redis_data fill 10.77.0.61 6379 100
	for victim in hostA hostB; do
		in_host hostA timeout 60 wparctl relocate r hostB --engine track --streams 3 --bandwidth 20MiB/s >"$lab_dir/r.out" 2>&1 &
		wait_until 20 in_host $victim sh -c '[ $(pgrep -c -x mover) = 3 ]'
		wait_until 20 in_host hostA sh -c 'wparctl moves | grep -q precopy'
		in_host $victim pkill -KILL -n -x mover
		! wait $! || die "the move went on: $(cat "$lab_dir/r.out")"
		assert_eq Active "$(state_of hostA r)" "state"
		wait_until 10 in_host hostB sh -c '[ -z "$(wparctl --json list --local | jq -r ".data[].name")" ]'
		client redis_data verify 10.77.0.61 6379 100
	done
	streams 3 r hostA hostB >/dev/null
	client redis_data verify 10.77.0.61 6379 100
}

# Two moves at once have the same part of what the host may send, whatever each was given.
test_moves_share_a_link() {
	local a b
	redis_partition r1 10.77.0.61 --memory 256M
	client redis_data fill 10.77.0.61 6379 40
	redis_partition r2 10.77.0.62 --memory 256M
	client redis_data fill 10.77.0.62 6379 40
	trap 'in_host hostA sh -c "rm -f /etc/relocd/relocd.yaml; mv /run/yaml.saved /etc/relocd/relocd.yaml 2>/dev/null; pkill -HUP -x relocd"' EXIT
	in_host hostA sh -c 'cp /etc/relocd/relocd.yaml /run/yaml.saved 2>/dev/null
		echo "limits: {bandwidth: 20MiB/s}" >>/etc/relocd/relocd.yaml; pkill -HUP -x relocd'
	streams 1 r1 hostA hostB --compress off >"$lab_dir/r1.out" &
	streams 4 r2 hostA hostB --compress off >"$lab_dir/r2.out"
	wait $!
	a=$(jq '.phases.precopy | floor' "$lab_dir/r1.out")
	b=$(jq '.phases.precopy | floor' "$lab_dir/r2.out")
	echo "r1 was copied in $a ms, r2 in $b ms"
	if [ "$a" -lt 3000 ] || [ "$b" -lt 3000 ]; then die "the limit was not kept: $a ms, $b ms"; fi
	if [ $((2 * a)) -lt "$b" ] || [ $((2 * b)) -lt "$a" ]; then die "not shared evenly: $a ms, $b ms"; fi
	for redis_address in 10.77.0.61 10.77.0.62; do
		client redis_data verify $redis_address 6379 40
	done
}
