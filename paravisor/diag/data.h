/* Data connections (port 2): numbered at once, then claimed by a call that names the number. */
#ifndef PARAPET_PARAVISOR_DIAG_DATA_H
#define PARAPET_PARAVISOR_DIAG_DATA_H

#include "paravisor/diag/loop.h"

/* A client opens at most three at a time, a packet capture one for each NIC. */
#define DATA_WAITING_MAX 256

struct data_conn;
struct data_table {
	struct loop *loop;
	struct data_conn *first;
	u64 last_id;
	unsigned count;
};

void data_init(struct data_table *table, struct loop *loop);
/* Takes a new connection and sends its number. Closes it when too many wait. */
void data_accept(struct data_table *table, int fd);
/* The connection of that number, now the caller's; -1 if there is none (any more). */
int data_take(struct data_table *table, u64 id);
/* Closes all that wait. */
void data_free(struct data_table *table);

#endif
