# IGVM library and the command line `igvm`
igvm_LIB := igvm/types.c igvm/spans.c igvm/read.c igvm/check.c igvm/relocate.c igvm/write.c \
	igvm/elf.c igvm/pages.c igvm/paravisor.c igvm/payload.c igvm/manifest.c igvm/build.c \
	igvm/parts.c igvm/inspect.c igvm/hash.c igvm/measure.c

IGVM_CLI := igvm/main.c igvm/cli.c $(sort $(sort $(wildcard igvm/cmd_*.c)))

$(B)/bin/igvm: $(IGVM_CLI:%.c=$(B)/native/%.o) $(B)/native/libparapet.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -static -o $@ $^ -ljansson -lmbedcrypto
