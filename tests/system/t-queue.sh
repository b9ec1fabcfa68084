#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Many moves at once: who goes first, how many leave, arrive and share a link, and that each partition
# ends where it should, once.
# shellcheck disable=SC2154,SC2016,SC2317,SC2034,SC2046 # out, err: lib.sh; single quotes: expands in the host;
# traps and wait_until; redis_address: workload.sh; numbers

start() { # NAME HOST HOST-WHERE-IT-IS: prints the move's id
	in_host "$3" wparctl relocate "$1" "$2" --no-wait
}
move_state() { in_host hostA wparctl --json moves --all | jq -r --arg id "$1" '.data[] | select(.id == $id) | .state'; }
is_state() { [ "$(move_state "$1")" = "$2" ]; }

limits() { # HOST LIMITS
	in_host "$1" sh -c 'echo "limits: {$1}" >/etc/relocd/relocd.yaml' _ "$2"
	lab relocd "$1" restart
}
no_limits() {
	local host
	for host in hostA hostB; do
		in_host "$host" sh -c 'rm -rf /etc/relocd/relocd.yaml /etc/relocd/hooks.d /run/order /run/go'
		lab relocd "$host" restart
	done
}

# The first takes the only place of its link while its hook waits; then the greatest priority, then age.
test_priority_then_age() {
	local name moves=()
	trap no_limits EXIT
	limits hostA 'moves: 4, moves_per_link: 1'
	for name in p q s t; do
		toolbox_partition $name 10.77.0.6${#moves[@]} --priority $([ $name = s ] && echo 5 || echo 0)
		moves+=("")
	done
	in_host hostA sh -c 'mkdir -p /etc/relocd/hooks.d; cat >/etc/relocd/hooks.d/10-order; chmod 755 /etc/relocd/hooks.d/10-order' <<-'EOF'
		#!/bin/sh
		[ "$1" = pre-move ] || exit 0
		jq -r .partition >>/run/order
		until [ -e /run/go ]; do sleep 0.05; done
	EOF
	moves=()
	for name in p q s t; do moves+=("$(start $name hostB hostA)"); done
	assert_eq 4 "$(in_host hostA wparctl --json moves | jq '[.data[] | select(.state == "queued")] | length')"
	assert_exit 5 in_host hostA wparctl relocate s hostB
	lab relocd hostA restart # the queue outlives it
	in_host hostA touch /run/go
	in_host hostA wparctl wait "${moves[@]}"
	# p's hook ran before the restart; after it s goes first
	assert_eq "p s p q t" "$(in_host hostA cat /run/order | paste -sd ' ')"
	assert_eq "4 0" "$(partitions hostB | wc -l) $(in_host hostA wparctl -q list --local --state Active | wc -l)"
}

# The second finds no place on hostB, waits, and gets there by itself.
test_a_destination_that_is_full() {
	local first second
	trap 'in_host hostB bash -c "kill -CONT \$(pgrep -x keeper:p)" 2>/dev/null || true; no_limits' EXIT
	limits hostB 'arrivals: 1'
	toolbox_partition p 10.77.0.61
	toolbox_partition q 10.77.0.62
	in_host hostB timeout 30 bash -c 'until kill -STOP $(pgrep -x keeper:p) 2>/dev/null; do :; done' &
	first=$(start p hostB hostA)
	wait
	second=$(start q hostB hostA)
	full() { # its events do not end before it does
		{ in_host hostA curl -s --max-time 1 --unix-socket /run/relocd/relocd.sock "http://localhost/v1/moves/$second/events" || true; } |
			grep -q '"queued".*arrive on hostB already'
	}
	wait_until 10 full
	wait_until 5 is_state "$second" queued
	assert_exit 5 in_host hostA wparctl relocate q hostB
	in_host hostB bash -c 'kill -CONT $(pgrep -x keeper:p)'
	in_host hostA wparctl wait "$first" "$second"
	assert_eq "Active Active" "$(state_of hostB p) $(state_of hostB q)"
}

# Five each way, four at once; a client stays connected each way.
test_ten_at_once() {
	local n moves_a=() moves_b=() two=10.77.0.78 second
	trap no_limits EXIT
	limits hostA 'moves: 4'
	limits hostB 'moves: 4'
	redis_partition there 10.77.0.77
	in_host hostA wparctl relocate there hostB
	for n in 1 2 3 4; do
		toolbox_partition b$n 10.77.0.7$n
		in_host hostA wparctl relocate b$n hostB --no-wait >/dev/null
	done
	redis_partition here $two
	for n in 1 2 3 4; do toolbox_partition a$n 10.77.0.8$n; done
	wait_until 20 settled 0
	meter_start "$lab_dir/meter.json" # of `here`
	client sh -c 'echo $$ >/run/meter2.pid; exec gapmeter --timeout-ms 15000 --key counter --out "$1" 10.77.0.77 6379' _ "$lab_dir/meter2.json" >"$lab_dir/meter2.said" 2>&1 &
	second=$!
	wait_until 10 grep -q 'connected from port' "$lab_dir/meter2.said"
	for n in here a1 a2 a3 a4; do moves_a+=("$(start $n hostB hostA)"); done
	for n in there b1 b2 b3 b4; do moves_b+=("$(start $n hostA hostB)"); done
	in_host hostA wparctl wait "${moves_a[@]}"
	in_host hostB wparctl wait "${moves_b[@]}"
	meter_stop
	client sh -c 'kill -TERM $(cat /run/meter2.pid)'
	wait $second
	assert_eq "b1 b2 b3 b4 there" "$(in_host hostA wparctl -q list --local --state Active | sort | xargs)"
	assert_eq "a1 a2 a3 a4 here" "$(in_host hostB wparctl -q list --local --state Active | sort | xargs)"
	assert_eq "4 4" "$(in_host hostA pgrep -xc sleep) $(in_host hostB pgrep -xc sleep)" "sleepers, each once"
	assert_eq "$(jq .acked "$lab_dir/meter.json")" "$(redis get counter)" "increments of here"
	redis_address=10.77.0.77
	assert_eq "$(jq .acked "$lab_dir/meter2.json")" "$(redis get counter)" "increments of there"
}
settled() { [ "$(in_host hostA wparctl --json moves | jq '.data | length')" = "$1" ]; }

# On to a third host while the first one has not heard yet that the second runs it.
test_a_chain_while_the_source_releases() {
	LAB=$LAB-three
	lab_dir=$BUILD/$LAB
	lab up 3
	trap 'lab down' EXIT
	redis_partition r 10.77.0.61
	meter_start "$lab_dir/meter.json"
	in_host hostA sh -c 'echo "departure:receive:running delay 2500" >/etc/relocd/faults'
	in_host hostA wparctl relocate r hostB --no-wait
	is() { [ "$(state_of "$1" r)" = "$2" ]; }
	wait_until 10 is hostB Active
	assert_exit 5 in_host hostB wparctl relocate r hostA # which is not ready to have it again
	in_host hostB timeout 20 wparctl relocate r hostC
	wait_until 10 is hostA Departed
	assert_eq "Departed Departed Active" "$(state_of hostA r) $(state_of hostB r) $(state_of hostC r)"
	meter_stop
	assert_eq "$(jq .acked "$lab_dir/meter.json")" "$(redis get counter)" "stored increments"
	assert_eq "hostB>hostC hostA>hostB" "$(in_host hostA wparctl --json history r |
		jq -r '[.data[] | select(.kind == "move" and .outcome == "done") | .from + ">" + .to] | join(" ")')"
}
