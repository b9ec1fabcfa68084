#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Moves between two kernels, while a client on the same segment works.
# shellcheck disable=SC2154 # redis_address, meter_port: workload.sh

# There and back. Nothing is lost, the connection stays, and memory went in rounds while it ran.
test_track_keeps_the_connection() {
	local moves=$BUILD/hosts-tests/moves.json meter=$BUILD/hosts-tests/meter.json connection port
	rm -f "$moves"
	redis_partition r 10.77.0.50
	client redis_data fill "$redis_address" 6379 16
	meter_start "$meter"
	connection=$(meter_connection)
	port=$meter_port
	[ -n "$connection" ] || die "Redis does not know the meter's connection"
	ENGINE=track relocate "$moves" r hostA hostB
	assert_eq Active "$(state_of hostB r)"
	# shellcheck disable=SC2016 # expands in the host
	assert_eq 0 "$(in_host hostB sh -c 'cat /proc/$(pgrep -x redis-server)/oom_score_adj')" "oom_score_adj after a move"
	ENGINE=track relocate "$moves" r hostB hostA
	assert_eq Active "$(state_of hostA r)"
	assert_eq "$connection" "$(meter_connection)" "the connection from port $port"
	meter_stop
	assert_eq "0 0 null" "$(jq -r '"\(.errors) \(.sequence_breaks) \(.lost)"' "$meter")"
	assert_eq "$(jq .acked "$meter")" "$(redis get counter)" "increments stored"
	client redis_data verify "$redis_address" 6379 16
	assert_eq "track track" "$(jq -r .engine "$moves" | xargs)"
	[ "$(jq -s 'map(select(.rounds >= 1)) | length' "$moves")" = 2 ] || die "no rounds: $(cat "$moves")"
	in_host hostA wparctl explain r >&2
}
