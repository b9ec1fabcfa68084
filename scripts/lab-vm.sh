#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hosts of the lab that are virtual machines: what scripts/lab does differently for them. Sourced there.
# QEMU is in the host's cgroup and in the switch's network, so what takes down a host of namespaces
# takes these down, too. Each has a copy of one image, in which this tree was installed with `make
# install`; systemd starts relocd in it. /srv/shared is the lab's directory, brought by virtiofs.
#
# Commands go to vmagent over a network of its own, 10.78.N.0/30: what a test does to the segment of the
# hosts leaves them alone.
# shellcheck disable=SC2154 # of scripts/lab

qemu=/usr/local/lib/relocd/qemu/current # from install-deps --vm
agent=$BUILD/tests/tools/vmagent
agent_port=5555
vm_memory=${VM_MEMORY:-1280} # MB of each
# On the console, one line each, with the kernel's clock in front; a log that relocd writes has its name
# between.
vm_crash_line='^\[ *[0-9]+\.[0-9]+\] (.*(Oops|double fault): |BUG: |kernel BUG |Kernel panic|.*general protection fault, )'

is_vm() { [ -e "$state/$1.vm" ]; }
vm_mac() { printf '02:%s:00:00:00:%02x' "$1" "$2"; } # KIND NUMBER

# The release of the host NUMBER in a list as 12,13; the last goes on for all others.
vm_release() { # LIST NUMBER
	local list
	IFS=, read -ra list <<<"$1"
	echo "${list[$2 - 1]:-${list[-1]}}"
}

# ---- images ------------------------------------------------------------------------------------

# What the hosts boot from, made if it is not there, as lines "RELEASE FOLDER".
vm_images() { # LIST N
	local i release folder
	[ -x "$agent" ] || die "$agent is missing: run make tools first"
	[ -x "$qemu/qemu-system-x86_64" ] || die "QEMU is missing in $qemu: run scripts/install-deps --vm"
	for ((i = 1; i <= $2; i++)); do vm_release "$1" "$i"; done | sort -u | while read -r release; do
		folder=$(BUILD=$BUILD "$top/scripts/lab-image" --debian "$release") || return 1
		echo "$release $folder"
	done
}

# Makes $dir/RELEASE.img, where this tree is installed. The image is mounted in a namespace that ends with
# its process, and that process belongs to the lab: see _install.
vm_install() { # RELEASE FOLDER RELOCD
	cp --sparse=always "$2/root.ext4" "$dir/debian$1.img"
	(
		drop_fds
		enter_cgroup client
		exec unshare --mount env BUILD="$BUILD" LAB="$LAB" bash "$self" _install "$dir/debian$1.img" "$3"
	) </dev/null >>"$dir/install.log" 2>&1 || die "this tree does not install in Debian $1: $(tail -n 5 "$dir/install.log")"
}

vm_install_main() { # IMAGE RELOCD
	local root=$state/root
	mkdir -p "$root"
	mount_disk "$1" "$root"
	env -u MAKEFLAGS -u MAKELEVEL make -s -C "$top" BUILD="$BUILD" install DESTDIR="$root"
	install -m 755 "$agent" "$root/usr/local/sbin/"
	chroot "$root" systemd-sysusers
	[ "$2" = 0 ] || SYSTEMD_OFFLINE=1 chroot "$root" systemctl enable relocd
	umount "$root"
}

# ---- up ----------------------------------------------------------------------------------------

# A port of the segment, and the line to its agent. They stay while the host is without power.
vm_connect() { # NAME NUMBER
	local name=$1 n=$2
	in_net switch ip tuntap add dev "$name" mode tap
	in_net switch ip link set "$name" master br0 up
	in_net switch ip tuntap add dev "$name-line" mode tap
	in_net switch ip addr add "10.78.$n.1/30" dev "$name-line"
	in_net switch ip link set "$name-line" up
	in_net switch ip neigh add "10.78.$n.2" lladdr "$(vm_mac 78 "$n")" dev "$name-line" nud permanent
}

vm_program() { echo "$qemu/ld.so --library-path $qemu/lib $qemu/$1"; }

# CMD in HOST's cgroup and the switch's network, without our descriptors, in the background.
vm_spawn() { # HOST CMD...
	local name=$1 net
	shift
	net=$(<"$state/switch.pid")
	(
		drop_fds
		enter_cgroup "$name"
		exec setsid nsenter -t "$net" --net -- "$@"
	) </dev/null >>"$dir/$name.log" 2>&1 &
	disown
}

vm_share() { # NAME
	local socket=$state/share/$1 end=$((SECONDS + 10))
	mkdir -p "$state/share"
	rm -f "$socket"
	# shellcheck disable=SC2046 # words
	vm_spawn "$1" $(vm_program virtiofsd) --socket-path "$socket" --shared-dir "$dir/shared" \
		--sandbox none --cache auto --xattr --log-level error
	until [ -S "$socket" ]; do
		[ $SECONDS -lt $end ] || die "virtiofsd of $1 does not start: $(tail -n 3 "$dir/$1.log")"
		sleep 0.02
	done
}

