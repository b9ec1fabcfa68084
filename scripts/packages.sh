#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Debian's packages of another release, unpacked beside the system: what install-deps and lab-image
# share. Sourced; the caller has say() and die(), and a folder $scratch for what need not stay.
#
# A program is unpacked together with its own libraries into a private prefix and started through that
# prefix's dynamic loader, so that nothing of the system is replaced:
#   ROOT/<version>/{ld.so,lib,<program>...}   links to the loader, the library folder, the programs
#   ROOT/current                              link to the <version> in use
# shellcheck disable=SC2034,SC2154 # $unpacked is for the caller, $scratch of the caller

# retry TIMES COMMAND...: mirrors and networks have hiccups.
retry() {
	local left=$1 pause=2
	shift
	until "$@"; do
		((--left > 0)) || return 1
		say "failed, trying again in ${pause}s: $*"
		sleep "$pause"
		((pause *= 3))
	done
}

debian_mirror() { # the mirror of the system's own sources
	local uri
	# shellcheck disable=SC2016 # the $(...) are apt's own
	uri=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		sed -n 's/^Debian Debian main //p' | head -n 1)
	echo "${uri:-http://deb.debian.org/debian}"
}

debian_keyring() {
	local name
	for name in debian-archive-keyring.gpg debian-archive-keyring.pgp; do
		[[ ! -e /usr/share/keyrings/$name ]] || { echo "/usr/share/keyrings/$name" && return; }
	done
	return 1
}

# write_private_apt DIR SUITE: an apt of its own, which thinks that nothing is installed. It therefore
# computes the whole library closure itself and touches nothing of the system's apt.
write_private_apt() {
	local dir=$1 suite=$2 keyring
	keyring=$(debian_keyring) || die "the package debian-archive-keyring is not installed"
	mkdir -p -- "$dir"/{etc,preferences,lists/partial,cache/archives/partial} && : >"$dir/status" || return 1
	cat >"$dir/etc/debian.sources" <<END
Types: deb
URIs: $(debian_mirror)
Suites: $suite
Components: main
Signed-By: $keyring
END
	cat >"$dir/apt.conf" <<END
Dir::Etc "$dir/etc";
Dir::Etc::Main "/dev/null";
Dir::Etc::Parts "/dev/null";
Dir::Etc::SourceList "$dir/etc/debian.sources";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "$dir/preferences";
Dir::State "$dir";
Dir::State::Lists "$dir/lists";
Dir::State::Status "$dir/status";
Dir::Cache "$dir/cache";
Dir::Cache::Archives "$dir/cache/archives";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Get::Assume-Yes "true";
Acquire::Languages "none";
Acquire::Retries "3";
END
}

# private_update DIR: as a frozen mirror (a snapshot) serves a sid whose Release file has passed
# its date, that one check is dropped when it is what fails; the signature is always verified.
private_update() {
	local dir=$1
	APT_CONFIG=$dir/apt.conf apt-get -qq update >"$dir/update.log" 2>&1 &&
		! grep -q '^[EW]: ' "$dir/update.log" && return 0
	if grep -q 'is expired' "$dir/update.log"; then
		say "the mirror's Release file is past its date: taking it all the same (its signature is verified)"
		echo 'Acquire::Check-Valid-Until "false";' >>"$dir/apt.conf"
		APT_CONFIG=$dir/apt.conf apt-get -qq update >"$dir/update.log" 2>&1 && return 0
	fi
	cat -- "$dir/update.log" >&2
	return 1
}

# unpack_beside ROOT SUITE "PACKAGE..." PROGRAM...: sets unpacked=<version of the first PACKAGE>, with a
# complete prefix in ROOT/<version>.
unpack_beside() {
	local root=$1 suite=$2 packages dir=$scratch/$2 version tree deb
	read -ra packages <<<"$3"
	shift 3
	write_private_apt "$dir" "$suite" && retry 3 private_update "$dir" || return 1
	local -x APT_CONFIG=$dir/apt.conf
	version=$(apt-cache policy "${packages[0]}" | sed -n 's/^ *Candidate: //p')
	[[ $version =~ ^[0-9][0-9A-Za-z.+~:-]*$ ]] || {
		say "$suite has no ${packages[0]}"
		return 1
	}
	unpacked=${version#*:} # a colon would end a --library-path
	[[ ! -x $root/$unpacked/ld.so ]] || return 0
	say "downloading ${packages[0]} $version of $suite with its libraries"
	retry 3 apt-get -qq --download-only install "${packages[@]}" >/dev/null || return 1
	tree=$dir/tree
	rm -rf -- "$tree" && mkdir -m 755 -- "$tree" || return 1
	for deb in "$dir"/cache/archives/*.deb; do
		dpkg -x "$deb" "$tree" || return 1
	done
	link_prefix "$tree" "$@" || {
		say "${packages[0]} $version of $suite: unexpected layout of its packages"
		return 1
	}
	mkdir -p -- "$root" && rm -rf -- "${root:?}/$unpacked" && cp -a -- "$tree" "$root/$unpacked.new" &&
		mv -T -- "$root/$unpacked.new" "$root/$unpacked"
}

# link_prefix TREE PROGRAM...: the links at the top; all libraries must resolve.
link_prefix() {
	local tree=$1 libdir loader name program
	shift
	rm -rf -- "$tree"/usr/share/{man,doc,locale,lintian,info} "$tree"/usr/lib/*/gconv
	libdir=$(cd -- "$tree" && find . -name libc.so.6 -printf '%h\n' | head -n 1)
	loader=$(cd -- "$tree" && find . -path "$libdir/ld-linux*.so.*" | head -n 1)
	[[ -n $libdir && -n $loader ]] || return 1
	ln -s -- "$loader" "$tree/ld.so" && ln -s -- "$libdir" "$tree/lib" || return 1
	for name in "$@"; do
		program=$(cd -- "$tree" && find . -name "$name" -type f -perm -u+x | head -n 1)
		[[ -n $program ]] && ln -s -- "$program" "$tree/$name" || return 1
		! "$tree/ld.so" --library-path "$tree/lib" --list "$tree/$name" 2>&1 | grep 'not found' >&2 || return 1
	done
}
