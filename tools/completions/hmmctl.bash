# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Completion of hmmctl's command line, for bash.

# The processes that there are: kernel threads have no command line
_hmmctl_processes()
{
	local line

	for line in /proc/[0-9]*/cmdline; do
		if [[ -n $(tr -d '\0' 2>/dev/null <"$line") ]]; then
			line=${line#/proc/}
			printf '%s\n' "${line%/cmdline}"
		fi
	done 2>/dev/null
}

_hmmctl()
{
	local current=${COMP_WORDS[COMP_CWORD]}
	local previous=${COMP_WORDS[COMP_CWORD - 1]}
	local commands='info map fault watch stats help'
	local command=${COMP_WORDS[1]}
	local words=

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		words="$commands --help --version"
	elif [[ $command == help ]]; then
		((COMP_CWORD == 2)) && words=$commands
	elif [[ $previous == --pid || $previous == -p ]]; then
		words=$(_hmmctl_processes)
	elif [[ $previous == --@(range|timeout|duration|interval|count) || $previous == -[rtdic] ]]; then
		return
	elif [[ $current == -* ]]; then
		case $command in
		info) words='--json --help' ;;
		map) words='--pid --range --extents --timeout --json --help' ;;
		fault) words='--pid --write --timeout --progress --json --help' ;;
		watch) words='--pid --range --duration --rates --json --help' ;;
		stats) words='--interval --count --json --help' ;;
		esac
	elif [[ $command == map || $command == watch ]]; then
		words=$(_hmmctl_processes)
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _hmmctl hmmctl
