# Parapet: `make run` boots a guest through the paravisor, `make test` proves it. `make help` lists all.

V ?= 0
ifeq ($(V),0)
Q := @
say = @printf '  %-8s %s\n' $(1) $(2)
MAKEFLAGS += --no-print-directory
endif
export V

B := build
CC := gcc
CLANG ?= clang
MUSL_CC ?= musl-gcc
CACHE := $(or $(PARAPET_CACHE),$(HOME)/.cache/parapet)
export PARAPET_CACHE := $(CACHE)
export CC MUSL_CC

# The same bytes in every folder, for every user: nothing of the environment changes what is built,
# and no path outside the tree gets in (`make reproducible` checks).
export LC_ALL := C.UTF-8
export PWD := $(CURDIR)
unexport CPATH C_INCLUDE_PATH LIBRARY_PATH COMPILER_PATH GCC_EXEC_PREFIX DEPENDENCIES_OUTPUT \
	SOURCE_DATE_EPOCH ZSTD_CLEVEL ZSTD_NBTHREADS
# the last one that fits counts
PREFIX_MAP := -ffile-prefix-map=$(CURDIR)=. -ffile-prefix-map=$(CACHE)=cache

WARN := -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wundef -Wvla \
	-Wdate-time -Wno-missing-field-initializers
# libfdt, Zydis and zstd come from fetched sources, in one version for all flavours
LIBS_PREFIX := $(B)/libs
LIBS := $(B)/libs.stamp
COMMON_CFLAGS := -std=gnu11 -I. -g $(PREFIX_MAP) -fno-common -D_GNU_SOURCE \
	-isystem $(LIBS_PREFIX)/include -DZYDIS_STATIC_BUILD -DZYCORE_STATIC_BUILD \
	-DZYDIS_DISABLE_ENCODER -DZYDIS_DISABLE_FORMATTER -DZYDIS_DISABLE_AVX512 -DZYDIS_DISABLE_KNC
NATIVE_CFLAGS := $(COMMON_CFLAGS) $(WARN) -O2 -fstack-protector-strong
ASAN_CFLAGS := $(COMMON_CFLAGS) $(WARN) -O1 -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
FUZZ_CFLAGS := $(COMMON_CFLAGS) -Wall -O1 -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=all -fno-omit-frame-pointer -DPARAPET_FUZZ

# Made from fetched sources (scripts/sources.list)
KERNEL := $(B)/kernel/release/vmlinux
KERNEL_DEBUG := $(B)/kernel/debug/vmlinux
KHDR := $(B)/kernel/release/include
LIBFDT_SRC := $(CACHE)/src/dtc/libfdt

VTL2_CFLAGS := $(COMMON_CFLAGS) $(WARN) -Os -ffunction-sections -fdata-sections \
	-fstack-protector-strong -fno-asynchronous-unwind-tables -isystem $(KHDR) -DPARAPET_VTL2
VTL2_LDFLAGS := -static -Wl,--gc-sections,-z,relro,-z,now,-z,noexecstack
VTL2_LIBS := -L$(LIBS_PREFIX)/lib -lZydis -lZycore -lfdt -lzstd
NATIVE_LIBS := -L$(LIBS_PREFIX)/native -lZydis -lZycore -lfdt -lzstd -ljansson -lmbedcrypto

PROGRAMS := $(B)/bin/parapet $(B)/bin/igvm
IMAGE := $(B)/image/parapet-x64.igvm
IMAGE_DEBUG := $(B)/image/parapet-x64-debug.igvm
# for SEV-SNP, TDX and VBS in one file
IMAGE_CVM := $(B)/image/parapet-x64-cvm.igvm
IMAGE_CVM_DEBUG := $(B)/image/parapet-x64-cvm-debug.igvm
IMAGES := $(IMAGE) $(IMAGE_DEBUG) $(IMAGE_CVM) $(IMAGE_CVM_DEBUG)
# what is fetched and ends up in them (scripts/sources.list)
IMAGE_SOURCES := src/linux src/dtc src/zydis src/zycore src/zstd
GUEST := $(B)/guest/vmlinuz $(B)/guest/initramfs.cpio
NESTED := $(B)/nested/init

.PHONY: all help
all: $(PROGRAMS) $(IMAGE) $(IMAGE:.igvm=.inputs.json) $(NESTED) $(GUEST)

