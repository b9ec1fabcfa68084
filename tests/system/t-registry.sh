#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The registry is damaged while relocd does not run: it says so, and never starts what is another host's.
# shellcheck disable=SC2154 # out, err: lib.sh

registry=/var/lib/relocd/registry.db
copies() { for host in hostA hostB; do in_host $host pgrep -x redis-server || true; done | wc -l; }
flip() { # FILE OFFSET
	in_host hostA python3 -c 'import sys; f = open(sys.argv[1], "r+b"); f.seek(int(sys.argv[2])); b = f.read(1)[0]
f.seek(int(sys.argv[2])); f.write(bytes([b ^ 4]))' "$1" "$2"
}
is_not_here() { [[ $(state_of hostA r) =~ ^(|Departed)$ ]]; }

# One flipped bit in the log makes SQLite drop all that comes behind it, in silence: here that r has gone.
test_bit_in_the_log() {
	redis_partition r 10.77.0.61 --restart always --autostart
	lab relocd hostA restart # from here on all is in the log
	relocate "$lab_dir/moves" r hostA hostB
	lab relocd hostA kill
	flip $registry-wal 100
	lab relocd hostA start
	assert_eq 1 "$(copies)" "copies of r"
	wait_until 20 is_not_here
	assert_contains "$(cat "$lab_dir/hostA.log")" "its log is damaged"
	assert_eq Active "$(state_of hostB r)"
	assert_eq 1 "$(copies)" "copies of r, later"
	assert_eq PONG "$(redis ping)"
}

# Pages that are no pages: relocd does not start, and names the file; the partition runs on.
test_garbage_in_the_registry() {
	redis_partition r 10.77.0.61
	lab relocd hostA stop
	in_host hostA cp $registry /run/registry.saved
	trap 'lab relocd hostA stop || true; in_host hostA mv /run/registry.saved $registry; lab relocd hostA start' EXIT
	in_host hostA sh -c "head -c 16384 /dev/urandom | dd of=$registry bs=4096 seek=1 conv=notrunc status=none"
	assert_exit 1 in_host hostA timeout 5 relocd
	assert_contains "$err" "$registry is damaged"
	assert_eq PONG "$(redis ping)"
}
