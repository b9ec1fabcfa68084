#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Partitions of OCI images: what an image says is honoured, and moves with what was written above it.
# shellcheck disable=SC2154,SC2016 # out, err, image_layout: lib.sh, images.sh; single quotes: expands in the partition
# shellcheck source=tests/system/images.sh
source "$(dirname "${BASH_SOURCE[0]}")/images.sh"

# A partition of the image with this tag on hostA, running.
image_partition() { # NAME TAG ADDRESS [OPTION...] [-- CMD...]
	local name=$1 tag=$2 address=$3
	shift 3
	build_images
	in_host hostA wparctl create "$name" --image "oci:$image_layout:$tag" --address "$address/24" \
		--bridge br0 --start "$@"
}

images_of() { # HOST
	in_host "$1" sh -c 'ls /var/lib/relocd/images 2>/dev/null'
}

digest_of() { # TAG
	jq -r --arg t "$1" '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == $t) | .digest[7:]' \
		"$image_layout/index.json"
}

# Layers of its own lie on one host only, and with the partition.
upper_only_on() { # NAME HOST
	local host
	for host in hostA hostB; do
		wait_until 10 in_host $host sh -c "[ $([ $host = "$2" ] || echo '!') -e /var/lib/relocd/partitions/$1/upper ]" ||
			die "the layer of $1 and host $host"
	done
}

test_image_config_is_honoured() {
	image_partition py python 10.77.0.61
	assert_eq "uid=33(www-data) gid=33(www-data) groups=33(www-data),118(ssl-cert)" "$(inside py /bin/id)"
	assert_eq "/app/state" "$(inside py /bin/sh -c 'readlink /proc/1/cwd')" "working folder"
	assert_contains "$(inside py /bin/cat /proc/1/environ | tr '\0' ' ')" FROM=image
	assert_eq "kept linked opaque" "$(inside py /bin/sh -c 'cd /srv/layers; echo *')" "a whiteout"
	assert_eq above "$(inside py /bin/sh -c 'cd /srv/layers/opaque; echo *')" "an opaque folder"
	assert_eq 2 "$(inside py /bin/stat -c %h /srv/layers/kept)" "names of a hard-linked file"
	in_host hostA wparctl --json show py | jq -e --arg d "sha256:$(digest_of python)" \
		'.data | .image.digest == $d and .rootfs == "" and (.image.reference | startswith("oci:/"))' >/dev/null
}

# ---- moved with a live client -------------------------------------------------------------------

# Talks to a line server over one connection: `say LINE` answers with its line. One at a time.
talk_to() { # ADDRESS PORT
	rm -f "$lab_dir/talk"
	mkfifo "$lab_dir/talk"
	client python3 -c '
import socket, sys
f = socket.create_connection((sys.argv[1], int(sys.argv[2]))).makefile("rw", newline="\n")
for line in sys.stdin:
    f.write(line)
    f.flush()
    print(f.readline(), end="", flush=True)' "$1" "$2" <"$lab_dir/talk" >"$lab_dir/heard" &
	talk_job=$!
	exec {talk}>"$lab_dir/talk"
	said=0
}

say() { # TEXT
	echo "$1" >&"$talk"
	said=$((said + 1))
	wait_until 20 has_heard
	tail -n 1 "$lab_dir/heard"
}
has_heard() { [ "$(wc -l <"$lab_dir/heard")" -ge "$said" ]; }

hang_up() {
	exec {talk}>&-
	wait "$talk_job" # the client ends with its input
}

# A client in the background, until `finish` ends its standard input; what it prints is in $lab_dir/NAME.
begin() { # NAME PYTHON ARG...
	local name=$1 program=$2
	shift 2
	rm -f "$lab_dir/$name.in"
	mkfifo "$lab_dir/$name.in"
	client python3 -c "$program" "$@" <"$lab_dir/$name.in" >"$lab_dir/$name" 2>&1 &
	client_job=$!
	exec {client_input}>"$lab_dir/$name.in"
	wait_until 10 grep -q ready "$lab_dir/$name"
}
finish_client() { # NAME: what it said last: $asked and $gap
	exec {client_input}>&-
	wait "$client_job" || die "the client failed: $(cat "$lab_dir/$1")"
	read -r asked gap < <(tail -n 1 "$lab_dir/$1")
}

