#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Partitions with IPv6 addresses move with their connections, also between hosts that speak IPv6.
# shellcheck disable=SC2034,SC2154 # out, err, redis_address: lib.sh

# A Redis with these addresses, the first of which redis and the meter use.
redis_at() { # NAME CIDR...
	local name=$1 options=()
	redis_address=${2%/*} # of redis() and meter_start
	shift
	while [ $# -gt 0 ]; do
		options+=(--address "$1")
		shift
	done
	[ -e "$lab_dir/shared/redis" ] || make_rootfs redis redis-server
	in_host hostA wparctl create "$name" --rootfs /srv/shared/redis --user 999:999 "${options[@]}" --bridge br0 -- \
		/bin/redis-server --bind '* -::*' --port 6379 --protected-mode no --save '' --dir /data
	in_host hostA wparctl start "$name"
	wait_until 10 redis ping
}

connection_of_meter() { redis client list | awk -v a="addr=[fd77::100]:$meter_port" '$2 == a { print $1 }'; }

there_and_back() { # NAME
	local connection
	meter_start "$lab_dir/meter.json"
	connection=$(connection_of_meter)
	[ -n "$connection" ] || die "the client is not connected over IPv6: $(redis client list)"
	relocate "$lab_dir/moves" "$1" hostA hostB
	relocate "$lab_dir/moves" "$1" hostB hostA
	assert_eq "$connection" "$(connection_of_meter)" connection
	meter_stop
	assert_eq "$(jq .acked "$lab_dir/meter.json")" "$(redis get counter)" "stored increments"
	# neighbours know where it is, and held frames were delivered: nobody waited for a retransmission of TCP
	moves_with_gaps "$lab_dir/meter.json" "$lab_dir/moves" | jq -e 'map(.client_gap_ms) | max < 5000' >/dev/null
	rm "$lab_dir/moves"
}

test_ipv6_only() {
	rm -f "$lab_dir/moves"
	redis_at r fd77::61/64
	there_and_back r
	client ip -6 neigh flush all
	assert_eq PONG "$(redis ping)"
}

test_dual_stack() {
	local old
	rm -f "$lab_dir/moves"
	redis_at r fd77::61/64 10.77.0.61/24 fd77::6:2/64
	# a connection over IPv4 that lives through it as well
	# shellcheck disable=SC2016 # expands there
	client bash -c 'exec 3<>/dev/tcp/10.77.0.61/6379; until [ -e /srv/shared/go ]; do
		printf "PING\r\n" >&3; read -r -t 10 -u 3 line && [[ $line == +PONG* ]] || exit 1; sleep 0.02
	done' &
	old=$!
	there_and_back r
	touch "$lab_dir/shared/go"
	wait $old
	rm "$lab_dir/shared/go"
	for address in 10.77.0.61 fd77::6:2; do
		assert_eq PONG "$(client redis-cli -h $address ping)" "$address"
	done
}

# A host joins and partitions come to it over IPv6.
test_peers_over_ipv6() {
	local token
	redis_at r fd77::61/64
	token=$(in_host hostA wparctl cluster add-host hostX --address "[fd77::2]:7470" | tail -n 1)
	# shellcheck disable=SC1091
	source "$here/t-peers.sh"
	leave_cluster
	# shellcheck disable=SC2016 # expands in the host
	in_host hostB sh -c 'echo "host: hostX" >/etc/relocd/relocd.yaml'
	lab relocd hostB restart
	in_host hostB ip addr del 10.77.0.2/24 dev br0 # there is no other way
	in_host hostB wparctl cluster join "$token"
	assert_contains "$(in_host hostA wparctl --json hosts)" "[fd77::2]:7470"
	in_host hostA wparctl relocate r hostX --streams 2
	in_host hostB ip addr add 10.77.0.2/24 dev br0
	assert_eq PONG "$(redis ping)"
	in_host hostB wparctl relocate r hostA
	assert_eq PONG "$(redis ping)"
}
