#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# relocd ends, is killed, is replaced or loses its registry: partitions and moves do not care.
# shellcheck disable=SC2154,SC2016 # out, err: lib.sh; single quotes: expands in the host
# shellcheck source=tests/faults/lib.sh
source "$top/tests/faults/lib.sh"

# A Redis whose move takes a while, with a client that counts.
restart_redis() { # [MIB]
	redis_partition r 10.77.0.61
	client redis_data fill 10.77.0.61 6379 "${1-16}"
	meter_start "$lab_dir/meter.json"
	connection=$(meter_connection)
}

restart_client_is_fine() {
	assert_eq "$connection" "$(meter_connection)" connection
	meter_stop || die "the client lost its connection: $(jq -c '{lost,errors,sequence_breaks}' "$lab_dir/meter.json")"
	assert_eq "$(jq .acked "$lab_dir/meter.json")" "$(redis get counter)" "stored increments"
}

# Begins to move r to hostB and returns when the move is in PHASE; its id is in $id. The memory is copied
# while it is frozen, or most phases would be over before they are seen.
move_until() { # PHASE
	id=$(in_host hostA wparctl --json relocate r hostB --engine stop --no-wait | jq -r '.. | .move? // empty' | head -n 1)
	in_host hostA timeout 30 bash -c '
		until curl -s --unix-socket /run/relocd/relocd.sock "http://relocd/v1/moves/$0?local=1" | grep -q "\"phase\": *\"$1\""; do :; done' "$id" "$1"
}

test_killed_at_rest() {
	restart_redis
	lab relocd hostA kill
	lab relocd hostB kill
	assert_eq PONG "$(redis ping)"
	lab relocd hostA start
	lab relocd hostB start
	assert_eq Active "$(state_of hostA r)"
	relocate "$lab_dir/moves" r hostA hostB
	lab relocd hostB kill
	lab relocd hostB start
	assert_eq Active "$(state_of hostB r)"
	relocate "$lab_dir/moves" r hostB hostA
	restart_client_is_fine
}

# relocd of HOSTS is killed in PHASE and started again: the move goes on to its end, which the new
# relocd knows with its figures.
killed_during_move() { # PHASE HOST...
	local host
	restart_redis 300
	move_until "$1"
	shift
	for host; do lab relocd "$host" kill; done
	for host; do lab relocd "$host" start; done
	assert_exit 0 in_host hostA wparctl --json wait "$id"
	jq -se 'map(select(.data.downtime_ms > 0 and .data.outcome == "done")) | length == 1' <<<"$out" >/dev/null || die "no result: $out"
	assert_eq Active "$(state_of hostB r)"
	assert_eq Departed "$(state_of hostA r)"
	restart_client_is_fine
	assert_eq "" "$(in_host hostA ls /run/relocd/moves)" "left on hostA"
	wait_until 5 nothing_left hostB
}
nothing_left() { [ -z "$(in_host "$1" ls /run/relocd/moves)" ]; }
test_killed_at_the_source() { killed_during_move final hostA; }
test_killed_at_the_destination() { killed_during_move final hostB; }
test_killed_on_both() { killed_during_move restore hostA hostB; }

# The departure dies with its relocd, the partition frozen: the next relocd lets it run before it
# answers anybody.
test_departure_dies_too() {
	restart_redis 300
	move_until final
	in_host hostA bash -c 'kill -9 $(cat /run/relocd.lab.pid) $(pgrep -x departure)'
	lab relocd hostA kill
	lab relocd hostA start
	assert_eq Active "$(state_of hostA r)"
	assert_exit 1 in_host hostA wparctl wait "$id"
	restart_client_is_fine
	wait_until 20 nobody_at hostB
	relocate "$lab_dir/moves" r hostA hostB
}
nobody_at() { [ -z "$(partitions "$1")" ]; }

# A cancel of a move that an earlier relocd began.
test_cancel_after_restart() {
	restart_redis 300
	move_until final
	in_host hostA bash -c 'kill -STOP $(pgrep -x departure)' # or the move is faster than the restart
	lab relocd hostA kill
	lab relocd hostA start
	in_host hostA wparctl cancel r || die "cannot be cancelled: $(in_host hostA wparctl moves --all)"
	in_host hostA bash -c 'kill -CONT $(pgrep -x departure)'
	assert_exit 8 in_host hostA wparctl wait "$id"
	assert_eq Active "$(state_of hostA r)"
	restart_client_is_fine
}

