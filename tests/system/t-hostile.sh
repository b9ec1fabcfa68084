#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Peers that misbehave, and how little their victims could do: every connection ends with a sentence in the log,
# and the hosts are as they were.
# shellcheck disable=SC2154,SC2016 # out, err: lib.sh; single quotes: expands in the host

hostile() { # ACT
	in_host hostA timeout 30 hostilepeer 10.77.0.2:7470 hostB "$1"
}

# What hostB has logged since $log_from.
log_since() {
	tail -c +"$((log_from + 1))" "$lab_dir/hostB.log"
}

assert_logged() { # TEXT
	local end=$((SECONDS + 5))
	until log_since | grep -qF -- "$1"; do
		[ $SECONDS -lt $end ] || die "hostB did not log '$1': $(log_since)"
		sleep 0.05
	done
}

test_message_out_of_its_state() {
	local act before
	before=$(snapshot)
	for act in ROUND ROUND_ACK FROZEN MANIFEST COMMIT RELEASED ABORT CHUNK PAGES HELD; do
		log_from=$(stat -c %s "$lab_dir/hostB.log")
		hostile $act >/dev/null
		assert_logged "hostA began with $act"
	done
	log_from=$(stat -c %s "$lab_dir/hostB.log")
	hostile silent-commit >/dev/null
	assert_logged "hostA began with COMMIT instead of HELLO"
	assert_unchanged "$before"
}

test_unknown_version() {
	local before
	before=$(snapshot)
	log_from=$(stat -c %s "$lab_dir/hostB.log")
	hostile version >/dev/null
	assert_logged "speaks peer protocol 99"
	assert_unchanged "$before"
}

test_another_name_in_hello() {
	log_from=$(stat -c %s "$lab_dir/hostB.log")
	hostile name >/dev/null
	assert_logged "host hostA calls itself hostZ"
}

test_malformed_offer() {
	log_from=$(stat -c %s "$lab_dir/hostB.log")
	hostile garbage >/dev/null
	assert_logged "OFFER of hostA is malformed"
}

test_no_tls() {
	local before
	before=$(snapshot)
	log_from=$(stat -c %s "$lab_dir/hostB.log")
	hostile plain
	assert_logged "TLS failed"
	assert_unchanged "$before"
}

test_token_of_another_move() {
	log_from=$(stat -c %s "$lab_dir/hostB.log")
	hostile token
	assert_logged "its token is of no move that arrives here"
}

status_of() { # PROGRAM KEY: of the newest process of that name in hostB
	in_host hostB bash -c 'for p in /proc/[0-9]*; do
		[ "$(cat "$p/comm" 2>/dev/null)" != "$1" ] || grep -s "^$2:" "$p/status" | cut -f2-; done' _ "$1" "$2" | tail -n 1
}

# A connection that says nothing keeps an arrival and its mover alive for ten seconds.
test_live_mover_is_confined() {
	local uid
	client bash -c 'exec 3<>/dev/tcp/10.77.0.2/7470; printf "WPAR/1\r\n" >&3; head -c 24 /dev/zero >&3; exec sleep 8' &
	local end=$((SECONDS + 8))
	until [ "$(status_of mover Seccomp)" = 2 ]; do
		[ $SECONDS -lt $end ] || die "there is no mover with a seccomp filter"
		sleep 0.05
	done
	assert_eq 1 "$(status_of mover NoNewPrivs)" NoNewPrivs
	assert_eq 0000000000000000 "$(status_of mover CapEff)" CapEff
	assert_eq 0000000000000000 "$(status_of mover CapBnd)" CapBnd
	uid=$(id -u relocd-mover 2>/dev/null || id -u nobody)
	assert_eq "$uid	$uid	$uid	$uid" "$(status_of mover Uid)" Uid
	wait $! || true
}