# Turns on a host whose disk is there. A kernel that crashed ends QEMU (oops=panic, -no-reboot). Here time is
# short, not the kernel stuck: it does not watch for that.
vm_power_on() { # NAME NUMBER
	local name=$1 n=$2 folder khz
	folder=$(<"$state/$name.vm")
	khz=$("$BUILD/tests/tools/tsckhz")
	make_host_cgroup "$name"
	note_host_cgroups "$name"
	vm_share "$name"
	# shellcheck disable=SC2046 # words
	vm_spawn "$name" $(vm_program qemu-system-x86_64) -name "$name" -L "$qemu/usr/share/qemu" -L "$qemu/usr/share/seabios" \
		-nodefaults -no-user-config -display none -no-reboot -machine q35,memory-backend=memory \
		-object "memory-backend-memfd,id=memory,size=${vm_memory}M,share=on" -m "$vm_memory" \
		-cpu max -accel tcg,thread=multi -smp 1 \
		-kernel "$folder/vmlinux" -append "console=ttyS0 quiet root=/dev/nvme0n1 rw rootfstype=ext4 mitigations=off \
tsc=reliable tsc_early_khz=$khz nowatchdog rcupdate.rcu_cpu_stall_suppress=1 oops=panic panic=-1 net.ifnames=0 lab.number=$n \
systemd.hostname=$name systemd.machine_id=$(sha256sum <<<"$LAB-$name" | head -c 32) systemd.show_status=0" \
		-drive "if=none,id=disk,file=$dir/$name.img,format=raw,cache=unsafe" -device nvme,drive=disk,serial=lab \
		-chardev "file,id=console,path=$dir/$name.log,append=on" -serial chardev:console \
		-netdev "tap,id=segment,ifname=$name,script=no,downscript=no" \
		-device "virtio-net-pci,netdev=segment,mac=$(vm_mac 77 "$n"),romfile=" \
		-netdev "tap,id=line,ifname=$name-line,script=no,downscript=no" \
		-device "virtio-net-pci,netdev=line,mac=$(vm_mac 78 "$n"),romfile=" \
		-chardev "socket,id=share,path=$state/share/$name" -device vhost-user-fs-pci,chardev=share,tag=shared
	echo $! >"$state/$name.pid"
}

vm_new() { # NAME NUMBER RELEASE FOLDER
	echo "$4" >"$state/$1.vm"
	cp --sparse=always "$dir/debian$3.img" "$dir/$1.img"
	vm_connect "$1" "$2"
	vm_power_on "$1" "$2"
}

# Until systemd has started all that it is to start.
vm_wait() { # NAME
	local end=$((SECONDS + 120)) how
	until vm_call "$1" true 2>/dev/null; do
		host_lives "$1" "$(<"$state/$1.pid")" || vm_died "$1"
		[ $SECONDS -lt $end ] || die "$1 does not come up: $(tail -n 3 "$dir/$1.log")"
		sleep 0.1
	done
	how=$(vm_run "$1" systemctl is-system-running --wait) || true
	[ "$how" = running ] || die "$1 is $how: $(vm_run "$1" systemctl --no-legend --plain list-units --failed)"
}

# ---- into a host -------------------------------------------------------------------------------

vm_call() { # NAME CMD...
	local name=$1 net pid
	shift
	net=$(<"$state/switch.pid")
	pid=$(<"$state/$name.pid")
	(
		drop_fds
		enter_cgroup client
		exec nsenter -t "$net" --net -- "$agent" --call "10.78.$(host_number "$name").2" "$agent_port" "$pid" -- "$@"
	)
}

# The same, and says so when the machine has crashed meanwhile.
vm_run() { # NAME CMD...
	local rc=0
	vm_call "$@" || rc=$?
	[ $rc != 255 ] || vm_look "$1"
	return $rc
}

# Ends us with a sentence if the kernel of a machine has crashed.
vm_look() { # NAME
	local line
	line=$(grep -E -m 1 "$vm_crash_line" "$dir/$1.log") || return 0
	die "the kernel of $1 crashed: ${line%$'\r'}; its log: $dir/$1.log" 6
}

vm_died() { # NAME
	vm_look "$1"
	die "$1 has died: $(tail -n 3 "$dir/$1.log")" 3
}

# As an admin has one: raw here, the terminal itself is there.
vm_terminal() { # NAME CMD...
	local name=$1 size saved rc=0
	shift
	size=$(stty size 2>/dev/null) && saved=$(stty -g) || saved=
	[ -z "$saved" ] || stty raw -echo
	vm_run "$name" script -qefc "stty rows ${size%% *} cols ${size##* } 2>/dev/null; $(printf '%q ' "$@")" /dev/null || rc=$?
	[ -z "$saved" ] || stty "$saved"
	return $rc
}

# systemd's service; variables RELOCD_* are as they are here.
vm_relocd() { # NAME start|stop|kill|restart
	local name=$1 act=$2 old
	if [[ $act == *start ]]; then
		old=$(vm_run "$name" systemctl show-environment | sed -n 's/^\(RELOCD_[A-Z_]*\)=.*/\1/p')
		# shellcheck disable=SC2086 # words
		[ -z "$old" ] || vm_run "$name" systemctl unset-environment $old
		mapfile -t old < <(env | grep '^RELOCD_[A-Z_]*=')
		[ ${#old[@]} = 0 ] || vm_run "$name" systemctl set-environment "${old[@]}"
	fi
	if [ "$act" = kill ]; then
		vm_run "$name" systemctl kill --signal=KILL --kill-whom=main relocd
	else
		vm_run "$name" systemctl "$act" relocd || die "relocd in $name: systemctl $act failed: $(vm_run "$name" systemctl status relocd)"
	fi
}
