#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Who did what: the history of moves and partitions, who asked, events over a restart.
# shellcheck disable=SC2154 # out, err: lib.sh

ctl() { in_host hostA wparctl "$@"; }

# Of a name that no other test has: what has been removed has a history, too.
test_history_of_a_partition() {
	local from=hostA move
	toolbox_partition chronicle 10.77.0.61
	in_host hostB wparctl relocate chronicle hostB # asked for at the other host
	move=$(ctl --json history chronicle | jq -r '[.data[] | select(.kind == "move")][0].move')
	for from in hostA hostB; do # the same from both
		in_host "$from" wparctl --json history chronicle | jq -e --arg m "$move" '.data
			| (map(select(.kind == "move")) | length == 1)
			and (.[] | select(.kind == "move")
				| .move == $m and .partition == "chronicle" and .from == "hostA" and .to == "hostB" and .direction == "out"
				and .outcome == "done" and .asked.user == "root" and .asked.role == "admin" and .asked.host == "hostB"
				and .asked.time <= .started and .started < .ended and .epoch >= 1
				and .phases_ms.freeze >= 0 and (.phases_ms | length) > 5 and .transferred_bytes > 0
				and .rounds >= 0 and .downtime_ms > 0 and .total_ms >= .downtime_ms and .error == null)
			and any(.[]; .what == "created" and .asked.host == "hostA" and .asked.user == "root")
			and any(.[]; .what == "state" and .data.to == "Active" and .data.from == "Defined")
			and (map(.time) == (map(.time) | sort | reverse))' >/dev/null ||
			die "$from: $(in_host "$from" wparctl --json history chronicle)"
	done
	# what the move did to the partition is the move's
	assert_eq "relocate state created" "$(ctl --json history chronicle | jq -r '.data | map(.what) | join(" ")')"
	assert_contains "$(ctl history "$move")" "by root (admin) on hostB"
	assert_contains "$(ctl history "$move")" "precopy "
	# a move that fails, and only that
	assert_exit 3 ctl relocate chronicle nowhere
	ctl stop chronicle --kill
	ctl --json history chronicle --failed | jq -e '.data == []' >/dev/null
	assert_eq "[]" "$(ctl --json history chronicle --since 2999-01-01T00:00:00Z | jq -c .data)"
	assert_exit 2 ctl history --since yesterday
}

test_history_of_a_failure() {
	toolbox_partition p 10.77.0.61
	ctl relocate p hostB --no-wait >/dev/null
	ctl cancel p || skip "the move was too fast to be cancelled"
	ctl wait p && skip "the move was too fast to be cancelled"
	ctl --json history p --failed | jq -e '.data[0] | .error.code == "WPAR-M013" and .asked.user == "root"' >/dev/null ||
		die "$(ctl --json history p --failed)"
}

test_events_go_on_after_a_restart() {
	local last follower
	last=$(ctl --json events | tail -n 1 | jq .data.seq)
	in_host hostA timeout 60 wparctl --json events -f --after $((last - 1)) >"$lab_dir/events" &
	follower=$!
	wait_until 5 grep -q . "$lab_dir/events"
	lab relocd hostA restart
	toolbox_partition p 10.77.0.61
	wait_until 10 grep -q '"event": *"created"' "$lab_dir/events"
	in_host hostA pkill -f 'wparctl --json events -f' || true
	wait $follower || true
	# none twice, in order
	jq -se '[.[].data.seq] | . == (sort | unique) and length > 2' "$lab_dir/events" >/dev/null ||
		die "$(jq -c .data.seq "$lab_dir/events" | paste -sd ' ')"
	assert_exit 3 ctl events --after 99999999
	assert_contains "$err" WPAR-I009
}

# What a host does not let in leaves a record there, too, though its API was not asked.
test_refusals_of_peers() {
	trap 'in_host hostB rm -f /etc/relocd/relocd.yaml; lab relocd hostB restart; ctl uncordon hostB' EXIT
	local began
	began=$(date -u +%FT%T)
	toolbox_partition p 10.77.0.61
	ctl cordon hostB
	assert_exit 4 ctl relocate p hostB
	wait_until 5 is_refused reserve '.data.code == "WPAR-C006" and .move != null' || die "no record of the partition"
	in_host hostB sh -c 'echo "roles: {peers: none}" >/etc/relocd/relocd.yaml'
	lab relocd hostB restart
	assert_exit 13 ctl -c hostB list
	wait_until 5 is_refused call '.data.code == "WPAR-A002" and .data.user == "root" and .data.status == 403' || die "no record of the call"
}
# Since the beginning of the test. Such records are on disk within a second.
is_refused() { # METHOD CONDITION
	in_host hostB wparctl --json events | jq -s --arg m "$1" --arg t "$began" 'map(.data | select(.kind == "audit" and .time > $t
		and .data.method == $m and .event == "refused" and .data.from == "hostA"))' | jq -e "any(.[]; $2)"
}
