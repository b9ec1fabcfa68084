#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The lab itself: a second one beside this, taken down after crashes, leaves nothing on the machine.
# alone: another lab that comes or goes meanwhile is taken for something that was left
# shellcheck disable=SC2154 # out, err: lib.sh

second() { LAB=$LAB-second "$top/scripts/lab" "$@"; }

# What a lab could leave on the machine.
machine() {
	ip netns
	ip -o link | awk '{ print $2 }'
	cut -d ' ' -f 5,9 /proc/self/mountinfo
	losetup -n -O NAME,BACK-FILE
	find /sys/fs/cgroup -type d -name 'wparlab*'
	ls -d /run/wparlab* /srv/shared /var/lib/relocd
	lsns -n -t net -o NS
	lsns -n -t pid -o NS
}

assert_clean() { # MACHINE WHEN
	assert_eq "$1" "$(machine)" "the machine after $2"
}

test_down_leaves_nothing() {
	local before
	before=$(machine)
	trap "second down" EXIT
	second up --no-relocd 2
	# what a partition brings, and what resists: frozen tasks, a network namespace, mounts
	# shellcheck disable=SC2016 # expands in the host
	second exec hostA -- bash -c '
		ip netns add part && ip link add v1 type veth peer name eth0 netns part
		mount -t tmpfs none /mnt
		unified=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)
		mkdir -p $unified/wpar/p
		sleep 1000 & echo $! >$unified/wpar/p/cgroup.procs
		echo 1 >$unified/wpar/p/cgroup.freeze
		[ -d /sys/fs/cgroup/freezer ] || exit 0
		mkdir -p /sys/fs/cgroup/freezer/wpar/p
		sleep 1000 & echo $! >/sys/fs/cgroup/freezer/wpar/p/cgroup.procs
		echo FROZEN >/sys/fs/cgroup/freezer/wpar/p/freezer.state'
	second down
	assert_clean "$before" down
	second down
	assert_clean "$before" "a second down"
}

test_down_after_crash() {
	local before seconds pid
	before=$(machine)
	trap "second down" EXIT
	for seconds in 0.05 0.15 0.3 0.5; do
		LAB=$LAB-second "$top/scripts/lab" up --no-relocd 2 & # not through a shell: its pid is killed
		pid=$!
		sleep "$seconds" # a moment within the building, not a wait
		kill -KILL $pid || true # may be done already
		wait $pid || true
		second down
		assert_clean "$before" "a crash at $seconds s"
	done
	second up --no-relocd 2
	find /sys/fs/cgroup -path "*/wparlab-$LAB-second/*/cgroup.procs" -exec cat {} + | sort -u |
		while read -r pid; do kill -KILL "$pid" 2>/dev/null || true; done
	second down
	assert_clean "$before" "the death of all its processes"
}

test_second_up_is_refused() {
	second up --no-relocd 1
	trap 'second down' EXIT
	assert_exit 5 second up --no-relocd 1
	second exec hostA true
	assert_exit 3 second exec hostB true
}

test_hosts_reach_each_other() {
	local to
	second up --no-relocd 2
	trap 'second down' EXIT
	for to in 10.77.0.1 10.77.0.2 fd77::1 fd77::2; do
		assert_exit 1 second exec client bash -c "exec 3<>/dev/tcp/$to/9"
		assert_contains "$err" refused
	done
	second exec hostA touch /var/lib/relocd/mine /srv/shared/ours
	assert_exit 2 second exec hostB ls /var/lib/relocd/mine
	second exec hostB ls /srv/shared/ours
}
