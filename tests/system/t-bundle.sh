#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# OCI bundles: what we honour runs, everything else is refused by name.
# shellcheck disable=SC2154 # out, err: lib.sh

# A bundle NAME below /srv/shared with the toolbox as rootfs; CHANGE is a jq filter on its config.
bundle() { # NAME CHANGE
	local b=$lab_dir/shared/$1
	toolbox
	mkdir -p "$b"
	ln -sfn ../toolbox "$b/rootfs"
	jq -n '{ociVersion: "1.0.2",
		process: {args: ["/bin/sleep", "100000"], cwd: "/", env: ["PATH=/bin", "COLOUR=green"],
			user: {uid: 0, gid: 0}},
		root: {path: "/srv/shared/toolbox"}, hostname: "bundled",
		linux: {namespaces: [{type: "pid"}, {type: "mount"}, {type: "uts"}, {type: "ipc"}, {type: "network"}]}}' | jq "$2" >"$b/config.json"
}

create_bundle() { # NAME: the command
	echo wparctl create "$1" --bundle "/srv/shared/$1" --address 10.77.0.61/24 --bridge br0
}

test_good_bundle() {
	bundle good .
	in_host hostA wparctl create good --bundle /srv/shared/good --address 10.77.0.61/24 --bridge br0 --start
	assert_eq bundled "$(inside good /bin/hostname)"
	# shellcheck disable=SC2016 # expands there
	assert_eq green "$(inside good /bin/sh -c 'echo $COLOUR')"
}

# What it protects stays protected.
test_read_only_root() {
	bundle ro '.root.readonly=true'
	in_host hostA wparctl create ro --bundle /srv/shared/ro --address 10.77.0.61/24 --bridge br0 --start
	assert_exit 1 inside ro /bin/touch /data/file
	relocate "$lab_dir/moves" ro hostA hostB
	assert_exit 1 in_host hostB wparctl exec ro -- /bin/touch /data/file
	assert_contains "$err" "Read-only"
}

# A kernel with less in /proc cannot take what masks it; the file is named before anything stops.
test_masked_path_missing_there() {
	bundle masked '.linux.maskedPaths=["/proc/tty/driver"]'
	in_host hostA wparctl create masked --bundle /srv/shared/masked --address 10.77.0.61/24 --bridge br0 --start
	assert_eq "" "$(inside masked /bin/ls /proc/tty/driver)"
	in_host hostB mount -t tmpfs none /proc/tty
	assert_refused 4 WPAR-V005 hostA wparctl relocate masked hostB
	assert_contains "$err" /proc/tty/driver
	in_host hostB umount /proc/tty
	relocate "$lab_dir/moves" masked hostA hostB
	assert_eq "" "$(in_host hostB wparctl exec masked -- /bin/ls /proc/tty/driver)"
}

test_recursive_bind() {
	local volume=$lab_dir/shared/volume
	mkdir -p "$volume/below"
	bundle bound '.mounts=[{destination:"/data", type:"bind", source:"/srv/shared/volume", options:["rbind"]}]'
	in_host hostA wparctl create bound --bundle /srv/shared/bound --address 10.77.0.61/24 --bridge br0 --start
	assert_eq below "$(inside bound /bin/ls /data)"
	in_host hostA wparctl stop bound
	in_host hostA mount -t tmpfs none /srv/shared/volume/below
	assert_exit 1 in_host hostA wparctl start bound
	in_host hostA umount /srv/shared/volume/below
	assert_contains "$err" WPAR-S002
	assert_contains "$err" /srv/shared/volume/below
}

test_unsupported_fields() {
	local filter name
	while read -r name filter; do
		bundle bad "$filter"
		# shellcheck disable=SC2046 # words
		assert_refused 4 WPAR-P005 hostA $(create_bundle bad)
		assert_contains "$err" "$name"
	done <<-'TXT'
		hooks .hooks={prestart:[{path:"/bin/true"}]}
		linux.intelRdt .linux.intelRdt={closID:"x"}
		linux.uidMappings .linux.uidMappings=[{containerID:0,hostID:1000,size:1}]
		user .linux.namespaces+=[{type:"user"}]
		process.selinuxLabel .process.selinuxLabel="system_u:x"
		process.apparmorProfile .process.apparmorProfile="x"
		solaris .solaris={anchor:"x"}
		somethingNew .somethingNew=1
	TXT
}

test_broken_json() {
	bundle broken .
	echo '{"ociVersion": "1.0.2",' >"$lab_dir/shared/broken/config.json"
	# shellcheck disable=SC2046 # words
	assert_refused 2 WPAR-P006 hostA $(create_bundle broken)
	assert_contains "$err" config.json
}

test_missing_rootfs() {
	assert_refused 4 WPAR-S001 hostA wparctl create p --rootfs /srv/shared/nothing --address 10.77.0.61/24 \
		--bridge br0 -- /bin/sleep 1
	assert_contains "$err" /srv/shared/nothing
}
