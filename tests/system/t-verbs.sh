#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The verbs of wparctl against a real relocd: definitions in files, changes, several moves, events.
# shellcheck disable=SC2154,SC2016 # out, err: lib.sh; single quotes: expands in the host

ctl() { in_host hostA wparctl "$@"; }

test_definition_in_a_file() {
	local file=$lab_dir/def.yaml
	toolbox
	ctl create one --rootfs /srv/shared/toolbox --net bridge=br0,address=10.77.0.61/24,gateway=10.77.0.100 \
		--memory 64M --pids 50 --group night --priority 3 --restart on-failure --volume data:/data \
		--hostname inner -- /bin/sleep 100000
	ctl show one >"$file"
	grep -q '^hostname: inner$' "$file"
	ctl remove one --volumes
	# What show printed is enough to have it again.
	in_host hostA wparctl create -f - --start <"$file"
	assert_eq Active "$(state_of hostA one)"
	assert_eq inner "$(inside one /bin/hostname)"
	assert_eq "$(<"$file")" "$(ctl show one)" "shown again"
	# Under another name it has another hardware address.
	in_host hostA wparctl create two -f - --address 10.77.0.62/24 --bridge br0 --start <"$file"
	assert_contains "$(inside two /bin/ip -o addr show)" 10.77.0.62/24
	[ "$(inside one /bin/cat /sys/class/net/eth0/address)" != "$(inside two /bin/cat /sys/class/net/eth0/address)" ]
	# A file with a key that there is not is refused.
	assert_exit 2 in_host hostA wparctl create three -f - < <(cat "$file"; echo "colour: blue")
	assert_contains "$err" colour
}

test_changes() {
	toolbox_partition p 10.77.0.61
	ctl set p memory=32M pids=20 groups=a,b autostart=yes
	in_host hostA grep -qxs 33554432 /sys/fs/cgroup/memory/wpar/p/memory.limit_in_bytes /sys/fs/cgroup/wpar/p/memory.max
	assert_contains "$(ctl status p)" "groups:        a, b"
	assert_contains "$(ctl set p hostname=later)" "at its next start: hostname"
	assert_exit 5 ctl rename p q
	ctl restart p --kill
	assert_eq later "$(inside p /bin/hostname)"
	ctl status p --check Active
	assert_exit 1 ctl status p --check Defined
	ctl stop p --kill
	ctl rename p q
	assert_exit 3 ctl status p
	ctl --json show q | jq -e '.data | .name == "q" and .groups == ["a", "b"] and .resources.pids == 20' >/dev/null
	# the last one is wrong: nothing of it is done
	assert_exit 2 ctl set q memory=16M networks=7
	ctl --json show q | jq -e '.data.resources.memory_bytes == 33554432' >/dev/null
	assert_exit 11 ctl start q nobody
	assert_contains "$err" "nobody: "
	assert_eq Active "$(state_of hostA q)"
}

test_moves_of_several() {
	toolbox_partition one 10.77.0.61 --group pair
	toolbox_partition two 10.77.0.62 --group pair
	ctl relocate --group pair hostB
	assert_eq "one two" "$(in_host hostB wparctl -q list --local --state Active | xargs)"
	assert_contains "$(in_host hostB wparctl relocate --group pair hostB)" "two: is on hostB already"
	in_host hostB wparctl -q relocate one two --back >/dev/null
	assert_eq Active "$(state_of hostA one)"
	assert_eq Active "$(state_of hostA two)"
	assert_exit 3 ctl relocate --group nobody hostB
	# the first fails: the second stays, unless told otherwise
	assert_exit 3 ctl relocate nobody one hostB
	assert_eq Active "$(state_of hostA one)"
	assert_exit 11 ctl relocate nobody one hostB --keep-going
	assert_eq Active "$(state_of hostB one)"
	move=$(in_host hostB wparctl relocate one --back --no-wait)
	assert_contains "$(in_host hostB wparctl wait "$move")" "one: moved from hostB to hostA"
	assert_contains "$(ctl moves --since 10m)" one
}

test_events_of_a_partition() {
	local before
	before=$(ctl --json events | tail -n 1 | jq '.data.seq // 0')
	toolbox_partition p 10.77.0.61
	ctl --json events --after "$before" |
		jq -se --argjson b "${before:-0}" 'all(.[]; .data.seq > $b) and any(.[]; .data.kind == "partition" and .data.partition == "p")' >/dev/null
	assert_contains "$(ctl events --after "$before")" "partition: "
}

test_hosts_and_cluster() {
	assert_exit 0 ctl cordon hostB --reason 'new disks'
	trap 'ctl uncordon hostB' EXIT
	assert_contains "$(ctl hosts)" 'new disks'
	assert_exit 0 ctl uncordon hostB
	ctl --json hosts | jq -e 'all(.data[]; .cordoned == false)' >/dev/null
	assert_exit 3 ctl cordon nowhere
	assert_contains "$(ctl check-host hostB)" bridge
	ctl --json check-host | jq -e '.data.checks | length > 5 and all(.[]; .host == "hostA")' >/dev/null
	assert_contains "$(ctl cluster status)" hostB
	ctl --json cluster status | jq -e '.data | (.hosts | map(.name) | sort) == ["hostA", "hostB"] and .ca_not_after != null' >/dev/null
	assert_exit 0 ctl cluster renew hostB
	assert_exit 3 ctl cluster revoke nowhere --reason test
	assert_exit 3 ctl cluster remove-host nowhere
	assert_exit 5 ctl cluster trust-local --reason 'nothing to trust'
	# nothing is in doubt, and that is said
	toolbox_partition p 10.77.0.61
	relocate "$lab_dir/moves" p hostA hostB
	ctl --json recover p | jq -e '.data.proposal.act == "none" and (.data.sides | length) == 2' >/dev/null
	assert_contains "$(in_host hostB wparctl recover p)" "nothing is open"
}

test_completion_asks_relocd() {
	toolbox_partition web1 10.77.0.61
	# shellcheck disable=SC2016 # expands in the host
	assert_eq "web1 hostB" "$(in_host hostA bash -c '
		. "$1"
		COMP_WORDS=(wparctl stop w) COMP_CWORD=2
		_wparctl 2>/dev/null
		first=${COMPREPLY[*]}
		COMP_WORDS=(wparctl relocate web1 hostB) COMP_CWORD=3
		_wparctl 2>/dev/null
		echo "$first ${COMPREPLY[*]}"' _ "$PWD/scripts/completion/wparctl.bash")"
}

test_hosts_in_lists() {
	toolbox_partition p 10.77.0.61
	assert_contains "$(in_host hostB wparctl list)" "hostA"
	assert_eq p "$(in_host hostB wparctl -q -c hostA list --local)"
	assert_eq p "$(in_host hostB wparctl -c hostA --json show p | jq -r .data.name)"
	assert_exit 3 in_host hostB wparctl -c nowhere list --local
	lab relocd hostB stop
	assert_exit 0 ctl list
	[[ $out =~ -\ +unreachable\ +hostB ]] || { lab relocd hostB start; die "no line for hostB: $out"; }
	lab relocd hostB start
	assert_eq p "$(ctl -q list)"
}
