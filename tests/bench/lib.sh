#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the benchmarks share: options, rows of figures, medians, tables, the machine; JSON in
# BUILD/bench/NAME.json: {"machine": {...}, "rows": [a measurement each], "summary": [medians],
# "notes": [what was left out and why], "goals": [{"goal", "value", "most" or "least", "met"}]}.
# Sourced with LAB set.
# shellcheck disable=SC2016 # single quotes: programs for jq
# shellcheck source=tests/system/workload.sh
source "$(dirname "${BASH_SOURCE[0]}")/../system/workload.sh"
bench_folder=$top/tests/bench
out=$BUILD/bench
quick=${BENCH_QUICK:-0}

bench_jq() { jq -L "$bench_folder" "$@"; }

# Options of every benchmark: --engine NAME (or ENGINE), --quick (or BENCH_QUICK=1).
bench_options() { # "$@"
	while [ $# -gt 0 ]; do
		case $1 in
		--engine)
			ENGINE=${2?"--engine needs a name"}
			shift
			;;
		--quick) quick=1 ;;
		*)
			echo "usage: ${0##*/} [--engine auto|track|stop] [--quick]" >&2
			exit 2
			;;
		esac
		shift
	done
	export ENGINE=${ENGINE-}
	engine_options >/dev/null || exit
}

quickly() { [ "$quick" != 0 ]; }
by_speed() { if quickly; then echo "$1"; else echo "$2"; fi; } # QUICK LONG

bench_finish() {
	local rc=$?
	trap - EXIT
	if [ $rc != 0 ]; then
		mkdir -p "$out/$bench_name-logs"
		cp "$lab_dir"/host?.log "$out/$bench_name-logs/" 2>/dev/null || true
		echo "$bench_name: FAILED; the logs of the hosts are in $out/$bench_name-logs" >&2
	fi
	lab down || rc=1
	exit $rc
}

