# SPDX-License-Identifier: Apache-2.0
# Completion of wparctl for bash. wparctl itself knows what fits.

_wparctl() {
	local current=${COMP_WORDS[COMP_CWORD]} word
	# After "--option=" readline has an empty word, bash has "=".
	[ "$current" != "=" ] || current=
	COMPREPLY=()
	while IFS=$'\t' read -r word _; do
		case $word in
		:files)
			compopt -o filenames
			mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")
			;;
		:dirs)
			compopt -o filenames
			mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$current")
			;;
		:nospace) compopt -o nospace ;;
		*) COMPREPLY+=("$word") ;;
		esac
	done < <("${COMP_WORDS[0]}" --complete "${COMP_WORDS[@]:1:COMP_CWORD-1}" "$current" 2>/dev/null)
}

complete -F _wparctl wparctl
