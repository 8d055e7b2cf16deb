# The nested machine (scripts/run-nested): its first program.
NESTED_SRC := scripts/nested/init.c scripts/nested/sockets.c
$(B)/nested/init: $(NESTED_SRC) scripts/nested/sockets.h
	$(call say,CC-nested,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -static -std=gnu11 -D_GNU_SOURCE $(WARN) -Os -s -o $@ $(NESTED_SRC)
