#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a partition with CAP_NET_ADMIN adds to its network is refused by name, and nothing else is.
# shellcheck disable=SC2154 # out, err: lib.sh

assert_extra() { # SENTENCE-PART
	assert_exit 4 in_host hostA wparctl relocate p hostB
	assert_contains "$err" WPAR-V025
	assert_contains "$err" "$1"
}

test_extra_contents() {
	toolbox
	toolbox_partition p 10.77.0.61 --cap-add NET_ADMIN
	in_host hostA wparctl validate p hostB
	inside p /bin/ip addr add 10.99.0.1/24 dev eth0
	assert_extra "address 10.99.0.1/24 on eth0"
	inside p /bin/ip addr del 10.99.0.1/24 dev eth0
	inside p /bin/ip route add 10.98.0.0/16 via 10.77.0.1
	assert_extra "route 10.98.0.0/16 via 10.77.0.1 on eth0"
	inside p /bin/ip route del 10.98.0.0/16
	inside p /bin/ip rule add pref 100 table 7
	assert_extra "routing rule 100 of IPv4"
	inside p /bin/ip rule del pref 100
	inside p /bin/ip link add name pair0 type veth peer name pair1
	assert_extra "interface pair"
	inside p /bin/ip link del pair0
	inside p /bin/ip link set eth0 mtu 1400
	assert_extra "interface eth0"
	inside p /bin/ip link set eth0 mtu 1500
	# shellcheck disable=SC2016 # expands in the host
	in_host hostA bash -c 'nsenter -n -t "$1" sysctl -qw net.ipv4.tcp_keepalive_time=100' _ "$(in_host hostA wparctl --json status p | jq -r '.data | .. | .pid? // empty' | head -n 1)"
	assert_extra "net/ipv4/tcp_keepalive_time has been changed from 7200 to 100"
	assert_eq Active "$(state_of hostA p)"
}
