#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# OCI images for the tests, made on this machine, without network, of the programs of its Debian
# packages: one layout with a tag for each, the same base layer below all. Sourced after lib.sh.
# shellcheck disable=SC2154 # lab_dir, here: workload.sh, run

image_layout=$lab_dir/images
postgres_bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)

# Copies programs of the machine with their libraries into ROOT, at their own paths.
copy_programs() { # ROOT PROGRAM...
	local root=$1 program file
	shift
	for program in "$@"; do
		program=$(type -P "$program" || readlink -e "$program") || { echo "no program $program" >&2; return 1; }
		{
			echo "$program"
			ldd "$program" 2>/dev/null | awk '$2 == "=>" && $3 ~ "^/" { print $3 } $1 ~ "^/" { print $1 }'
		} | while read -r file; do
			mkdir -p "$root$(dirname "$file")"
			[ -e "$root$file" ] || cp -L "$file" "$root$file"
		done
	done
}

# A folder with the shape of a root, where a merged /usr makes /bin and /usr/bin one.
new_root() { # ROOT
	mkdir -p "$1"/{dev,etc,proc,root,run,srv,sys,tmp,var/{lib,log,tmp},usr/{bin,sbin,lib,lib64}}
	for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$1/$folder"; done
	chmod 1777 "$1/tmp" "$1/var/tmp"
}

