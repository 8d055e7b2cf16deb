# paravisor_LIB is pure code that unit tests link natively; paravisor_MAIN needs the VTL2 kernel.
paravisor_LIB := paravisor/acpi.c paravisor/boot.c paravisor/config.c paravisor/console.c \
	paravisor/file.c paravisor/linux_boot.c \
	paravisor/stats.c paravisor/vmbus/relay.c paravisor/vmbus/relay_save.c \
	paravisor/vmbus/relay_inspect.c $(addprefix paravisor/diag/, child.c conn.c control.c data.c \
	exec_service.c inspect_service.c link.c loop.c policy.c proc.c pump.c run.c server.c service.c tree.c) \
	paravisor/crash/filter.c paravisor/crash/maps.c paravisor/servicing/state.c
paravisor_MAIN := paravisor/gmem.c paravisor/hostlink.c paravisor/init.c \
	paravisor/inspection.c paravisor/intercept.c paravisor/klog.c paravisor/machine.c paravisor/main.c \
	paravisor/mshv.c paravisor/paravisor.c paravisor/protect.c paravisor/report.c \
	$(addprefix paravisor/crash/,crash_main.c device.c dump_main.c tool.c) \
	paravisor/servicing/servicing.c paravisor/stop.c paravisor/thread.c paravisor/diag/main.c paravisor/vmbus/vmbus.c \
	paravisor/vp.c paravisor/vp_regs.c

# The commit of the sources, for the image's build_info; empty where they are not under git.
$(B)/scm.h: FORCE
	@mkdir -p $(@D)
	@revision=$$(! test -e .git || git --no-optional-locks -c 'safe.directory=*' describe --always \
		--abbrev=40 --exclude '*' --dirty 2>/dev/null || :); \
	echo "#define PARAPET_REVISION \"$$revision\"" >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
$(B)/musl/paravisor/diag/main.o: $(B)/scm.h