# Begins benchmark NAME: one at a time in a build tree, nothing left of one before.
bench_begin() { # NAME
	bench_name=$1
	rows=$out/$bench_name-rows.jsonl
	moves=$out/$bench_name-moves.jsonl
	mkdir -p "$out"
	exec {bench_lock}>"$out/$bench_name.lock"
	flock -n "$bench_lock" || { echo "$bench_name: another one runs in $BUILD" >&2; exit 5; }
	notes=$out/$bench_name-notes
	rm -f "$rows" "$moves" "$out/$bench_name.json"
	: >"$rows"
	: >"$notes"
	load_before=$(cut -d " " -f 1 /proc/loadavg)
	lab down
	trap bench_finish EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

# An object: numbers where they look like it, null where they are empty.
object() { # KEY=VALUE...
	local pair arguments=()
	for pair in "$@"; do
		arguments+=(--arg "${pair%%=*}" "${pair#*=}")
	done
	jq -nc "${arguments[@]}" '$ARGS.named | with_entries({key, value: (.value | if . == "" then null else tonumber? // . end)})'
}

# Adds a row, which has the name of a `side`.
row() { object "$@" >>"$rows"; } # KEY=VALUE...

# Something that who reads the figures must know, once.
note() { # TEXT
	grep -qxF "$1" "$notes" || printf '%s\n' "$1" >>"$notes"
	echo "$bench_name: $1" >&2
}

# Moves a partition that is on hostA COUNT times, to hostB and back.
to_and_fro() { # NAME COUNT
	local from=hostA to=hostB i
	for ((i = 0; i < $2; i++)); do
		relocate "$moves" "$1" "$from" "$to"
		read -r from to <<<"$to $from"
	done
}

# A partition `bench` on hostA whose program has MB of memory and writes RATE MB/s.
dirtier_partition() { # MB RATE
	redis_address=10.77.0.90
	in_host hostA wparctl create bench --rootfs /srv/shared/bench --address $redis_address/24 --bridge br0 --start -- \
		/bin/dirtier "$1" "$2" 6379 >/dev/null
	wait_until 60 redis ping
}

# The meter's request that waited through a move is answered, and the next ones are.
settled() {
	local before
	before=$(redis get counter)
	wait_until 120 beyond $((before + 20))
}
# shellcheck disable=SC2317 # wait_until calls it
beyond() { [ "$(redis get counter)" -gt "$1" ]; }

# Moves it to hostB, and back unless only there, measured, by `relocate` or by another CMD with FILE
# NAME FROM TO.
move_metered() { # there|back CMD...
	local ways=$1
	shift
	: >"$moves"
	meter_start "$out/$bench_name-meter.json"
	sleep 0.3 # a stretch without a move
	"$@" "$moves" bench hostA hostB
	settled
	if [ "$ways" = back ]; then
		"$@" "$moves" bench hostB hostA
		settled
	fi
	meter_stop || { echo "$bench_name: the client's connection: $(tail -n 1 "$meter_said")" >&2; return 1; }
}

# A row for each move of the standard input, which has one on each line.
rows_of_moves() { # KEY=VALUE...
	bench_jq -c --argjson who "$(object "$@")" 'include "lib"; $who + move_row' >>"$rows"
}

# The moves in the list, with what the meter's client waited for.
metered_moves() { moves_with_gaps "$meter_out" "$moves" | jq -c '.[]'; }

criu_version() {
	awk '{ print $2 }' "${RELOCD_CRIU_ROOT:-/usr/local/lib/relocd/criu}/accepted" 2>/dev/null ||
		dpkg-query -W -f '${Version}' criu 2>/dev/null || true
}
# The first line that says a version; nothing when there is no such program.
version_of() { # CMD...
	type -P "$1" >/dev/null || return 0
	"$@" 2>/dev/null | grep -o -m 1 -E '[0-9]+\.[0-9][^ ,]*' | head -n 1 || true
}

bench_machine() {
	jq -n --arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" --argjson cores "$(nproc)" \
		--argjson memory "$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)" \
		--arg kernel "$(uname -r)" --arg thp "$(sed 's/.*\[\(.*\)\].*/\1/' /sys/kernel/mm/transparent_hugepage/enabled)" \
		--arg when "$(date -u +%FT%TZ)" --argjson before "$load_before" --argjson after "$(cut -d " " -f 1 /proc/loadavg)" \
		--arg wpar "$("$BUILD/bin/wparctl" --version | awk '{ print $NF }')" \
		--arg commit "$(git -C "$top" rev-parse --short HEAD 2>/dev/null)" --arg criu "$(criu_version)" \
		--arg openssl "$(version_of openssl version)" --arg runc "$(version_of runc --version)" \
		--arg podman "$(version_of podman --version)" --arg iperf3 "$(version_of iperf3 --version)" \
		--arg redis "$(version_of redis-server --version)" --arg postgres "$(version_of psql --version)" \
		'{cpu: $cpu, cores: $cores, memory_mb: $memory, kernel: $kernel, thp: $thp, when: $when, load_before: $before,
		  load_after: $after, versions: ({wpar: $wpar, commit: $commit, criu: $criu, openssl: $openssl, runc: $runc,
		  podman: $podman, iperf3: $iperf3, redis: $redis, postgres: $postgres} | map_values(select(. != "")))}'
}

# Writes the JSON, rows that agree in KEYS as one in its summary, and prints the summary's COLUMNS; then
# what GOALS, a filter of lib.jq for the summary, says of it.
bench_report() { # "KEY..." "COLUMN..." [GOALS]
	local keys columns json=$out/$bench_name.json
	keys=$(jq -cn --arg k "$1" '$k | split(" ")')
	columns=$(jq -cn --arg k "$1 $2" '$k | split(" ")')
	bench_machine >"$out/$bench_name-machine"
	bench_jq -s --slurpfile machine "$out/$bench_name-machine" --rawfile notes "$notes" --argjson keys "$keys" \
		'include "lib"; report($machine[0]; $notes | split("\n") | map(select(. != "")); $keys) | .goals = [.summary | '"${3:-empty}"']' \
		"$rows" >"$json" || { rm "$json"; return 1; }
	rm "$out/$bench_name-machine" "$rows" "$notes"
	echo
	jq -r '.machine | "\(.cpu), \(.cores) cores, \(.memory_mb) MB, Linux \(.kernel), load \(.load_before) before, \(.load_after) after",
		(.versions | to_entries | map("\(.key) \(.value)") | join(", "))' "$json"
	echo
	bench_jq -r --argjson columns "$columns" 'include "lib"; .summary | table($columns)' "$json" | column -t -s "$(printf '\t')"
	jq -r '.notes[] | "note: " + .' "$json"
	bench_jq -r 'include "lib"; .goals | if . == [] then empty else "", table(["goal", "value", "most", "least", "met"]) end' "$json" |
		column -t -s "$(printf '\t')"
	echo "median (min..max); all of it: $json"
}

available_mb() { awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo; }
