# What only the end-to-end tests need: the bare-metal guest, and `parapet` under ASan.
RAW_SRCS := $(wildcard tests/guests/raw/*.[cS])
RAW_GUEST := $(B)/guest/raw.elf
$(B)/raw/%.o: tests/guests/raw/%.c tests/guests/raw/raw.h
	$(call say,CC-raw,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -I. -g $(PREFIX_MAP) -O1 $(WARN) -ffreestanding -fno-pie \
		-mgeneral-regs-only -mno-red-zone -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -c -o $@ $<
$(B)/raw/%.o: tests/guests/raw/%.S
	$(call say,AS-raw,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -fno-pie -c -o $@ $<
$(RAW_GUEST): $(patsubst tests/guests/raw/%,$(B)/raw/%.o,$(basename $(RAW_SRCS))) tests/guests/raw/raw.lds
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)ld -m elf_x86_64 -no-pie --build-id=none -z noexecstack -z max-page-size=4096 \
		-T tests/guests/raw/raw.lds -o $@ $(filter %.o,$^)

$(B)/e2e/hybrid $(B)/guest/bin/hv: tests/lib/bounce.h
$(B)/e2e/%: tests/e2e/%.c
	$(call say,CC-e2e,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -I. -D_GNU_SOURCE $(WARN) -O2 -static -o $@ $<

# `parapet` as a hostile host
$(B)/e2e/hostile_host: $(B)/native/tests/e2e/hostile_host.o $(B)/native/host/main.o $(B)/native/libparapet.a
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -static -Wl,--wrap=synic_post -Wl,--wrap=vmbus_channel_open_done -o $@ $^ $(NATIVE_LIBS)
e2e test test-long: $(B)/e2e/hostile_host

# the diagnostics server as a native program
$(B)/asan/diagd: $(B)/asan/tests/e2e/diagd.o $(B)/asan/libparapet.a
	$(call say,LINK,$@)
	$(Q)$(CC) -fsanitize=address,undefined -o $@ $^ -lpthread $(NATIVE_LIBS)
e2e test test-long: $(B)/asan/diagd

e2e test test-long: $(RAW_GUEST) $(B)/asan/parapet $(B)/e2e/unixcat $(B)/e2e/asuser $(B)/e2e/hybrid

# Programs that `make bench` runs on the (nested) host
BENCH := $(B)/bench/timeline $(B)/bench/kvm_exit
$(B)/bench/%: tests/bench/%.c
	$(call say,CC-bench,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(COMMON_CFLAGS) $(WARN) -O2 -static -s -o $@ $<
bench: $(BENCH) $(B)/image/parapet-x64-debug.igvm

# Measuring an image, on this machine
$(B)/bench/igvm_measure: $(B)/native/tests/bench/igvm_measure.o $(B)/native/libparapet.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -static -o $@ $^ $(NATIVE_LIBS)
bench: $(B)/bench/igvm_measure