there_and_back() { # NAME
	relocate "$lab_dir/image-moves" "$1" hostA hostB
	upper_only_on "$1" hostB
	relocate "$lab_dir/image-moves" "$1" hostB hostA
	upper_only_on "$1" hostA
}

# What the client of the last two moves waited for is the downtime, and a bit for a busy machine.
no_longer_than_frozen() {
	local frozen
	frozen=$(tail -n 2 "$lab_dir/image-moves" | jq -s 'map(.downtime_ms) | max | floor')
	[ "$gap" -lt $((frozen + 700)) ] || die "the client waited $gap ms for moves of $frozen ms"
}

# Also: the other host gets the image from the source, not from where it came; what was written and
# removed above it travels.
test_python_of_an_image_moves() {
	local before
	image_partition py python 10.77.0.61
	wait_until 10 client python3 -c 'import socket; socket.create_connection(("10.77.0.61", 7000))'
	inside py /bin/sh -c 'id >/app/state/written; ln /app/state/written /app/state/second'
	in_host hostA wparctl exec --user 0:0 py -- /bin/sh -c '
		rm -r /srv/layers/kept /srv/layers/opaque /etc/group; mkdir /srv/layers/opaque; touch /srv/layers/opaque/new
		mknod /srv/pipe p 2>/dev/null; ln -s /nowhere /srv/dangling; chmod 4711 /app/state/written'
	look() { in_host "$1" wparctl exec --user 0:0 py -- /bin/sh -c '
		cd /srv; echo * layers/* layers/opaque/*; ls -ln --time-style=full-iso /srv /srv/layers /app/state; ls /etc' |
			grep -v -e "count$" -e ^total; }
	before=$(look hostA)
	talk_to 10.77.0.61 7000
	assert_eq "1 1 1" "$(say x)"
	mv "$image_layout" "$image_layout.away"
	relocate "$lab_dir/image-moves" py hostA hostB
	mv "$image_layout.away" "$image_layout"
	assert_eq "$(digest_of python)" "$(images_of hostB)" "images of hostB"
	said=1
	assert_eq "2 2 2" "$(say x)"
	assert_eq "$before" "$(look hostB)" "files"
	upper_only_on py hostB
	relocate "$lab_dir/image-moves" py hostB hostA
	said=2
	assert_eq "3 3 3" "$(say x)"
	assert_eq "$before" "$(look hostA)" "files"
	upper_only_on py hostA
	hang_up
	in_host hostA wparctl remove py --force
	wait_until 10 no_images
}

# What it writes while its memory is copied goes before it is frozen, but for the last of it.
test_files_go_again_after_memory() {
	local move
	image_partition py python 10.77.0.61 --user root -- -c '
import os, time
memory = bytearray(os.urandom(1 << 20)) * 300
for i in range(1 << 30):
    with open("/app/state/file%d" % (i % 100), "wb") as f:
        f.write(os.urandom(1 << 20))
    time.sleep(0.03)'
	wait_until 20 in_host hostA wparctl exec py -- /bin/sh -c '[ -e /app/state/file9 ]'
	move=$(in_host hostA timeout 60 wparctl --json relocate py hostB --engine track --on-diverge stop | tail -n 1 | jq -re .data.move)
	# rounds of files after the first one of memory: at least one while it runs, and one while it is frozen
	[ "$(sed -n "/departure $move: round 1:/,\$ { /departure $move: files:/p }" "$lab_dir/hostA.log" | wc -l)" -ge 2 ] ||
		die "$(grep "departure $move" "$lab_dir/hostA.log")"
	in_host hostB wparctl remove py --force
	wait_until 10 no_images
}

# Files that are open, of both layers: deleted, renamed, locked, mapped, watched.
test_open_files_of_an_image_move() {
	local host
	image_partition files python 10.77.0.61 --user root -- /app/openfiles.py
	# shellcheck disable=SC2317 # wait_until calls it
	said() { in_host "$1" wparctl logs files | tail -n 1 | grep -qE "$2"; }
	wait_until 10 said hostA ready
	for host in hostB hostA; do
		relocate "$lab_dir/image-moves" files "$([ $host = hostB ] && echo hostA || echo hostB)" $host
		in_host $host wparctl exec files -- /bin/touch /app/state/check
		wait_until 10 said $host '^ok|^wrong|Error'
		assert_eq ok "$(in_host $host wparctl logs files | tail -n 1)"
	done
}

# One connection asks all the time, another downloads slowly; neither sees the moves.
test_nginx_of_an_image_moves() {
	local sum
	image_partition web nginx 10.77.0.61
	wait_until 10 client curl -sf http://10.77.0.61/
	client sh -c 'curl -sS --limit-rate 12M http://10.77.0.61/large | sha256sum' >"$lab_dir/sum" &
	local download=$!
	begin asking '
import http.client, select, sys, time
c = http.client.HTTPConnection(sys.argv[1], timeout=30)
n, gap = 0, 0
c.connect(); port = c.sock.getsockname()
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.002)[0]:
    t = time.monotonic()
    c.request("GET", "/index.html")
    r = c.getresponse()
    assert r.status == 200 and r.read() == b"from the image\n"
    assert c.sock and c.sock.getsockname() == port
    gap = max(gap, time.monotonic() - t)
    n += 1
print(n, int(gap * 1000))' 10.77.0.61
	there_and_back web
	finish_client asking
	[ "$asked" -gt 100 ] || die "only $asked requests"
	# Its kernel must not wait a second before it asks again for the client's hardware address.
	no_longer_than_frozen
	wait $download
	sum=$(head -c 67108864 /dev/zero | tr '\0' x | sha256sum)
	assert_eq "$sum" "$(cat "$lab_dir/sum")" "what was downloaded"
	echo "nginx: $asked requests over one connection, longest $gap ms" | tee -a "$lab_dir/seen"
}

test_postgres_of_an_image_moves() {
	local count rows
	image_partition db postgres 10.77.0.61
	pg() { client psql -qAtX -h 10.77.0.61 -U postgres -c "$1" postgres; }
	wait_until 20 pg 'select 1'
	pg 'create table t (i int, at timestamptz default now()); insert into t select generate_series(1, 1000)'
	echo 'insert into t values (1);' >"$lab_dir/insert.sql"
	# shellcheck disable=SC2317 # wait_until calls it
	inserts() { [ "$(pg 'select count(*) from t')" -gt 1100 ]; }
	client "$postgres_bin/pgbench" -h 10.77.0.61 -U postgres -n -c 2 -T 5 -f "$lab_dir/insert.sql" postgres >"$lab_dir/bench" 2>&1 &
	local bench=$!
	wait_until 10 inserts
	there_and_back db
	wait $bench || die "pgbench: $(cat "$lab_dir/bench")"
	grep -q 'number of failed transactions: 0' "$lab_dir/bench" || die "$(cat "$lab_dir/bench")"
	count=$(sed -n 's/.*actually processed: //p' "$lab_dir/bench")
	rows=$(pg 'select count(*) from t where at > (select min(at) from t)')
	assert_eq "$count" "$rows" "rows"
	echo "postgres: $count transactions over two connections, none failed" | tee -a "$lab_dir/seen"
	# It is shut down by the image's stop signal, and finds everything when it starts again.
	in_host hostA wparctl stop db
	in_host hostA wparctl logs db | grep -q 'received fast shutdown request'
	in_host hostA wparctl start db
	wait_until 20 pg 'select 1'
	assert_eq "$((count + 1000))" "$(pg 'select count(*) from t')" "rows after a restart"
}

test_memcached_of_an_image_moves() {
	image_partition mc memcached 10.77.0.61
	wait_until 10 client python3 -c 'import socket; socket.create_connection(("10.77.0.61", 11211))'
	begin setting '
import select, socket, sys, time
s = socket.create_connection((sys.argv[1], 11211), timeout=30)
f = s.makefile("rwb")
n, gap = 0, 0
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.001)[0]:
    t = time.monotonic()
    value = b"%d" % n
    f.write(b"set key%d 0 0 %d\r\n%s\r\n" % (n % 5000, len(value), value)); f.flush()
    assert f.readline() == b"STORED\r\n"
    back = max(0, n - n % 97)
    f.write(b"get key%d\r\n" % (back % 5000)); f.flush()
    assert f.readline().startswith(b"VALUE") and f.readline() == b"%d\r\n" % back and f.readline() == b"END\r\n"
    gap = max(gap, time.monotonic() - t)
    n += 1
print(n, int(gap * 1000))' 10.77.0.61
	there_and_back mc
	finish_client setting
	[ "$asked" -gt 100 ] || die "only $asked rounds"
	no_longer_than_frozen
	echo "memcached: $asked set and get over one connection, longest $gap ms" | tee -a "$lab_dir/seen"
}

# ---- once per host ------------------------------------------------------------------------------

test_image_is_unpacked_once() {
	local first
	build_images
	for name in one two three; do
		in_host hostA wparctl create $name --image "oci:$image_layout:memcached" &
	done
	wait
	assert_eq "$(digest_of memcached)" "$(images_of hostA)" images
	rootfs() { in_host "$1" stat -c '%i %Z' "/var/lib/relocd/images/$(digest_of memcached)/rootfs"; }
	first=$(rootfs hostA)
	# The same by other ways, of which one converts it and must come to the same.
	skopeo copy -q "oci:$image_layout:memcached" "oci-archive:$lab_dir/mc.tar:memcached"
	in_host hostA wparctl create four --image "oci-archive:$lab_dir/mc.tar"
	assert_eq "$first" "$(rootfs hostA)"
	in_host hostA wparctl start one
	in_host hostA wparctl start two
	relocate "$lab_dir/image-moves" one hostA hostB
	first=$(rootfs hostB)
	relocate "$lab_dir/image-moves" two hostA hostB
	assert_eq "$first" "$(rootfs hostB)"
	for name in three four; do in_host hostA wparctl remove $name; done
	assert_eq "$(digest_of memcached)" "$(images_of hostA)" "images kept for a return"
	rm "$lab_dir/mc.tar"
}

test_docker_archive() {
	build_images
	skopeo copy -q "oci:$image_layout:memcached" "docker-archive:$lab_dir/mc.tar:cache:1"
	in_host hostA wparctl create mc --image "docker-archive:$lab_dir/mc.tar:cache:1" --start -- -m 32
	assert_contains "$(inside mc /bin/sh -c 'cat /proc/1/cmdline' | tr '\0' ' ')" "/usr/bin/memcached -m 32 "
	rm "$lab_dir/mc.tar"
}

# ---- moves that end before the commit -----------------------------------------------------------

nothing_at_b() {
	[ -z "$(in_host hostB sh -c 'ls -A /var/lib/relocd/images /var/lib/relocd/trash | grep -v -e :$ -e ^.lock$ -e ^$')" ] &&
		in_host hostB sh -c '! ls -d /var/lib/relocd/partitions/*/upper 2>/dev/null' &&
		[ -z "$(state_of hostB web)" ]
}

# It has so much memory that there is time to hit the move while it is frozen.
test_aborted_moves_leave_no_layers() {
	local act phase host id move
	image_partition web python 10.77.0.61 --user root -- -c '
import http.server, os
x = os.urandom(200 << 20)
os.chdir("/srv")
http.server.test(http.server.SimpleHTTPRequestHandler, port=80)'
	asked() { [[ $(client curl -sf http://10.77.0.61/layers/) == *kept* ]]; }
	wait_until 20 asked
	while read -r phase host act; do
		in_host hostA timeout 60 wparctl relocate web hostB --engine stop >"$lab_dir/relocate.out" 2>&1 &
		move=$!
		id=$(in_host hostA timeout 30 bash -c "
			until wparctl --json moves | jq -er '.data[] | select(.phase == \"$phase\") | .move // .id'; do :; done")
		in_host "$host" bash -c "$act" _ "$id"
		! wait $move || die "the move came through: $(cat "$lab_dir/relocate.out")"
		wait_until 10 nothing_at_b || die "$phase: $(in_host hostB find /var/lib/relocd -maxdepth 3)"
		asked || die "it does not answer after an abort in phase $phase"
		assert_eq Active "$(state_of hostA web)"
	done <<-'END'
		prepare hostB kill -9 $(pgrep -x arrival)
		prepare hostA wparctl cancel $1
		final hostB kill -9 $(pgrep -f "[c]riu.* swrk")
	END
	relocate "$lab_dir/image-moves" web hostA hostB
	asked
}

# ---- refusals -----------------------------------------------------------------------------------

no_images() { [ -z "$(images_of hostA)" ]; }

test_image_refusals() {
	build_images
	assert_refused 2 WPAR-I005 hostA wparctl create x --image docker://docker.io/library/nginx
	assert_refused 4 WPAR-S004 hostA wparctl create x --image "oci:$image_layout:nosuch"
	assert_refused 4 WPAR-S004 hostA wparctl create x --image "oci:$lab_dir/nosuch:t"
	assert_refused 4 WPAR-S004 hostA wparctl create x --image "oci-archive:/etc/passwd"
	# Of another processor, damaged, without a command.
	rm -rf "$lab_dir/bad"
	cp -a "$image_layout" "$lab_dir/bad"
	umoci config --image "$lab_dir/bad:memcached" --architecture m68k
	assert_refused 4 WPAR-S004 hostA wparctl create x --image "oci:$lab_dir/bad:memcached"
	assert_contains "$err" "m68k"
	assert_refused 2 WPAR-P007 hostA wparctl create x --image "oci:$lab_dir/bad:base"
	umoci config --image "$lab_dir/bad:base" --config.user nobody-here
	assert_refused 4 WPAR-S004 hostA wparctl create x --image "oci:$lab_dir/bad:base" -- /bin/sh
	find "$lab_dir/bad/blobs" -size +1M -exec sh -c 'printf X | dd of="$1" bs=1 seek=1000 conv=notrunc status=none' _ {} \;
	assert_refused 4 WPAR-S004 hostA wparctl create x --image "oci:$lab_dir/bad:nginx"
	wait_until 10 no_images || die "images are left: $(images_of hostA)"
	rm -r "$lab_dir/bad"
}

# Layers that reach for the host: nothing of it is made or changed outside of the unpacked image.
test_hostile_image() {
	local target=$lab_dir/outside
	build_images
	rm -rf "$target" "$lab_dir/hostile"
	mkdir "$target"
	echo mine >"$target/file"
	cp -a "$image_layout" "$lab_dir/hostile"
	/usr/bin/python3 -c '
import io, sys, tarfile
target = sys.argv[1]
tar = tarfile.open(sys.argv[2], "w")
def add(name, kind=tarfile.REGTYPE, link="", data=b"hostile"):
    i = tarfile.TarInfo(name)
    i.type, i.linkname, i.mode, i.devmajor, i.devminor = kind, link, 0o4777, 7, 0
    i.size = len(data) if kind == tarfile.REGTYPE else 0
    tar.addfile(i, io.BytesIO(data) if i.size else None)
add("../" * 20 + target + "/dotdot")
add(target + "/absolute")
add("link", tarfile.SYMTYPE, target)
add("link/through")
add("up", tarfile.SYMTYPE, "../" * 20 + target)
add("up/through")
add("disk", tarfile.BLKTYPE)
add("hard", tarfile.LNKTYPE, "link/file")
tar.close()' "$target" "$lab_dir/layer.tar"
	umoci raw add-layer --image "$lab_dir/hostile:memcached" "$lab_dir/layer.tar"
	in_host hostA wparctl create evil --image "oci:$lab_dir/hostile:memcached" --start || true
	assert_eq "file" "$(ls "$target")" "files outside"
	assert_eq mine "$(cat "$target/file")"
	assert_eq 1 "$(stat -c %h "$target/file")" "names of a file outside"
	if [ "$(state_of hostA evil)" = Active ]; then
		assert_exit 1 in_host hostA wparctl exec --user 0:0 evil -- /bin/sh -c 'cat </disk'
	fi
	rm -r "$target" "$lab_dir/hostile" "$lab_dir/layer.tar"
}
