# SPDX-License-Identifier: GPL-2.0
#
# The front door: "make help" says what there is. What the kernel's build system
# compiles is in Kbuild.

KDIR ?= /lib/modules/$(shell uname -r)/build
QEMU := selftests/qemu

.PHONY: all help modules project_modules build_modules build_tools probe tests
.PHONY: takeover rdma install_takeover sign_takeover
.PHONY: install install_modules install_tools install_headers sign_modules
.PHONY: uninstall install_dkms uninstall_dkms
.PHONY: run check bench compare mutations shell style clean

all: build_modules build_tools
	@echo
	@echo "Built: $(OUT)/src/hmm_mirror.ko"
	@echo "       $(OUT)/tools/hmmctl"

help:
	@echo "hmm_mirror: the address space of a process, mirrored for a device"
	@echo
	@echo "For the running kernel, needs its headers:"
	@echo "  make                  build hmm_mirror.ko and hmmctl"
	@echo "                        KDIR=<directory> for another kernel's build tree"
	@echo "  make takeover         build hmm_takeover.ko too, which puts hmm_mirror in the"
	@echo "                        place of the kernel's own hmm_range_fault()"
	@echo "  make probe NAME=<x>   what the compiler said about the build probe x, of"
	@echo "                        hmm_mirror.ko, or of another with its directory:"
	@echo "                        NAME=selftests/dmirror/<x>; alone: which there are"
	@echo
	@echo "  make install          the module, hmmctl, its man page and the headers"
	@echo "                        DESTDIR=<directory> below it; PREFIX=/usr/local"
	@echo "                        SIGN_KEY=<file> SIGN_CERT=<file> sign the module"
	@echo "  make install_takeover the module and hmm_takeover.ko; nothing loads it by itself"
	@echo "  make uninstall        remove them again"
	@echo "  make install_dkms     let DKMS build the module for every kernel"
	@echo "  make uninstall_dkms   no more"
	@echo
	@echo "In a virtual machine, the kernel from Debian's archive; gets what is missing"
	@echo "with apt-get and changes nothing in /boot:"
	@echo "  make run              watch hmm_mirror mirror a Python process"
	@echo "  make rdma             soft-RoCE with on-demand paging, without and with"
	@echo "                        hmm_takeover.ko (KERNEL=fast-7 by default)"
	@echo "  make check            all tests, and the style checks"
	@echo "                        TESTS='<glob>...' only these programs, without style;"
	@echo "                        with a ! before it, all but these"
	@echo "                        ARGS='-t <name>' options for each program"
	@echo "  make bench            instructions per page, beside the kernel's own"
	@echo "                        functions; rewrites docs/benchmarks/"
	@echo "  make compare          mm/hmm.c and hmm_mirror side by side, measured"
	@echo "  make mutations        plant bugs in hmm_mirror: does the test find them?"
	@echo "  make shell            a shell with the module loaded; Ctrl-D ends it"
	@echo "  make modules          build the modules, for KERNEL=<name>"
	@echo
	@echo "Without a virtual machine:"
	@echo "  make style            checkpatch, sparse, kernel-doc, shellcheck, codespell"
	@echo "  make clean            remove build/, where everything above is written"
	@echo
	@echo "Variables:"
	@echo "  KERNEL=<name>         one of: $(shell $(QEMU)/kernel_names.sh)"
	@echo "                        (default: all for check, else the first; the built"
	@echo "                        ones take 10 to 40 minutes each to build, once)"
	@echo "  HMM_MIRROR_CACHE      where kernels are kept, now in"
	@echo "                        $$($(QEMU)/kernel_names.sh --cache)"
	@echo "  HMM_MIRROR_ACCEL=kvm  use KVM; without it QEMU emulates (tcg)"
	@echo "  HMM_MIRROR_TIME_LIMIT seconds until a virtual machine is given up"
	@echo "  HMM_MIRROR_JOBS       how many kernels are tested at a time (default: as many"
	@echo "                        as there are processors, and memory for, up to 4)"

# --- Building for one kernel: KDIR says which, OUT where ---------------------

# What uname -r says. A distribution's make kernelrelease may say something else.
RELEASE := $(shell sed -n 's/^.define UTS_RELEASE "\(.*\)"/\1/p' \
	     $(KDIR)/include/generated/utsrelease.h 2>/dev/null)
ifeq ($(OUT),)
OUT := build/$(or $(RELEASE),unknown)
endif
override OUT := $(abspath $(OUT))

