# Parapet: `make run` boots a guest through the paravisor, `make test` proves it. `make help` lists all.

V ?= 0
ifeq ($(V),0)
Q := @
say = @printf '  %-8s %s\n' $(1) $(2)
MAKEFLAGS += --no-print-directory
endif

B := build
CC ?= gcc
CLANG ?= clang
CACHE := $(or $(PARAPET_CACHE),$(HOME)/.cache/parapet)
export PARAPET_CACHE := $(CACHE)

WARN := -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wundef -Wvla \
	-Wno-missing-field-initializers
COMMON_CFLAGS := -std=gnu11 -I. -g -fno-common -D_GNU_SOURCE
NATIVE_CFLAGS := $(COMMON_CFLAGS) $(WARN) -O2 -fstack-protector-strong
ASAN_CFLAGS := $(COMMON_CFLAGS) $(WARN) -O1 -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
FUZZ_CFLAGS := $(COMMON_CFLAGS) -Wall -O1 -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=all -fno-omit-frame-pointer -DPARAPET_FUZZ

.PHONY: all help
all: help-default

# Each folder names its sources: <folder>_LIB is testable code without a main().
include $(wildcard */build.mk)

LIB_SRCS := $(common_LIB) $(igvm_LIB) $(devices_LIB) $(loader_LIB) $(paravisor_LIB) $(host_LIB)

# --- flavours: native programs, the same under ASan+UBSan for unit tests, and for libFuzzer
define flavour # name, compiler, flags
$(B)/$(1)/%.o: %.c
	$$(call say,CC-$(1),$$<)
	@mkdir -p $$(@D)
	$$(Q)$(2) $(3) $$(EXTRA_CFLAGS) -MMD -MP -c -o $$@ $$<
$(1)_LIBOBJS := $$(LIB_SRCS:%.c=$(B)/$(1)/%.o)
$(B)/$(1)/libparapet.a: $$($(1)_LIBOBJS)
	@rm -f $$@
	$$(Q)ar crs $$@ $$^
endef
$(eval $(call flavour,native,$(CC),$(NATIVE_CFLAGS)))
$(eval $(call flavour,asan,$(CC),$(ASAN_CFLAGS)))
$(eval $(call flavour,fuzz,$(CLANG),$(FUZZ_CFLAGS)))

-include $(shell find $(B) -name '*.d' 2>/dev/null)
.SECONDARY:
.DELETE_ON_ERROR:

NATIVE_LIBS := -lZydis -lZycore -lfdt -ljansson

# --- unit tests: every tests/unit/test_*.c is a cmocka program
UNIT := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))
$(B)/asan/tests/unit/%: $(B)/asan/tests/unit/%.o $(B)/asan/libparapet.a
	$(Q)$(CC) -fsanitize=address,undefined -o $@ $^ -lcmocka $(NATIVE_LIBS)
.PHONY: unit fuzz-build
unit: $(UNIT:%=$(B)/asan/tests/unit/%)
	$(Q)for t in $^; do $$t || exit 1; done

# --- fuzz targets: every tests/fuzz/fuzz_*.c is a libFuzzer program, corpus in tests/fuzz/corpus/
FUZZ := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
$(B)/fuzz/tests/fuzz/%: $(B)/fuzz/tests/fuzz/%.o $(B)/fuzz/libparapet.a
	$(Q)$(CLANG) -fsanitize=fuzzer,address,undefined -o $@ $^ $(NATIVE_LIBS)
fuzz-build: $(FUZZ:%=$(B)/fuzz/tests/fuzz/%)
