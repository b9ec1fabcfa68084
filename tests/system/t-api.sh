#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The control API as other programs use it: roles of real users, events, metrics, the library.
# shellcheck disable=SC2154,SC2016 # out, err: lib.sh; single quotes: expands in the host

api() { # METHOD PATH [BODY]
	in_host hostA curl --silent --show-error --unix-socket /run/relocd/relocd.sock --request "$1" \
		${3:+--data "$3"} "http://relocd$2"
}

as_user() { # UID CMD...
	local uid=$1
	shift
	in_host hostA setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"
}

configure() { # TEXT: hostA with it beside what it has
	printf '%s\n' "$1" >"$lab_dir/shared/roles.yaml"
	in_host hostA sh -c 'cp /etc/relocd/relocd.yaml /srv/shared/before.yaml 2>/dev/null || : >/srv/shared/before.yaml
		cat /srv/shared/before.yaml /srv/shared/roles.yaml >/etc/relocd/relocd.yaml'
	lab relocd hostA stop
	lab relocd hostA start
}

deconfigure() {
	in_host hostA sh -c 'if [ -s /srv/shared/before.yaml ]; then cp /srv/shared/before.yaml /etc/relocd/relocd.yaml
		else rm -f /etc/relocd/relocd.yaml; fi'
	lab relocd hostA stop
	lab relocd hostA start
}

test_roles_of_users() {
	trap deconfigure EXIT
	toolbox_partition roles 10.77.0.91 --env SECRET=abc
	configure 'roles: {admin: [root, "4001"], operator: ["4002"], viewer: ["4003"]}'
	as_user 4003 wparctl list | grep -q roles || die "a viewer sees no partitions"
	as_user 4003 wparctl --json show roles >"$lab_dir/shared/seen"
	! grep -q abc "$lab_dir/shared/seen" || die "a viewer sees the environment"
	assert_exit 13 as_user 4003 wparctl stop roles --kill
	assert_contains "$err" WPAR-A002
	as_user 4002 wparctl stop roles --kill
	as_user 4002 wparctl start roles
	assert_exit 13 as_user 4002 wparctl remove roles --force
	assert_exit 125 as_user 4002 wparctl exec roles -- /bin/id
	as_user 4001 wparctl exec roles -- /bin/id
	assert_exit 13 as_user 4004 wparctl list
	# each of them left a record, the refused ones too
	in_host hostA wparctl --json events >"$lab_dir/shared/events"
	grep -q '"event":"refused".*"uid":4004' "$lab_dir/shared/events" ||
		grep -q '"uid":4004.*"event":"refused"' "$lab_dir/shared/events" ||
		die "no record of the refusal: $(tail -3 "$lab_dir/shared/events")"
}

test_metrics() {
	toolbox_partition measured 10.77.0.92
	in_host hostA wparctl relocate measured hostB
	in_host hostA curl --silent --fail http://127.0.0.1:7471/metrics >"$lab_dir/shared/metrics"
	grep -q '^relocd_moves_total{kind="departure",outcome="done",class=""} [1-9]' "$lab_dir/shared/metrics"
	grep -q '^relocd_peer_up{peer="hostB"} 1$' "$lab_dir/shared/metrics"
	grep -q '^relocd_certificate_not_after_timestamp_seconds{certificate="host"} [0-9]' "$lab_dir/shared/metrics"
	! grep -q 'm-[0-9a-f]\{6\}' "$lab_dir/shared/metrics" || die "a move's id is a label"
	assert_eq ok "$(in_host hostA curl --silent --fail http://127.0.0.1:7471/healthz)"
	assert_exit 22 in_host hostA curl --silent --fail http://127.0.0.1:7471/v1/partitions
	# Only this machine can ask.
	assert_exit 7 in_host hostB curl --silent --max-time 5 http://10.77.0.1:7471/metrics
	assert_contains "$(api GET /readyz)" '"ok":true'
}

