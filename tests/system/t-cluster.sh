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

# A cordoned host takes nothing in, and keeps what it has.
test_cordon() {
	toolbox_partition p 10.77.0.61
	in_host hostA wparctl cordon hostB
	trap 'in_host hostA wparctl uncordon hostB' EXIT
	assert_eq "false true" "$(api hostA GET /v1/hosts | jq -r '[.data[].cordoned] | join(" ")')"
	lab relocd hostB restart # kept
	assert_refused 4 WPAR-C006 hostA wparctl relocate p hostB
	assert_exit 4 in_host hostA wparctl -c hostB create q --rootfs /srv/shared/toolbox \
		--address 10.77.0.62/24 --bridge br0 -- /bin/sleep 1
	assert_contains "$err" WPAR-C006
	in_host hostB wparctl uncordon hostB
	in_host hostA wparctl relocate p hostB
	assert_eq Active "$(state_of hostB p)"
}

# Each on the other host: what it says of itself, and whether it is fit.
test_hosts_of_the_cluster() {
	local all
	all=$(api hostA GET /v1/cluster)
	assert_eq "hostA true hostB true" "$(jq -r '[.data.hosts[] | "\(.name) \(.reachable)"] | join(" ")' <<<"$all")"
	assert_eq true "$(jq '[.data.hosts[] | .criu != null and .kernel != null and .certificate_not_after != null and
		(.clock_skew_ms | fabs) < 2000] | all' <<<"$all")"
	assert_eq hostB "$(api hostA GET '/v1/version?host=hostB' | jq -r .data.host)"
	assert_eq "hostB true" "$(api hostA GET /v1/hosts/hostB/check |
		jq -r '"\(.data.checks[0].host) \([.data.checks[].check] | index("bridge") != null)"')"
	assert_eq WPAR-M003 "$(api_code hostA GET '/v1/partitions?host=hostX')"
	assert_eq WPAR-M003 "$(api_code hostA GET /v1/hosts/hostX)"
	lab relocd hostB stop
	trap 'lab relocd hostB start' EXIT
	assert_eq "true false" "$(api hostA GET /v1/hosts | jq -r '[.data[].reachable] | join(" ")')"
	assert_eq "[] hostB" "$(api hostA GET /v1/partitions | jq -r '"\(.data) \(.warnings[0].host)"')"
	assert_contains "$(in_host hostA wparctl list)" unreachable
	assert_eq WPAR-M004 "$(api_code hostA GET '/v1/partitions?host=hostB')"
	assert_eq WPAR-M004 "$(api_code hostA GET /v1/partitions/nobody)"
}

# What a host may ask of another one is bounded there, whoever asks.
test_roles_of_peers() {
	toolbox_partition p 10.77.0.61
	in_host hostA sh -c 'cp /etc/relocd/relocd.yaml /run/yaml.saved 2>/dev/null || :
		echo "roles: {peers: viewer}" >>/etc/relocd/relocd.yaml'
	trap 'in_host hostA sh -c "rm /etc/relocd/relocd.yaml; mv /run/yaml.saved /etc/relocd/relocd.yaml 2>/dev/null || :"
		lab relocd hostA restart' EXIT
	lab relocd hostA restart
	in_host hostB wparctl status p
	assert_exit 13 in_host hostB wparctl stop p
	assert_contains "$err" WPAR-A002
	assert_exit 125 in_host hostB wparctl exec p -- /bin/true
	assert_contains "$err" WPAR-A002
	assert_eq Active "$(state_of hostA p)"
	assert_contains "$(api hostA GET '/v1/events?kind=audit' | jq -r 'select(.event == "refused") | .data.from')" hostB
}

# New keys, certificates and a new CA under a partition that runs, and moves afterwards.
test_renew() {
	local key ca
	toolbox_partition p 10.77.0.61
	key=$(in_host hostB sha256sum /etc/relocd/host.key)
	ca=$(in_host hostB sha256sum /etc/relocd/ca.pem)
	in_host hostA wparctl cluster renew hostB
	[ "$key" != "$(in_host hostB sha256sum /etc/relocd/host.key)" ] || die "the key is the old one"
	in_host hostA wparctl relocate p hostB
	key=$(in_host hostA sha256sum /etc/relocd/host.key)
	in_host hostB wparctl cluster renew --ca
	[ "$ca" != "$(in_host hostB sha256sum /etc/relocd/ca.pem)" ] || die "the CA is the old one"
	[ "$key" != "$(in_host hostA sha256sum /etc/relocd/host.key)" ] || die "hostA has its old key"
	assert_eq "$(in_host hostA cat /etc/relocd/ca.pem)" "$(in_host hostB cat /etc/relocd/ca.pem)" "the CA"
	assert_eq 1 "$(in_host hostA grep -c BEGIN /etc/relocd/ca.pem)" "CAs that are trusted"
	in_host hostA wparctl relocate p hostA
	assert_eq Active "$(state_of hostA p)"
	in_host hostA wparctl cluster renew
}

# Out of the cluster: refused while it holds something, and what a revoked host is told.
test_leave() {
	local token follower
	toolbox_partition p 10.77.0.61
	in_host hostA wparctl relocate p hostB
	assert_refused 5 WPAR-C007 hostA wparctl cluster remove-host hostB
	in_host hostA wparctl relocate p hostA
	in_host hostB wparctl -c hostA events -f >/dev/null 2>&1 &
	follower=$!
	wait_until 10 in_host hostA pgrep -x arrival
	in_host hostA wparctl cluster revoke hostB --reason stolen
	wait_until 10 in_host hostA sh -c '! pgrep -x arrival' # what stood is cut
	wait $follower || true # its status is that of a stream cut off
	assert_exit 13 in_host hostB wparctl -c hostA list
	assert_contains "$err" revoked
	assert_exit 13 in_host hostA wparctl relocate p hostB
	assert_contains "$err" revoked
	assert_eq Active "$(state_of hostA p)"
	in_host hostA wparctl cluster remove-host hostB
	assert_eq hostA "$(api hostA GET /v1/hosts | jq -r '.data[].name')"
	# with its old key it does not come back, with a new one it does
	lab relocd hostB stop
	in_host hostB rm -f /etc/relocd/host.pem /etc/relocd/ca.pem
	lab relocd hostB start
	token=$(in_host hostA wparctl cluster add-host hostB --address 10.77.0.2 | tail -n 1)
	assert_exit 13 in_host hostB wparctl cluster join "$token"
	assert_contains "$err" revoked
	in_host hostB rm -f /etc/relocd/host.key
	token=$(in_host hostA wparctl cluster add-host hostB --address 10.77.0.2 | tail -n 1)
	in_host hostB wparctl cluster join "$token"
	in_host hostA wparctl relocate p hostB
	assert_eq Active "$(state_of hostB p)"
}
