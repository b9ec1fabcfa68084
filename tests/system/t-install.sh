#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `make install`, `make dist` and `make deb` give, and hosts that have nothing but the packages.
# shellcheck disable=SC2154 # out, err: lib.sh

packed() { LAB=$LAB-packed "$top/scripts/lab" "$@"; }

# As from a shell of one's own, also below the make that runs the tests: its flags are not ours.
in_top() { env -u MAKEFLAGS -u MAKELEVEL make -s -C "$top" BUILD="$BUILD" "$@"; }

# With the directories that the tree was built for: others would build the programs of the running lab
# anew. The packages have others.
test_install_and_uninstall() {
	local dest=$BUILD/system-tests/dest files
	rm -rf "$dest"
	in_top install DESTDIR="$dest"
	files=$(cd "$dest" && find . -type f -o -type l)
	for out in bin/wparctl sbin/relocd libexec/relocd/{departure,arrival,mover,keeper,criu-preload.so} \
		lib/libwpar.so.1 lib/pkgconfig/libwpar.pc include/wpar.h share/man/man3/libwpar.3 \
		lib/sysusers.d/relocd.conf lib/tmpfiles.d/relocd.conf lib/systemd/system/relocd.{service,socket} \
		share/man/man1/wparctl.1 share/man/man8/relocd.8; do
		assert_contains "$files" "./usr/local/$out"
	done
	assert_eq "" "$(grep -v '^\./usr/local/' <<<"$files")" "files outside the prefix"
	assert_eq "$(in_top version)" "$(LD_LIBRARY_PATH=$dest/usr/local/lib "$dest/usr/local/bin/wparctl" --version | awk '{ print $NF }')" version
	for out in "$dest"/usr/local/sbin/relocd "$dest"/usr/local/libexec/relocd/*; do
		[[ $out == *.so ]] && continue
		assert_eq "${out##*/} $(in_top version)" "$("$out" --version)" "$out --version"
	done
	assert_eq "" "$(grep -rl '@[a-z]*dir@' "$dest")" "files with an unfilled place"
	in_top uninstall DESTDIR="$dest"
	assert_eq "" "$(cd "$dest" && find . -type f -o -type l)" "files left by uninstall"
}

# An archive, and one made from what it unpacks to, are the same bytes.
test_dist_is_reproducible() {
	local work=$BUILD/system-tests/dist name
	name=wpar-$(in_top version)
	rm -rf "$work"
	mkdir -p "$work"
	in_top dist
	tar --extract --directory "$work" --file "$BUILD/$name.tar.gz"
	find "$work" -name Makefile -prune -o -exec touch {} +
	top=$work/$name BUILD=build in_top dist
	cmp "$BUILD/$name.tar.gz" "$work/$name/build/$name.tar.gz"
}

# The packages, installed in two hosts with roots of their own, move a partition between them.
test_packages_move_a_partition() {
	local version
	version=$(in_top version)
	in_top deb >"$BUILD/system-tests/deb.log" 2>&1 || die "make deb failed: $(tail -n 20 "$BUILD/system-tests/deb.log")"
	trap "packed down" EXIT
	packed up --packages "$BUILD/deb" 2
	# shellcheck disable=SC2016 # expands in the host
	assert_eq /usr/sbin/relocd "$(packed exec hostB -- sh -c 'readlink /proc/$(cat /run/relocd.lab.pid)/exe')" "the relocd that runs"
	assert_contains "$(packed exec hostA -- dpkg --list relocd wparctl)" "$version"
	assert_contains "$(packed exec hostA -- getent passwd relocd-mover)" relocd-mover
	(
		# shellcheck disable=SC2034 # of make_rootfs
		lab_dir=$BUILD/$LAB-packed
		make_rootfs box sleep
	)
	packed exec hostA -- wparctl create web --rootfs /srv/shared/box --address 10.77.0.60/24 --start -- /bin/sleep 1000
	packed exec hostA -- wparctl relocate web hostB
	assert_contains "$(packed exec hostB -- wparctl list --local)" Active
	packed exec hostB -- dpkg --purge relocd-dbgsym relocd >&2
	assert_eq "" "$(packed exec hostB -- sh -c 'ls /usr/sbin/relocd /usr/libexec/relocd 2>/dev/null')" "what purging leaves"
}
