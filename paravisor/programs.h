/* The programs inside the one VTL2 binary, chosen by argv[0]. */
#ifndef PARAPET_PARAVISOR_PROGRAMS_H
#define PARAPET_PARAVISOR_PROGRAMS_H

/* Process 1: mounts, entropy, starts and watches the paravisor. */
int init_main(void);
/* Boots and serves the guest. */
int paravisor_main(void);
/* Diagnostics over vsock; its environment is that of process 1 (it decides the policy). */
int diag_main(void);
/* Its exit status where the kernel or the host offers no vsock: no use to start it again. */
#define DIAG_STATUS_NO_VSOCK 3

#endif