test_wait_survives_a_restart() {
	local got=0
	restart_redis 300
	move_until final
	in_host hostA bash -c 'kill -STOP $(pgrep -x departure)'
	in_host hostA wparctl wait "$id" >"$lab_dir/wait.out" 2>&1 &
	local waiting=$!
	wait_until 10 test -s "$lab_dir/wait.out"
	lab relocd hostA kill
	lab relocd hostA start
	in_host hostA bash -c 'kill -CONT $(pgrep -x departure)'
	wait $waiting || got=$?
	assert_eq 0 "$got" "status of wait: $(cat "$lab_dir/wait.out")"
	restart_client_is_fine
}

# ---- the registry ------------------------------------------------------------------------------

# Puts the saved registry of hostA back.
bring_registry_back() {
	lab relocd hostA stop
	in_host hostA sh -c 'rm -f /var/lib/relocd/registry.db*; mv /run/saved/* /var/lib/relocd/; rmdir /run/saved'
	lab relocd hostB start
	lab relocd hostA start
}

# An emptied registry: what runs is found again, and nothing is started. The old one comes back, which is
# another one than the last: the peer confirms it.
test_registry_is_lost() {
	restart_redis
	lab relocd hostB stop # nobody can confirm anything
	lab relocd hostA stop
	in_host hostA sh -c 'mkdir /run/saved && mv /var/lib/relocd/registry.db* /run/saved/'
	trap 'bring_registry_back; in_host hostA wparctl cluster trust-local --reason test' EXIT
	lab relocd hostA start
	assert_eq r "$(partitions hostA)" "what the keeper still knows"
	assert_eq Active "$(state_of hostA r)"
	in_host hostA wparctl create q --rootfs /srv/shared/redis --address 10.77.0.63/24 --bridge br0 -- /bin/redis-server
	assert_exit 4 in_host hostA wparctl start q
	assert_contains "$err" quarantine
	lab relocd hostA restart
	assert_exit 4 in_host hostA wparctl start q
	assert_exit 0 in_host hostA wparctl cluster trust-local --reason 'the test knows'
	assert_exit 5 in_host hostA wparctl cluster trust-local --reason 'nothing to trust any more'
	assert_exit 0 in_host hostA wparctl start q
	in_host hostA wparctl remove q --force
	bring_registry_back
	trap - EXIT
	wait_until 20 may_move hostA r
	assert_eq Active "$(state_of hostA r)"
	relocate "$lab_dir/moves" r hostA hostB
	restart_client_is_fine
}
may_move() { in_host "$1" wparctl validate "$2" hostB >/dev/null 2>&1 && ! in_quarantine "$1"; }
in_quarantine() { in_host "$1" sh -c 'wparctl --json events | tail -n 100 | grep -E "quarantine(-ended)?\"" | tail -n 1 | grep -q "quarantine\""'; }

# A backup of a time before the move: the partition is the other host's by now, and stays there.
test_backup_and_restore() {
	restart_redis
	in_host hostA relocd --backup /run/backup
	assert_eq 600 "$(in_host hostA stat -c %a /run/backup)" "mode of the backup"
	assert_exit 5 in_host hostA relocd --restore /run/backup
	relocate "$lab_dir/moves" r hostA hostB
	lab relocd hostA stop
	assert_exit 0 in_host hostA relocd --restore /run/backup
	lab relocd hostA start
	wait_until 20 is_departed hostA r
	assert_eq Active "$(state_of hostB r)"
	restart_client_is_fine
	in_host hostA sh -c 'ls /var/lib/relocd/registry.db.old && rm /run/backup /var/lib/relocd/registry.db.old*'
	relocate "$lab_dir/moves" r hostB hostA
}
is_departed() { [ "$(state_of "$1" "$2")" = Departed ]; }

