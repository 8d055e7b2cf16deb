# libigvm: the IGVM library for other projects; make install
# The library for others: what igvm/igvm.h declares, and no other name to clash with
LIBIGVM := common/crc32.c $(addprefix igvm/,types.c spans.c read.c check.c relocate.c write.c elf.c \
	pages.c paravisor.c payload.c parts.c tables.c snp.c patch.c hash.c measure.c \
	measure_rest.c sign.c cbor.c corim.c diff.c)
$(B)/libigvm.a: $(LIBIGVM:%.c=$(B)/native/%.o)
	$(call say,AR,$@)
	$(Q)ld -r -o $(@:.a=.o) $^
	$(Q)objcopy -w --keep-global-symbol='igvm_*' $(@:.a=.o)
	@rm -f $@
	$(Q)ar crsD $@ $(@:.a=.o)

$(B)/lib/use_igvm: tests/lib/use_igvm.c $(B)/libigvm.a igvm/igvm.h
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -I. $(WARN) -O2 -o $@ $< $(B)/libigvm.a -lmbedcrypto
$(B)/lib/use_igvm.ran: $(B)/lib/use_igvm
	$(Q)$<
	@touch $@
unit-build: $(B)/lib/use_igvm.ran

# What reading costs; `make bench` shows it
$(B)/bench/igvm_read: tests/bench/igvm_read.c $(B)/native/libparapet.a
	$(call say,CC-bench,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(COMMON_CFLAGS) $(WARN) -O2 -static -o $@ $^ \
		-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free
bench: $(B)/bench/igvm_read

# make install DESTDIR= PREFIX=: programs, library, headers, pkg-config
PREFIX ?= /usr/local
IGVM_HEADERS := igvm/igvm.h common/types.h common/abi/igvm.h common/abi/shim.h
.PHONY: install
install: $(PROGRAMS) $(B)/libigvm.a
	$(call say,INSTALL,$(DESTDIR)$(PREFIX))
	$(Q)install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(B)/bin/parapet $(B)/bin/igvm
	$(Q)install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib $(B)/libigvm.a
	$(Q)for h in $(IGVM_HEADERS); do \
		install -D -m 644 $$h $(DESTDIR)$(PREFIX)/include/libigvm/$$h || exit 1; done
	@mkdir -p $(DESTDIR)$(PREFIX)/lib/pkgconfig
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' \
		-e "s|@VERSION@|$$(sed -n 's/.*PARAPET_VERSION "\(.*\)"/\1/p' common/version.h)|" \
		igvm/libigvm.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/libigvm.pc
