devices_LIB :=
include vtl2-devices/x86emu.mk
