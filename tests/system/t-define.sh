#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a definition asks for is there, can be changed, and travels. Partitions here run as uid 1000
# without any capability under the default filter of system calls.
# shellcheck disable=SC2154,SC2016,SC2317 # out, err: lib.sh; expands in the partition; wait_until calls

api() { # HOST METHOD PATH [JSON [CURL-OPTION...]]: the answer's data, or its error; fails as curl does
	local host=$1 method=$2 path=$3 body=${4:-{\}}
	shift $(($# < 4 ? $# : 4))
	in_host "$host" curl -sS --unix-socket /run/relocd/relocd.sock -X "$method" -d "$body" "$@" "http://relocd/v1$path"
}
field() { # HOST NAME JQ
	api "$1" GET "/partitions/$2" | jq -r ".data$3"
}
assert_api() { # JQ HOST METHOD PATH [JSON [CURL-OPTION...]]: its answer is so
	local want=$1 answer
	shift
	answer=$(api "$@")
	jq -e "$want" <<<"$answer" >/dev/null || die "$* answers $answer, not $want"
}

box() {
	[ -e "$lab_dir/shared/box" ] || make_rootfs box redis-server sh cat sleep id hostname kill ip ls touch
}

# A partition of the box on hostA, as an ordinary user. The definition is completed by MORE.
user_partition() { # NAME MORE CMD...
	local name=$1 more=$2 args
	shift 2
	box
	args=$(for word; do jq -n --arg word "$word" '$word'; done | jq -s .)
	assert_api '.data.state == "Active"' hostA POST /partitions "$(jq -n --arg n "$name" --argjson args "$args" \
		'{start: true, definition: ({name: $n, rootfs: "/srv/shared/box", grace_ms: 300,
			process: {args: $args, uid: 1000, gid: 1000, capabilities: []}} + '"$more"')}')"
}

pid_of() { cat "/run/wparlab-$LAB/$1.pid"; }
on_switch() { nsenter -t "$(pid_of switch)" -n "$@"; }

# A second network that joins the hosts and the client: 10.78.0.0/24, bridge br1 on the hosts.
second_network() {
	local host
	on_switch ip link add br1 type bridge forward_delay 0
	on_switch ip link set br1 up
	for host in hostA hostB client; do
		on_switch ip link add "$host-1" type veth peer name up1 netns "$(pid_of $host)"
		on_switch ip link set "$host-1" master br1 up
		in_host $host ip link set up1 up
	done
	for host in hostA hostB; do
		in_host $host sh -ec 'ip link add br1 type bridge forward_delay 0; ip link set up1 master br1; ip link set br1 up'
	done
	client sh -ec 'ip addr add 10.78.0.100/24 dev up1; ip addr add 192.0.2.1/32 dev lo; ip addr add fd99::1/128 dev lo'
}
no_second_network() {
	local host
	on_switch ip link del br1
	for host in hostA hostB client; do
		in_host $host sh -c 'ip link del up1; ip link del br1; ip addr del 192.0.2.1/32 dev lo; ip addr del fd99::1/128 dev lo
			ip route del 10.77.0.61/32; ip -6 route del fd77::61/128' 2>/dev/null || true
	done
}

# Asks Redis over one connection to each ADDRESS, again and again, until /run/asker.stop is there;
# each answer must come.
asker_start() { # ADDRESS...
	asker_out=$lab_dir/asker
	rm -f "$asker_out"
	client rm -f /run/asker.stop
	client bash -c 'fds=() n=0
		for a in "$@"; do exec {fd}<>"/dev/tcp/$a/6379" && fds+=("$fd") || exit 1; done
		until [ -e /run/asker.stop ]; do
			for fd in "${fds[@]}"; do
				printf "PING\r\n" >&"$fd" && read -r -t 20 answer <&"$fd" && [[ $answer == +PONG* ]] || exit 1
			done
			echo $((++n))
		done' _ "$@" >"$asker_out" 2>&1 &
	asker_job=$!
	wait_until 10 grep -q 5 "$asker_out"
}
asker_stop() {
	client touch /run/asker.stop
	wait "$asker_job" || die "a connection did not live on: $(tail -n 3 "$asker_out")"
}

