#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# relocd as systemd runs it, installed by `make install`.
# shellcheck disable=SC2154 # out, err: lib.sh

main_pid() { in_host "$1" systemctl show --property MainPID --value relocd; }

test_installed_and_started() {
	local host checks
	for host in hostA hostB; do
		assert_eq active "$(in_host "$host" systemctl is-active relocd.service)"
		assert_eq active "$(in_host "$host" systemctl is-active relocd.socket)"
		assert_eq enabled "$(in_host "$host" systemctl is-enabled relocd.service)"
		assert_eq /usr/local/sbin/relocd "$(in_host "$host" readlink "/proc/$(main_pid "$host")/exe")"
		assert_contains "$(in_host "$host" getent passwd relocd-mover)" relocd-mover
		assert_eq "" "$(in_host "$host" systemctl --no-legend --plain list-units --failed)" "failed units of $host"
		checks=$(in_host "$host" wparctl --json check-host) || die "check-host of $host: $checks"
		assert_eq "" "$(jq -r '.data.checks[] | select(.outcome == "fail") | .message' <<<"$checks")" "failed checks of $host"
	done
	assert_eq "hostA hostB" "$(in_host hostA wparctl --json hosts | jq -r '[.data[].name] | sort | join(" ")')"
}

# Whatever becomes of relocd, partitions run on, and it knows them again.
test_partitions_outlive_relocd() {
	local pid how old
	toolbox_partition p 10.77.0.61
	pid=$(in_host hostA pgrep -x -f '/bin/sleep 100000')
	for how in "systemctl restart relocd" "systemctl stop relocd relocd.socket" \
		"systemctl kill --signal=KILL --kill-whom=main relocd"; do
		old=$(main_pid hostA)
		# shellcheck disable=SC2086 # words
		in_host hostA $how
		in_host hostA systemctl start relocd
		wait_until 30 in_host hostA wparctl list --local
		assert_eq Active "$(state_of hostA p)" "after $how"
		assert_eq "$pid" "$(in_host hostA pgrep -x -f '/bin/sleep 100000')" "the partition's process after $how"
		[ "$old" != "$(main_pid hostA)" ] || die "$how left the same relocd"
		in_host hostA wparctl exec p -- /bin/true 2>/dev/null || in_host hostA wparctl exec p -- /bin/sleep 0
	done
}

# Its groups are not those of systemd's units, which cleans up behind its own.
test_partitions_are_no_units() {
	local group
	toolbox_partition p 10.77.0.61
	group=$(in_host hostA sh -c "cat /proc/\$(pgrep -x -f '/bin/sleep 100000')/cgroup")
	assert_contains "$group" "0::/wpar/p"
	in_host hostA systemctl daemon-reload
	assert_eq "$group" "$(in_host hostA sh -c "cat /proc/\$(pgrep -x -f '/bin/sleep 100000')/cgroup")" "after daemon-reload"
}
