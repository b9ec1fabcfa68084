#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What hosts hold, to compare before and after. Sourced after workload.sh.

# What a host holds: a line "HOST WHAT NUMBER" each.
census() { # HOST
	# shellcheck disable=SC2016 # expands in the host
	in_host "$1" bash -c '
		say() { printf "%s %s %s\n" "$HOSTNAME" "$1" "$2"; }
		relocd=$(cat /run/relocd.lab.pid)
		ps -e -o comm= | grep -vxE "bash|ps|sort|uniq|awk|grep" | sort | uniq -c | awk -v h="$HOSTNAME" "{ print h, \"processes:\" \$2, \$1 }"
		say mounts "$(wc -l </proc/self/mounts)"
		for kind in mnt net pid ipc uts cgroup time user; do
			say "namespaces:$kind" "$(readlink /proc/[0-9]*/ns/$kind 2>/dev/null | sort -u | wc -l)"
		done
		say interfaces "$(ip -o link | wc -l)"
		say cgroups "$(find /sys/fs/cgroup -type d -path "*wpar*" | wc -l)"
		say loop-devices "$(losetup -n -O BACK-MAJ:MIN | grep -cx " *$(mountpoint -d /var/lib/relocd)")" # not those of other labs
		say files:state "$(find /var/lib/relocd -path /var/lib/relocd/moves -prune -o -print | wc -l)"
		say files:decisions "$(find /var/lib/relocd/moves | wc -l)"
		say files:run "$(find /run/relocd | wc -l)"
		say relocd:descriptors "$(find /proc/$relocd/fd -mindepth 1 | wc -l)"
		say relocd:threads "$(find /proc/$relocd/task -mindepth 1 -maxdepth 1 | wc -l)"'
}

# What a move leaves behind for a moment is gone when two looks are the same.
settled_census() { # FILE
	for _ in {1..40}; do
		{ census hostA; census hostB; } >"$1"
		! cmp -s "$1" "$1.last" || return 0
		cp "$1" "$1.last"
		sleep 0.25
	done
}

# Of FILE-before and FILE-after, as a table; 1 when they differ.
compare_census() { # FILE
	local rc=0
	awk '
		NR == FNR { before[$1 " " $2] = $3; next }
		{ after[$1 " " $2] = $3 }
		END {
			for (k in before) all[k]; for (k in after) all[k]
			for (k in all) {
				b = before[k] + 0; a = after[k] + 0
				print k, b, a, (a == b ? "" : "DIFFERS"); bad += a != b
			}
			exit bad > 0
		}' "$1-before" "$1-after" >"$1-table" || rc=1
	{ echo "HOST WHAT BEFORE AFTER"; sort "$1-table"; } | column -t -R 3,4
	return $rc
}
