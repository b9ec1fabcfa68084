#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The life of a partition on one host, and what it can see and do.
# shellcheck disable=SC2154,SC2016 # out, err: lib.sh; single quotes: expands in the partition

test_life() {
	toolbox
	in_host hostA wparctl create p --rootfs /srv/shared/toolbox --address 10.77.0.61/24 --bridge br0 -- /bin/sleep 100000
	assert_eq Defined "$(state_of hostA p)"
	in_host hostA wparctl start p
	assert_eq Active "$(state_of hostA p)"
	in_host hostA wparctl status p
	assert_contains "$(in_host hostA wparctl list)" p
	in_host hostA wparctl stop p
	assert_eq Defined "$(state_of hostA p)"
	in_host hostA wparctl start p
	assert_eq Active "$(state_of hostA p)"
	assert_refused 5 WPAR-P004 hostA wparctl remove p
	in_host hostA wparctl stop p
	in_host hostA wparctl remove p
	assert_eq "" "$(partitions hostA)"
}

test_remove_leaves_nothing() {
	local before
	toolbox
	before=$(snapshot)
	toolbox_partition p 10.77.0.61
	in_host hostA wparctl remove p --force
	assert_unchanged "$before"
}

test_create_start_at_once() {
	toolbox
	in_host hostA wparctl create p --rootfs /srv/shared/toolbox --address 10.77.0.61/24 --bridge br0 --start -- /bin/sleep 100000
	assert_eq Active "$(state_of hostA p)"
}

test_exec_status() {
	toolbox_partition p 10.77.0.61
	assert_exit 0 inside p /bin/id -u
	assert_eq 0 "$out"
	assert_exit 7 inside p /bin/sh -c 'exit 7'
	assert_exit 143 inside p /bin/sh -c 'kill -TERM $$'
	assert_exit 127 inside p /bin/nothing-here
	assert_exit 126 inside p /etc/passwd
	assert_exit 3 inside p /bin/sh -c 'echo to-out; echo to-err >&2; exit 3'
	assert_eq to-out "$out"
	assert_contains "$err" to-err
}

test_exec_stdin() {
	toolbox_partition p 10.77.0.61
	assert_eq hello "$(echo hello | in_host hostA wparctl exec -i p -- /bin/cat)"
}

test_exec_terminal() {
	toolbox_partition p 10.77.0.61
	assert_exit 1 inside p /bin/tty
	assert_contains "$(lab exec -t hostA wparctl exec -t p -- /bin/sh -c '[ -t 0 ] && [ -t 1 ] && echo a-terminal' </dev/null)" a-terminal
}

test_exec_user() {
	toolbox_partition p 10.77.0.61
	assert_eq 999 "$(in_host hostA wparctl exec --user 999:999 p -- /bin/id -u)"
}

test_logs() {
	toolbox_partition p 10.77.0.61 -- /bin/sh -c 'echo first; echo second >&2; exec sleep 100000'
	wait_until 10 in_host hostA sh -c 'wparctl logs p | grep -q second'
	assert_contains "$(in_host hostA wparctl logs p)" first
}

test_logs_follow() {
	toolbox_partition p 10.77.0.61 -- /bin/sh -c 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.2; done'
	assert_contains "$(in_host hostA sh -c 'timeout 10 wparctl logs -f p | grep -m 1 "line 5"')" "line 5"
}

test_stop_is_graceful() {
	toolbox_partition p 10.77.0.61 -- /bin/sh -c 'trap "echo bye; exit 0" TERM; while :; do sleep 0.1; done'
	in_host hostA wparctl stop p
	assert_contains "$(in_host hostA wparctl logs p)" bye
}

test_stop_kills_after_grace() {
	local begin=$SECONDS
	toolbox_partition p 10.77.0.61 -- /bin/sh -c 'trap "" TERM; while :; do sleep 0.1; done'
	in_host hostA wparctl stop p --grace 1s
	[ $((SECONDS - begin)) -lt 15 ] || die "stop took too long"
	assert_eq Defined "$(state_of hostA p)"
}

test_failed_state() {
	toolbox_partition p 10.77.0.61 -- /bin/sh -c 'sleep 0.3; exit 9'
	wait_until 10 state_is p Failed
	assert_contains "$(in_host hostA wparctl status p)" 9
}
state_is() { [ "$(state_of hostA "$1")" = "$2" ]; }

test_command_missing() {
	toolbox
	in_host hostA wparctl create p --rootfs /srv/shared/toolbox -- /bin/not-there
	assert_exit 1 in_host hostA wparctl start p
	assert_contains "$err" WPAR-P008
	assert_contains "$err" /bin/not-there
}

