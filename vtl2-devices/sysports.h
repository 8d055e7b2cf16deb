/* Small board ports: PCI configuration without devices, reset ports, POST and debug ports. */
#ifndef PARAPET_VTL2_DEVICES_SYSPORTS_H
#define PARAPET_VTL2_DEVICES_SYSPORTS_H

#include "vtl2-devices/bus.h"

/* Sources: PCI 3.0 ch. 3.2.2.3.2 (mechanism #1); 82371SB data sheet (0xcf9, port 92); Bochs 0xe9.
 */
struct sysports_cfg {
	struct dev_power power;
	struct dev_char_sink debug; /* what the guest writes to port 0xe9 */
};

struct sysports_state {
	u32 pci_address;
	u8 reset_control; /* 0xcf9 */
	u8 port92;
	u8 dma_page[16]; /* 0x80..0x8f remember what was written, port 0x80 is the POST code */
};

struct sysports {
	struct sysports_cfg cfg;
	struct sysports_state s;
};

void sysports_init(struct sysports *sys, const struct sysports_cfg *cfg);
void sysports_reset(struct sysports *sys);
/* Claims 0xcf8-0xcff, 0x92, 0x80-0x8f, 0xe9, 0xed. false: a port is taken. */
bool sysports_register(struct sysports *sys, struct pio_bus *pio);
/* For both see iface.h. */
void sysports_save(const struct sysports *sys, struct pb_writer *out);
bool sysports_restore(struct sysports *sys, struct pb_bytes state);
void sysports_inspect(const struct sysports *sys, const struct dev_inspect *out);

#endif
