#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# signing_hint.sh MODULE KDIR [ROOT]: says how to sign the installed module if the
# running kernel takes signed modules only and this one is not. ROOT has the
# kernel's sys/, for the test of this script.

set -eu

module=$1
kdir=$2
root=${3:-}

# Secure Boot locks most distributions' kernels down; sig_enforce does it alone.
signature_required()
{
	grep -qx Y "$root/sys/module/module/parameters/sig_enforce" 2>/dev/null ||
		grep -qE '\[(integrity|confidentiality)\]' \
			"$root/sys/kernel/security/lockdown" 2>/dev/null
}

signature_required || exit 0
[ -z "$(modinfo -F signer "$module")" ] || exit 0
cat <<END

This kernel loads signed modules only, and this one is not signed. With a key of
your own, which the firmware is told to trust once:

  openssl req -new -x509 -newkey rsa:2048 -nodes -days 36500 -outform DER \\
          -subj "/CN=modules of this machine/" -keyout MOK.priv -out MOK.der
  mokutil --import MOK.der    # asks for a password; the next boot asks for it again
  make install KDIR=$kdir SIGN_KEY=MOK.priv SIGN_CERT=MOK.der
END
