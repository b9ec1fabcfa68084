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
