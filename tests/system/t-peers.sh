#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Who may speak to a host: only members of its cluster, each under its own name.
# shellcheck disable=SC2154,SC2016 # out, err: lib.sh; single quotes: expands in the host

# Puts aside hostB's membership; the trap brings it back.
leave_cluster() {
	lab relocd hostB stop
	in_host hostB sh -c 'cp -a /etc/relocd /run/etc.saved && cp -a /var/lib/relocd /run/lib.saved
		find /etc/relocd /var/lib/relocd -mindepth 1 -delete'
	trap 'lab relocd hostB stop
		in_host hostB sh -c "find /etc/relocd /var/lib/relocd -mindepth 1 -delete
			cp -a /run/etc.saved/. /etc/relocd/ && cp -a /run/lib.saved/. /var/lib/relocd/
			rm -rf /run/etc.saved /run/lib.saved"
		lab relocd hostB start' EXIT
	lab relocd hostB start
}

test_foreign_cluster() {
	toolbox_partition p 10.77.0.61
	leave_cluster
	in_host hostB wparctl cluster init
	assert_exit 13 in_host hostA wparctl relocate p hostB
	assert_contains "$err" WPAR-A003
	assert_eq Active "$(state_of hostA p)"
	assert_eq "" "$(partitions hostB)"
}

# A host that is no member of a cluster does not listen. (That a peer without a certificate gets nowhere is
# shown by the unit test of the link, which can leave it out.)
test_no_member() {
	toolbox_partition p 10.77.0.61
	leave_cluster
	assert_exit 6 in_host hostA wparctl relocate p hostB
	assert_contains "$err" WPAR-M004
	assert_eq Active "$(state_of hostA p)"
}

# A member of the cluster, at another member's address.
test_another_members_name() {
	local token
	toolbox_partition p 10.77.0.61
	token=$(in_host hostA wparctl cluster add-host hostX --address 10.77.0.2 | tail -n 1)
	leave_cluster
	in_host hostB sh -c 'echo "host: hostX" >/etc/relocd/relocd.yaml'
	lab relocd hostB restart
	in_host hostB wparctl cluster join "$token"
	assert_exit 13 in_host hostA wparctl relocate p hostB
	assert_contains "$err" WPAR-A003
	assert_contains "$err" hostX
	assert_eq Active "$(state_of hostA p)"
	assert_eq "" "$(partitions hostB)"
}

test_garbage_is_dropped() {
	local n
	for n in 0 1 31 32 33 1000 100000; do
		client bash -c 'head -c "$1" /dev/urandom | timeout 2 cat >/dev/tcp/10.77.0.1/7470' _ $n 2>/dev/null || true
	done
	in_host hostA wparctl list --local >/dev/null
}

test_token_is_used_once() {
	local token
	token=$(in_host hostA wparctl cluster add-host hostY --address 10.77.0.9 | tail -n 1)
	leave_cluster
	# not hostY: the token names the host that it is for
	assert_exit 13 in_host hostB wparctl cluster join "$token"
	assert_contains "$err" WPAR-A004
	assert_exit 13 in_host hostB wparctl cluster join "${token%?}x"
	assert_contains "$err" WPAR-A004
}

test_key_never_travels() {
	local a b
	a=$(in_host hostA sha256sum /etc/relocd/host.key | cut -d ' ' -f 1)
	b=$(in_host hostB sha256sum /etc/relocd/host.key | cut -d ' ' -f 1)
	[ "$a" != "$b" ] || die "both hosts have the same key"
	assert_eq 600 "$(in_host hostB stat -c %a /etc/relocd/host.key)" "mode of the key"
}
