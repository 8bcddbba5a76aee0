# SPDX-License-Identifier: GPL-2.0
#
# The front door: "make help" lists the targets. Kbuild says what the kernel's build
# system compiles.

ifneq ($(KDIR),)
KDIR_GIVEN := yes
else
KDIR := /lib/modules/$(shell uname -r)/build
endif
QEMU := selftests/qemu

.PHONY: all help modules kernel_headers project_modules build_modules build_tools probe
.PHONY: takeover install install_modules install_takeover install_tools install_headers
.PHONY: without_dkms uninstall install_dkms uninstall_dkms
.PHONY: run rdma dma check bench compare mutations shell style clean

# "su" may give root the user's PATH
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

GOALS := $(or $(MAKECMDGOALS),all)
# One word for the shell
quote = '$(subst ','\'',$(1))'
# What make, kbuild and the shells that they start do not take in a path: say so before
# anything is done.
ODD_CHARACTERS := : & ; ( ) < > | ' " ` $$ \ * ? [ ] \# %
unfit = $(or $(word 2,x$(1)x),$(strip $(foreach character,$(ODD_CHARACTERS),$(findstring $(character),$(1)))))
refuse = $(if $(unfit),$(error $(2) cannot have a blank or any of $(ODD_CHARACTERS) in its path, which make, kbuild and shells do not take: $(1)))

