#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Names: unknown, taken, and those that must never reach a path.
# shellcheck disable=SC2154 # out, err: lib.sh

test_unknown_partition() {
	local verb
	for verb in status start stop remove logs validate; do
		assert_refused 3 WPAR-P003 hostA wparctl "$verb" nobody
	done
	assert_refused 3 WPAR-P003 hostA wparctl relocate nobody hostB
	assert_refused 125 WPAR-P003 hostA wparctl exec nobody -- /bin/true
}

test_name_taken() {
	toolbox_partition one 10.77.0.61
	assert_refused 5 WPAR-P002 hostA wparctl create one --rootfs /srv/shared/toolbox \
		--address 10.77.0.62/24 --bridge br0 -- /bin/sleep 1
}

# shellcheck disable=SC2016 # expands in the host
# Two hosts asked for one name at the same time: not both have it afterwards.
test_name_taken_at_once() {
	local host jobs
	toolbox
	for _ in {1..4}; do
		jobs=()
		for host in hostA hostB; do
			in_host $host bash -c 'touch "/srv/shared/ready.$0"; until [ -e /srv/shared/go ]; do :; done
				exec wparctl create one --rootfs /srv/shared/toolbox -- /bin/sleep 1' $host 2>/dev/null &
			jobs+=($!)
		done
		wait_until 10 test -e "$lab_dir/shared/ready.hostA" -a -e "$lab_dir/shared/ready.hostB"
		touch "$lab_dir/shared/go"
		wait "${jobs[@]}" || true
		rm "$lab_dir/shared"/{go,ready.hostA,ready.hostB}
		[ "$(partitions hostA)$(partitions hostB)" != oneone ] || die "both hosts have it"
		for host in hostA hostB; do
			[ -z "$(partitions $host)" ] || in_host $host wparctl remove one
		done
	done
}

test_bad_names() {
	local name long
	toolbox
	long=$(printf 'x%.0s' {1..64})
	for name in a/b .. . ../x /etc x/../y $'a\nb' $'a\tb' $'a\033[0m' '' .hidden 'a b' "$long"; do
		assert_refused 2 WPAR-P001 hostA wparctl create "$name" --rootfs /srv/shared/toolbox \
			--address 10.77.0.62/24 --bridge br0 -- /bin/sleep 1
	done
	# what is refused is shown harmlessly
	assert_refused 2 WPAR-P001 hostA wparctl create $'a\033[0m' --rootfs /srv/shared/toolbox -- /bin/sleep 1
	[[ $err != *$'\033'* ]] || die "a control character of the name is printed"
}

test_longest_name() {
	toolbox
	in_host hostA wparctl create "$(printf 'x%.0s' {1..63})" --rootfs /srv/shared/toolbox -- /bin/sleep 1
}