# What the partition sees of its definition.
look() { # HOST
	in_host "$1" wparctl exec d -- /bin/sh -c 'cat /etc/resolv.conf /etc/hosts; hostname; id -u; ls -l /data
		ip -o addr show scope global | while read -r _ dev _ a _; do echo "$dev $a"; done; ip route; ip -6 route show default
		while read -r key value; do case $key in Uid:|Cap*|Seccomp:) echo "$key $value" ;; esac; done </proc/1/status'
}

# Replies to these addresses of the client need the partition's default routes.
through_gateways() {
	client ip route replace 10.77.0.61/32 dev eth0 src 192.0.2.1
	client ip -6 route replace fd77::61/128 dev eth0 src fd99::1
	assert_eq PONG "$(client timeout 5 redis-cli -h 10.77.0.61 ping)" "through the gateway of IPv4"
	assert_eq PONG "$(client timeout 5 redis-cli -h fd77::61 ping)" "through the gateway of IPv6"
	client ip route del 10.77.0.61/32
	client ip -6 route del fd77::61/128
}

test_everything_travels() {
	local before volume
	trap no_second_network EXIT
	second_network
	user_partition d '{hostname: "inner", dns: ["10.77.0.53", "fd77::53"],
		mounts: [{destination: "/data", source: "data", volume: true}],
		networks: [{bridge: "br0", addresses: ["10.77.0.61/24", "fd77::61/64"], gateway: ["10.77.0.100", "fd77::100"]},
			{bridge: "br1", addresses: ["10.78.0.61/24"]}]}' \
		/bin/redis-server --bind '* -::*' --port 6379 --protected-mode no --dir /data --save ''
	wait_until 10 client redis-cli -h 10.78.0.61 ping
	assert_eq PONG "$(client redis-cli -h fd77::61 ping)"
	before=$(look hostA)
	for word in "nameserver 10.77.0.53" "nameserver fd77::53" "10.78.0.61 inner" inner "default via 10.77.0.100" \
		"default via fd77::100" "eth0 10.77.0.61/24" "eth1 10.78.0.61/24" "CapEff: 0000000000000000" "Seccomp: 2"; do
		assert_contains "$before" "$word"
	done
	assert_eq $'1000\n' "$(in_host hostA wparctl exec d -- /bin/id -u)"$'\n'
	through_gateways
	# what is written to the shared root file system is not what the partition sees
	assert_eq "" "$(cat "$lab_dir/shared/box/etc/resolv.conf")" "of the root file system"
	client redis-cli -h 10.77.0.61 set k v >/dev/null
	asker_start 10.77.0.61 fd77::61 10.78.0.61
	assert_api '.data.pending == ["dns"] and .data.revision == 2' hostA PATCH /partitions/d '{"dns": ["10.77.0.54"]}'
	relocate "$lab_dir/moves" d hostA hostB
	assert_eq "$before" "$(look hostB)" "what it sees"
	asker_stop
	through_gateways
	# the volume went along, and is still the user's to write
	assert_eq OK "$(client redis-cli -h 10.77.0.61 save)"
	volume=$(field hostB d '.definition.mounts[0].source')
	in_host hostB test -s "$volume/dump.rdb"
	# what was pending still is, and takes effect with the next start
	assert_eq '["dns"] 2' "$(field hostB d ' | "\(.pending) \(.revision)"')"
	assert_api '.data.state == "Active" and .data.pending == []' hostB POST /partitions/d/restart
	assert_contains "$(in_host hostB wparctl exec d -- /bin/cat /etc/resolv.conf)" 10.77.0.54
	wait_until 10 client redis-cli -h 10.77.0.61 ping
	assert_eq v "$(client redis-cli -h 10.77.0.61 get k)" "from the volume"
	# hostA has only its record, and no say over the volume
	assert_api '.errors[0].code == "WPAR-P004"' hostA DELETE '/partitions/d?volumes=1'
	assert_api '.data == null' hostB DELETE '/partitions/d?force=1&volumes=1'
	assert_exit 1 in_host hostB test -e "$volume"
}

