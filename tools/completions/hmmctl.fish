# SPDX-License-Identifier: GPL-2.0
#
# Completion of hmmctl's command line, for fish.

set -l commands info map fault watch stats help

complete -c hmmctl -f
complete -c hmmctl -n "not __fish_seen_subcommand_from $commands" -a info -d 'What the module and this kernel can do'
complete -c hmmctl -n "not __fish_seen_subcommand_from $commands" -a map -d 'An address space as a mirror sees it'
complete -c hmmctl -n "not __fish_seen_subcommand_from $commands" -a fault -d 'Fault in a range of addresses'
complete -c hmmctl -n "not __fish_seen_subcommand_from $commands" -a watch -d 'What invalidates memory, live'
complete -c hmmctl -n "not __fish_seen_subcommand_from $commands" -a stats -d 'The counters of the module'
complete -c hmmctl -n "not __fish_seen_subcommand_from $commands" -a help -d 'The options of a command'
complete -c hmmctl -n "not __fish_seen_subcommand_from $commands" -s V -l version -d 'Show the version'
complete -c hmmctl -n "__fish_seen_subcommand_from help" -a 'info map fault watch stats'

complete -c hmmctl -s h -l help -d 'Show the options'
complete -c hmmctl -n "__fish_seen_subcommand_from $commands" -s j -l json -d 'Print JSON'
complete -c hmmctl -n '__fish_seen_subcommand_from map fault watch' -s p -l pid -x -a '(__fish_complete_pids)' -d 'Process'
complete -c hmmctl -n '__fish_seen_subcommand_from map watch' -a '(__fish_complete_pids)'
complete -c hmmctl -n '__fish_seen_subcommand_from map watch' -s r -l range -x -d 'Only this range'
complete -c hmmctl -n '__fish_seen_subcommand_from map' -s e -l extents -d 'List every extent'
complete -c hmmctl -n '__fish_seen_subcommand_from map fault' -s t -l timeout -x -d 'Give up after milliseconds'
complete -c hmmctl -n '__fish_seen_subcommand_from fault' -s w -l write -d 'For writing'
complete -c hmmctl -n '__fish_seen_subcommand_from fault' -l progress -d 'Show progress even without a terminal'
complete -c hmmctl -n '__fish_seen_subcommand_from watch' -s d -l duration -x -d 'Stop after seconds'
complete -c hmmctl -n '__fish_seen_subcommand_from watch' -l rates -d 'How many each second, instead of events'
complete -c hmmctl -n '__fish_seen_subcommand_from stats' -s i -l interval -x -d 'Repeat after seconds'
complete -c hmmctl -n '__fish_seen_subcommand_from stats' -s c -l count -x -d 'Stop after that many intervals'
