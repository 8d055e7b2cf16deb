/* What the saved states of VMBus share: GUIDs, texts, messages that wait. */
#include "common/vmbus/save.h"

#include <string.h>

static const struct saved_field guid_fields[] = {
	SAVED_ANY(1, struct guid, data1),
	SAVED_ANY(2, struct guid, data2),
	SAVED_ANY(3, struct guid, data3),
	SAVED_NUMBERS(4, struct guid, data4, UINT8_MAX),
};
const struct saved_layout vmbus_saved_guid = SAVED_LAYOUT(guid_fields);

bool vmbus_saved_text(struct pb_bytes message, u32 number, char *text, size_t size)
{
	struct pb_bytes in;
	size_t n;

	if (!pb_find_bytes(message, number, &in) || !pb_is_utf8(in))
		return false;
	for (n = 0; n < in.size; n++)
		if (in.data[n] < ' ' || in.data[n] == 0x7f)
			return false;
	n = MIN(in.size, size - 1);
	/* not in the middle of a character */
	while (n < in.size && n && (in.data[n] & 0xc0) == 0x80)
		n--;
	if (n)
		memcpy(text, in.data, n);
	text[n] = 0;
	return true;
}

enum { OUTMSG_DATA = 4 };

static const struct saved_field outmsg_fields[] = {
	SAVED_ANY(1, struct vmbus_outmsg, target), SAVED_ANY(2, struct vmbus_outmsg, vtl),
	SAVED_NUMBER(3, struct vmbus_outmsg, sint, 15),
	/* 4: the message */
};
static const struct saved_layout outmsg_layout = SAVED_LAYOUT(outmsg_fields);

void vmbus_outbox_save(const struct vmbus_outbox *b, struct pb_writer *w, u32 number)
{
	for (u32 i = 0; i < b->len; i++) {
		const struct vmbus_outmsg *m = &b->msg[(b->head + i) % b->size];
		size_t mark = pb_begin(w, number);

		saved_write(w, &outmsg_layout, m);
		pb_put_bytes(w, OUTMSG_DATA, (struct pb_bytes){m->data, m->len});
		pb_end(w, mark);
	}
}

bool vmbus_outmsg_restore(struct pb_bytes state, struct vmbus_outmsg *m)
{
	struct pb_bytes data;

	*m = (struct vmbus_outmsg){0};
	if (!saved_read(state, &outmsg_layout, m) || !pb_find_bytes(state, OUTMSG_DATA, &data))
		return false;
	if (data.size < sizeof(struct vmbus_msg_header) || data.size > sizeof(m->data))
		return false;
	m->len = (u8)data.size;
	memcpy(m->data, data.data, data.size);
	return true;
}
