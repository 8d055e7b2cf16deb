igvm_LIB := igvm/types.c igvm/spans.c igvm/read.c igvm/check.c igvm/relocate.c igvm/write.c igvm/elf.c igvm/pages.c \
	igvm/paravisor.c igvm/payload.c
