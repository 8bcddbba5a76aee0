# SPDX-License-Identifier: GPL-2.0
#
# Draws "plot" from "data", for "kernel": all three are set by report.sh.

set terminal svg size 1100,640 font "sans-serif,13" background "white"
set output plot
set key off
set title "hmm_mirror beside hmm_range_fault() on ".kernel."\nmade by \"make bench\"; instructions, not seconds" \
	noenhanced
set logscale x
set xrange [0.0005:8]
set format x "%g"
set label 1 "instructions of hmm_mirror for one of the kernel's (logarithmic; shorter is better)" \
	at screen 0.5, 0.03 center noenhanced
set bmargin 5
set yrange [*:*] reverse
set offsets 0, 0, 0.6, 0.6
set lmargin at screen 0.5
set grid x
set boxwidth 0.35
set style fill solid 0.8
set style textbox opaque noborder margins 0.2, 0.2
set arrow from 1, graph 0 to 1, graph 1 nohead back lw 2 lc rgb "#404040"
plot data using (0.0005):0:(0.0005):2:($0 - 0.35):($0 + 0.35):ytic(1) \
	with boxxyerror lc rgb "#3a7ca5", \
     data using 2:0:(sprintf("%.3g", $2)) with labels left boxed offset 0.7,0 font ",11"