test_bridge_missing_there() {
	trap no_second_network EXIT
	second_network
	user_partition d '{networks: [{bridge: "br0", addresses: ["10.77.0.61/24"]}, {bridge: "br1"}]}' /bin/sleep 100000
	in_host hostB ip link del br1
	assert_refused 4 WPAR-N002 hostA wparctl relocate d hostB
	assert_contains "$err" br1
}

test_volumes_that_cannot_move() {
	in_host hostA mkdir -p /var/lib/somewhere
	user_partition d '{mounts: [{destination: "/data", source: "/var/lib/somewhere", storage: "shared"}]}' /bin/sleep 100000
	assert_refused 4 WPAR-S003 hostA wparctl relocate d hostB
	assert_contains "$err" /var/lib/somewhere
	in_host hostA wparctl stop d
	assert_api '.data.revision == 2' hostA PATCH /partitions/d \
		'{"mounts": [{"destination": "/data", "source": "d", "volume": true, "storage": "copied"}]}'
	in_host hostA wparctl start d
	assert_refused 4 WPAR-S003 hostA wparctl relocate d hostB
	assert_contains "$err" "storage class copied"
	in_host hostA rmdir /var/lib/somewhere
}

limit() { # FILE-OF-V1 FILE-OF-V2: of partition d on hostA
	in_host hostA sh -c "cat /sys/fs/cgroup/*/wpar/d/$1 2>/dev/null || cat /sys/fs/cgroup/wpar/d/$2"
}

test_set() {
	user_partition d '{resources: {memory_bytes: 67108864}}' /bin/sleep 100000
	assert_api '.data | .pending == [] and .revision == 2 and .definition.groups == ["web"]' hostA PATCH /partitions/d \
		'{"resources": {"memory_bytes": 134217728, "cpu_millis": 500, "pids": 40}, "groups": ["web"], "priority": 5}'
	assert_eq 134217728 "$(limit memory.limit_in_bytes memory.max)"
	assert_eq 40 "$(limit pids.max pids.max)"
	assert_contains "$(limit cpu.cfs_quota_us cpu.max)" 50000
	# below what it uses: refused with the figure, and nothing changed
	assert_api '.errors[0] | .code == "WPAR-P012" and (.message | contains("MiB"))' hostA PATCH /partitions/d \
		'{"resources": {"memory_bytes": 4096, "pids": 50}}'
	assert_eq 134217728 "$(limit memory.limit_in_bytes memory.max)"
	assert_eq 40 "$(limit pids.max pids.max)"
	# at the next start
	assert_api '.data.pending == ["hostname"]' hostA PATCH /partitions/d '{"hostname": "later"}'
	assert_api '.data.pending == ["hostname", "resources.pids"]' hostA PATCH /partitions/d \
		'{"resources": {"pids": 30}, "on_next_start": true}'
	assert_eq 40 "$(limit pids.max pids.max)"
	assert_eq d "$(in_host hostA wparctl exec d -- /bin/hostname)"
	# only by who has seen the latest
	assert_api '.errors[0].code == "WPAR-P013"' hostA PATCH /partitions/d '{"priority": 6}' -H 'If-Match: "x-1"'
	assert_api '.data.definition.priority == 6' hostA PATCH /partitions/d '{"priority": 6}' \
		-H "If-Match: \"$(field hostA d '| "\(.uuid)-\(.revision)"')\""
	assert_api '.errors[0].code == "WPAR-P004"' hostA PATCH /partitions/d '{"name": "e"}'
	lab relocd hostA restart
	assert_api '.data.pending == []' hostA POST /partitions/d/restart
	assert_eq later "$(in_host hostA wparctl exec d -- /bin/hostname)"
	assert_eq 30 "$(limit pids.max pids.max)"
}

