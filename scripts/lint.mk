# make lint: format, static checks, every header compiles alone, scripts parse.

OUR_C = $(shell git ls-files '*.c' '*.h')
SCRIPTS_SH := $(shell grep -lE '^\#!/bin/(ba)?sh' scripts/* tests/guests/* .ci/* 2>/dev/null)
SCRIPTS_PY := $(shell grep -l '^\#!/usr/bin/env python3' scripts/* tests/* tests/*/* 2>/dev/null)

.PHONY: lint lint-build lint-format lint-static lint-headers lint-scripts
lint: lint-format lint-static lint-headers lint-scripts

# Other releases of clang-format put some things otherwise.
lint-format:
	$(Q)if clang-format --version | grep -q 'version 14\.'; then \
		clang-format --dry-run --Werror $(OUR_C); \
	else \
		echo '  lint: clang-format is not version 14, format not checked'; \
	fi

CPPCHECK_FLAGS := --quiet --std=c11 --language=c --enable=warning,portability --inline-suppr \
	--error-exitcode=1 --template=gcc -I. --suppress=missingIncludeSystem \
	--suppress=normalCheckLevelMaxBranches --suppress=toomanyconfigs
lint-static:
	@mkdir -p $(B)/cppcheck
	$(Q)cppcheck $(CPPCHECK_FLAGS) --cppcheck-build-dir=$(B)/cppcheck \
		$(filter-out tests/% %.h,$(OUR_C))

# Each header alone, and twice. The paravisor's own headers may need those of the VTL2 kernel.
HEADERS := $(foreach folder,common igvm loader vtl2-devices paravisor host,\
	$(wildcard $(folder)/*.h $(folder)/*/*.h))
header_flags = $(if $(filter paravisor/%,$(1)),$(MUSL_CC) $(VTL2_CFLAGS),$(CC) $(NATIVE_CFLAGS) \
	$(if $(filter loader/%,$(1)),-I$(LIBFDT_SRC)))
$(B)/headers/%.ok: % | $(KERNEL) $(LIBS)
	@mkdir -p $(@D)
	$(Q)printf '#include "$*"\n#include "$*"\n' | \
		$(call header_flags,$*) -MMD -MP -MF $(@:.ok=.d) -MT $@ -x c -c -o /dev/null -
	@touch $@
lint-headers: $(HEADERS:%=$(B)/headers/%.ok)

lint-scripts:
	$(Q)for f in $(SCRIPTS_SH); do bash -n $$f || exit 1; done
	$(Q)for f in $(SCRIPTS_PY); do python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' $$f || exit 1; done
	$(Q)! command -v shellcheck >/dev/null || shellcheck -S warning $(SCRIPTS_SH)

# what takes time before the checks can run
lint-build: $(HEADERS:%=$(B)/headers/%.ok)
