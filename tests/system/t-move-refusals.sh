#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Moves that must be refused, and leave the partition running where it is.
# shellcheck disable=SC2154 # out, err: lib.sh

# The partition still runs: it answers.
assert_runs() { # NAME
	assert_eq Active "$(state_of hostA "$1")" "state of $1"
	inside "$1" /bin/id >/dev/null
}

# relocd.yaml for a test, taken back at its end.
configure() { # HOST TEXT
	# shellcheck disable=SC2064 # now
	trap "in_host $1 rm -f /etc/relocd/relocd.yaml; lab relocd $1 restart" EXIT
	# shellcheck disable=SC2016 # expands there
	in_host "$1" sh -c 'printf "%s\n" "$1" >/etc/relocd/relocd.yaml' _ "$2"
	lab relocd "$1" restart
}

test_to_itself() {
	toolbox_partition p 10.77.0.61
	assert_refused 4 WPAR-M001 hostA wparctl relocate p hostA
	assert_runs p
}

test_unknown_host() {
	toolbox_partition p 10.77.0.61
	assert_refused 3 WPAR-M003 hostA wparctl relocate p hostZ
	assert_runs p
}

test_unreachable_host() {
	toolbox_partition p 10.77.0.61
	lab relocd hostB kill
	trap 'lab relocd hostB start' EXIT
	assert_exit 6 in_host hostA wparctl relocate p hostB
	assert_contains "$err" WPAR-M004
	assert_contains "$err" hostB
	assert_runs p
}

test_stopped_partition() {
	toolbox
	in_host hostA wparctl create p --rootfs /srv/shared/toolbox -- /bin/sleep 1
	assert_refused 5 WPAR-P004 hostA wparctl relocate p hostB
}

test_while_one_runs() {
	local first=0 second=0
	redis_partition r 10.77.0.61
	client redis_data fill 10.77.0.61 6379 128
	in_host hostA wparctl relocate r hostB >"$lab_dir/first" 2>&1 &
	in_host hostA wparctl relocate r hostB >"$lab_dir/second" 2>&1 || second=$?
	wait $! || first=$?
	cat "$lab_dir/first" "$lab_dir/second"
	assert_eq "0 5" "$(printf '%s\n' "$first" "$second" | sort -n | xargs)" "statuses"
	assert_contains "$(cat "$lab_dir/first" "$lab_dir/second")" WPAR-M002
	assert_eq Active "$(state_of hostB r)" "state of r"
	client redis_data verify 10.77.0.61 6379 128
}

test_bridge_missing() {
	toolbox
	in_host hostA ip link add br1 type bridge
	in_host hostA ip link set br1 up
	trap 'in_host hostA wparctl remove p --force; in_host hostA ip link del br1' EXIT
	in_host hostA wparctl create p --rootfs /srv/shared/toolbox --address 10.78.0.61/24 --bridge br1 \
		-- /bin/sleep 100000
	in_host hostA wparctl start p
	assert_refused 4 WPAR-N002 hostA wparctl relocate p hostB
	assert_contains "$err" br1
	assert_contains "$err" hostB
	assert_runs p
}

test_address_taken() {
	toolbox_partition p 10.77.0.61
	client ip addr add 10.77.0.61/24 dev eth0
	trap 'client ip addr del 10.77.0.61/24 dev eth0' EXIT
	assert_refused 4 WPAR-N003 hostA wparctl relocate p hostB
	assert_contains "$err" 10.77.0.61
	assert_runs p
}

# Names are unique in the cluster, but for what a host made while it could not ask the others.
test_name_taken_there() {
	toolbox_partition p 10.77.0.61
	lab relocd hostA stop
	trap 'lab relocd hostA start' EXIT
	in_host hostB wparctl create p --rootfs /srv/shared/toolbox --address 10.77.0.62/24 --bridge br0 \
		-- /bin/sleep 1
	lab relocd hostA start
	trap - EXIT
	assert_refused 5 WPAR-P002 hostA wparctl relocate p hostB
	assert_runs p
}

test_too_little_memory() {
	toolbox_partition p 10.77.0.61 --memory 1T
	assert_refused 4 WPAR-V003 hostA wparctl relocate p hostB
	assert_contains "$err" hostB
	assert_runs p
}

test_io_uring() {
	local said fd
	toolbox_partition p 10.77.0.61 --seccomp unconfined -- /bin/iouring_holder
	wait_until 10 in_host hostA sh -c 'wparctl logs p | grep -q "^pid"'
	said=$(in_host hostA wparctl logs p | grep '^pid')
	fd=${said##* }
	assert_refused 4 WPAR-V021 hostA wparctl relocate p hostB
	[[ $err =~ fd\ $fd\ of\ pid\ [0-9]+\ \(iouring_holder\) ]] || die "the culprit is not named: $err"
	assert_runs p
}

test_exec_session() {
	toolbox_partition p 10.77.0.61
	# shellcheck disable=SC2016 # expands in the partition
	inside p /bin/sh -c 'echo $$ >/tmp/session; exec sleep 1000' &
	wait_until 10 inside p /bin/cat /tmp/session
	assert_refused 4 WPAR-V022 hostA wparctl relocate p hostB
	# shellcheck disable=SC2016 # expands in the partition
	inside p /bin/sh -c 'kill $(cat /tmp/session)'
	wait $! || true
	assert_runs p
}

test_criu_missing() {
	toolbox_partition p 10.77.0.61
	configure hostA 'criu: {path: /nonexistent/criu}'
	assert_refused 4 WPAR-V001 hostA wparctl relocate p hostB
	assert_contains "$err" /nonexistent/criu
	assert_runs p
}

test_criu_unable() {
	toolbox_partition p 10.77.0.61
	configure hostB 'criu: {path: /bin/true}'
	assert_refused 4 WPAR-V002 hostA wparctl relocate p hostB
	assert_contains "$err" hostB
	assert_runs p
}

test_rootfs_not_there() {
	toolbox
	cp -a "$lab_dir/shared/toolbox" "$lab_dir/only-a"
	in_host hostA mkdir -p /run/only-a
	in_host hostA mount --bind "$lab_dir/only-a" /run/only-a
	trap 'in_host hostA wparctl remove p --force; in_host hostA umount /run/only-a; rm -rf "$lab_dir/only-a"' EXIT
	in_host hostA wparctl create p --rootfs /run/only-a --address 10.77.0.61/24 --bridge br0 -- /bin/sleep 100000
	in_host hostA wparctl start p
	assert_exit 4 in_host hostA wparctl relocate p hostB
	[[ $err == *WPAR-S00[13]* ]] || die "neither missing nor not shared: $err"
	assert_runs p
}

test_storage_not_shared() {
	toolbox_partition p 10.77.0.61 --storage copied
	assert_refused 4 WPAR-S003 hostA wparctl relocate p hostB
	assert_contains "$err" "/srv/shared/toolbox"
	assert_runs p
}

# validate names the same reasons without trying.
test_validate_says_so() {
	toolbox_partition p 10.77.0.61 --seccomp unconfined -- /bin/iouring_holder
	wait_until 10 in_host hostA sh -c 'wparctl logs p | grep -q "^pid"'
	assert_exit 4 in_host hostA wparctl validate p hostB
	assert_contains "$out$err" WPAR-V021
	in_host hostA wparctl remove p --force
	toolbox_partition q 10.77.0.62
	in_host hostA wparctl validate q hostB
}
