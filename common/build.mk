common_LIB := common/crc32.c common/log.c
