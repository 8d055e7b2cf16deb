/* The programs inside the one VTL2 binary, chosen by argv[0]. */
#ifndef PARAPET_PARAVISOR_PROGRAMS_H
#define PARAPET_PARAVISOR_PROGRAMS_H

/* Process 1: mounts, entropy, starts and watches the paravisor. */
int init_main(void);
/* Boots and serves the guest. */
int paravisor_main(void);

#endif