# kbuild writes next to the sources (a directory of its own came with 6.13), so
# it gets a copy of them: the tree stays clean and serves several kernels.
SOURCES := $(shell find . -name build -prune -o -name '.?*' -prune -o -type f \
	     \( -name '*.[chS]' -o -name 'Kbuild*' \) -printf '%P\n')
COPIES := $(addprefix $(OUT)/src/,$(SOURCES))
# A deleted header must not live on in the copy.
STALE = $(filter-out $(COPIES),$(shell find $(OUT)/src -name '*.h' \
	  -not -name '*_probes.h' 2>/dev/null))
# Modules of the project that are clients of hmm_mirror.ko.
CLIENTS := $(patsubst %/Kbuild,%,$(filter %/Kbuild,$(SOURCES)))

HERE := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
KBUILD = $(MAKE) -C $(KDIR) W=1 $(KBUILD_FLAGS)

$(OUT)/src/%: %
	@mkdir -p $(@D)
	@cp -p $< $@

build_modules: $(COPIES)
	@if [ ! -e $(KDIR)/Makefile ]; then \
		echo "There are no kernel headers in $(KDIR)." >&2; \
		echo "Install them (on Debian: apt-get install linux-headers-$$(uname -r))," >&2; \
		echo "or name another kernel's build tree with KDIR=<directory>." >&2; \
		echo "\"make run\" and \"make check\" need none: they get what they need." >&2; \
		exit 1; \
	fi
	@$(HERE)/install/check_kernel.sh $(KDIR)
	@rm -f $(STALE)
	+$(KBUILD) M=$(OUT)/src modules

# What the virtual machine loads: hmm_mirror.ko and the tests' own modules.
project_modules: build_modules
	+@for client in $(CLIENTS); do \
		$(KBUILD) M=$(OUT)/src/$$client \
			KBUILD_EXTRA_SYMBOLS=$(OUT)/src/Module.symvers modules || exit 1; \
	done

takeover: all
	+$(KBUILD) M=$(OUT)/src/takeover \
		KBUILD_EXTRA_SYMBOLS=$(OUT)/src/Module.symvers modules
	@echo "       $(OUT)/src/takeover/hmm_takeover.ko"

build_tools:
	+$(MAKE) -C tools O=$(OUT)/tools

# Asks the compiler again, with the flags of the module that the probe is for. In a
# copy of its own: kbuild thinks that there is nothing else.
PROBE_DIR := $(filter-out .,$(patsubst %/,%,$(dir $(NAME))))
PROBE_FILE := $(addsuffix /,$(PROBE_DIR))probes/$(notdir $(NAME))
PROBE_OUT := $(OUT)/probe$(addprefix /,$(PROBE_DIR))
PROBES := $(foreach file,$(SOURCES),$(if $(findstring probes/,$(file)),$(subst probes/,,$(basename $(file)))))

$(OUT)/probe/%: %
	@mkdir -p $(@D)
	@cp -p $< $@

