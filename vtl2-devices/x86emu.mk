# Instruction decode and emulation; vtl2-devices/build.mk includes this file.
devices_LIB +=
