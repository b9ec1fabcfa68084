#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Partitions that are large or odd: each runs tests/tools/oddwriter, moves there and back, and no page of it
# is wrong afterwards.
# shellcheck disable=SC2154,SC2016,SC2317 # out, err: lib.sh; single quotes: expands in the host; wait_until

# A partition o of KIND, at work.
odd_partition() { # MEMORY KIND COUNT MIB
	toolbox
	cp -u "$BUILD/tests/tools/oddwriter" "$lab_dir/shared/toolbox/bin/"
	said=$lab_dir/shared/toolbox/data/said
	chmod 1777 "${said%/*}"
	rm -f "$said"
	toolbox_partition o 10.77.0.61 --memory "$1" -- /bin/oddwriter "$2" "$3" "$4" /data/said
	wait_until 30 grep -q '^ok' "$said"
}

passes() { cut -d " " -f 2 "$said"; }
is_checked() { ! grep -q '^ok' "$said" || [ "$(passes)" -gt "$1" ]; }

# A pass that was under way may have been over the page already; two later all have been looked at.
odd_move() { # FROM TO [PASSES]
	relocate "$lab_dir/moves" o "$1" "$2"
	wait_until 40 is_checked $(($(passes) + ${3:-2}))
	grep -q '^ok' "$said" || die "$(<"$said")"
	assert_eq Active "$(state_of "$2" o)"
}
there_and_back() { # MEMORY KIND COUNT MIB
	odd_partition "$@"
	odd_move hostA hostB
	MOVE_OPTIONS="--restore eager" odd_move hostB hostA
}

test_threads() { there_and_back 512M threads 64 64; }
test_sparse_mapping() { there_and_back 512M sparse 100 64; }
test_locked_memory() { there_and_back 512M locked 4 6; } # 8 MiB may be locked

test_many_mappings() {
	odd_partition 1G vmas 60000 240
	odd_move hostA hostB
}

# What processes share since they were forked is found again, so that it fits the limit as before.
test_forks_arrive() {
	odd_partition 192M forks 8 100
	odd_move hostA hostB
	assert_contains "$(in_host hostB wparctl validate o hostA)" "share memory"
	[ "$(in_host hostB sh -c 'cat $(find /sys/fs/cgroup -path "*/wpar/o/memory.current" -o -path "*/wpar/o/memory.usage_in_bytes" | head -n 1)')" -lt $((190 << 20)) ] ||
		die "they do not share it any more"
}

# Too many: it would be a hundred gigabytes on the way.
test_too_many_forks_are_refused() {
	odd_partition 1G forks 200 500
	assert_refused 4 WPAR-V003 hostA wparctl relocate o hostB
	assert_contains "$err" "MiB while it arrives"
	assert_eq Active "$(state_of hostA o)"
}

# More than the destination has room for, without taking that much: it may have a hundredth of what is free.
# Nothing has changed then, and the partition was not even slowed down for it.
test_more_memory_than_there_is_is_refused() {
	local available
	available=$(in_host hostB awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
	odd_partition $((available / 100 + 1000))M threads 4 $((available / 100 + 100))
	trap 'in_host hostB rm -f /etc/relocd/relocd.yaml; lab relocd hostB restart' EXIT
	in_host hostB sh -c "[ ! -e /etc/relocd/relocd.yaml ] && echo 'limits: {memory_for_arrivals: 1%}' >/etc/relocd/relocd.yaml"
	lab relocd hostB restart
	assert_refused 4 WPAR-V003 hostA wparctl relocate o hostB
	assert_contains "$err" "MiB while it arrives; 1% of"
	assert_contains "$(in_host hostA wparctl validate o hostB || true)" "MiB while it arrives; 1% of"
	wait_until 40 is_checked $(($(passes) + 2))
	assert_eq Active "$(state_of hostA o)"
	in_host hostB rm /etc/relocd/relocd.yaml
	lab relocd hostB restart
	odd_move hostA hostB
}