add_layer() { # TAG ROOT [PATH] [OPTION...]
	local tag=$1 root=$2 path=${3:-/}
	shift 2
	[ $# = 0 ] || shift
	umoci insert --image "$image_layout:$tag" "$@" "$root" "$path"
}

configure() { # TAG OPTION...
	local tag=$1
	shift
	umoci config --image "$image_layout:$tag" "$@"
}

new_image() { # TAG: with the base layer
	umoci tag --image "$image_layout:base" "$1"
}

# What every root has: a shell, small programs and users.
base_root() { # ROOT
	local root=$1
	new_root "$root"
	copy_programs "$root" sh cat ls id sleep ps mkdir rm chown chmod mknod touch head grep stat ln readlink
	printf '%s\n' root:x:0:0:root:/root:/bin/sh www-data:x:33:33:www-data:/var/www:/bin/sh \
		memcache:x:114:121::/nonexistent:/bin/sh postgres:x:117:124::/var/lib/postgresql:/bin/sh >"$root/etc/passwd"
	printf '%s\n' root:x:0: www-data:x:33: ssl-cert:x:118:postgres,www-data adm:x:4:postgres \
		memcache:x:121: postgres:x:124: >"$root/etc/group"
}

base_image() {
	local root=$1/base
	base_root "$root"
	mkdir -p "$root/srv/layers/opaque"
	touch "$root/srv/layers/removed" "$root/srv/layers/kept" "$root/srv/layers/opaque/below"
	ln "$root/srv/layers/kept" "$root/srv/layers/linked"
	umoci init --layout "$image_layout"
	umoci new --image "$image_layout:base"
	add_layer base "$root"
}

nginx_image() {
	local root=$1/nginx
	mkdir -p "$root"/{etc/nginx,var/{log/nginx,lib/nginx,www}}
	chown 33:33 "$root/var/lib/nginx"
	copy_programs "$root" nginx
	cat >"$root/etc/nginx/nginx.conf" <<-'END'
		daemon off; worker_processes 2; user www-data; pid /run/nginx.pid; error_log /var/log/nginx/error.log;
		events { worker_connections 256; }
		http {
			access_log /var/log/nginx/access.log; keepalive_requests 1000000; keepalive_timeout 1h; sendfile on;
			server { listen 80; listen [::]:80; root /var/www; }
		}
	END
	head -c 67108864 /dev/zero | tr '\0' x >"$root/var/www/large"
	echo 'from the image' >"$root/var/www/index.html"
	new_image nginx
	add_layer nginx "$root"
	configure nginx --config.entrypoint /usr/sbin/nginx --config.stopsignal SIGQUIT
}

# PostgreSQL and a program `start` that makes a cluster where there is none; further options win.
postgres_programs() { # ROOT EXTENSION...
	local root=$1 bin=$postgres_bin share lib extension
	shift
	share=/usr/share/postgresql/$(basename "${bin%/bin}")
	lib=${bin%/bin}/lib
	mkdir -p "$root"{/var/lib/postgresql,/usr/share,/usr/bin,"$lib"}
	chown 117:124 "$root/var/lib/postgresql"
	copy_programs "$root" "$bin"/{postgres,initdb,pg_ctl,psql,pgbench}
	cp -a /usr/share/postgresql "$root/usr/share/"
	rm -rf "$root$share"/{man,extension/*.sql}
	for extension in plpgsql "$@"; do
		cp -a "$share/extension/$extension"* "$root$share/extension/"
		cp -a "$lib/$extension.so" "$root$lib/"
	done
	cp -a "$lib"/{dict_snowball,utf8_and_*}.so "$root$lib/"
	cat >"$root/usr/bin/start" <<-END
		#!/bin/sh
		set -e
		[ -e "\$PGDATA/PG_VERSION" ] || $bin/initdb -A trust -N >/dev/null
		[ -e "\$PGDATA/remote" ] || { echo 'host all all all trust' >>"\$PGDATA/pg_hba.conf"; touch "\$PGDATA/remote"; }
		exec $bin/postgres -c 'listen_addresses=*' -c unix_socket_directories=/tmp -c shared_buffers=32MB "\$@"
	END
	chmod 755 "$root/usr/bin/start"
}

postgres_image() {
	local root=$1/postgres
	postgres_programs "$root"
	new_image postgres
	add_layer postgres "$root"
	configure postgres --config.user postgres --config.env PGDATA=/var/lib/postgresql/data \
		--config.entrypoint /usr/bin/start --config.cmd -c --config.cmd max_connections=40 \
		--config.stopsignal SIGINT --config.volume /var/lib/postgresql/data
}

memcached_image() {
	local root=$1/memcached
	copy_programs "$root" memcached
	new_image memcached
	add_layer memcached "$root"
	configure memcached --config.user memcache --config.entrypoint /usr/bin/memcached \
		--config.cmd -m --config.cmd 64
}

# Three layers more: a file removed, a folder replaced, and the program.
python_image() {
	local root=$1/python version
	version=$(/usr/bin/python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
	mkdir -p "$root/usr/lib" "$root/app/state" "$root/opaque"
	chown 33:33 "$root/app/state"
	copy_programs "$root" /usr/bin/python3 "/usr/lib/$version"/lib-dynload/*.so
	cp -a "/usr/lib/$version" "$root/usr/lib/"
	rm -rf "$root/usr/lib/$version"/{test,__pycache__,*/__pycache__,distutils,lib2to3,idlelib,config-*}
	cp "$top"/tests/system/{counter,openfiles}.py "$root/app/"
	touch "$root/opaque/above"
	new_image python
	umoci insert --image "$image_layout:python" --whiteout /srv/layers/removed
	add_layer python "$root/opaque" /srv/layers/opaque --opaque
	rm -r "$root/opaque"
	add_layer python "$root"
	configure python --config.user www-data --config.workingdir /app/state --config.env COUNTER=7000 \
		--config.env FROM=image --config.entrypoint /usr/bin/python3 --config.cmd /app/counter.py
}

# All of them, once per lab.
build_images() {
	local scratch=$lab_dir/images.scratch
	[ ! -e "$image_layout/built" ] || return 0
	rm -rf "$image_layout" "$scratch"
	mkdir "$scratch"
	{
		base_image "$scratch"
		nginx_image "$scratch"
		postgres_image "$scratch"
		memcached_image "$scratch"
		python_image "$scratch"
	} >"$lab_dir/images.log" 2>&1
	rm -rf "$scratch"
	touch "$image_layout/built"
}
