#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What can happen to a move from outside, each as a function: hit_NAME while the move is held at a phase
# (status 77: there is nothing to hit), heal_NAME when its hosts have noticed. Sourced after lib.sh.
# shellcheck disable=SC2034,SC2154,SC2016 # for and of lib.sh; single quotes: expands in the host

external_faults=(
	kill-departure kill-arrival kill-mover-a kill-mover-b oom-mover-a oom-mover-b kill-criu-a kill-criu-b
	kill-relocd-a kill-relocd-b kill-relocds kill-wparctl
	cut cut-a-to-b cut-b-to-a full-a full-b files-a files-b power-a power-b flip-a flip-b
	cancel-a cancel-b cancel-twice partition-ends
	stop-departure stop-arrival stop-relocd-a stop-relocd-b)

STOP_SECONDS=${STOP_SECONDS:-60}
NOTICE_SECONDS=12 # a lost link is noticed after 5

criu='[c]riu.* swrk|[d]ump --rpc|[r]estore --rpc'

pids() { in_host "$1" pgrep -x "$2"; } # HOST PROGRAM
signal() { # HOST SIGNAL PID...
	[ $# -gt 2 ] || return 77
	in_host "$1" kill -"$2" "${@:3}"
}
signal_all() { # HOST SIGNAL PROGRAM
	# shellcheck disable=SC2046 # words
	signal "$1" "$2" $(pids "$1" "$3" || true)
}
kill_criu_at() {
	# shellcheck disable=SC2046 # words
	signal "$1" KILL $(in_host "$1" pgrep -f "$criu" || true)
}

hit_kill-departure() { signal_all hostA KILL departure; }
hit_kill-arrival() { signal_all hostB KILL arrival; }
hit_kill-mover-a() { signal_all hostA KILL mover; }
hit_kill-mover-b() { signal_all hostB KILL mover; }
hit_kill-criu-a() { kill_criu_at hostA; }
hit_kill-criu-b() { kill_criu_at hostB; }
hit_kill-relocd-a() { lab relocd hostA kill; }
hit_kill-relocd-b() { lab relocd hostB kill; }
hit_kill-relocds() { lab relocd hostA kill && lab relocd hostB kill; }
heal_kill-relocd-a() { lab relocd hostA start; }
heal_kill-relocd-b() { lab relocd hostB start; }
heal_kill-relocds() { lab relocd hostA start && lab relocd hostB start; }
hit_kill-wparctl() { signal_all hostA KILL wparctl; }

# The kernel's own killer: nothing fits into the group that the mover is moved to.
oom() { # HOST
	local pid
	pid=$(pids "$1" mover | head -n 1) || return 77
	[ -n "$pid" ] || return 77
	in_host "$1" bash -c '
		group=/sys/fs/cgroup/memory/oom
		[ -d /sys/fs/cgroup/memory ] || group=/sys/fs/cgroup/oom
		mkdir -p $group
		echo "$1" >$group/cgroup.procs
		[ ! -e $group/memory.force_empty ] || echo 0 >$group/memory.force_empty 2>/dev/null
		echo 4096 >$group/memory.limit_in_bytes 2>/dev/null || echo 4096 >$group/memory.max' _ "$pid"
}
heal_oom() { in_host "$1" sh -c 'rmdir /sys/fs/cgroup/memory/oom 2>/dev/null || rmdir /sys/fs/cgroup/oom 2>/dev/null || true'; }
hit_oom-mover-a() { oom hostA; }
hit_oom-mover-b() { oom hostB; }
heal_oom-mover-a() { heal_oom hostA; }
heal_oom-mover-b() { heal_oom hostB; }

hit_cut() { in_host hostB ip link set up0 down; }
heal_cut() { in_host hostB ip link set up0 up; }
# Frames to an address that nobody has.
blind() { in_host "$1" ip neigh replace "$2" lladdr 02:77:ff:ff:ff:ff dev br0 nud permanent; } # HOST ADDRESS
see() { in_host "$1" ip neigh del "$2" dev br0; }
hit_cut-a-to-b() { blind hostA 10.77.0.2; }
heal_cut-a-to-b() { see hostA 10.77.0.2; }
hit_cut-b-to-a() { blind hostB 10.77.0.1; }
heal_cut-b-to-a() { see hostB 10.77.0.1; }

fill_disk() {
	in_host "$1" sh -c 'fallocate -l $(($(stat -f -c "%a*%S" /var/lib/relocd) - 1048576)) /run/disk/filler
		cat /dev/zero >/run/disk/filler2 2>/dev/null; true'
}
free_disk() { in_host "$1" rm -f /run/disk/filler /run/disk/filler2; }
hit_full-a() { fill_disk hostA; }
hit_full-b() { fill_disk hostB; }
heal_full-a() { free_disk hostA; }
heal_full-b() { free_disk hostB; }

# No descriptor is left to the process of the move (EMFILE).
no_files() { # HOST PROGRAM
	in_host "$1" bash -c '
		for pid in $(pgrep -x "$1"); do
			prlimit --pid $pid --nofile=$(($(ls /proc/$pid/fd | sort -n | tail -n 1) + 1)): || exit 1
			found=1
		done
		[ -n "$found" ] || exit 77' _ "$2"
}
hit_files-a() { no_files hostA departure; }
hit_files-b() { no_files hostB arrival; }

# It ends by itself while it is copied.
hit_partition-ends() { signal_all hostA KILL redis-server; }

hit_power-a() { lab crash hostA; }
hit_power-b() { lab crash hostB; }
heal_power-a() { lab boot hostA; }
heal_power-b() { lab boot hostB; }

# A bit of the last record turns over on the disk, and its owner dies.
flip() { # HOST SIDE
	[ "$(in_host "$1" sh -c 'ls -t /var/lib/relocd/moves/*."$0" 2>/dev/null | head -n 1' "$2")" ] || return 77
	in_host "$1" bash -c '
		file=$(ls -t /var/lib/relocd/moves/*."$1" | head -n 1)
		records=$(od -An -v -tx1 -w128 "$file" | awk "/[1-9a-f]/ { n = NR } END { print n }")
		at=$(((records - 1) * 128 + 20))
		byte=$(od -An -tu1 -j$at -N1 "$file")
		printf "\\x$(printf %x $((byte ^ 4)))" | dd of="$file" bs=1 seek=$at conv=notrunc status=none' _ "$2"
	signal_all "$1" KILL "$2"
}
hit_flip-a() { flip hostA departure; }
hit_flip-b() { flip hostB arrival; }

# What it answers depends on the phase.
cancel_at() { in_host "$1" timeout 20 wparctl cancel r >>"$lab_dir/cancel.out" 2>&1 || true; }
hit_cancel-a() { cancel_at hostA; }
hit_cancel-b() { cancel_at hostB; }
hit_cancel-twice() { cancel_at hostA; cancel_at hostB; cancel_at hostA; }

# As long as the move lasts, at most STOP_SECONDS.
hit_stop-departure() { signal_all hostA STOP departure; }
hit_stop-arrival() { signal_all hostB STOP arrival; }
hit_stop-relocd-a() { signal_all hostA STOP relocd; }
hit_stop-relocd-b() { signal_all hostB STOP relocd; }
continue_all() {
	# shellcheck disable=SC2046 # words
	signal "$1" CONT $(pids "$1" "$2" || true) || true
}
heal_stop-departure() { continue_all hostA departure; }
heal_stop-arrival() { continue_all hostB arrival; }
heal_stop-relocd-a() { continue_all hostA relocd; }
heal_stop-relocd-b() { continue_all hostB relocd; }

# What the rules of wpar-protocol(7) allow FAULT at PLACE to cost.
rule_for() { # PLACE FAULT
	case $2 in
	power-a | partition-ends) echo may-be-lost ;; # it ran there, or only there
	power-b) if may_run_at_b "$1"; then echo may-be-lost; else echo rebooted; fi ;;
	kill-criu-a) [[ $1 != *:final ]] || echo may-be-lost ;; # its code may be in the processes
	kill-arrival | kill-criu-b | flip-b) ! may_run_at_b "$1" || echo may-be-lost ;;
	esac
}
may_run_at_b() { [[ $1 =~ :(commit|switch|release)$ ]]; }

# Flipped records: where nobody can know but a person, what recover proposes is done.
decide() {
	local act host
	act=$(in_host hostA wparctl --json recover r | jq -r .data.proposal.act)
	may_doubt=0
	if [[ $act == keep-* ]]; then
		host=${act#keep-}
		in_host "$host" wparctl recover r --keep "$host" --reason 'the fault matrix' >/dev/null ||
			die "$what: $act is not possible: $(in_host hostA wparctl recover r)"
	fi
	WAIT_PAUSE=0.3 wait_until 40 settled || die "$what: not settled ($act): $(say_all)"
}

# FAULT strikes while the move is held as it comes to PLACE. As strike() otherwise.
hit() { # PLACE FAULT
	local rule got=0 pid seconds=$NOTICE_SECONDS
	what="$1 $2"
	rule=$(rule_for "$@")
	may_doubt=0
	[[ $2 != flip-* ]] || may_doubt=1
	[[ $2 != stop-* ]] || seconds=$STOP_SECONDS
	[[ $2 != kill-relocd* ]] || seconds=2 # the move's end is not known before it is back
	[[ $2 != @(stop|cut|power|flip)* ]] || patience=$((SETTLE_SECONDS * 1000)) # a client waits as long as that lasts
	fault_begin
	order_faults <<<"$1 stop"
	start_move
	wait_until 30 has_struck || die "$what: the move did not come there: $(cat "$lab_dir/relocate.out")"
	pid=$(struck | awk -v p="$1" '$1 == p { print $3 }')
	"hit_$2" || got=$?
	[ "$2" = "stop-${1%%:*}" ] || in_host "$(host_of "$1")" kill -CONT "$pid" 2>/dev/null || true
	[ $got != 0 ] || wait_until "$seconds" move_ended 2>/dev/null || true
	[ "$(type -t "heal_$2")" != function ] || "heal_$2"
	[ $got = 0 ] || [ $got = 77 ] || die "$what: could not be made: $got"
	WAIT_PAUSE=0.3 wait_until "$SETTLE_SECONDS" settled || die "$what: not settled: $(say_all)"
	wait_until 30 move_ended || die "$what: wparctl does not end: $(cat "$lab_dir/relocate.out")"
	wait_move
	[ $got = 0 ] || skip "there is nothing to hit"
	[ "$(end_of_move)" != doubt ] || decide
	fault_end "$rule"
	printf '%-26s %-15s exit %-3s %-6s client waited %s ms\n' "$1" "$2" "$move_status" "$end" "$waited"
}