# A keeper of an older relocd under a newer one: it is served, and what it lacks is a sentence.
test_older_keeper() {
	toolbox
	lab relocd hostA stop
	in_host hostA bash -c 'exec env -i PATH="$PATH" RELOCD_LIBEXECDIR="$RELOCD_LIBEXECDIR" RELOCD_KEEPER_PROTOCOL=1 \
		readywait --pid-file /run/relocd.lab.pid --timeout 20 relocd' </dev/null >>"$lab_dir/hostA.log" 2>&1
	toolbox_partition p 10.77.0.62
	lab relocd hostA restart # the new version
	assert_eq Active "$(state_of hostA p)"
	assert_exit 0 inside p /bin/id
	relocate "$lab_dir/moves" p hostA hostB
	relocate "$lab_dir/moves" p hostB hostA
	assert_eq Active "$(state_of hostA p)"
}

as_nobody() { # PATH: what its caller is told there
	in_host hostA setpriv --reuid 65534 --regid 65534 --clear-groups \
		curl -sS --unix-socket /run/relocd/relocd.sock "http://relocd$1"
}

test_reload() {
	assert_exit 7 as_nobody /v1/version # cannot even connect
	in_host hostA sh -c 'cp -a /etc/relocd/relocd.yaml /run/yaml.saved 2>/dev/null
		printf "limits: {moves: 1}\nlisten: \"[::]:7479\"\nroles: {viewer: [\"65534\"]}\n" >/etc/relocd/relocd.yaml
		kill -HUP $(cat /run/relocd.lab.pid)'
	trap 'in_host hostA sh -c "rm /etc/relocd/relocd.yaml; mv /run/yaml.saved /etc/relocd/relocd.yaml 2>/dev/null
		kill -HUP \$(cat /run/relocd.lab.pid)"' EXIT
	wait_until 5 in_host hostA sh -c 'wparctl --json events | grep -q "\"needs_restart\": *\"listen\""'
	assert_eq hostA "$(in_host hostA wparctl --json hosts | jq -r '[.data[] | select(.self)][0].name')"
	assert_eq hostA "$(as_nobody /v1/version | jq -r .data.host)"
}

# ---- in doubt ----------------------------------------------------------------------------------

# The N-th record (from 0) of the decision file of $id on HOST has TYPE (enum decision_type).
has_record() { # HOST SIDE N TYPE
	[ "$(in_host "$1" od -An -tu2 -j$(($3 * 128 + 6)) -N2 "/var/lib/relocd/moves/$id.$2" 2>/dev/null | tr -d ' ')" = "$4" ]
}

# hostA has recorded its commit, hostB has voted and does not hear of it; the departure is dead.
commit_unheard() {
	restart_redis 300
	in_host hostA sh -c 'umask 077; rm -f /run/relocd/faults; echo departure:receive:ready stop >/etc/relocd/faults'
	id=$(in_host hostA wparctl --json relocate r hostB --no-wait | jq -r '.. | .move? // empty' | head -n 1)
	wait_until 60 departure_stands
	in_host hostA rm /etc/relocd/faults
	has_record hostB arrival 1 3
	in_host hostB bash -c 'kill -STOP $(pgrep -x arrival)'
	in_host hostA bash -c 'kill -CONT $(pgrep -x departure)'
	wait_until 20 has_record hostA departure 2 4
	in_host hostA bash -c 'kill -9 $(pgrep -x departure)'
	wait_until 20 is_in_doubt
}
departure_stands() { in_host hostA sh -c 'grep -q "^State:.T" /proc/$(pgrep -x departure)/status' 2>/dev/null; }
is_in_doubt() { [ "$(state_of hostA r)" = In-doubt ]; }
is_active() { [ "$(state_of "$1" r)" = Active ]; }

# It resolves itself as soon as the destination tells what it did.
test_in_doubt_resolves_itself() {
	commit_unheard
	assert_exit 9 in_host hostA wparctl wait "$id"
	assert_exit 0 in_host hostA wparctl --json recover r
	jq -e '.data.proposal.act == "wait" and (.data.sides | map(.decision) == ["commit", "prepared"])' <<<"$out" >/dev/null || die "$out"
	in_host hostB bash -c 'kill -CONT $(pgrep -x arrival)'
	wait_until 30 is_departed hostA r
	wait_until 10 is_active hostB
	assert_exit 0 in_host hostA wparctl wait "$id"
	restart_client_is_fine
}

# A person keeps the source's copy; the destination, which answers, gives its own up first.
test_keep_at_the_source() {
	commit_unheard
	assert_exit 0 in_host hostA wparctl recover r --keep hostA --reason 'the test wants it'
	assert_eq Active "$(state_of hostA r)"
	wait_until 10 nobody_at hostB
	restart_client_is_fine
	relocate "$lab_dir/moves" r hostA hostB
}

