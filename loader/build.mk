# Boot shim: freestanding, position independent. The checking and planning modules also compile
# natively for unit tests and fuzzing (with the system's libfdt).
loader_LIB := loader/boot_params.c loader/cmdline.c loader/format.c loader/host_dt.c loader/image.c \
	loader/isolation.c loader/linux_dt.c loader/log_buffer.c loader/memory_plan.c loader/page_tables.c

# libfdt for the shim, from the device-tree-compiler source package
LIBFDT_SRC ?= $(CACHE)/src/dtc/libfdt

SHIM := $(B)/vtl2/shim.elf
SHIM_SRCS := $(loader_LIB) common/crc32.c loader/exceptions.c loader/hypercall.c \
	loader/isolation_none.c loader/isolation_snp.c loader/isolation_tdx.c loader/isolation_vbs.c \
	loader/kernel.c loader/libc.c loader/log.c loader/main.c loader/paging.c loader/panic.c \
	loader/serial.c
SHIM_OBJS := $(B)/shim/loader/entry.o $(SHIM_SRCS:%.c=$(B)/shim/%.o) \
	$(patsubst %,$(B)/shim/libfdt/%.o,fdt fdt_ro fdt_sw fdt_check)

# No vector registers: VTL0 owns them at this point. Own stack cookie: no thread pointer here.
SHIM_CFLAGS := -std=gnu11 -I. -I$(LIBFDT_SRC) -g $(PREFIX_MAP) -O2 -m64 -ffreestanding \
	-fno-common -fPIE -fvisibility=hidden -mgeneral-regs-only -mno-red-zone -fno-stack-protector \
	-fno-asynchronous-unwind-tables -fcf-protection=none -ffunction-sections -fdata-sections \
	-fno-tree-loop-distribute-patterns -DPARAPET_SHIM

$(eval $(call flags_file,shim,$(CC),$(SHIM_CFLAGS) $(WARN)))
$(B)/shim/%.o: %.c $(B)/shim/flags | $(LIBFDT_SRC)/libfdt.h
	$(call say,CC-shim,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SHIM_CFLAGS) $(WARN) -MMD -MP -c -o $@ $<

$(B)/shim/%.o: %.S $(B)/shim/flags
	$(call say,AS-shim,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SHIM_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/shim/libfdt/%.o: $(LIBFDT_SRC)/%.c $(B)/shim/flags
	$(call say,CC-shim,libfdt/$*.c)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SHIM_CFLAGS) -w -c -o $@ $<

# The entry code knows one kind of relocation; anything else would be left undone.
$(SHIM): $(SHIM_OBJS) loader/shim.lds
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)ld -m elf_x86_64 -pie --no-dynamic-linker --gc-sections --build-id=none -z norelro \
		-z noexecstack -z text --fatal-warnings -T loader/shim.lds -o $@ $(SHIM_OBJS)
	$(Q)if readelf -rW $@ | grep R_X86_64 | grep -v R_X86_64_RELATIVE; then \
		echo "$@: relocation that the entry code does not apply" >&2; rm -f $@; exit 1; fi

# This test executes the shim itself.
$(B)/asan/tests/unit/test_shim_run: | $(SHIM)
