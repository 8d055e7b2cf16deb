# host/: the `parapet` program. All but main() is in the library, so that tests can link it.
host_LIB := $(filter-out host/main.c,$(sort $(wildcard host/*.c host/diag/*.c)))

.PHONY: parapet
parapet: build/bin/parapet
# Static, so that the same file also runs in the nested machine.
build/bin/parapet: build/native/host/main.o build/native/libparapet.a
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -static -o $@ $^ $(NATIVE_LIBS)
build/asan/parapet: build/asan/host/main.o build/asan/libparapet.a
	$(call say,LINK,$@)
	$(Q)$(CC) -fsanitize=address,undefined -o $@ $^ $(NATIVE_LIBS)
