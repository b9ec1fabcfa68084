#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Memory of huge pages (hugetlbfs): it moves with each engine, private memory in rounds, shared memory
# while the partition stands still.
# shellcheck disable=SC2154 # lab_dir: lib.sh

held() { in_host "$1" wparctl exec huge -- /bin/cat /tmp/held; }
# shellcheck disable=SC2317 # wait_until calls it
grows() { [ "$(held "$1" | cut -d " " -f 2)" -gt "$2" ]; }

# Two for the partition, two while both hosts have it, and some that others may have.
huge_pages() {
	local wanted=8 before
	before=$(cat /proc/sys/vm/nr_hugepages)
	[ "$before" -ge $wanted ] || echo $wanted >/proc/sys/vm/nr_hugepages 2>/dev/null || true
	[ "$(awk '/HugePages_Free/ {print $2}' /proc/meminfo)" -ge 4 ] || skip "no huge pages to be had"
	# shellcheck disable=SC2064 # as it is now
	trap "echo $before >/proc/sys/vm/nr_hugepages" EXIT
}

moves_to_and_fro() { # KIND
	local hosts round
	huge_pages
	toolbox
	cp "$BUILD/tests/tools/huge_holder" "$lab_dir/shared/toolbox/bin/"
	toolbox_partition huge 10.77.0.61 --memory 256M -- /bin/huge_holder "$1" /tmp/held
	wait_until 10 held hostA
	for hosts in "hostA hostB track" "hostB hostA stop" "hostA hostB track"; do
		read -r from to engine <<<"$hosts"
		in_host "$from" timeout 60 wparctl relocate huge "$to" --engine "$engine"
		round=$(held "$to")
		assert_contains "$round" "ok "
		wait_until 10 grows "$to" "$((${round#ok } + 3))"
		assert_contains "$(held "$to")" "ok "
	done
	in_host hostB wparctl remove huge --force
}

test_private_huge_pages() { moves_to_and_fro private; }
test_shared_huge_pages() { moves_to_and_fro shared; }
test_memfd_of_huge_pages() { moves_to_and_fro memfd; }
test_sysv_of_huge_pages() { moves_to_and_fro sysv; }
