# SPDX-License-Identifier: GPL-2.0
#
# flushes.awk PROGRAMS-LOG QEMU-LOG: counts what the IOMMU was told while bench_dma said
# that it wants to know: "row NAME WAY NUMBER" for each of its lines "flushes MARK NAME
# WAY", with the invalidations of IOTLB entries between the mark in the device's register
# and the next one.

/^flushes / {
	sub(/\r$/, "")
	name[$2] = $3 " " $4
	next
}

/pci_cfg_write edu .*@0x3c <- / {
	mark = $NF
	if (mark in name)
		count[mark] = 0
	next
}

/vtd_inv_desc_iotlb/ && mark in name { count[mark]++ }

END {
	for (mark in name) {
		if (!(mark in count)) {
			print "error: QEMU has not seen mark " mark >"/dev/stderr"
			exit 1
		}
		print "row " name[mark] " " count[mark]
	}
}
