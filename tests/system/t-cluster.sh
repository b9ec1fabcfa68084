#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The cluster as one: what can be asked for on any host, who may, and hosts that do not take part.
# shellcheck disable=SC2154,SC2016 # out, err: lib.sh; single quotes: expands in the host

# The control API of HOST, as root there: the body of the answer.
api() { # HOST METHOD PATH [BODY]
	in_host "$1" curl -sS --max-time 60 --unix-socket /run/relocd/relocd.sock -X "$2" \
		-H 'Content-Type: application/json' ${4:+-d "$4"} "http://wpar$3"
}

api_code() { # HOST METHOD PATH [BODY]: of its first error
	api "$@" | jq -r '.errors[0].code'
}

# All verbs by name from the host where the partition is not.
test_from_any_host() {
	local list
	toolbox_partition p 10.77.0.61 -- /bin/sh -c 'echo begun; exec /bin/sleep 100000'
	list=$(api hostB GET /v1/partitions | jq -r '.data[] | "\(.name) \(.host) \(.state)"')
	assert_eq "p hostA Active" "$list"
	assert_eq "" "$(api hostB GET '/v1/partitions?local=1' | jq -r '.data[].name')"
	assert_eq hostA "$(in_host hostB wparctl --json status p | jq -r "[.data] | flatten[0].host")"
	assert_exit 7 in_host hostB wparctl exec p -- /bin/sh -c 'echo to-err >&2; exit 7'
	assert_contains "$err" to-err
	assert_eq hello "$(echo hello | in_host hostB wparctl exec -i p -- /bin/cat)"
	# more than a window of the call, both ways
	assert_eq "$(head -c 3000000 /dev/zero | sha256sum)" \
		"$(head -c 3000000 /dev/zero | in_host hostB wparctl exec -i p -- /bin/cat | sha256sum)"
	assert_contains "$(in_host hostB wparctl logs p)" begun
	in_host hostB wparctl stop p --kill
	assert_eq Defined "$(state_of hostA p)"
	in_host hostB wparctl start p
	assert_eq Active "$(state_of hostA p)"
	# to where the command is given, and from there back
	in_host hostB wparctl relocate p hostB
	assert_eq Active "$(state_of hostB p)"
	assert_eq "p hostB Active" \
		"$(api hostA GET /v1/partitions | jq -r '.data[] | "\(.name) \(.host) \(.state)"')"
	assert_eq hostB "$(in_host hostA wparctl --json status p | jq -r "[.data] | flatten[0].host")"
	assert_eq Departed "$(api hostA GET '/v1/partitions/p?local=1' | jq -r .data.state)"
	assert_eq "1 out" "$(api hostB GET /v1/moves | jq -r '[.data[] | select(.partition == "p")] |
		"\(length) \(.[0].direction)"')"
	# its move is known on both hosts, and a name is taken on all of them
	assert_eq 5 "$(in_host hostA sh -c 'wparctl create p --rootfs /srv/shared/toolbox --address 10.77.0.62/24 \
		--bridge br0 -- /bin/sleep 1 2>/run/why; echo $?')"
	assert_contains "$(in_host hostA cat /run/why)" hostB
	in_host hostA wparctl remove p --force
	assert_eq "" "$(partitions hostA)$(partitions hostB)"
}

# Streams end when the client goes away, and nobody is left behind.
test_streams_from_afar() {
	local calls='ps -e -o comm= | grep -c -x -e caller -e arrival || true'
	toolbox_partition p 10.77.0.61 -- /bin/sh -c 'while :; do echo tick; sleep 0.2; done'
	assert_contains "$(in_host hostB timeout 5 sh -c 'wparctl logs -f p | head -n 20 | sort | uniq -c')" "20 tick"
	wait_until 10 in_host hostB sh -c "[ \$($calls) = 0 ]"
	wait_until 10 in_host hostA sh -c "[ \$($calls) = 0 ]"
	# so does what a command of exec does when its user has gone
	in_host hostB timeout -s KILL 2 wparctl exec p -- /bin/sleep 4711 || true
	wait_until 10 in_host hostA sh -c '! ps -e -o args= | grep -q "^/bin/sleep 4711"'
}
