# Instruction decode and emulation; vtl2-devices/build.mk includes this file.
devices_LIB += $(addprefix vtl2-devices/x86emu/, \
	walk.c insn.c access.c alu.c mem.c integer.c sse.c string.c emulate.c)