test_rename() {
	user_partition d '{}' /bin/sh -c 'echo said; exec sleep 100000'
	relocate "$lab_dir/moves" d hostA hostB
	relocate "$lab_dir/moves" d hostB hostA
	wait_until 10 in_host hostA sh -c 'wparctl logs d | grep -q said'
	in_host hostA wparctl stop d
	assert_api '.data.name == "x"' hostB POST /partitions '{"definition": {"name": "x", "rootfs": "/srv/shared/box", "process": {"args": ["/"]}}}'
	assert_api '.errors[0].code == "WPAR-P002"' hostA PATCH /partitions/d '{"name": "x"}'
	assert_api '.data.name == "e"' hostA PATCH /partitions/d '{"name": "e"}'
	assert_eq e "$(partitions hostA)"
	assert_contains "$(in_host hostA wparctl logs e)" said
	lab relocd hostA restart
	in_host hostA wparctl start e
	assert_eq e "$(in_host hostA wparctl exec e -- /bin/hostname)"
	# and it can go where it was known by its old name
	relocate "$lab_dir/moves" e hostA hostB
}

restarted() { [ "$(field hostA d .restarts)" -ge "$1" ]; }

test_restart_policy() {
	user_partition d '{restart: "on-failure"}' /bin/sh -c 'echo began; sleep 0.1; exit 1'
	wait_until 15 restarted 2
	wait_until 10 state_is d Failed
	assert_contains "$(field hostA d .reason)" "ended with status 1; restarts in"
	# relocd's own restart does not end it, a stop does
	lab relocd hostA restart
	wait_until 15 restarted 3
	in_host hostA wparctl stop d
	assert_eq Defined "$(state_of hostA d)"
	local count
	count=$(in_host hostA sh -c 'wparctl logs d | grep -c began')
	assert_exit 1 wait_until 2 restarted_beyond "$count"
	# a program that ends well is not started again, unless always
	assert_api '.data.revision == 2' hostA PATCH /partitions/d '{"process": {"args": ["/bin/sleep", "0.1"]}}'
	in_host hostA wparctl start d
	wait_until 10 state_is d Defined
	assert_eq 0 "$(field hostA d .restarts)"
	assert_api '.data.revision == 3' hostA PATCH /partitions/d '{"restart": "always"}'
	in_host hostA wparctl start d
	wait_until 10 restarted 1
	in_host hostA wparctl stop d
}
restarted_beyond() { [ "$(in_host hostA sh -c 'wparctl logs d | grep -c began')" -gt "$1" ]; }
state_is() { [ "$(state_of hostA "$1")" = "$2" ]; }

# At a start of the host, not at one of relocd; the greater priority first.
test_autostart() {
	user_partition d '{autostart: true}' /bin/sleep 100000
	user_partition e '{autostart: true, priority: 9}' /bin/sleep 100000
	user_partition f '{}' /bin/sleep 100000
	in_host hostA wparctl stop d e f
	lab relocd hostA restart
	assert_eq "Defined Defined Defined" "$(state_of hostA d) $(state_of hostA e) $(state_of hostA f)"
	lab relocd hostA stop
	in_host hostA rm /run/relocd/autostarted
	lab relocd hostA start
	wait_until 15 state_is d Active
	assert_eq "Active Defined" "$(state_of hostA e) $(state_of hostA f)"
	[[ "$(field hostA e .started)" < "$(field hostA d .started)" ]] || die "e did not come first"
}

# What GET shows makes the same partition again.
test_definition_goes_round() {
	local first
	user_partition d '{dns: ["10.77.0.53"], groups: ["web"], restart: "always",
		networks: [{bridge: "br0", addresses: ["10.77.0.61/24"], gateway: "10.77.0.100"}]}' /bin/sleep 100000
	first=$(field hostA d .definition)
	in_host hostA wparctl remove d --force
	assert_api '.data.state == "Defined"' hostA POST /partitions "$(jq '{definition: .}' <<<"$first")"
	assert_eq "$(jq -S . <<<"$first")" "$(field hostA d .definition | jq -S .)" definition
}