test_events_tell_of_a_move() {
	local last move
	toolbox_partition told 10.77.0.93
	last=$(api GET '/v1/events?last=1' | jq .seq)
	in_host hostA wparctl relocate told hostB
	api GET "/v1/events?after=$last&kind=move" >"$lab_dir/shared/events"
	assert_eq '"begun" "ended"' "$(jq .event "$lab_dir/shared/events" | paste -sd ' ')" events
	move=$(jq -r .move "$lab_dir/shared/events" | head -1)
	# its own events can be resumed anywhere
	assert_eq "$(api GET "/v1/moves/$move/events" | tail -n +3)" \
		"$(api GET "/v1/moves/$move/events?after=$(api GET "/v1/moves/$move/events" | sed -n 2p | jq .seq)")"
}

# The example is compiled with nothing but what is installed.
test_library_and_example() {
	local root=$lab_dir/shared/installed pc
	make --silent install DESTDIR="$root" BUILD="$BUILD" >/dev/null
	pc=$(find "$root" -name libwpar.pc)
	export PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$root
	# shellcheck disable=SC2046 # words
	cc -Wall -Werror -o "$lab_dir/shared/wpar-watch" scripts/examples/wpar-watch.c \
		$(pkg-config --cflags --libs libwpar) -Wl,-rpath,"/srv/shared/installed${pc#"$root"}/../.."
	toolbox_partition watched 10.77.0.94
	in_host hostA env LD_LIBRARY_PATH="/srv/shared/installed$(dirname "$(dirname "${pc#"$root"}")")" \
		/srv/shared/wpar-watch >"$lab_dir/shared/seen"
	grep -q '^watched Active$' "$lab_dir/shared/seen" || die "not listed: $(head "$lab_dir/shared/seen")"
	grep -q '^[0-9]* partition created watched$' "$lab_dir/shared/seen" || die "no event of it"
	rm -rf "$root"
}

# Every operation of openapi.json, asked for by one who may only look and by one who may nothing,
# leaves a record of who, what and how it ended; so does what is no operation at all.
test_every_request_leaves_a_record() {
	local last
	trap deconfigure EXIT
	configure 'roles: {viewer: ["4003"]}'
	last=$(api GET '/v1/events?last=1' | jq .seq)
	api GET /v1/openapi.json | jq -r '.paths | to_entries[] | .key as $path | .value | to_entries[] | select(.key != "parameters")
		| [(.key | ascii_upcase), ($path | gsub("\\{[a-z]+\\}"; "nobody")), .value["x-role"]] | join(" ")' >"$lab_dir/shared/operations"
	printf '%s\n' 'GET /v1/nowhere viewer' 'PUT /v1/partitions viewer' 'POST /v1/../etc viewer' >>"$lab_dir/shared/operations"
	in_host hostA sh -c 'while read -r method path role; do
			for uid in 4003 4004; do
				setpriv --reuid $uid --regid $uid --clear-groups curl --path-as-is --silent --max-time 5 --output /dev/null \
					--unix-socket /run/relocd/relocd.sock --request "$method" "http://relocd$path" || echo "$method $path: $?"
			done
		done </srv/shared/operations'
	api GET "/v1/events?after=$last&kind=audit" >"$lab_dir/shared/audit"
	jq -Rn --slurpfile audit "$lab_dir/shared/audit" '[inputs | split(" ") | . as [$method, $path, $role] | 4003, 4004
		| . as $uid | [$audit[] | select(.data.method == $method and .data.path == $path and .data.uid == $uid)]
		| select(length != 1
			or ($uid == 4004 and (.[0] | .event != "refused" or .data.status != 403 or .data.role != "none"))
			or ($uid == 4003 and $role != "viewer" and (.[0] | .event != "refused" or .data.status != 403 or .data.code != "WPAR-A002"))
			or ($uid == 4003 and $role == "viewer" and .[0].data.status == 403))
		| [$method, $path, $uid, .]] | if . == [] then empty else . end' <"$lab_dir/shared/operations" >"$lab_dir/shared/missing"
	[ ! -s "$lab_dir/shared/missing" ] || die "$(head -c 2000 "$lab_dir/shared/missing")"
	[ "$(wc -l <"$lab_dir/shared/operations")" -gt 30 ]
}
