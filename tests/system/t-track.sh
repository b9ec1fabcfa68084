#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Memory of tasks that are hard to copy while they run: moves with --engine track to and fro, writers
# running, every byte checked by the tasks themselves.
# shellcheck disable=SC2154,SC2016 # out, err: lib.sh; single quotes: expands in the host

passes() { sed -n 's/^ok //p' "$said" 2>/dev/null; }
is_bad() { grep -q ^bad "$said"; }
# shellcheck disable=SC2317 # wait_until calls it
said_more() { is_bad || [ "$(passes)" -gt "$1" ]; }

# A partition m that runs PROGRAM KINDS MIB FILE of tests/tools.
checker() { # PROGRAM KINDS MIB [CREATE-OPTION...]
	local program=$1 kinds=$2 mib=$3
	shift 3
	toolbox
	cp -u "$BUILD/tests/tools/$program" "$lab_dir/shared/toolbox/bin/"
	mkdir -p "$lab_dir/shared/said"
	chmod 1777 "$lab_dir/shared/said"
	rm -f "$lab_dir/shared/said/"*
	said=$lab_dir/shared/said/m
	toolbox_partition m 10.77.0.61 --volume /srv/shared/said:/said "$@" -- "/bin/$program" "$kinds" "$mib" /said/m
	wait_until 30 said_more 3
}

# Two passes that began after the move have seen all of it.
still_exact() { # WHAT
	local before
	before=$(passes)
	is_bad || wait_until 30 said_more $((${before:-0} + 2)) || die "$1: it stands still: $(cat "$said")"
	! is_bad || die "$1: $(cat "$said")"
}

# There and back COUNT times. The rounds of the last one are left in `result`.
move_exact() { # COUNT [OPTION...]
	local i hosts
	for ((i = 0; i < $1; i++)); do
		for hosts in "hostA hostB" "hostB hostA"; do
			# shellcheck disable=SC2086 # two words
			result=$(in_host ${hosts% *} timeout 90 wparctl --json relocate m ${hosts#* } --engine track \
				--on-diverge stop "${@:2}" | tail -n 1 | jq -e .data)
			assert_eq track "$(jq -r .engine <<<"$result")" "engine"
			still_exact "move $i to ${hosts#* }"
		done
	done
}

test_odd_tasks() {
	local kind
	for kind in threads stopped execs forks spawns private droppable readonly; do
		checker oddtasks $kind 4 --user 1000:1000
		move_exact 1
		echo "$kind: $(cat "$said")"
		in_host hostA wparctl remove m --force
	done
}

# Together: their freezes and rounds fall into the others' moments.
test_odd_tasks_together() {
	checker oddtasks threads,execs,forks,private,droppable,readonly,stopped 8 --memory 512M
	move_exact 4 --max-downtime 1s
	jq -e '.rounds | length >= 1' <<<"$result" >/dev/null || die "$result"
}

test_strict_seccomp() {
	checker oddtasks strict,private 4 --user 1000:1000 --seccomp unconfined
	move_exact 2
}

# A device writes to memory that it was given before it was protected (lib/memory/track_space.c).
test_direct_reads() {
	checker oddtasks direct 16 --user 1000:1000
	move_exact 5
}

test_churn_of_mappings() {
	checker memwriter churn 128 --user 1000:1000 --memory 1G
	move_exact 3 --restore eager
}

# Swapped pages are read back where they are needed, and are no holes.
test_swapped_pages() {
	local device=/dev/zram0
	[ -z "$(swapon --noheadings --show)" ] || skip "this machine swaps: the test would take part of that away"
	[ "$(cat /sys/block/zram0/disksize 2>/dev/null)" = 0 ] || skip "no unused $device to swap to"
	# shellcheck disable=SC2064 # now
	trap "swapoff $device 2>/dev/null; echo 1 >/sys/block/zram0/reset" EXIT
	echo 268435456 >/sys/block/zram0/disksize
	mkswap -q $device
	swapon $device 2>/dev/null || skip "swapon is refused"
	checker memwriter churn 96 --user 1000:1000 --memory 1G
	wait_until 30 swapped
	for _ in 1 2 3; do move_exact 1 --restore eager; done
	wait_until 30 swapped
}
# shellcheck disable=SC2317 # wait_until calls it
swapped() { [ "$(in_host hostA sh -c 'awk "/^VmSwap/ { print \$2 }" /proc/$(pgrep -x memwriter)/status')" -gt 1000 ]; }

test_all_descriptors_used() {
	checker oddtasks nofiles 4 --user 1000:1000
	assert_refused 4 WPAR-V020 hostA wparctl relocate m hostB --engine track
	[[ $err =~ pid\ [0-9]+\ \(oddtasks\)\ uses\ 24\ of\ the\ 24\ descriptors ]] || die "the culprit is not named: $err"
	still_exact "after a refusal"
}

# What CRIU cannot checkpoint is noticed in a round, too: before anything stands still.
test_refused_in_a_round() {
	local program code got
	for program in iouring_holder userfault_holder; do
		toolbox
		cp -u "$BUILD/tests/tools/"{iouring_holder,userfault_holder,oddtasks} "$lab_dir/shared/toolbox/bin/"
		mkdir -p "$lab_dir/shared/said"
		rm -f "$lab_dir/shared/said/"*
		said=$lab_dir/shared/said/m
		toolbox_partition m 10.77.0.61 --volume /srv/shared/said:/said --seccomp unconfined -- \
			/bin/sh -c "$program /said/go & exec oddtasks threads 64 /said/m"
		wait_until 20 said_more 3
		got=0
		in_host hostA timeout 100 wparctl --json relocate m hostB --engine track --bandwidth 16MiB/s >"$lab_dir/m.out" 2>"$lab_dir/m.err" &
		wait_until 20 grep -q '"precopy"' "$lab_dir/m.out"
		touch "$lab_dir/shared/said/go"
		wait $! || got=$?
		cat "$lab_dir/m.out" "$lab_dir/m.err"
		[ $program = iouring_holder ] && code=WPAR-V021 || code=WPAR-V020
		assert_eq 4 "$got" "status"
		assert_contains "$(cat "$lab_dir/m.out" "$lab_dir/m.err")" $code
		grep -E "fd [0-9]+ of pid [0-9]+" "$lab_dir/m.out" "$lab_dir/m.err" || die "the culprit is not named"
		grep -q '"freeze"' "$lab_dir/m.out" && die "it was frozen"
		assert_eq Active "$(state_of hostA m)" "state"
		assert_eq "" "$(partitions hostB)" "partitions on hostB"
		still_exact "$program"
		in_host hostA wparctl remove m --force
	done
}
