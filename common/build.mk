common_LIB := common/crc32.c common/log.c common/guid.c common/io.c \
	$(addprefix common/vmbus/,ring.c gpadl.c outbox.c pipe.c hvsock.c client.c client_message.c ic.c crash.c inspect.c) \
	$(addprefix common/vmbus/server,.c _connection.c _message.c _channel.c _gpadl.c _offer.c \
	_send.c _info.c _save.c) \
	$(addprefix common/vmbus/,save.c ring_save.c gpadl_save.c client_save.c)
common_LIB += common/protobuf.c common/saved.c \
	$(addprefix common/diag/,elfcore.c inspect.c inspect_text.c inspect_wire.c run.c ttrpc.c)
