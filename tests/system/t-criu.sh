#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Versions of CRIU, and what CRIU keeps for others on a host.
# shellcheck disable=SC2154,SC2016 # out, err: lib.sh; single quotes: expands in the host

criu_root=$(readlink -f "${RELOCD_CRIU_ROOT:-/usr/local/lib/relocd/criu}/current" || true)

# CRIU as an administrator starts it, without relocd's object.
plain_criu() { # HOST ARG...
	local host=$1
	shift
	if [ -x "$criu_root/ld.so" ]; then
		in_host "$host" "$criu_root/ld.so" --library-path "$criu_root/lib" "$criu_root/criu" "$@"
	else
		in_host "$host" criu "$@"
	fi
}

# A partition whose program versions and checks its pages, without a socket.
writer() { # MODE
	toolbox
	cp -u "$BUILD/tests/tools/memwriter" "$lab_dir/shared/toolbox/bin/"
	mkdir -p "$lab_dir/shared/said"
	said=$lab_dir/shared/said/m
	rm -f "$said"
	toolbox_partition m 10.77.0.61 --volume /srv/shared/said:/said -- /bin/memwriter "$1" 48 /said/m
	wait_until 30 said_more 3
}
# shellcheck disable=SC2317 # wait_until calls it
said_more() { grep -q ^bad "$said" || [ "$(sed -n 's/^ok //p' "$said")" -gt "$1" ]; }

# Moves it with every byte kept.
move_exact() { # FROM TO [OPTION...]
	local before
	in_host "$1" timeout 90 wparctl relocate m "$2" --engine track --on-diverge stop "${@:3}"
	before=$(sed -n 's/^ok //p' "$said")
	wait_until 30 said_more $((before + 2))
	assert_contains "$(cat "$said")" "ok "
}

as_before() {
	local host
	for host in hostA hostB; do
		in_host $host rm -f /etc/relocd/relocd.yaml /var/lib/relocd/criu-selftest.json
		lab relocd $host restart
	done
}

configure() { # TEXT: of relocd.yaml on both hosts
	local host
	for host in hostA hostB; do
		in_host $host sh -c 'printf "%s\n" "$1" >/etc/relocd/relocd.yaml' _ "$1"
		lab relocd $host restart
	done
}

# Without the object CRIU reads and sends all pages while the partition stands still; those that relocd
# has moved are dropped. Without CAP_SYS_RESOURCE it is of no use at all: then one that helps with
# limits but hides nothing stands in.
test_without_preload() {
	local mode options seeing=$lab_dir/shared/criu-seeing
	trap as_before EXIT
	configure "criu: {preload: none}"
	writer single
	if ! in_host hostA wparctl relocate m hostB --engine track --on-diverge stop; then
		assert_refused 4 WPAR-V002 hostA wparctl relocate m hostB --engine track
		assert_contains "$err" CAP_SYS_RESOURCE
		[ -x "$criu_root/ld.so" ] || skip "no CRIU of our own to start without the list of what to hide"
		printf '#!/bin/sh\nunset RELOCD_CRIU_BLANK\nobject=$LD_PRELOAD\nunset LD_PRELOAD\nexec %s --library-path %s --preload "$object" %s "$@"\n' \
			"$criu_root/ld.so" "$criu_root/lib" "$criu_root/criu" >"$seeing"
		chmod 755 "$seeing"
		configure "criu: {path: /srv/shared/criu-seeing}"
	fi
	in_host hostA wparctl remove m --force 2>/dev/null || in_host hostB wparctl remove m --force
	for mode in tree shared remap churn; do
		# guard regions over memory that is not filled yet: wpar(7)
		options=()
		[ $mode != churn ] || options=(--restore eager)
		writer $mode
		move_exact hostA hostB "${options[@]}"
		move_exact hostB hostA "${options[@]}"
		echo "$mode: $(cat "$said")"
		in_host hostA wparctl remove m --force
	done
	[ ! -e "$seeing" ] || rm "$seeing"
}

# Places of bytes that differ.
differences() { cmp -l "$1" "$2" | awk '{ print $1 }' || true; }

# What plain CRIU finds out, in FILE.
plain_features() { # FILE
	in_host hostA rm -f /run/criu.kdat
	plain_criu hostA check >/dev/null 2>&1 || true
	in_host hostA test -s /run/criu.kdat || skip "this CRIU keeps no features in /run"
	in_host hostA cat /run/criu.kdat >"$1"
}

# It differs from run to run of plain CRIU too: addresses, and what depends on them (whether a new
# mapping is joined to its neighbour decides if CRIU sees PR_SET_THP_DISABLE work).
is_random() { # BYTE
	for _ in $(seq 40); do
		plain_features "$lab_dir/kdat.3"
		! differences "$lab_dir/kdat.1" "$lab_dir/kdat.3" | grep -qx "$1" || return 0
	done
	return 1
}

# What CRIU finds out about the kernel while relocd hides pages from it, it keeps for all others. A few
# bytes of it are random.
test_feature_cache_is_as_without_us() {
	local i
	plain_features "$lab_dir/kdat.1"
	in_host hostA rm -f /run/criu.kdat
	writer single
	move_exact hostA hostB
	in_host hostA test -s /run/criu.kdat || die "the move made no cache, so nothing is compared"
	in_host hostA cat /run/criu.kdat >"$lab_dir/kdat.2"
	for i in $(differences "$lab_dir/kdat.1" "$lab_dir/kdat.2"); do
		is_random "$i" || die "byte $i differs: $(cmp -l "$lab_dir/kdat.1" "$lab_dir/kdat.2")"
	done
	# what is there is left alone
	plain_features "$lab_dir/kdat.1"
	in_host hostA cp /run/criu.kdat /run/plain.kdat
	move_exact hostB hostA
	move_exact hostA hostB
	in_host hostA cmp /run/criu.kdat /run/plain.kdat
	in_host hostA rm /run/plain.kdat
	rm "$lab_dir"/kdat.?
}

# CRIU_41 names a prefix of CRIU 4.1 as scripts/install-deps makes them. On kernels from 6.16 on that
# dumps no sockets, so its self-test fails; this partition has none, and the result of the test is
# put in by hand.
use_criu() { # HOST PREFIX
	in_host "$1" sh -c 'printf "criu: {path: %s}\n" "$1" >/etc/relocd/relocd.yaml
		file=/var/lib/relocd/criu-selftest.json
		jq --arg criu "$1/criu" ".criu = \$criu | .major = 4 | .minor = 1 | .sublevel = 1" $file >$file.new && mv $file.new $file' _ "$2"
	lab relocd "$1" restart
}

test_criu_4_1() {
	local mode
	[ -x "${CRIU_41:-}/criu" ] || skip "CRIU_41 names no CRIU 4.1"
	# so that both have a result of the self-test
	writer single
	move_exact hostA hostB
	move_exact hostB hostA
	in_host hostA wparctl remove m --force
	trap as_before EXIT
	use_criu hostA "$(readlink -f "$CRIU_41")"
	use_criu hostB "$(readlink -f "$CRIU_41")"
	# not `churn`: guard regions (Linux 6.13) are known to CRIU since 4.2
	for mode in single threads tree shared; do
		writer $mode
		move_exact hostA hostB
		move_exact hostB hostA
		echo "$mode: $(cat "$said")"
		in_host hostA wparctl remove m --force
	done
	# from the older one to the newer one
	in_host hostB rm -f /etc/relocd/relocd.yaml /var/lib/relocd/criu-selftest.json
	lab relocd hostB restart
	writer tree
	move_exact hostA hostB
	in_host hostB wparctl remove m --force
}
