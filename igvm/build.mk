# IGVM library and the command line `igvm`
igvm_LIB := igvm/types.c igvm/spans.c igvm/read.c igvm/check.c igvm/relocate.c igvm/write.c \
	igvm/elf.c igvm/pages.c igvm/paravisor.c igvm/payload.c igvm/manifest.c igvm/build.c \
	igvm/parts.c igvm/patch.c igvm/extract.c igvm/decode.c igvm/inspect.c \
	igvm/inspect_layout.c igvm/inspect_print.c \
	igvm/hash.c igvm/measure.c igvm/measure_rest.c igvm/sign.c \
	igvm/cbor.c igvm/corim.c igvm/pagelist.c igvm/endorse.c igvm/diff.c

IGVM_CLI := igvm/main.c igvm/cli.c $(sort $(wildcard igvm/cmd_*.c))

$(B)/bin/igvm: $(IGVM_CLI:%.c=$(B)/native/%.o) $(B)/native/libparapet.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -static -o $@ $^ -ljansson -lmbedcrypto

# The image builder
igvm_LIB += igvm/openhcl.c igvm/openhcl_layout.c igvm/openhcl_contents.c \
	igvm/openhcl_plan.c igvm/merge.c igvm/tables.c igvm/snp.c igvm/tdx.c igvm/uefi.c \
	igvm/product_policy.c igvm/manifest_json.c
# which igvm/tdx.c includes
$(foreach f,native asan fuzz,$(B)/$(f)/igvm/tdx.o): igvm/tdx_reset.S

include igvm/libigvm.mk
