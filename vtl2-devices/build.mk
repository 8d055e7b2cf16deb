devices_LIB := $(addprefix vtl2-devices/, iface.c bus.c serial16550.c cmos_rtc.c acpi_pm.c ioapic.c \
	pic8259.c pit8254.c i8042.c sysports.c chipset.c)
include vtl2-devices/x86emu.mk
