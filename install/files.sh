#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Puts files below a directory, and takes them away again with the directories that
# were made for them, no others: who removes all that is empty removes what is not ours.
#
# files.sh install LIST ROOT MODE FILE DESTINATION
#	DESTINATION and LIST are below ROOT ("" for /). Directories that are missing are
#	made, and written to LIST.
# files.sh remove LIST ROOT FILE...
#	Removes these files, LIST, and what it names, as far as nobody else uses it.

set -eu

say()
{
	# Not with "make -s"
	flags=${MAKEFLAGS:-}
	case ${flags%% *} in
	-*) ;;
	*s*) return ;;
	esac
	printf '  %-7s %s\n' "$1" "$2"
}

action=$1
list=$2
root=$3
shift 3

# make_directories DIRECTORY: prints those that were missing, below ROOT
make_directories()
{
	[ ! -d "$1" ] || return 0
	make_directories "$(dirname "$1")"
	# Another one may be faster: who makes it has it on its list.
	if mkdir -m 0755 "$1" 2>/dev/null; then
		case $1 in
		"$root"/?*) printf '%s\n' "${1#"$root"/}" ;;
		esac
	else
		[ -d "$1" ] || mkdir -m 0755 "$1"
	fi
}

case $action in
install)
	made=$(make_directories "$(dirname "$3")" && make_directories "$(dirname "$list")")
	if [ -n "$made" ]; then
		printf '%s\n' "$made" >>"$list"
		chmod 0644 "$list"
	fi
	say INSTALL "$3"
	install -m "$1" "$2" "$3"
	;;
remove)
	made=
	[ ! -e "$list" ] || made=$(sort -r -u "$list")
	for file; do
		[ ! -e "$file" ] || say REMOVE "$file"
	done
	rm -f "$list" "$@"
	printf '%s\n' "$made" | while IFS= read -r directory; do
		[ ! -d "$root/$directory" ] || [ -z "$directory" ] ||
			rmdir --ignore-fail-on-non-empty "$root/$directory" || :
	done
	;;
esac