help:
	@echo 'make             everything that `make run` needs'
	@echo 'make run         boot a guest through the paravisor, console on the terminal (Ctrl-A X ends)'
	@echo '                 CPUS=N MEMORY=SIZE CMDLINE="..." RUNFLAGS="parapet run options"'
	@echo 'make test        lint, unit tests, fuzz targets (10 s each), end-to-end tests'
	@echo 'make unit        unit tests alone; make e2e [T=name]: end-to-end tests alone'
	@echo 'make fuzz        fuzz targets, FUZZ_SECONDS=60 each'
	@echo 'make bench       boot, exits, memory, size: a table, and build/bench.json'
	@echo 'make test-long   the same, and what builds kernels; FUZZ_SECONDS=60 for each fuzz target'
	@echo 'make reproducible  builds everything twice in different places and compares the bytes'
	@echo '                 REPRODUCE="options of scripts/reproduce"'
	@echo 'make image       release and debug images (without isolation; SEV-SNP, TDX, VBS), and their sizes'
	@echo 'make lint        format, static checks, each header alone, script syntax'
	@echo 'make setup       install missing Debian packages; make fetch: all sources'
	@echo 'make clean       remove build/ (the cache stays: $(CACHE))'
	@echo 'V=1 shows every command. KERNEL_SRC=TREE builds another Linux tree for VTL2.'

# --- what must be there before anything is built
BUILDING := $(filter-out help clean setup fetch,$(or $(MAKECMDGOALS),all))
ifneq ($(if $(PARAPET_NO_SETUP),,$(BUILDING)),)
include $(B)/setup.mk
endif
$(B)/setup.mk: scripts/packages scripts/setup
	$(Q)scripts/setup
	@mkdir -p $(@D) && touch $@
.PHONY: setup fetch
setup:
	$(Q)scripts/setup
fetch:
	$(Q)scripts/fetch
$(CACHE)/%/.fetched: scripts/sources.list
	$(Q)scripts/fetch $*
# files of fetched sources that rules name
$(LIBFDT_SRC)/%: | $(CACHE)/src/dtc/.fetched
	@test -e $@

# What objects are made with besides their source: other flags, compiler or libraries make them anew,
# so that a tree that has been built before gives the same bytes as a fresh one.
define flags_file # folder below build/, compiler, flags, order-only prerequisites, links to look at
$(B)/$(1)/flags: FORCE | $(4)
	@mkdir -p $$(@D)
	@{ echo '$(2) $(3) $$(EXTRA_CFLAGS)'; $(2) --version | head -1; readlink $(5) . || :; } >$$@.new
	@if cmp -s $$@.new $$@; then rm $$@.new; else mv $$@.new $$@; fi
endef

# Each folder names its sources: <folder>_LIB is testable code without a main().
include $(wildcard */build.mk)

LIB_SRCS := $(common_LIB) $(igvm_LIB) $(devices_LIB) $(loader_LIB) $(paravisor_LIB) $(host_LIB)

# --- flavours: native programs, the same under ASan+UBSan for unit tests, for libFuzzer, for VTL2
define flavour # name, compiler, flags, sources of its library, order-only prerequisites, links
$(B)/$(1)/%.o: %.c $(B)/$(1)/flags | $(5)
	$$(call say,CC-$(1),$$<)
	@mkdir -p $$(@D)
	$$(Q)$(2) $(3) $$(EXTRA_CFLAGS) -MMD -MP -c -o $$@ $$<
$(1)_LIBOBJS := $$(patsubst %.c,$(B)/$(1)/%.o,$(4))
$(B)/$(1)/libparapet.a: $$($(1)_LIBOBJS)
	@rm -f $$@
	$$(Q)ar crsD $$@ $$^
$(call flags_file,$(1),$(2),$(3),$(5),$(6))
endef
$(eval $(call flavour,native,$(CC),$(NATIVE_CFLAGS),$(LIB_SRCS),$(LIBS),$(LIBS_PREFIX)))
$(eval $(call flavour,asan,$(CC),$(ASAN_CFLAGS),$(LIB_SRCS),$(LIBS),$(LIBS_PREFIX)))
$(eval $(call flavour,fuzz,$(CLANG),$(FUZZ_CFLAGS),$(LIB_SRCS),$(LIBS),$(LIBS_PREFIX)))
$(eval $(call flavour,musl,$(MUSL_CC),$(VTL2_CFLAGS),$(common_LIB) $(devices_LIB) $(paravisor_LIB),\
	$(LIBS) $(KERNEL),$(LIBS_PREFIX) $(KHDR)))

