common_LIB := common/crc32.c common/log.c common/guid.c \
	$(addprefix common/vmbus/,ring.c gpadl.c outbox.c server.c pipe.c hvsock.c client.c ic.c)
# Wire formats of the diagnostics
common_LIB += common/inspect.c common/protobuf.c common/ttrpc.c