probe: $(addprefix $(OUT)/probe/,$(SOURCES))
	@if [ ! -e $(PROBE_FILE).c ]; then \
		echo "NAME=<probe>, one of:"; \
		printf '  %s\n' $(sort $(PROBES)); \
		exit 1; \
	fi
	@$(HERE)/install/check_kernel.sh $(KDIR)
	@rm -f $(PROBE_OUT)/probes/*.result
	+@$(KBUILD) -s M=$(PROBE_OUT) PROBE=$(notdir $(NAME)) modules
	@echo "The compiler on $(PROBE_FILE).c:"
	@sed 's|^$(OUT)/probe/||' $(PROBE_OUT)/probes/$(notdir $(NAME)).log
	@echo "Result:"
	@cat $(PROBE_OUT)/probes/$(notdir $(NAME)).result

# --- Installing ---------------------------------------------------------------

PREFIX ?= /usr/local
VERSION := $(shell sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' $(HERE)/dkms.conf)
MODULE_DIR = $(DESTDIR)/lib/modules/$(RELEASE)/updates
BIN_DIR := $(DESTDIR)$(PREFIX)/bin
MAN_DIR := $(DESTDIR)$(PREFIX)/share/man/man1
INCLUDE_DIR := $(DESTDIR)$(PREFIX)/include
DKMS_DIR := $(DESTDIR)/usr/src/hmm_mirror-$(VERSION)
DKMS_FILES := dkms.conf COPYING install/check_kernel.sh \
	      $(filter probes/% uapi/%,$(SOURCES)) \
	      $(foreach file,$(SOURCES),$(if $(findstring /,$(file)),,$(file)))

# Where modules are indexed; a directory that becomes a package has no index.
DEPMOD = if [ -e $(MODULE_DIR)/../modules.dep ]; then \
		 depmod -b $(DESTDIR)/ $(RELEASE); fi

install: install_modules install_tools install_headers
	@$(if $(DESTDIR),,set -- $(MODULE_DIR)/hmm_mirror.ko*; \
		$(HERE)/install/signing_hint.sh "$$1" $(KDIR))

# kbuild installs as the kernel wants it, compressed for example. Not left to it:
# depmod, for which it wants a file that headers do not have; and to sign with the
# key of who built the kernel, which is rarely here.
KBUILD_INSTALL = $(KBUILD) INSTALL_MOD_PATH=$(DESTDIR) INSTALL_MOD_DIR=updates \
		 CONFIG_MODULE_SIG_ALL= cmd_depmod=: quiet_cmd_depmod= modules_install

install_modules: build_modules $(if $(SIGN_KEY),sign_modules)
	+$(KBUILD_INSTALL) M=$(OUT)/src
	install -m 0644 $(OUT)/src/Module.symvers $(MODULE_DIR)/hmm_mirror.symvers
	$(DEPMOD)

sign_modules: build_modules
	$(KDIR)/scripts/sign-file sha256 $(SIGN_KEY) $(SIGN_CERT) $(OUT)/src/hmm_mirror.ko

# Only who asks for it gets a module that patches the kernel.
install_takeover: install_modules takeover $(if $(SIGN_KEY),sign_takeover)
	+$(KBUILD_INSTALL) M=$(OUT)/src/takeover
	$(DEPMOD)

sign_takeover: takeover
	$(KDIR)/scripts/sign-file sha256 $(SIGN_KEY) $(SIGN_CERT) \
		$(OUT)/src/takeover/hmm_takeover.ko

install_tools: build_tools
	install -D -m 0755 $(OUT)/tools/hmmctl $(BIN_DIR)/hmmctl
	install -D -m 0644 tools/hmmctl.1 $(MAN_DIR)/hmmctl.1

install_headers:
	install -D -m 0644 uapi/linux/hmm_mirror.h $(INCLUDE_DIR)/linux/hmm_mirror.h
	install -D -m 0644 hmm_mirror.h $(INCLUDE_DIR)/hmm_mirror/hmm_mirror.h

# Of directories only what nobody else uses goes, and below DESTDIR all that is empty.
uninstall:
	rm -f $(MODULE_DIR)/hmm_mirror.ko* $(MODULE_DIR)/hmm_mirror.symvers
	rm -f $(MODULE_DIR)/hmm_takeover.ko*
	$(DEPMOD)
	rm -f $(BIN_DIR)/hmmctl $(MAN_DIR)/hmmctl.1
	rm -f $(INCLUDE_DIR)/linux/hmm_mirror.h $(INCLUDE_DIR)/hmm_mirror/hmm_mirror.h
	$(call remove_empty,$(INCLUDE_DIR)/hmm_mirror)
	$(if $(DESTDIR),find $(DESTDIR) -mindepth 1 -depth -type d -empty -delete)

remove_empty = if [ -d $(1) ]; then rmdir --ignore-fail-on-non-empty $(1); fi

install_dkms:
	rm -rf $(DKMS_DIR)
	mkdir -p $(DKMS_DIR)
	cp --parents -p $(DKMS_FILES) $(DKMS_DIR)
	$(if $(DESTDIR),,dkms install hmm_mirror/$(VERSION))

uninstall_dkms:
	$(if $(DESTDIR),,dkms remove hmm_mirror/$(VERSION) --all)
	rm -rf $(DKMS_DIR)

# --- With the kernels of the table selftests/qemu/kernels ---------------------

modules:
	@$(QEMU)/build.sh $(KERNEL) >/dev/null

run:
	@$(QEMU)/run.sh demo $(KERNEL)

rdma:
	@$(QEMU)/run.sh rdma $(or $(KERNEL),fast-7)

shell:
	@$(QEMU)/run.sh shell $(KERNEL)

check:
	@TESTS='$(TESTS)' ARGS='$(ARGS)' $(QEMU)/check.sh $(KERNEL)

bench:
	@$(QEMU)/run.sh bench $(KERNEL)

compare:
	@selftests/compare/run.sh $(KERNEL)

mutations:
	@selftests/mutations/run.sh $(KERNEL)

style:
	@selftests/style.sh

clean:
	rm -rf build
