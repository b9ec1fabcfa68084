#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the demo, the benchmarks and the system tests share: the lab by name, root file systems made
# of this machine's own programs, a Redis in a partition, the client that measures, moves with
# their figures. Sourced; the caller sets LAB.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=$(readlink -m "${BUILD:-$top/build}")
export BUILD LAB
lab_dir=$BUILD/$LAB

lab() { "$top/scripts/lab" "$@"; }
in_host() { # HOST CMD...
	local host=$1
	shift
	lab exec "$host" -- "$@"
}
client() { in_host client "$@"; }
redis() { client redis-cli -h "$redis_address" "$@"; }

now_ms() { date +%s%3N; }

# Waits until CMD succeeds, at most SECONDS; looks each WAIT_PAUSE seconds.
wait_until() { # SECONDS CMD...
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		if [ $SECONDS -ge $end ]; then
			echo "waited in vain for: $*" >&2
			return 1
		fi
		sleep "${WAIT_PAUSE:-0.05}"
	done
}

# Makes /srv/shared/NAME a root file system with these programs of the machine and their libraries.
make_rootfs() { # NAME PROGRAM...
	local root=$lab_dir/shared/$1 program file
	shift
	mkdir -p "$root"/{bin,data,dev,etc,lib,lib64,proc,root,run,sys,tmp,usr,var}
	for file in bin sbin lib; do ln -sfn ../"$file" "$root/usr/$file"; done
	ln -sfn bin "$root/sbin"
	chmod 1777 "$root/tmp"
	printf 'root:x:0:0:root:/root:/bin/sh\nredis:x:999:999:redis:/data:/bin/sh\n' >"$root/etc/passwd"
	printf 'root:x:0:\nredis:x:999:\n' >"$root/etc/group"
	chown 999:999 "$root/data"
	for program in "$@"; do
		program=$(type -P "$program") || return 1
		cp -L "$program" "$root/bin/"
		ldd "$program" | awk '$2 == "=>" { print $3 } $1 ~ "^/" { print $1 }' | while read -r file; do
			mkdir -p "$root$(dirname "$file")"
			cp -L -u "$file" "$root$file"
		done
	done
}

# A Redis partition on hostA, running, without persistence, as uid 999, reachable at ADDRESS.
# Sets redis_address for redis().
redis_partition() { # NAME ADDRESS [CREATE-OPTION...]
	local name=$1
	redis_address=$2
	shift 2
	[ -e "$lab_dir/shared/redis" ] || make_rootfs redis redis-server
	in_host hostA wparctl create "$name" --rootfs /srv/shared/redis --user 999:999 \
		--address "$redis_address/24" --bridge br0 "$@" -- \
		/bin/redis-server --bind '* -::*' --port 6379 --protected-mode no --save '' --dir /data
	in_host hostA wparctl start "$name"
	wait_until 10 redis ping
}

# The measuring client, in the background, over one connection until meter_stop. A reply may take
# METER_TIMEOUT_MS (15000); it asks each METER_INTERVAL_US (1000).
meter_start() { # OUT.json [KEY]
	meter_out=$1
	meter_said=$1.said
	rm -f "$meter_out"
	: >"$meter_said"
	# shellcheck disable=SC2016 # expands there
	client sh -c 'echo $$ >/run/meter.pid; exec gapmeter --interval-us "$5" --timeout-ms "$4" --key "$1" --out "$2" "$3" 6379' \
		_ "${2:-counter}" "$meter_out" "$redis_address" "${METER_TIMEOUT_MS:-15000}" "${METER_INTERVAL_US:-1000}" >"$meter_said" 2>&1 &
	meter_job=$!
	wait_until 10 grep -q 'connected from port' "$meter_said"
	meter_port=$(awk '/connected from port/ { print $NF }' "$meter_said")
}

# Its exit code is the meter's.
meter_stop() {
	# shellcheck disable=SC2016 # expands there
	client sh -c 'kill -TERM $(cat /run/meter.pid)' || true
	wait "$meter_job"
}

# The identity that Redis itself gives to the meter's connection.
meter_connection() {
	redis client list | awk -v a="addr=10.77.0.100:$meter_port" '$2 == a { print $1 }'
}

# The options of `wparctl relocate` that ENGINE asks for; nothing: as the hosts decide. An engine that
# this wparctl cannot be asked for is an error.
engine_options() {
	[ -n "${ENGINE-}" ] || return 0
	if "$BUILD/bin/wparctl" relocate --help | grep -q -e --engine; then
		printf '%s\n' --engine "$ENGINE"
	elif [[ $ENGINE != @(auto|stop) ]]; then
		echo "this wparctl has no option --engine, so no engine $ENGINE" >&2
		return 2
	fi
}

# Moves NAME and appends {from,to,begin_realtime_ms,end_realtime_ms,downtime_ms,total_ms,phases,...} to
# the list in FILE. The command is given to FROM, where the partition is. ENGINE chooses how memory
# goes, MOVE_SECONDS (60) how long it may take, MOVE_OPTIONS are further options.
relocate() { # FILE NAME FROM TO
	local begin end said options
	options=$(engine_options) || return
	begin=$(now_ms)
	# shellcheck disable=SC2086 # words
	said=$(in_host "$3" timeout "${MOVE_SECONDS:-60}" wparctl --json relocate $options ${MOVE_OPTIONS-} "$2" "$4") || {
		local rc=$?
		echo "$said" >&2
		return $rc
	}
	end=$(now_ms)
	tail -n 1 <<<"$said" | jq -c --argjson t0 "$begin" --argjson t1 "$end" '.data
		| {from, to, begin_realtime_ms: $t0, end_realtime_ms: $t1, downtime_ms, total_ms, phases, engine,
			rounds: (.rounds | if type == "array" then length else . end), transferred_bytes}' >>"$1"
}

# The moves of FILE as one list, each with client_gap_ms: the longest wait of the meter's client
# that overlaps the move.
moves_with_gaps() { # METER.json FILE
	jq -s --slurpfile meter "$1" '
		$meter[0] as $m
		| map((.begin_realtime_ms - $m.started.realtime_ms) as $t0
			| (.end_realtime_ms - $m.started.realtime_ms) as $t1
			| .client_gap_ms = ([$m.buckets[], $m.slow[]
				| select(.[0] <= $t1 and .[0] + .[1] >= $t0) | .[1]] | max))' "$2"
}