# While the person's request is answered, hostA hears that the other copy is dead and takes its own back by
# its records: that is what the person wants.
test_keep_and_the_records_are_faster() {
	trap no_faults EXIT
	commit_unheard
	wait_until 40 is_in_doubt
	order_faults <<<'relocd:record:given-up:after delay 6000'
	assert_exit 0 in_host hostA wparctl recover r --keep hostA --reason 'the test wants it'
	has_record hostA departure 3 9 || die "it was not revoked meanwhile"
	assert_eq Active "$(state_of hostA r)"
	assert_eq 3 "$(in_host hostA wparctl --json list --local | jq '.data[0].epoch')" epoch
	wait_until 20 nobody_at hostB
	restart_client_is_fine
	relocate "$lab_dir/moves" r hostA hostB
}

# The destination cannot be reached: only who knows that it is dead may go on. When it returns after
# all, and even runs its copy, that one is killed.
test_keep_while_the_peer_is_cut_off() {
	commit_unheard
	in_host hostB ip link set up0 down
	trap 'in_host hostB ip link set up0 up' EXIT
	assert_exit 0 in_host hostA wparctl --json recover r
	assert_contains "$out" '"keep-hostA"'
	assert_exit 9 in_host hostA wparctl recover r --keep hostA --reason 'no answer'
	assert_contains "$err" --peer-is-dead
	assert_eq In-doubt "$(state_of hostA r)"
	assert_exit 0 in_host hostA wparctl recover r --keep hostA --reason 'no answer' --peer-is-dead
	assert_eq Active "$(state_of hostA r)"
	assert_eq "$connection" "$(meter_connection)" connection
	meter_stop || die "the client lost its connection"
	in_host hostB bash -c 'kill -CONT $(pgrep -x arrival)' # the commit was on its way
	wait_until 20 is_active hostB
	in_host hostB ip link set up0 up
	wait_until 40 is_departed hostB r
	assert_eq Active "$(state_of hostA r)"
	assert_eq 0 "$(in_host hostB sh -c 'ps -e -o comm= | grep -c redis-server')" "redis-server left on hostB"
	wait_until 5 redis ping
	assert_eq "$(jq .acked "$lab_dir/meter.json")" "$(redis get counter)" "stored increments"
	relocate "$lab_dir/moves" r hostA hostB
}

# ---- hosts that start again --------------------------------------------------------------------

# Begins to move r to hostB, whose process is stopped at POINT; nothing is ordered after that.
hold_move() { # POINT
	order_faults <<<"$1 stop"
	id=$(in_host hostA wparctl --json relocate r hostB --no-wait | jq -r '.. | .move? // empty' | head -n 1)
	wait_until 20 has_struck
	no_faults
}
go_on() { in_host "$1" bash -c "kill -CONT \$(pgrep -x $2)"; }
let_go() {
	no_faults
	go_on hostA departure || true
	go_on hostB arrival || true
	for host in hostA hostB; do in_host $host wparctl list --local >/dev/null 2>&1 || lab relocd $host start; done
}

