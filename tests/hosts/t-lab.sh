#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The lab of virtual machines itself: commands, files, power, and what is told of a kernel that crashed.
# shellcheck disable=SC2154 # out, err: lib.sh

second() { LAB=$LAB-second "$top/scripts/lab" "$@"; }

test_commands() {
	assert_exit 7 in_host hostA sh -c 'echo out; echo err >&2; exit 7'
	assert_eq "out err" "$out $err"
	assert_exit 143 in_host hostA sh -c 'kill -TERM $$'
	assert_exit 127 in_host hostA no-such-program
	assert_eq "one two three" "$(in_host hostB printf '%s %s %s' one two three)"
	assert_eq "$(head -c 20000000 /dev/zero | sha256sum)" "$(head -c 20000000 /dev/zero | in_host hostA cat | sha256sum)"
	# what it leaves in the background is not waited for, and what nobody waits for is hung up
	in_host hostA sh -c 'sleep 1000 & echo $! >/run/left'
	# shellcheck disable=SC2016 # expands in the host
	in_host hostA sh -c 'kill "$(cat /run/left)"'
	assert_exit 124 timeout 3 "$top/scripts/lab" exec hostA -- sleep 4711
	wait_until 10 in_host hostA sh -c '! pgrep -x -f "sleep 4711"'
	assert_contains "$(in_host hostA uname -v)" Debian
	assert_eq hostB "$(lab exec -t hostB -- hostname | tr -d '\r')"
}

test_files() {
	local dir
	dir=$(mktemp -d)
	mkdir "$dir/folder" "$dir/back"
	echo text >"$dir/folder/file"
	chown 12:34 "$dir/folder/file"
	chmod 640 "$dir/folder/file"
	lab cp "$dir/folder" hostA:/root
	assert_eq "640 12 34" "$(in_host hostA stat -c '%a %u %g' /root/folder/file)"
	lab cp hostA:/root/folder/file hostA:/etc/fstab "$dir/back"
	assert_eq text "$(cat "$dir/back/file")"
	rm -r "$dir"
	in_host hostA rm -r /root/folder
	# one directory for all
	in_host hostA sh -c 'echo shared >/srv/shared/ours'
	assert_eq shared "$(in_host hostB cat /srv/shared/ours)"
	assert_eq shared "$(client cat /srv/shared/ours)"
}

test_one_segment() {
	local to
	for to in 10.77.0.1 10.77.0.2 fd77::1 fd77::2; do
		assert_exit 1 client bash -c "exec 3<>/dev/tcp/$to/9"
		assert_contains "$err" refused
	done
	assert_exit 1 in_host hostA bash -c "exec 3<>/dev/tcp/fd77::100/9"
	assert_contains "$err" refused
	# an hour of one is an hour of the other, also where time is short
	local a b
	a=$(in_host hostA date +%s)
	b=$(in_host hostB date +%s)
	[ $((b - a)) -lt 10 ] || die "the clocks differ: $a $b"
}

# Power fails and returns: what was on the disk is there, and the host takes part again.
test_power() {
	in_host hostB sh -c 'echo kept >/root/file && sync /root/file'
	lab crash hostB
	assert_exit 3 in_host hostB true
	lab boot hostB
	assert_eq kept "$(in_host hostB cat /root/file)"
	wait_until 60 in_host hostA sh -c "wparctl hosts | grep -q 'hostB .*reachable'"
}

# Of the second lab; others may come and go on this machine meanwhile.
traces() {
	grep -ls "/wparlab-$LAB-second/" /proc/[0-9]*/cgroup || true
	find /sys/fs/cgroup -type d -name "wparlab-$LAB-second"
	losetup -n -O BACK-FILE | grep "/$LAB-second/" || true
	find /run -maxdepth 1 -name "wparlab-$LAB-second"
	find "$BUILD/$LAB-second" -mindepth 1 ! -name '*.log'
}

test_crash_is_told_and_nothing_is_left() {
	trap "second down" EXIT
	second --vm up --no-relocd 1
	[ -n "$(traces)" ] || die "the second lab has no traces"
	assert_exit 5 second --vm up --no-relocd 1
	assert_exit 6 second exec hostA -- sh -c 'echo c >/proc/sysrq-trigger; sleep 60'
	assert_contains "$err" "the kernel of hostA crashed: "
	assert_contains "$err" "sysrq triggered crash"
	assert_exit 6 second exec hostA -- true
	assert_contains "$(second logs hostA)" "Call Trace:"
	second down
	assert_eq "" "$(traces)" "what down leaves"
	assert_contains "$(second logs hostA)" "Call Trace:"
	rm -r "$BUILD/$LAB-second"
}
