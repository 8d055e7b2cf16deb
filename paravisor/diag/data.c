/* Data connections that wait to be claimed. */
#include "paravisor/diag/data.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"

struct data_conn {
	struct loop_handler handler;
	struct data_table *table;
	struct data_conn *next;
	u64 id;
	int fd;
};

void data_init(struct data_table *table, struct loop *loop)
{
	*table = (struct data_table){.loop = loop};
}

static int detach(struct data_table *table, struct data_conn *conn)
{
	struct data_conn **at = &table->first;
	int fd = conn->fd;

	while (*at != conn)
		at = &(*at)->next;
	*at = conn->next;
	table->count--;
	loop_remove(table->loop, fd);
	free(conn);
	return fd;
}

/* The peer has closed, or shut down its side: the number is void. */
static void on_event(struct loop_handler *handler, u32 events)
{
	struct data_conn *conn = (struct data_conn *)handler;

	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		close(detach(conn->table, conn));
}

void data_accept(struct data_table *table, int fd)
{
	struct data_conn *conn = table->count < DATA_WAITING_MAX ? calloc(1, sizeof(*conn)) : NULL;
	u8 number[8];

	if (!conn) {
		close(fd);
		return;
	}
	*conn = (struct data_conn){
		.handler = {on_event},
		.table = table,
		.next = table->first,
		.id = ++table->last_id,
		.fd = fd,
	};
	table->first = conn;
	table->count++;
	put_le64(number, conn->id);
	if (!loop_add(table->loop, fd, EPOLLRDHUP, &conn->handler) ||
	    send(fd, number, sizeof(number), MSG_NOSIGNAL) != sizeof(number))
		close(detach(table, conn));
}

int data_take(struct data_table *table, u64 id)
{
	for (struct data_conn *conn = table->first; conn; conn = conn->next) {
		if (conn->id == id)
			return detach(table, conn);
	}
	return -1;
}

void data_free(struct data_table *table)
{
	while (table->first)
		close(detach(table, table->first));
}
