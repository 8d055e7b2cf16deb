# The nested machine (scripts/run-nested): its first program.
$(B)/nested/init: scripts/nested/init.c
	$(call say,CC-nested,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -static -std=gnu11 -D_GNU_SOURCE $(WARN) -Os -s -o $@ $<