test_own_world() {
	toolbox_partition p 10.77.0.61 --hostname inner
	assert_eq inner "$(inside p /bin/hostname)"
	assert_eq /bin/sleep "$(inside p /bin/sh -c 'read -r c </proc/1/comm; readlink /proc/1/exe')"
	for ns in pid mnt uts ipc net cgroup time; do
		[ "$(inside p /bin/readlink "/proc/1/ns/$ns")" != "$(in_host hostA readlink "/proc/1/ns/$ns")" ] ||
			die "namespace $ns is the host's"
	done
	assert_contains "$(inside p /bin/ip -4 -o addr)" 10.77.0.61/24
	assert_exit 1 client bash -c 'exec 3<>/dev/tcp/10.77.0.61/9'
	assert_contains "$err" refused # it is there, and has nobody on port 9
	assert_exit 0 inside p /bin/sh -c '! (echo x >/proc/sys/kernel/hostname) 2>/dev/null'
	assert_exit 0 inside p /bin/sh -c 'echo x >/dev/null; [ -c /dev/urandom ] && [ ! -e /dev/vda ] && [ ! -e /dev/loop0 ]'
	assert_eq "" "$(inside p /bin/cat /proc/keys)"
}

test_privileges() {
	toolbox_partition p 10.77.0.61 --user 999:999
	local status
	status=$(inside p /bin/cat /proc/1/status)
	assert_eq "999 999 999 999" "$(awk '/^Uid:/ { print $2, $3, $4, $5 }' <<<"$status")" uids
	assert_eq 0000000000000000 "$(awk '/^CapEff:/ { print $2 }' <<<"$status")" "effective capabilities"
	assert_eq 2 "$(awk '/^Seccomp:/ { print $2 }' <<<"$status")" "seccomp mode"
	# never CAP_SYS_ADMIN (21), CAP_NET_ADMIN (12), CAP_SYS_MODULE (16)
	assert_eq 0 $((0x$(awk '/^CapBnd:/ { print $2 }' <<<"$status") & (1 << 21 | 1 << 12 | 1 << 16))) "bounding set"
}

# Even root with CAP_MKNOD, and also what the root filesystem has brought along.
test_devices() {
	local data=$lab_dir/shared/toolbox/data
	toolbox
	mknod -m 0666 "$data/disk" b 7 0
	# shellcheck disable=SC2064 # now
	trap "rm -f '$data/disk' '$data/zero'" EXIT
	toolbox_partition p 10.77.0.61 --cap-add MKNOD
	assert_exit 1 inside p /bin/head -c 1 /data/disk
	assert_contains "$err" denied
	for node in "/dev/disk b 7 0" "/dev/memory c 1 1" "/tmp/kmsg c 1 11" "/dev/tun c 10 200"; do
		# shellcheck disable=SC2086 # words
		assert_exit 1 inside p /bin/mknod $node
		assert_contains "$err" "not permitted"
	done
	assert_exit 0 inside p /bin/sh -c 'mknod /dev/zero2 c 1 5 && head -c 1 /dev/zero2 >/dev/null'
	# elsewhere none works, not even a harmless one
	for node in /tmp/zero /run/zero /dev/shm/zero /data/zero; do
		assert_exit 0 inside p /bin/mknod "$node" c 1 5
		assert_exit 1 inside p /bin/head -c 1 "$node"
		assert_contains "$err" denied
	done
}

test_limits() {
	toolbox_partition p 10.77.0.61 --memory 64M --pids 20 --cpus 0.5
	in_host hostA bash -c '
		v1=/sys/fs/cgroup/memory/wpar/p/memory.limit_in_bytes v2=/sys/fs/cgroup/wpar/p/memory.max
		[ "$(cat $v1 2>/dev/null || cat $v2)" = $((64 << 20)) ]'
	in_host hostA bash -c '[ "$(cat /sys/fs/cgroup/{pids/,}wpar/p/pids.max 2>/dev/null)" = 20 ]'
	# 30 processes do not fit into 20
	inside p /bin/sh -c 'i=0; while [ $i -lt 30 ]; do sleep 5 & i=$((i+1)); done' >/dev/null 2>&1 && die "pids limit does not hold"
	wait_until 15 inside p /bin/id
}

test_system_partition() {
	toolbox
	in_host hostA wparctl create s --type system --rootfs /srv/shared/toolbox --address 10.77.0.61/24 --bridge br0 --start \
		-- /bin/sleep 100000
	assert_eq Active "$(state_of hostA s)"
	# orphans are reaped
	inside s /bin/sh -c '(sleep 0.1 &) ; exit 0'
	wait_until 5 inside s /bin/sh -c '! ps -e -o stat= | grep -q Z'
	in_host hostA wparctl stop s
	assert_eq Defined "$(state_of hostA s)"
}

test_outlives_relocd() {
	toolbox_partition p 10.77.0.61
	local pid
	pid=$(inside p /bin/readlink /proc/1/ns/pid)
	lab relocd hostA kill
	lab relocd hostA start
	assert_eq Active "$(state_of hostA p)"
	assert_eq "$pid" "$(inside p /bin/readlink /proc/1/ns/pid)" "pid namespace"
	in_host hostA wparctl stop p
	assert_eq Defined "$(state_of hostA p)"
}
