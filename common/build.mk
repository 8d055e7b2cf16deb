common_LIB := common/crc32.c common/log.c common/guid.c \
	$(addprefix common/vmbus/,ring.c gpadl.c server.c pipe.c hvsock.c)
common_LIB += common/inspect.c common/protobuf.c common/ttrpc.c
