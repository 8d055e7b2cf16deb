/* What the host may ask for: counters, memory, device state as lines of text. */
#ifndef PARAPET_PARAVISOR_REPORT_H
#define PARAPET_PARAVISOR_REPORT_H

/* Answers HOSTLINK_STATS. On the receive thread. */
void report_send(void);

#endif