# As if the host had been off: nothing that ran is left, and it is the first start since.
host_starts_again() { # HOST
	in_host "$1" bash -c 'kill -9 $(cat /run/relocd.lab.pid) $(pgrep -x "departure|arrival") $(pgrep -x mover) \
		$(pgrep -f "[c]riu.* swrk|[d]ump --rpc|[r]estore --rpc") $(pgrep -x keeper:r) $(pgrep -x redis-server)
		rm -f /run/relocd/autostarted /run/relocd/moves/*'
	lab relocd "$1" kill
	lab relocd "$1" start
}
is_state_at() { [ "$(state_of "$1" r)" = "$2" ]; }

# It is off before its decision: its copy has not run since it was dumped, and is lost with it; the other
# one goes on. It is not started by itself either.
test_source_starts_again_before_the_commit() {
	trap let_go EXIT
	redis_partition r 10.77.0.61 --autostart
	client redis_data fill 10.77.0.61 6379 16
	hold_move departure:record:commit:before
	has_record hostB arrival 1 3 || wait_until 10 has_record hostB arrival 1 3
	host_starts_again hostA
	wait_until 30 is_state_at hostB Active
	wait_until 20 is_departed hostA r
	assert_eq PONG "$(redis ping)"
	client redis_data verify 10.77.0.61 6379 16
	assert_eq 0 "$(in_host hostA sh -c 'ps -e -o comm= | grep -c redis-server')" "redis-server on hostA"
}

# It is off when it has voted, but has not let the partition run: it says so, and the source takes it back
# with its connections, one epoch on.
test_destination_starts_again_after_the_commit() {
	trap let_go EXIT
	restart_redis 16
	hold_move arrival:receive:commit
	wait_until 10 has_record hostA departure 2 4
	host_starts_again hostB
	wait_until 30 is_state_at hostA Active
	restart_client_is_fine
	assert_eq 3 "$(in_host hostA wparctl --json list --local | jq '.data[0].epoch')" epoch
	wait_until 10 nobody_at hostB
	relocate "$lab_dir/moves" r hostA hostB
}

# It is off when it has begun to let it run: nobody else may have it, and it is lost, and said to be.
test_destination_starts_again_while_resuming() {
	trap let_go EXIT
	redis_partition r 10.77.0.61
	hold_move arrival:record:resuming:after
	host_starts_again hostB
	wait_until 30 is_departed hostA r
	wait_until 10 is_state_at hostB Broken
	assert_exit 14 in_host hostA wparctl wait "$id"
	assert_exit 5 in_host hostB wparctl relocate r hostA
	assert_exit 0 in_host hostB wparctl start r
	wait_until 10 redis ping
}

# Its record of the decision is damaged: it stays frozen and asks, and what runs there decides.
test_damaged_record() {
	trap let_go EXIT
	restart_redis 16
	hold_move arrival:receive:commit
	wait_until 10 has_record hostA departure 2 4
	in_host hostA bash -c 'kill -9 $(cat /run/relocd.lab.pid) $(pgrep -x departure)
		printf x | dd of=/var/lib/relocd/moves/$0.departure bs=1 seek=200 conv=notrunc status=none' "$id"
	lab relocd hostA kill
	lab relocd hostA start
	wait_until 10 is_in_doubt
	assert_exit 0 in_host hostA wparctl --json recover r
	jq -e '.data.sides[0].decision == "unknown" and .data.sides[0].alive' <<<"$out" >/dev/null || die "$out"
	go_on hostB arrival
	wait_until 30 is_departed hostA r
	wait_until 10 is_active hostB
	restart_client_is_fine
}

# relocd is replaced on both hosts while memory is copied in rounds; and CRIU is out of reach of what
# happens to relocd and to the memory of the host.
test_restart_in_rounds_and_at_the_dump() {
	trap let_go EXIT
	restart_redis 64
	order_faults <<<'departure:criu:post-dump:before stop'
	id=$(in_host hostA wparctl --json relocate r hostB --engine track --bandwidth 60MiB/s --no-wait | jq -r '.. | .move? // empty' | head -n 1)
	in_host hostA timeout 30 bash -c 'until wparctl --json moves | grep -q "\"phase\": *\"precopy\""; do :; done'
	for host in hostA hostB; do lab relocd $host kill; done
	for host in hostA hostB; do lab relocd $host start; done
	wait_until 30 has_struck
	no_faults
	# as much as relocd may here: so does the keeper
	in_host hostA bash -c '
		spared=$(cat /proc/$(pgrep -x keeper:r)/oom_score_adj)
		for p in $(pgrep -x departure) $(pgrep -f "[c]riu.* swrk|[d]ump --rpc"); do
			[ "$(ps -o pgid= -p $p | tr -d " ")" = $p ] || echo "$p is in another process group"
			[ "$(cat /proc/$p/oom_score_adj)" = "$spared" ] || echo "$p: oom_score_adj $(cat /proc/$p/oom_score_adj)"
		done
		for p in $(pgrep -x mover); do [ "$(cat /proc/$p/oom_score_adj)" = 0 ] || echo "the mover is spared"; done' >"$lab_dir/criu.out"
	assert_eq "" "$(cat "$lab_dir/criu.out")"
	lab relocd hostA kill
	lab relocd hostA start
	go_on hostA departure
	assert_exit 0 in_host hostA wparctl wait "$id"
	assert_eq Active "$(state_of hostB r)"
	restart_client_is_fine
}
