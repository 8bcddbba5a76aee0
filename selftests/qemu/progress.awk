# SPDX-License-Identifier: GPL-2.0
#
# Says, while the guest runs its programs, how far it is.

function flush_line(text)
{
	print "   " text
	fflush()
}

/^#@ begin / { ok = not_ok = skipped = 0 }
/^ok .*# *SKIP/ { skipped++; next }
/^ok / { ok++ }
/^not ok / { not_ok++; flush_line($0) }
/^#@ (ready|error)/ { flush_line("guest" substr($0, 3)) }
/^#@ end / {
	flush_line(sprintf("%s: %d ok, %d not ok, %d skipped, exit status %d (%d s)",
			   $3, ok, not_ok, skipped, $5, $7))
}
