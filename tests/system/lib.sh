#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Helpers of the system tests; sourced with LAB set. Assertions end the test.
# shellcheck source=tests/system/workload.sh
source "$(dirname "${BASH_SOURCE[0]}")/workload.sh"
shopt -s inherit_errexit # a snapshot that could not be taken fails its test

die() {
	printf 'ASSERTION: %s\n' "$*" >&2
	exit 1
}

skip() { # REASON
	echo "$*"
	exit 77
}

assert_eq() { # EXPECTED ACTUAL [WHAT]
	[ "$1" = "$2" ] || die "${3:-value}: expected '$1', got '$2'"
}

assert_contains() { # TEXT PART
	[[ $1 == *"$2"* ]] || die "'$2' is not in: $1"
}

# Runs CMD, keeps its stdout in $out and its stderr in $err, and checks its status.
assert_exit() { # STATUS CMD...
	local want=$1 got=0 file
	shift
	file=$(mktemp)
	out=$("$@" 2>"$file") || got=$?
	err=$(<"$file")
	rm "$file"
	[ "$got" = "$want" ] || die "expected status $want, got $got: $* -- stdout: $out -- stderr: $err"
}

# CMD in HOST is refused: its status, its code, a sentence in the form of surface.md, and the hosts
# are as they were.
assert_refused() { # STATUS CODE HOST CMD...
	local status=$1 code=$2 host=$3 before
	shift 3
	before=$(snapshot)
	assert_exit "$status" in_host "$host" "$@"
	[[ $err =~ ^[a-z]+:\ .{10,}\($code\) ]] || die "not a sentence with the code $code: $err"
	assert_contains "$err" "hint: "
	assert_unchanged "$before"
}

# What was torn down may take a moment to be gone.
assert_unchanged() { # SNAPSHOT
	local now end=$((SECONDS + 5))
	while now=$(snapshot) && [ "$now" != "$1" ]; do
		[ $SECONDS -lt $end ] || die "something changed: $(diff <(echo "$1") <(echo "$now"))"
		sleep 0.1
	done
}

# Names of the partitions that HOST holds.
partitions() { # HOST
	in_host "$1" wparctl list --local | awk 'NR > 1 { print $1 }'
}

state_of() { # HOST NAME
	in_host "$1" wparctl list --local | awk -v n="$2" '$1 == n { print $2 }'
}

# All that a refused command must leave alone, on both hosts, at rest: hosts ask each other something
# now and then.
snapshot() {
	local text end=$((SECONDS + 10))
	while text=$(look_at_hosts) && grep -qxE 'mover|departure|arrival' <<<"$text"; do
		[ $SECONDS -lt $end ] || break
		sleep 0.1
	done
	echo "$text"
}

# The same without the list of partitions: of one that is gone its record may stay.
snapshot_unlisted() { snapshot | grep -vE '^[^= ]+ [A-Z][a-z-]+$'; }

look_at_hosts() {
	local host
	for host in hostA hostB; do
		echo "== $host"
		# shellcheck disable=SC2016 # expands in the host
		in_host "$host" bash -e -o pipefail -c '
			wparctl list --local | awk "{ print \$1, \$2 }"
			ip -o link | awk "{ sub(/@.*/, \"\", \$2); print \$2 }"
			[ ! -d /run/netns ] || ls /run/netns
			cut -d " " -f 2 /proc/mounts
			find /sys/fs/cgroup -type d -path "*/wpar*"
			ps -e -o comm= | sort | awk "/^(criu|mover|departure|arrival|keeper|redis-server)\$/"'
	done
}

# A root file system with a shell and small programs, once per lab.
toolbox() {
	[ -e "$lab_dir/shared/toolbox" ] || make_rootfs toolbox sh cat ls id sleep kill ps hostname mount \
		touch head sort tty readlink ip grep setpriv mknod \
		"$BUILD/tests/tools/iouring_holder" "$BUILD/tests/tools/redis_data"
}

# A partition of the toolbox on hostA that runs CMD (default: sleeps).
toolbox_partition() { # NAME ADDRESS [OPTION...] [-- CMD...]
	local name=$1 address=$2 options=()
	shift 2
	toolbox
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	[ $# -gt 0 ] || set -- -- /bin/sleep 100000
	in_host hostA wparctl create "$name" --rootfs /srv/shared/toolbox --address "$address/24" \
		--bridge br0 "${options[@]}" "$@"
	in_host hostA wparctl start "$name"
}

inside() { # NAME CMD...: in the partition, from hostA
	local name=$1
	shift
	in_host hostA wparctl exec "$name" -- "$@"
}
