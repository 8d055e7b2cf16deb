/* Log lines of VTL2 programs go to the kernel log, and with it to the VTL2 serial port. */
#ifndef PARAPET_PARAVISOR_KLOG_H
#define PARAPET_PARAVISOR_KLOG_H

/* Sets the log sink; name goes in front of each line and must stay valid. */
void klog_start(const char *name);

#endif
