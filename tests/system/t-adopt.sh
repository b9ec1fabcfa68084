#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A host is lost: what it had on shared storage is started on another one, and nothing runs twice when
# it returns.
# shellcheck disable=SC2154,SC2016 # out, err: lib.sh; single quotes: expands in the host

lose_host() { # until it returns
	in_host hostA ip link set up0 down
	trap return_host EXIT
}
return_host() { in_host hostA ip link set up0 up; }

# hostB has heard of it: what it refuses is that hostA answers, not that it is unknown. Names are used
# once here: it may not have heard yet that the last of that name is gone.
is_known() { # NAME
	[[ $(in_host hostB wparctl adopt "$1" --peer-is-dead --reason test 2>&1) == *WPAR-M019* ]]
}
is_departed() { [ "$(state_of "$1" "$2")" = Departed ]; }

adopted() { # NAME...
	assert_exit 0 in_host hostB wparctl --json adopt "$@" --peer-is-dead --reason 'the test cut its cable'
}

# It was cut off only, and runs on: its copy is killed when it is back. What did not run is not started.
test_host_was_cut_off() {
	local id
	redis_partition r 10.77.0.61
	in_host hostA wparctl create q --rootfs /srv/shared/redis --address 10.77.0.62/24 --bridge br0 -- /bin/redis-server
	wait_until 15 is_known q
	assert_refused 5 WPAR-M019 hostB wparctl adopt r --peer-is-dead --reason test
	assert_refused 5 WPAR-M019 hostB wparctl adopt --from hostA --peer-is-dead --reason test
	assert_exit 2 in_host hostB wparctl adopt r --reason test
	assert_exit 2 in_host hostB wparctl adopt r --peer-is-dead
	assert_exit 3 in_host hostB wparctl adopt nobody --peer-is-dead --reason test
	lose_host
	adopted --from hostA
	assert_eq '[["q","Defined",2],["r","Active",2]]' "$(jq -c '[.data[] | [.name, .state, .epoch]] | sort' <<<"$out")"
	assert_eq "Active Active" "$(state_of hostA r) $(state_of hostB r)"
	wait_until 5 redis ping
	id=$(in_host hostB wparctl --json moves --all | jq -r '.data[] | select(.partition == "r" and .result.adopted) | .id')
	assert_contains "$(in_host hostB wparctl history r)" 'the test cut its cable'
	assert_exit 5 in_host hostB wparctl adopt r --peer-is-dead --reason again
	return_host
	wait_until 20 is_departed hostA r
	wait_until 20 is_departed hostA q
	assert_eq 0 "$(in_host hostA sh -c 'ps -e -o comm= | grep -c redis-server')" "redis-server left on hostA"
	wait_until 10 is_settled "$id"
	wait_until 5 redis ping
	relocate "$lab_dir/moves" r hostB hostA
	# what came back is not given up when it is told late, by the very request of before
	tell_again "$id" 2
	assert_eq Active "$(state_of hostA r)"
	assert_eq PONG "$(redis ping)"
}
tell_again() { # MOVE EPOCH
	local uuid
	uuid=$(in_host hostB wparctl --json status r | jq -r '[.data] | flatten[0].uuid')
	assert_exit 0 in_host hostB curl -sS --fail --unix-socket /run/relocd/relocd.sock -H 'Content-Type: application/json' \
		-d "{\"give_up\": $2, \"reason\": \"late\", \"uuid\": \"$uuid\"}" "http://wpar/v1/moves/$1/recover?host=hostA"
	assert_contains "$out" epoch
}
is_settled() { in_host hostB sh -c "wparctl --json events | grep '\"settled\"' | grep -q $1"; }

# The host is off, and starts again: it asks before it starts what it had.
test_host_was_off() {
	redis_partition s 10.77.0.61 --autostart
	# who has heard of this has heard that s runs
	in_host hostA wparctl create later --rootfs /srv/shared/redis --address 10.77.0.62/24 --bridge br0 -- /bin/redis-server
	wait_until 15 is_known later
	# the machine answers although its relocd does not
	lab relocd hostA stop
	assert_refused_here 5 WPAR-M019 hostB wparctl adopt s --peer-is-dead --reason test
	lose_host
	in_host hostA sh -c 'kill -9 $(pgrep -x redis-server) $(pgrep -x keeper:s); rm /run/relocd/autostarted'
	adopted s
	lab relocd hostA start
	wait_until 10 in_host hostA sh -c 'wparctl status s | grep -q ownership-unknown'
	assert_eq Defined "$(state_of hostA s)"
	return_host
	wait_until 20 is_departed hostA s
	assert_eq Active "$(state_of hostB s)"
	assert_eq PONG "$(redis ping)"
}
# As assert_refused, while a relocd cannot be asked for a snapshot.
assert_refused_here() { # STATUS CODE HOST CMD...
	assert_exit "$1" in_host "$3" "${@:4}"
	assert_contains "$err" "$2"
	assert_eq "" "$(partitions "$3")" "left by what was refused"
}

# What is on the lost host alone, and what a third host may have.
test_adopt_refused() {
	toolbox
	in_host hostA cp -a /srv/shared/toolbox /var/lib/relocd/toolbox
	in_host hostA wparctl create t --rootfs /var/lib/relocd/toolbox --storage copied --address 10.77.0.61/24 --bridge br0 -- /bin/sleep 1
	in_host hostA wparctl create u --rootfs /srv/shared/toolbox --address 10.77.0.62/24 --bridge br0 -- /bin/sleep 1
	wait_until 15 is_known u
	lose_host
	assert_exit 4 in_host hostB wparctl adopt t --peer-is-dead --reason test
	assert_contains "$err" WPAR-S003
	# a third host, which was not there for a moment
	in_host hostB python3 -c 'import sqlite3
db = sqlite3.connect("/var/lib/relocd/registry.db", timeout=10)
db.execute("INSERT INTO hosts (name, address, added) VALUES (?, ?, ?)", ("hostX", "10.77.0.99:7470", "2026-01-01T00:00:00Z"))
db.commit()'
	assert_exit 6 in_host hostB wparctl adopt u --peer-is-dead --reason test
	assert_contains "$err" hostX
	assert_eq "" "$(partitions hostB)" "left by what was refused"
	in_host hostB wparctl cluster remove-host hostX --lost --reason test
	adopted u
	return_host
	wait_until 20 is_departed hostA u
	assert_eq Defined "$(state_of hostA t)"
	in_host hostA rm -rf /var/lib/relocd/toolbox
}
