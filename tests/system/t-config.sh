#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# relocd.yaml, and who may use what.
# shellcheck disable=SC2154 # out, err: lib.sh

check_config() { # TEXT
	printf '%s\n' "$1" >"$lab_dir/shared/relocd.yaml"
	in_host hostA sh -c 'cp /srv/shared/relocd.yaml /etc/relocd/ && relocd --check-config'
}

test_good_config() {
	trap 'in_host hostA rm -f /etc/relocd/relocd.yaml' EXIT
	check_config 'host: hostA
listen: "[::]:7470"
network: {bridge: br0}
storage: {root: /var/lib/relocd, shared: [/srv/shared]}'
}

test_unknown_key() {
	trap 'in_host hostA rm -f /etc/relocd/relocd.yaml' EXIT
	assert_exit 2 check_config 'host: hostA
network: {bridge: br0}
lisen: "[::]:7470"'
	assert_contains "$err" WPAR-C001
	assert_contains "$err" lisen
	[[ $err =~ (line\ 3|:3) ]] || die "the line is not named: $err"
}

test_wrong_type() {
	trap 'in_host hostA rm -f /etc/relocd/relocd.yaml' EXIT
	assert_exit 2 check_config 'host: hostA
limits:
  moves: many'
	assert_contains "$err" WPAR-C001
	assert_contains "$err" moves
	[[ $err =~ (line\ 3|:3) ]] || die "the line is not named: $err"
}

test_not_yaml() {
	trap 'in_host hostA rm -f /etc/relocd/relocd.yaml' EXIT
	assert_exit 2 check_config 'host: "hostA'
	assert_contains "$err" WPAR-C001
}

test_not_root() {
	local user=(setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs)
	assert_exit 13 in_host hostA "${user[@]}" relocd
	assert_contains "$err" WPAR-A001
	assert_exit 13 in_host hostA "${user[@]}" wparctl list
	[[ $err == *WPAR-A00[12]* ]] || die "no code of class A: $err"
}

test_no_relocd() {
	lab relocd hostA stop
	trap 'lab relocd hostA start' EXIT
	assert_exit 6 in_host hostA wparctl list
	assert_contains "$err" WPAR-I004
}
