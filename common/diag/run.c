/* Messages of parapet.Diag/Run. */
#include "common/diag/run.h"

void run_event_write(struct pb_writer *w, const struct run_event *event)
{
	pb_put_u64(w, 1, event->pid);
	for (u32 i = 0; i < RUN_OUTPUTS; i++)
		pb_put_bytes(w, 2 + i, event->text[i]);
	pb_put_u64(w, 4, event->credit);
	pb_put_u64(w, 5, event->input_closed);
}

bool run_event_parse(struct pb_bytes message, struct run_event *event)
{
	struct pb_reader r;
	struct pb_field f;

	*event = (struct run_event){0};
	pb_reader_init(&r, message);
	while (pb_next(&r, &f)) {
		if (pb_is(&r, &f, 1, PB_VARINT))
			event->pid = f.value;
		else if (pb_is(&r, &f, 2, PB_BYTES))
			event->text[RUN_OUTPUT] = f.bytes;
		else if (pb_is(&r, &f, 3, PB_BYTES))
			event->text[RUN_ERROR] = f.bytes;
		else if (pb_is(&r, &f, 4, PB_VARINT))
			event->credit = f.value;
		else if (pb_is(&r, &f, 5, PB_VARINT))
			event->input_closed = f.value;
	}
	return !r.failed;
}

void run_input_write(struct pb_writer *w, struct pb_bytes input)
{
	pb_put_bytes(w, 1, input);
}

bool run_input_parse(struct pb_bytes message, struct pb_bytes *input)
{
	return pb_find_bytes(message, 1, input);
}