test_relocd_is_bounded() {
	local set
	set=$((16#$(status_of relocd CapBnd)))
	# SYS_MODULE SYS_RAWIO SYS_BOOT MAC_OVERRIDE MAC_ADMIN SYSLOG
	for bit in 16 17 22 32 33 34; do
		assert_eq 0 $((set >> bit & 1)) "capability $bit of relocd"
	done
	assert_eq 1 $((set >> 21 & 1)) "CAP_SYS_ADMIN of relocd"
}

# The definition of the destination is what counts: one that grants less than the images ask for.
test_images_that_ask_for_more() {
	local before
	toolbox_partition p 10.77.0.61
	# A process with a priority that no partition may give itself, as a hostile source would have it.
	in_host hostA bash -c 'for t in $(cat /sys/fs/cgroup/wpar/p/payload/cgroup.procs /sys/fs/cgroup/*/wpar/p/payload/cgroup.procs 2>/dev/null | sort -u); do
		renice -n -5 -p "$t" >/dev/null; done'
	before=$(snapshot)
	assert_exit 4 in_host hostA wparctl relocate p hostB
	assert_contains "$err" WPAR-M015
	assert_contains "$err" priority
	assert_unchanged "$before"
	assert_eq Active "$(state_of hostA p)"
}

listeners() { # HOST: addresses of TCP that anybody listens at
	in_host "$1" ss -Hltn | awk '{ print $4 }' | sort
}

# While all of a partition lies at the destination: who else sees it, and who listens? (CRIU's page server would.)
test_images_are_seen_by_nobody() {
	local pid before
	toolbox_partition p 10.77.0.61
	before=$(listeners hostA; listeners hostB)
	trap 'in_host hostB rm -f /etc/relocd/faults /run/relocd/faults' EXIT
	in_host hostB sh -c 'umask 077; rm -f /run/relocd/faults; echo arrival:record:prepared:before delay 1000 >/etc/relocd/faults'
	in_host hostA wparctl --quiet relocate p hostB --restore eager &
	wait_until 20 in_host hostB grep -qs prepared /run/relocd/faults
	pid=$(in_host hostB pgrep -x arrival)
	assert_contains "$(in_host hostB nsenter -m -t "$pid" ls /run/relocd/scratch)" core-1.img
	assert_eq 700 "$(in_host hostB nsenter -m -t "$pid" stat -c %a /run/relocd/scratch)" "mode of the folder of images"
	assert_eq "" "$(in_host hostB ls /run/relocd/scratch)" "images outside of the arrival"
	assert_eq "$before" "$(listeners hostA; listeners hostB)" "listeners during the move"
	wait $!
	wait_until 10 no_images_left
}
no_images_left() { ! in_host hostB sh -c 'cat /proc/[0-9]*/mounts 2>/dev/null | grep -q wpar-images'; }

# What the strictest definition demands is there, and the audit finds it: in no field is the demand void.
test_strict_partition_moves() {
	toolbox
	mkdir -p "$lab_dir/shared/strict"
	jq -n '{ociVersion: "1.0.2", root: {path: "/srv/shared/toolbox"}, hostname: "strict",
		process: {args: ["/bin/sleep", "100000"], env: ["PATH=/bin"], cwd: "/", noNewPrivileges: true,
			user: {uid: 1234, gid: 1234}, capabilities: {bounding: []}},
		linux: {namespaces: ["pid", "mount", "uts", "ipc", "network" | {type: .}]}}' >"$lab_dir/shared/strict/config.json"
	in_host hostA wparctl create strict --bundle /srv/shared/strict --address 10.77.0.61/24 --bridge br0 --start
	relocate "$lab_dir/moves" strict hostA hostB
	assert_eq Active "$(state_of hostB strict)"
	assert_eq "1 2 0000000000000000 1234" "$(in_host hostB bash -c 'for p in $(pgrep -x sleep); do
		[ "$(awk "/^Uid:/ {print \$2}" "/proc/$p/status")" != 1234 ] || awk "
			/^NoNewPrivs:/ {n=\$2} /^Seccomp:/ {s=\$2} /^CapBnd:/ {b=\$2} /^Uid:/ {u=\$2} END {print n, s, b, u}" "/proc/$p/status"
	done')" "no_new_privs, seccomp, bounding set and user after the move"
}

# The units say what systemd understands.
test_unit_is_sound() {
	command -v systemd-analyze >/dev/null || skip "systemd-analyze is not installed"
	local unit
	for unit in relocd.service relocd.socket; do
		sed "s|@sbindir@|$BUILD/bin|; s|@runstatedir@|/run|; /^Documentation=/d" "scripts/systemd/$unit.in" >"$lab_dir/$unit"
	done
	assert_exit 0 systemd-analyze verify "$lab_dir/relocd.service" "$lab_dir/relocd.socket"
	assert_eq "" "$err" "systemd-analyze verify"
}