ifneq ($(filter-out help clean,$(GOALS)),)
$(call refuse,$(CURDIR),The directory of hmm_mirror)
$(call refuse,$(KDIR),The kernel's build tree (KDIR))
$(call refuse,$(OUT),The directory to build in (OUT))
endif
ifneq ($(filter modules run rdma dma shell check bench compare mutations style,$(GOALS)),)
$(call refuse,$(shell $(QEMU)/kernel_names.sh --cache),The cache (HMM_MIRROR_CACHE))
endif

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
	@echo "  make install          the module, the headers, and hmmctl with its man page and"
	@echo "                        completions for shells"
	@echo "                        DESTDIR=<directory> below it; PREFIX=/usr/local"
	@echo "                        SIGN_KEY=<file> SIGN_CERT=<file> sign the module"
	@echo "  make install_takeover the module and hmm_takeover.ko; nothing loads it by itself"
	@echo "  make uninstall        remove them again"
	@echo "  make install_dkms     the same, and DKMS builds the module for every kernel"
	@echo "  make uninstall_dkms   no more"
	@echo
	@echo "In a virtual machine, the kernel from Debian's archive; gets what is missing"
	@echo "with apt-get and changes nothing in /boot:"
	@echo "  make run              watch hmm_mirror mirror a Python process"
	@echo "  make rdma             soft-RoCE with on-demand paging, without and with"
	@echo "                        hmm_takeover.ko (KERNEL=stock-7 by default)"
	@echo "  make check            all tests, and the style checks"
	@echo "                        TESTS='<glob>...' only these programs, without style;"
	@echo "                        with a ! before it, all but these"
	@echo "                        ARGS='-t <name>' options for each program"
	@echo "  make bench            instructions per page, beside the kernel's own"
	@echo "                        functions; rewrites docs/benchmarks/"
	@echo "  make dma              DMA in races with the kernel, where waiting takes no time:"
	@echo "                        DMAS=10000, strict and lazy; and with bounce buffers"
	@echo "  make compare          mm/hmm.c and hmm_mirror side by side, measured"
	@echo "  make mutations        plant bugs in hmm_mirror: do the tests find them?"
	@echo "                        NAMES='<glob>...' only these, of selftests/mutations/list"
	@echo "  make shell            a shell with the module loaded; Ctrl-D ends it"
	@echo "                        WITH=<directory>  what is in it is put into /"
	@echo "  make modules          build the modules, for KERNEL=<name>, and say how a driver"
	@echo "                        is built that uses them"
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

override KDIR := $(abspath $(KDIR))
# What uname -r says. A distribution's make kernelrelease may say something else. If the
# headers are gone, the directory may still name the kernel.
RELEASE := $(or $(shell sed -n 's/^.define UTS_RELEASE "\(.*\)"/\1/p' \
	     $(call quote,$(KDIR)/include/generated/utsrelease.h) 2>/dev/null), \
	     $(patsubst /lib/modules/%/build,%,$(filter /lib/modules/%/build,$(KDIR))))
ifeq ($(OUT),)
OUT := build/$(or $(RELEASE),$(shell uname -r))
endif
override OUT := $(if $(call unfit,$(CURDIR)$(OUT)),build,$(abspath $(OUT)))

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
KBUILD = $(MAKE) -C $(KDIR) $(COMPILER) HMM_MIRROR_VERSION=$(VERSION) $(KBUILD_FLAGS)
# Computed once, when it is needed
VERSION = $(eval VERSION := $(shell $(HERE)/install/version.sh))$(VERSION)

# Whoever names a compiler gets it. "make install" keeps the one that "make" has used.
given = $(foreach name,$(1),$(if $(filter $(2),$(origin $(name))),$(name)=$(call quote,$($(name)))))
GIVEN := $(strip $(call given,LLVM ARCH CROSS_COMPILE,command environment) \
	   $(call given,CC LD,command))
COMPILER = $(or $(GIVEN),$(USED_COMPILER),$(shell $(HERE)/install/compiler.sh $(KDIR)))
USED_COMPILER := $(if $(filter install%,$(GOALS)),$(shell cat $(OUT)/compiler 2>/dev/null))

# Called before anything is written
kernel_headers:
	@if [ ! -e $(KDIR)/Makefile ]; then \
		echo "There are no kernel headers in $(KDIR)." >&2; \
		echo "Install them (on Debian: apt-get install linux-headers-$$(uname -r))," >&2; \
		echo "or name another kernel's build tree with KDIR=<directory>." >&2; \
		echo "\"make run\" and \"make check\" need none: they get what they need." >&2; \
		exit 1; \
	fi
	@$(HERE)/install/check_kernel.sh $(KDIR)
	@$(if $(GIVEN)$(USED_COMPILER),:,$(HERE)/install/compiler.sh $(KDIR) >/dev/null)

$(OUT)/src/%: % | kernel_headers
	@mkdir -p $(@D)
	@cp -p $< $@

define BUILD_MODULES
	@rm -f $(STALE)
	@rm -f $(OUT)/built
	+$(KBUILD) M=$(OUT)/src modules || \
		$(HERE)/install/check_kernel.sh $(KDIR) $(OUT)/src/hmm_mirror.o
	@printf '%s\n' $(call quote,$(COMPILER)) >$(OUT)/compiler
	@touch $(OUT)/built
endef

build_modules: $(COPIES) | kernel_headers
	$(BUILD_MODULES)

# What "make" has built is installed as it is: root may have another compiler, or none,
# and does not need to write here.
HEADERS := $(wildcard $(addprefix $(KDIR)/,Module.symvers include/generated/autoconf.h \
	     include/generated/utsrelease.h))
$(OUT)/built: $(COPIES) $(HEADERS)
	$(BUILD_MODULES)

ifneq ($(filter all build_modules project_modules takeover,$(GOALS)),)
$(OUT)/built: | build_modules
endif

# build_client DIRECTORY: a module that uses hmm_mirror.ko, as a shell command. kbuild does
# not look whether the symbols of another module have changed since it last wrote down
# their versions (seen with 6.1 and 6.12); without its own Module.symvers it does.
SYMVERS := $(OUT)/src/Module.symvers
build_client = { cmp -s $(SYMVERS) $(1)/symvers_used || rm -f $(1)/Module.symvers; } && \
	$(KBUILD) M=$(1) KBUILD_EXTRA_SYMBOLS=$(SYMVERS) modules && \
	cp $(SYMVERS) $(1)/symvers_used

# What the virtual machine loads: hmm_mirror.ko and the tests' own modules.
project_modules: build_modules
	+@for client in $(CLIENTS); do \
		$(call build_client,$(OUT)/src/$$client) || exit 1; \
	done

define BUILD_TAKEOVER
	+@$(call build_client,$(OUT)/src/takeover)
	@touch $(OUT)/built_takeover
endef

takeover: all
	$(BUILD_TAKEOVER)
	@echo "       $(OUT)/src/takeover/hmm_takeover.ko"

$(OUT)/built_takeover: $(OUT)/built | $(filter takeover,$(GOALS))
	$(BUILD_TAKEOVER)

build_tools:
	+$(MAKE) -C tools O=$(OUT)/tools

# Even with -j, nothing begins before it is known that the rest can be done.
ifneq ($(filter all takeover install install_takeover,$(GOALS)),)
build_tools install_tools install_headers: | kernel_headers
endif
ifneq ($(filter install,$(GOALS)),)
build_tools install_tools install_headers: | without_dkms
endif

# Asks the compiler again, with the flags of the module that the probe is for. In a
# copy of its own: kbuild thinks that the probe is all there is.
PROBE_DIR := $(filter-out .,$(patsubst %/,%,$(dir $(NAME))))
PROBE_FILE := $(addsuffix /,$(PROBE_DIR))probes/$(notdir $(NAME))
PROBE_OUT := $(OUT)/probe$(addprefix /,$(PROBE_DIR))
PROBES := $(foreach file,$(SOURCES),$(if $(findstring probes/,$(file)),$(subst probes/,,$(basename $(file)))))

$(OUT)/probe/%: % | kernel_headers
	@mkdir -p $(@D)
	@cp -p $< $@

probe: $(addprefix $(OUT)/probe/,$(SOURCES)) | kernel_headers
	@if [ ! -e $(PROBE_FILE).c ]; then \
		echo "NAME=<probe>, one of:"; \
		printf '  %s\n' $(sort $(PROBES)); \
		exit 1; \
	fi
	@rm -f $(PROBE_OUT)/probes/*.result
	+@$(KBUILD) -s M=$(PROBE_OUT) PROBE=$(notdir $(NAME)) modules
	@echo "The compiler on $(PROBE_FILE).c:"
	@sed 's|^$(OUT)/probe/||' $(PROBE_OUT)/probes/$(notdir $(NAME)).log
	@echo "Result:"
	@cat $(PROBE_OUT)/probes/$(notdir $(NAME)).result

# --- Installing ---------------------------------------------------------------

PREFIX ?= /usr/local
# Relative paths are relative to where make was called, not to where kbuild is. "" is /.
absolute = $(shell realpath -ms -- $(call quote,$(1)) | sed 's|^/$$||')
ifneq ($(DESTDIR),)
override DESTDIR := $(call absolute,$(DESTDIR))
endif
override PREFIX := $(call absolute,$(PREFIX))
MODULE_DIR = $(DESTDIR)/lib/modules/$(RELEASE)/updates
# Lists the directories that were created for what is installed
TOOLS_LIST := $(DESTDIR)$(PREFIX)/share/hmm_mirror/directories
MODULES_LIST = $(MODULE_DIR)/hmm_mirror.directories

FILES := $(HERE)/install/files.sh
# $(call put,list,mode,file,destination)
put = $(FILES) install $(call quote,$(1)) $(call quote,$(DESTDIR)) $(2) $(3) $(call quote,$(4))
# $(call module_files,name): the names that kbuild may have given them, one shell word each
module_files = $(foreach suffix,ko ko.gz ko.xz ko.zst,$(call quote,$(MODULE_DIR)/$(1).$(suffix)))

# Where modules are indexed; a directory that becomes a package has no index.
DEPMOD = if [ -e $(call quote,$(DESTDIR)/lib/modules/$(RELEASE)/modules.dep) ]; then \
		 depmod -b $(call quote,$(DESTDIR)/) $(RELEASE); fi

install: install_modules install_tools install_headers
	@$(if $(DESTDIR),,for module in $(call module_files,hmm_mirror); do \
		[ ! -e "$$module" ] || $(HERE)/install/signing_hint.sh "$$module" $(KDIR); done)

# $(call install_from,directory)
install_from = SIGN_FILE=$(KDIR)/scripts/sign-file SIGN_KEY=$(call quote,$(SIGN_KEY)) \
	       SIGN_CERT=$(call quote,$(SIGN_CERT)) $(HERE)/install/module.sh $(1) \
	       $(call quote,$(DESTDIR)) $(call quote,$(MODULE_DIR)) $(KBUILD)

install_modules: $(OUT)/built | without_dkms
	+@$(call install_from,$(OUT)/src)
	@$(call put,$(MODULES_LIST),0644,$(OUT)/src/Module.symvers,$(MODULE_DIR)/hmm_mirror.symvers)
	$(DEPMOD)

# A module that patches the kernel is installed only on request.
install_takeover: install_modules $(OUT)/built_takeover
	+@$(call install_from,$(OUT)/src/takeover)
	$(DEPMOD)

# There must not be two modules of the same name.
$(OUT)/built: | $(if $(filter install%,$(GOALS)),without_dkms)
without_dkms:
	@$(HERE)/install/dkms.sh is_absent $(call quote,$(DESTDIR)) $(RELEASE)

# Below PREFIX
HEADER_FILES := include/linux/hmm_mirror.h include/hmm_mirror/hmm_mirror.h
TOOL_FILES := bin/hmmctl share/man/man1/hmmctl.1 \
	      share/bash-completion/completions/hmmctl share/zsh/site-functions/_hmmctl \
	      share/fish/vendor_completions.d/hmmctl.fish
# $(call put_tool,mode,file,one of them)
put_tool = $(call put,$(TOOLS_LIST),$(1),$(2),$(DESTDIR)$(PREFIX)/$(3))

define INSTALL_TOOLS
	@$(call put_tool,0755,$(OUT)/tools/hmmctl,$(word 1,$(TOOL_FILES)))
	@$(call put_tool,0644,tools/hmmctl.1,$(word 2,$(TOOL_FILES)))
	@$(call put_tool,0644,tools/completions/hmmctl.bash,$(word 3,$(TOOL_FILES)))
	@$(call put_tool,0644,tools/completions/_hmmctl,$(word 4,$(TOOL_FILES)))
	@$(call put_tool,0644,tools/completions/hmmctl.fish,$(word 5,$(TOOL_FILES)))
endef

define INSTALL_HEADERS
	@$(call put_tool,0644,uapi/linux/hmm_mirror.h,$(word 1,$(HEADER_FILES)))
	@$(call put_tool,0644,hmm_mirror.h,$(word 2,$(HEADER_FILES)))
endef

install_tools: build_tools
	$(INSTALL_TOOLS)

install_headers:
	$(INSTALL_HEADERS)

# Removes the files named here, and the directories that were created for them.
uninstall:
	@$(if $(RELEASE),$(HERE)/install/dkms.sh is_absent $(call quote,$(DESTDIR)) $(RELEASE),:)
	@$(if $(RELEASE),$(REMOVE_MODULES),:)
	$(if $(RELEASE),$(DEPMOD))
	@if $(HERE)/install/dkms.sh is_absent $(call quote,$(DESTDIR)); then $(REMOVE_TOOLS); fi
	@$(if $(RELEASE),:,$(MODULES_LEFT))

REMOVE_MODULES = $(FILES) remove $(call quote,$(MODULES_LIST)) $(call quote,$(DESTDIR)) \
		 $(call module_files,hmm_mirror) $(call module_files,hmm_takeover) \
		 $(call quote,$(MODULE_DIR)/hmm_mirror.symvers)
REMOVE_TOOLS = $(FILES) remove $(call quote,$(TOOLS_LIST)) $(call quote,$(DESTDIR)) \
	       $(foreach file,$(TOOL_FILES) $(HEADER_FILES),$(call quote,$(DESTDIR)$(PREFIX)/$(file)))

define MODULES_LEFT
{ \
	echo "No module was removed: there are no kernel headers in $(KDIR) that"; \
	echo "say for which kernel. Nothing but hmmctl and what belongs to it was."; \
	set -- $(call quote,$(DESTDIR))/lib/modules/*/updates/hmm_mirror.ko*; \
	[ -e "$$1" ] || exit 0; \
	echo "There is still:"; \
	for module; do \
		release=$${module%/updates/*}; \
		echo "  $$module"; \
		echo "    make uninstall KDIR=/lib/modules/$${release##*/}/build"; \
	done; \
	exit 1; \
} >&2
endef

# With DESTDIR it is for a package, which calls DKMS on the target; or DKMS= says how to
# call it, with --sourcetree, --dkmstree and --installtree below DESTDIR.
ifeq ($(DESTDIR),)
DKMS ?= dkms
endif
DKMS_DO = DKMS=$(call quote,$(DKMS)) \
	  KERNEL_SOURCE=$(if $(KDIR_GIVEN),$(KDIR)) $(HERE)/install/dkms.sh
DKMS_FILES := dkms.conf COPYING install/check_kernel.sh install/compiler.sh \
	      install/symvers.sh $(filter probes/% uapi/%,$(SOURCES)) \
	      $(foreach file,$(SOURCES),$(if $(findstring /,$(file)),,$(file)))

install_dkms: build_tools
	@$(DKMS_DO) install $(call quote,$(DESTDIR)) $(VERSION) "$(RELEASE)" $(DKMS_FILES)
	$(INSTALL_TOOLS)
	$(INSTALL_HEADERS)

uninstall_dkms:
	@$(DKMS_DO) remove $(call quote,$(DESTDIR))
	@$(REMOVE_TOOLS)

# --- With the kernels of the table selftests/qemu/kernels ---------------------

modules:
	@$(QEMU)/modules.sh $(KERNEL)

run:
	@$(QEMU)/run.sh demo $(KERNEL)

rdma:
	@$(QEMU)/run.sh rdma $(or $(KERNEL),stock-7)

dma:
	@DMAS=$(call quote,$(DMAS)) $(QEMU)/run.sh dma $(KERNEL)

shell:
	@WITH=$(call quote,$(WITH)) $(QEMU)/run.sh shell $(KERNEL)

check:
	@TESTS=$(call quote,$(TESTS)) ARGS=$(call quote,$(ARGS)) $(QEMU)/check.sh $(KERNEL)

bench:
	@$(QEMU)/run.sh bench $(KERNEL)

compare:
	@selftests/compare/run.sh $(KERNEL)

mutations:
	@NAMES=$(call quote,$(NAMES)) selftests/mutations/run.sh $(KERNEL)

style:
	@selftests/style.sh

clean:
	rm -rf build