-include $(shell find $(B) -name '*.d' 2>/dev/null)
.SECONDARY:
.DELETE_ON_ERROR:

# --- VTL2: kernel, libraries, the multi-call binary, initrd, image
$(B)/kernel/release/vmlinux: kernel-config/base.config
$(B)/kernel/debug/vmlinux: kernel-config/base.config kernel-config/debug.config
$(KERNEL) $(KERNEL_DEBUG): $(wildcard kernel-config/patches/*.patch)
$(KERNEL) $(KERNEL_DEBUG): scripts/build-kernel $(if $(KERNEL_SRC),,$(CACHE)/src/linux/.fetched)
	$(Q)scripts/build-kernel $(@D) $(filter %.config %.patch,$^)
# one after the other: each uses all processors
$(KERNEL_DEBUG): | $(KERNEL)

$(LIBS): scripts/build-libs $(foreach s,dtc zydis zycore zstd,$(CACHE)/src/$(s)/.fetched)
	$(Q)scripts/build-libs $(LIBS_PREFIX)
	@touch $@

$(B)/vtl2/paravisor: $(paravisor_MAIN:%.c=$(B)/musl/%.o) $(B)/musl/libparapet.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(MUSL_CC) $(VTL2_LDFLAGS) -o $@.full $^ $(VTL2_LIBS)
	$(Q)strip -o $@ $@.full

# in /usr/bin from Debian 13 on
BUSYBOX = $$(find $(CACHE)/guest/busybox -type f -path '*/bin/busybox')
$(B)/image/initrd.zst: initrd/release.list
$(B)/image/initrd-debug.zst: initrd/release.list initrd/debug.list | $(CACHE)/guest/busybox/.fetched
$(B)/image/initrd.zst $(B)/image/initrd-debug.zst: $(B)/vtl2/paravisor scripts/newc.py
	$(call say,INITRD,$@)
	@mkdir -p $(@D)
	$(Q)scripts/newc.py $(filter %.list,$^) -D BUSYBOX=$(BUSYBOX) -o $(@:.zst=.cpio)
	$(Q)zstd -19 --single-thread -q -f $(@:.zst=.cpio) -o $@

igvm_build = $(B)/bin/igvm build $(filter %.json,$^) --resource underhill_kernel=$(1) \
	--resource underhill_initrd=$(2) --resource openhcl_boot=$(SHIM) -o $@
$(IMAGES): $(B)/image/%.igvm: igvm/manifests/%.json $(B)/bin/igvm $(SHIM)
$(IMAGE) $(IMAGE_CVM): $(KERNEL) $(B)/image/initrd.zst
	$(call say,IGVM,$@)
	$(Q)$(call igvm_build,$(KERNEL),$(B)/image/initrd.zst)
$(IMAGE_DEBUG) $(IMAGE_CVM_DEBUG): $(KERNEL_DEBUG) $(B)/image/initrd-debug.zst
	$(call say,IGVM,$@)
	$(Q)$(call igvm_build,$(KERNEL_DEBUG),$(B)/image/initrd-debug.zst)

# beside each image: what went into it, what came out (rewritten if that has changed)
INPUTS := $(IMAGES:.igvm=.inputs.json)
inputs_of = $(Q)scripts/inputs -o $@ $(addprefix --source ,$(1)) $(filter-out FORCE,$^)
$(INPUTS): %.inputs.json: %.igvm $(PROGRAMS) $(SHIM) $(B)/vtl2/paravisor FORCE
$(filter-out %-debug.inputs.json,$(INPUTS)): $(KERNEL) $(B)/image/initrd.zst
	$(call inputs_of,$(IMAGE_SOURCES))
$(filter %-debug.inputs.json,$(INPUTS)): $(KERNEL_DEBUG) $(B)/image/initrd-debug.zst
	$(call inputs_of,$(IMAGE_SOURCES) guest/busybox)
.PHONY: FORCE

.PHONY: image
image: $(IMAGES) $(INPUTS)
	$(Q)scripts/size-report $(IMAGE) $(SHIM) $(KERNEL) $(B)/image/initrd.zst
	$(Q)scripts/size-report $(IMAGE_CVM) $(SHIM) $(KERNEL) $(B)/image/initrd.zst
	$(Q)scripts/size-report $(IMAGE_DEBUG) $(SHIM) $(KERNEL_DEBUG) $(B)/image/initrd-debug.zst
	$(Q)scripts/size-report $(IMAGE_CVM_DEBUG) $(SHIM) $(KERNEL_DEBUG) $(B)/image/initrd-debug.zst

# --- the guest of the tests: Debian's kernel, busybox, and test programs (tests/guests/*.c)
GUEST_PROGRAMS := $(patsubst tests/guests/%.c,$(B)/guest/bin/%,$(wildcard tests/guests/*.c))
$(B)/guest/bin/%: tests/guests/%.c
	$(call say,CC-guest,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(COMMON_CFLAGS) $(WARN) -O2 -static -s -o $@ $<
$(B)/guest/vmlinuz: scripts/debian_kernel.py $(CACHE)/guest/kernel/.fetched
	@mkdir -p $(@D)
	$(Q)scripts/debian_kernel.py --image $@
$(B)/guest/initramfs.cpio: scripts/debian_kernel.py scripts/newc.py tests/guests/initramfs.list \
		tests/guests/init.sh tests/guests/hv.sh tests/guests/modules $(GUEST_PROGRAMS) \
		$(CACHE)/guest/kernel/.fetched $(CACHE)/guest/busybox/.fetched
	$(call say,GUEST,$@)
	$(Q)scripts/debian_kernel.py --modules tests/guests/modules $(B)/guest/modules
	$(Q)scripts/newc.py tests/guests/initramfs.list -D BUSYBOX=$(BUSYBOX) -t /lib/modules=$(B)/guest/modules \
		$(if $(GUEST_PROGRAMS),-t /bin=$(B)/guest/bin) -o $@
.PHONY: guest
guest: $(GUEST)

# --- run
CPUS ?= 2
MEMORY ?= 1G
CMDLINE ?= console=ttyS0
RUNFLAGS ?=
.PHONY: run
run: $(PROGRAMS) $(IMAGE) $(NESTED) $(GUEST)
	@scripts/parapet run --image $(IMAGE) --kernel $(B)/guest/vmlinuz \
		--initrd $(B)/guest/initramfs.cpio --cmdline "$(CMDLINE)" --cpus $(CPUS) \
		--memory $(MEMORY) $(RUNFLAGS)

# --- unit tests: every tests/unit/test_*.c is a cmocka program
UNIT := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))
$(B)/asan/tests/unit/%: $(B)/asan/tests/unit/%.o $(B)/asan/libparapet.a
	$(Q)$(CC) -fsanitize=address,undefined -o $@ $^ -lcmocka $(NATIVE_LIBS)
# what unit tests start as programs
UNIT_NEEDS := $(SHIM)
.PHONY: unit unit-build
unit-build: $(UNIT:%=$(B)/asan/tests/unit/%) $(UNIT_NEEDS)
unit: unit-build
	$(Q)tests/run --unit

# --- fuzz targets: every tests/fuzz/fuzz_*.c is a libFuzzer program, corpus in tests/fuzz/corpus/
FUZZ := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SECONDS ?= 60
$(B)/fuzz/tests/fuzz/%: $(B)/fuzz/tests/fuzz/%.o $(B)/fuzz/libparapet.a
	$(Q)$(CLANG) -fsanitize=fuzzer,address,undefined -o $@ $^ $(NATIVE_LIBS)
.PHONY: fuzz fuzz-build
fuzz-build: $(FUZZ:%=$(B)/fuzz/tests/fuzz/%)
fuzz: fuzz-build
	$(Q)tests/run --fuzz --fuzz-seconds $(FUZZ_SECONDS)

# --- end to end and benchmarks: real image, real guest
.PHONY: e2e bench
e2e: all $(IMAGE_DEBUG)
	$(Q)tests/run --e2e $(if $(T),--filter '$(T)')
bench: all
	$(Q)tests/bench/run

.PHONY: test
test: all $(IMAGE_DEBUG) unit-build fuzz-build lint-build
	$(Q)tests/run --lint --unit --fuzz --e2e

.PHONY: test-long
test-long: all $(IMAGE_DEBUG) unit-build fuzz-build lint-build
	$(Q)tests/run --lint --unit --fuzz --e2e --long --fuzz-seconds $(FUZZ_SECONDS)

# --- the same bytes elsewhere: two builds, or one and what somebody published (--against)
REPRODUCE ?=
.PHONY: reproducible
reproducible:
	$(Q)scripts/reproduce $(REPRODUCE)

# --- lint
include scripts/lint.mk

.PHONY: clean
clean:
	$(Q)rm -rf $(B)
