/* The programs inside the one VTL2 binary, chosen by argv[0]. */
#ifndef PARAPET_PARAVISOR_PROGRAMS_H
#define PARAPET_PARAVISOR_PROGRAMS_H

/* Process 1: mounts, entropy, starts and watches the paravisor. */
int init_main(int argc, char **argv);
/* Boots and serves the guest. */
int paravisor_main(int argc, char **argv);
/* Diagnostics over vsock; its environment is that of process 1 (it decides the policy). */
int diag_main(int argc, char **argv);
/* Its exit status where the kernel or the host offers no vsock: no use to start it again. */
#define DIAG_STATUS_NO_VSOCK 3
/* underhill-crash: takes a core from the kernel to the host. */
int crash_main(int argc, char **argv);
/* underhill-dump: writes a core of a running process. */
int dump_main(int argc, char **argv);

#endif
