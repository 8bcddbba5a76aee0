# SPDX-License-Identifier: GPL-2.0
#
# The front door: "make help" says what there is. What the kernel's build system
# compiles is in Kbuild.

KDIR ?= /lib/modules/$(shell uname -r)/build
QEMU := selftests/qemu

.PHONY: all help modules project_modules build_modules build_tools probe tests
.PHONY: run check shell style clean

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
	@echo "  make probe NAME=<x>   what the compiler said about the build probe x"
	@echo
	@echo "In a virtual machine, the kernel from Debian's archive; gets what is missing"
	@echo "with apt-get and changes nothing in /boot:"
	@echo "  make run              watch hmm_mirror mirror a Python process"
	@echo "  make check            all tests, and the style checks"
	@echo "                        TESTS='<glob>...' only these programs, without style"
	@echo "                        ARGS='-t <name>' options for each program"
	@echo "  make shell            a shell with the module loaded; Ctrl-D ends it"
	@echo "  make modules          build the modules, and hmmctl, only"
	@echo
	@echo "Without a virtual machine:"
	@echo "  make style            checkpatch, sparse, kernel-doc, shellcheck, codespell"
	@echo "  make clean            remove build/, where everything above is written"
	@echo
	@echo "Variables:"
	@echo "  KERNEL=<name>         one of: $(shell $(QEMU)/kernel_names.sh)"
	@echo "                        (default: all for check, else the first; the built"
	@echo "                        ones take ten minutes each to build, once)"
	@echo "  HMM_MIRROR_CACHE      where kernels are kept, now in"
	@echo "                        $$($(QEMU)/kernel_names.sh --cache)"
	@echo "  HMM_MIRROR_ACCEL=kvm  use KVM; without it QEMU emulates (tcg)"
	@echo "  HMM_MIRROR_TIME_LIMIT seconds until a virtual machine is given up"

# --- Building for one kernel: KDIR says which, OUT where ---------------------

ifeq ($(OUT),)
RELEASE := $(shell cat $(KDIR)/include/config/kernel.release 2>/dev/null)
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
	@rm -f $(STALE)
	+$(KBUILD) M=$(OUT)/src modules

# What the virtual machine loads: hmm_mirror.ko and the tests' own modules.
project_modules: build_modules
	+@for client in $(CLIENTS); do \
		$(KBUILD) M=$(OUT)/src/$$client \
			KBUILD_EXTRA_SYMBOLS=$(OUT)/src/Module.symvers modules || exit 1; \
	done

build_tools:
	+$(MAKE) -C tools O=$(OUT)/tools LDFLAGS=$(TOOLS_LDFLAGS)

probe: build_modules
	@cat $(OUT)/src/probes/$(NAME).log

# --- With the kernels of the table selftests/qemu/kernels ---------------------

modules:
	@$(QEMU)/build.sh $(KERNEL) >/dev/null

run:
	@$(QEMU)/run.sh demo $(KERNEL)

shell:
	@$(QEMU)/run.sh shell $(KERNEL)

check:
	@TESTS='$(TESTS)' ARGS='$(ARGS)' $(QEMU)/check.sh $(KERNEL)

style:
	@selftests/style.sh

clean:
	rm -rf build
