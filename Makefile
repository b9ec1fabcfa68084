# SPDX-License-Identifier: Apache-2.0
# GNU make. `make help` lists the targets; everything is built below $(BUILD).

VERSION := 0.1.0
BUILD   ?= build

prefix               ?= /usr/local
bindir               ?= $(prefix)/bin
sbindir              ?= $(prefix)/sbin
libexecdir           ?= $(prefix)/libexec
libdir               ?= $(prefix)/lib
includedir           ?= $(prefix)/include
mandir               ?= $(prefix)/share/man
sysconfdir           ?= /etc
localstatedir        ?= /var
runstatedir          ?= /run
systemdsystemunitdir ?= $(prefix)/lib/systemd/system
bashcompletiondir    ?= $(prefix)/share/bash-completion/completions
zshcompletiondir     ?= $(prefix)/share/zsh/site-functions
sysusersdir          ?= $(prefix)/lib/sysusers.d
tmpfilesdir          ?= $(prefix)/lib/tmpfiles.d

CC     ?= cc
CFLAGS ?= -O2 -g
AR     ?= ar
INSTALL ?= install

.DEFAULT_GOAL := all
comma := ,
.DELETE_ON_ERROR:
.SUFFIXES:

# ---- what we need ------------------------------------------------------------------------------
PACKAGES := libseccomp libcap libprotobuf-c liburing openssl sqlite3 libmicrohttpd libcurl jansson \
            libcyaml yaml-0.1 libnl-3.0 libnl-route-3.0 libsystemd liblz4 libzstd libxxhash
BENCHES := gap move stream track restore
# These goals build nothing by themselves: the next make does, once the packages are there.
deps_goals := deps deps-check demo demo-postgres check check-loop check-memory check-hosts hosts-ready bench bench-ready $(BENCHES:%=bench-%)
no_build_goals := clean help format lint-format lint-shell uninstall dist deb version
goals := $(or $(MAKECMDGOALS),all)
ifneq ($(filter unit check-unit check-system,$(goals)),)
PACKAGES += cmocka
endif
ifneq ($(filter-out $(no_build_goals) $(deps_goals),$(goals)),)
MISSING := $(shell for t in $(firstword $(CC)) pkg-config protoc-c; do command -v $$t >/dev/null || echo $$t; done; \
	pkg-config --exists $(PACKAGES) 2>/dev/null || for p in $(PACKAGES); do pkg-config --exists $$p 2>/dev/null || echo $$p; done)
ifneq ($(MISSING),)
# On Debian by the names that apt-get knows.
$(error missing: $(or $(strip $(patsubst missing:%,%,$(shell scripts/install-deps --check --build-only 2>/dev/null))),$(MISSING)) (run `make deps` as root))
endif
PKG_CFLAGS := $(shell pkg-config --cflags $(filter-out cmocka,$(PACKAGES)))
PKG_LIBS   := $(shell pkg-config --libs $(filter-out cmocka,$(PACKAGES)))
endif

# ---- flags -------------------------------------------------------------------------------------
WPAR_CPPFLAGS := -D_GNU_SOURCE -I. -I$(BUILD) $(PKG_CFLAGS) -DWPAR_VERSION='"$(VERSION)"'
# Fixed-size texts are cut off on purpose; gcc warns of that, clang does not know the warning, and has one of its
# own for a macro of libseccomp.
QUIET := $(shell $(CC) --version 2>/dev/null | grep -q clang && echo -Wno-missing-field-initializers || echo -Wno-format-truncation)
WPAR_CFLAGS := -std=gnu17 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	$(QUIET) -fstack-protector-strong $(if $(filter 1,$(WERROR)),-Werror)
COMPILE = $(CC) $(CPPFLAGS) $(WPAR_CPPFLAGS) $(CFLAGS) $(WPAR_CFLAGS) $(SANITIZE)
LINK    = $(CC) $(CFLAGS) $(SANITIZE) -Wl,--as-needed $(LDFLAGS)

# ---- generated: protobuf-c ---------------------------------------------------------------------
PROTOS   := $(wildcard images/*.proto)
PROTO_C  := $(PROTOS:%.proto=$(BUILD)/%.pb-c.c)
PROTO_O  := $(PROTO_C:.c=.o)

$(BUILD)/images/%.pb-c.c $(BUILD)/images/%.pb-c.h &: images/%.proto
	@mkdir -p $(@D)
	protoc-c --c_out=$(BUILD) $<

# ---- the engine: everything below lib/ and images/ ---------------------------------------------
ENGINE_SRC := $(wildcard lib/*/*.c images/*.c)
ENGINE_OBJ := $(ENGINE_SRC:%.c=$(BUILD)/%.o) $(PROTO_O)
ENGINE     := $(BUILD)/libengine.a

$(ENGINE): $(ENGINE_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/%.o: %.c | $(PROTO_C)
	@mkdir -p $(@D)
	$(COMPILE) -MMD -MP -c -o $@ $<

# The only place that knows where things get installed: `make install prefix=...` may follow a plain make.
$(BUILD)/lib/base/paths.o $(BUILD)/pic/lib/base/paths.o: WPAR_CPPFLAGS += -DWPAR_LIBEXECDIR='"$(libexecdir)/relocd"' \
	-DWPAR_STATEDIR='"$(localstatedir)/lib/relocd"' -DWPAR_RUNDIR='"$(runstatedir)/relocd"' \
	-DWPAR_ETCDIR='"$(sysconfdir)/relocd"'
$(BUILD)/lib/base/paths.o $(BUILD)/pic/lib/base/paths.o: $(BUILD)/directories

directories := $(libexecdir) $(localstatedir) $(runstatedir) $(sysconfdir)
$(BUILD)/directories: FORCE
	@mkdir -p $(@D)
	@echo '$(directories)' | cmp -s - $@ || echo '$(directories)' > $@

# Generated code is not ours to warn about.
$(BUILD)/images/%.pb-c.o: $(BUILD)/images/%.pb-c.c
	$(CC) $(CPPFLAGS) $(WPAR_CPPFLAGS) $(CFLAGS) $(SANITIZE) -w -MMD -MP -c -o $@ $<

# ---- libwpar: the client library -----------------------------------------------------------------
# Only what wpar.map names is visible; lib/base is inside of it.
LIBWPAR_ABI  := 1
LIBWPAR_FILE := libwpar.so.$(VERSION)
LIBWPAR_NAME := libwpar.so.$(LIBWPAR_ABI)
LIBWPAR_OBJ  := $(patsubst %.c,$(BUILD)/pic/%.o,$(wildcard lib/client/*.c lib/base/*.c))
LIBWPAR      := $(BUILD)/lib/$(LIBWPAR_NAME)
CLIENT_LIBS  := $(if $(PKG_LIBS),$(shell pkg-config --libs libcurl jansson))
# What programs that use the library link of lib/ beside it.
BASE         := $(BUILD)/libbase.a

$(BUILD)/pic/%.o: %.c
	@mkdir -p $(@D)
	$(COMPILE) -fPIC -fvisibility=hidden -ffunction-sections -MMD -MP -c -o $@ $<

$(LIBWPAR): $(LIBWPAR_OBJ) lib/client/wpar.map
	@mkdir -p $(@D)
	$(LINK) -shared -Wl,-soname,$(LIBWPAR_NAME) -Wl,--version-script=lib/client/wpar.map -Wl,--gc-sections \
		$(if $(SANITIZE),,-Wl,-z,defs) -o $(BUILD)/lib/$(LIBWPAR_FILE) $(LIBWPAR_OBJ) $(CLIENT_LIBS)
	ln -sf $(LIBWPAR_FILE) $@
	ln -sf $(LIBWPAR_NAME) $(BUILD)/lib/libwpar.so

$(BASE): $(patsubst %.c,$(BUILD)/%.o,$(wildcard lib/base/*.c))
	@rm -f $@
	$(AR) rcs $@ $^

# ---- programs ----------------------------------------------------------------------------------
# relocd itself; each other folder of relocd/ is a program of libexecdir (move/ is what they share).
RELOCD_ROOMS  := daemon api partitions supervisor peers cluster move
LIBEXEC_NAMES := departure arrival caller mover keeper enter auditor
RELOCD   := $(BUILD)/bin/relocd
WPARCTL  := $(BUILD)/bin/wparctl
LIBEXEC  := $(LIBEXEC_NAMES:%=$(BUILD)/libexec/%) $(BUILD)/libexec/criu-selftest \
            $(BUILD)/libexec/init $(BUILD)/libexec/criu-preload.so
PROGRAMS := $(RELOCD) $(WPARCTL) $(LIBEXEC)

objects_of = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(1)/*.c))

RELOCD_OBJ := $(foreach room,$(RELOCD_ROOMS),$(call objects_of,relocd/$(room)))

all: $(PROGRAMS) ## build everything

$(RELOCD): $(RELOCD_OBJ) $(ENGINE)
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(PKG_LIBS)

# wparctl is a user of libwpar like any other. It finds it beside itself, where the linker's own
# configuration does not have it; packages set WPARCTL_RPATH to nothing.
WPARCTL_RPATH ?= $$ORIGIN/../lib
$(WPARCTL): $(call objects_of,wparctl) $(LIBWPAR) $(BASE)
	@mkdir -p $(@D)
	$(LINK) $(if $(WPARCTL_RPATH),-Wl$(comma)-rpath$(comma)'$(WPARCTL_RPATH)') -o $@ $(filter %.o,$^) -L$(BUILD)/lib -lwpar $(BASE) \
		$(shell pkg-config --libs jansson yaml-0.1)

# The description of the API is compiled in.
$(BUILD)/relocd/api/openapi.o: relocd/api/openapi.json

define libexec_program
$(BUILD)/libexec/$(1): $(call objects_of,relocd/$(1)) $(if $(filter departure arrival caller,$(1)),$(call objects_of,relocd/move)) $(ENGINE)
	@mkdir -p $$(@D)
	$$(LINK) -o $$@ $$^ $$(PKG_LIBS)
endef
$(foreach name,$(LIBEXEC_NAMES),$(eval $(call libexec_program,$(name))))

$(BUILD)/libexec/criu-selftest: $(call objects_of,relocd/selftest) $(ENGINE)
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(PKG_LIBS)

# PID 1 of system partitions runs inside any root filesystem: static, without the engine.
$(BUILD)/libexec/init: relocd/init/init.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -D_GNU_SOURCE -DWPAR_VERSION='"$(VERSION)"' $(filter-out -fsanitize=%,$(CFLAGS)) $(WPAR_CFLAGS) $(LDFLAGS) -static -o $@ $<

# Runs inside CRIU, whose C library may be another one: no engine, no sanitizer.
$(BUILD)/libexec/criu-preload.so: lib/criu/preload/criu_preload.c lib/criu/preload/blank.h
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -D_GNU_SOURCE -I. $(CFLAGS) $(WPAR_CFLAGS) -fPIC -shared $(LDFLAGS) -o $@ $<

# ---- tests -------------------------------------------------------------------------------------
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT     := $(UNIT_SRC:%.c=$(BUILD)/%)
TOOLS    := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/tools/*.c))
FUZZ     := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAY   := $(patsubst $(BUILD)/tests/fuzz/fuzz_%,$(BUILD)/tests/fuzz/replay_%,$(FUZZ))

# What tests make for themselves is noted: see tests/unit/scratch.c.
SCRATCH := $(BUILD)/tests/unit/scratch.o
WRAP    := -Wl,--wrap=mkdtemp -Wl,--wrap=mkstemp
$(BUILD)/tests/unit/test_flush: WRAP += -Wl,--wrap=syncfs

$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(SCRATCH) $(ENGINE)
	$(LINK) $(WRAP) -o $@ $^ $(PKG_LIBS) -lcmocka

# Tests of relocd itself link all of it but its main().
$(BUILD)/tests/unit/test_relocd_%: $(BUILD)/tests/unit/test_relocd_%.o $(SCRATCH) $(filter-out %/main.o,$(RELOCD_OBJ)) $(ENGINE)
	$(LINK) $(WRAP) -o $@ $^ $(PKG_LIBS) -lcmocka

# Both ends of the connections of a move are in one.
$(BUILD)/tests/unit/test_relocd_streams: $(BUILD)/relocd/arrival/streams.o $(BUILD)/relocd/departure/channels.o

# Tests of wparctl itself link all of it but its main().
$(BUILD)/tests/unit/test_wparctl_%: $(BUILD)/tests/unit/test_wparctl_%.o $(SCRATCH) \
		$(filter-out %/main.o,$(call objects_of,wparctl)) $(ENGINE)
	$(LINK) $(WRAP) -o $@ $^ $(PKG_LIBS) -lcmocka

$(BUILD)/tests/tools/%: $(BUILD)/tests/tools/%.o $(ENGINE)
	$(LINK) -o $@ $^ $(PKG_LIBS) -lm

# Runs in virtual machines, whatever they are made of: static, without the engine.
$(BUILD)/tests/tools/vmagent: tests/tools/vmagent.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -D_GNU_SOURCE $(filter-out -fsanitize=%,$(CFLAGS)) $(WPAR_CFLAGS) $(LDFLAGS) -static -o $@ $<

tools: $(TOOLS)

# Tests of the link start real movers.
unit: $(UNIT) $(REPLAY) $(BUILD)/libexec/mover $(LIBWPAR) $(WPARCTL)
	@RELOCD_LIBEXECDIR=$(abspath $(BUILD))/libexec tests/unit/run $(UNIT) $(REPLAY)

check-unit: ## unit tests, then the same under AddressSanitizer and UBSan (no root, no network)
	$(MAKE) unit
	$(MAKE) BUILD=$(BUILD)/asan CFLAGS="-O1 -g" SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=all" unit

check-system: all tools ## system tests in the lab (root)
	BUILD=$(BUILD) tests/system/run -j $(shell nproc)

check-faults: $(if $(filter no,$(DEPS)),deps-check,deps) ## the fault matrix: everything that can fail, in every phase of a move (half an hour)
	$(MAKE) all tools
	BUILD=$(BUILD) tests/faults/matrix -j $$((2 * $$(nproc)))
	BUILD=$(BUILD) tests/faults/nosync

check-soak: $(if $(filter no,$(DEPS)),deps-check,deps) ## MOVES (500) moves with faults drawn at random (a quarter of an hour)
	$(MAKE) all tools
	BUILD=$(BUILD) tests/faults/soak

check-hosts: hosts-ready ## moves between two virtual machines with Debian's kernel, CRIU and systemd; DEBIAN=12,13 (root)
	BUILD=$(BUILD) tests/hosts/run

hosts-ready:
	BUILD=$(BUILD) scripts/install-deps $(if $(filter no,$(DEPS)),--check --no-lint) --vm
	$(MAKE) all tools

# The packages may be installed by this very run: the rest goes on in a new make, which then sees them.
check: $(if $(filter no,$(DEPS)),deps-check,deps) ## all tests: check-unit and check-system
	$(MAKE) check-unit
	$(MAKE) check-system

demo: $(if $(filter no,$(DEPS)),deps-check,deps) ## move a live Redis between two lab hosts and back
	$(MAKE) all tools
	BUILD=$(BUILD) scripts/demo

demo-postgres: $(if $(filter no,$(DEPS)),deps-check,deps) ## move a live PostgreSQL under pgbench between two lab hosts and back
	$(MAKE) all tools
	BUILD=$(BUILD) scripts/demo-postgres

# BENCH_QUICK=1: each in less than four minutes; ENGINE=NAME: how memory goes.
bench: $(BENCHES:%=bench-%) ## all benchmarks: a table each, and $(BUILD)/bench/NAME.json

bench-ready:
	BUILD=$(BUILD) scripts/install-deps $(if $(filter no,$(DEPS)),--check --no-lint,--bench)
	$(MAKE) all tools

bench-gap: bench-ready ## 20 moves of a small Redis: the gap that its client sees
	BUILD=$(BUILD) tests/bench/gap

bench-move: bench-ready ## moves by memory and dirty rate, against plain CRIU, runc and podman
	BUILD=$(BUILD) tests/bench/move

bench-stream: bench-ready ## bytes through a link, against a minimal TLS pump, iperf3 and the cipher alone
	BUILD=$(BUILD) tests/bench/stream

bench-track: bench-ready ## what redis-benchmark and pgbench notice before, during and after pre-copy
	BUILD=$(BUILD) tests/bench/track

bench-restore: bench-ready ## all pages before it runs against pages on demand, by memory
	BUILD=$(BUILD) tests/bench/restore

check-loop: $(if $(filter no,$(DEPS)),deps-check,deps) ## LOOP (100) moves to and fro under load: nothing lost, nothing left
	$(MAKE) all tools
	BUILD=$(BUILD) tests/bench/loop

check-memory: $(if $(filter no,$(DEPS)),deps-check,deps) ## MOVES (50) moves of each kind of memory while it is written: byte-exact
	$(MAKE) all tools
	BUILD=$(BUILD) tests/bench/memory

deps: ## install packages and a CRIU that works on this kernel (root)
	BUILD=$(BUILD) scripts/install-deps

deps-check:
	@BUILD=$(BUILD) scripts/install-deps --check --no-lint

# Those that read what a stranger, a peer or a disk may have made first; FUZZ_OTHERS=5 gives the rest less.
FUZZ_SECONDS ?= 60
FUZZ_OTHERS  ?= $(FUZZ_SECONDS)
FUZZ_FIRST   := wire manifest pagemap decision definition config relocd_request
FUZZ_FLAGS   := BUILD=$(BUILD)/fuzz CC=clang CFLAGS="-O1 -g" WERROR= \
	SANITIZE="-fsanitize=fuzzer-no-link$(comma)address$(comma)undefined -fno-sanitize-recover=all"

fuzz: ## run each fuzz target for a minute, as many at a time as there are cores (clang)
	@$(MAKE) --no-print-directory -s $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc)) $(FUZZ_FLAGS) fuzz-programs
	@$(MAKE) --no-print-directory -s $(FUZZ_FLAGS) fuzz-run

$(BUILD)/tests/fuzz/fuzz_relocd_%: $(BUILD)/tests/fuzz/fuzz_relocd_%.o $(filter-out %/main.o,$(RELOCD_OBJ)) $(ENGINE)
	$(LINK) -fsanitize=fuzzer -o $@ $^ $(PKG_LIBS)

$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(ENGINE)
	$(LINK) -fsanitize=fuzzer -o $@ $^ $(PKG_LIBS)

fuzz-programs: $(FUZZ)

fuzz-run: $(FUZZ)
	@tests/fuzz/run $(BUILD) $(FUZZ_OTHERS) $(FUZZ_FIRST:%=$(FUZZ_SECONDS):$(BUILD)/tests/fuzz/fuzz_%) \
		$(filter-out $(FUZZ_FIRST:%=$(BUILD)/tests/fuzz/fuzz_%),$(FUZZ))

# The same targets without libFuzzer run their corpus among the unit tests.
$(BUILD)/tests/fuzz/replay_relocd_%: $(BUILD)/tests/fuzz/fuzz_relocd_%.o $(BUILD)/tests/fuzz/replay.o $(filter-out %/main.o,$(RELOCD_OBJ)) $(ENGINE)
	$(LINK) -o $@ $^ $(PKG_LIBS) -lcmocka

$(BUILD)/tests/fuzz/replay_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o $(ENGINE)
	$(LINK) -o $@ $^ $(PKG_LIBS) -lcmocka

# Inputs that are no text are made by the code that writes them.
fuzz-seeds: $(BUILD)/tests/fuzz/seeds ## write the binary inputs of tests/fuzz/corpus anew
	$(BUILD)/tests/fuzz/seeds tests/fuzz/corpus

$(BUILD)/tests/fuzz/seeds: $(BUILD)/tests/fuzz/seeds.o $(ENGINE)
	$(LINK) -o $@ $^ $(PKG_LIBS)

# ---- style -------------------------------------------------------------------------------------
SOURCES  := $(wildcard lib/*/*.[ch] lib/*/*/*.[ch] images/*.[ch] relocd/*/*.[ch] wparctl/*.[ch] tests/*/*.[ch])
SCRIPTS  := $(wildcard scripts/completion/wparctl.bash scripts/lab scripts/lab-image scripts/*.sh scripts/demo scripts/demo-postgres scripts/install-deps .ci/run tests/fuzz/run tests/unit/run tests/system/run tests/system/*.sh tests/hosts/* tests/faults/* $(filter-out %.jq,$(wildcard tests/bench/*)))

format: ## rewrite all sources in the house style
	clang-format -i $(SOURCES)

lint: lint-format lint-c lint-shell ## clang-format, cppcheck, shellcheck

lint-format:
	clang-format --dry-run -Werror $(SOURCES)

lint-c: $(PROTO_C)
	cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr --enable=warning,portability,performance \
		--suppressions-list=tests/cppcheck.suppress --include=tests/cppcheck.h -D_GNU_SOURCE -I. -I$(BUILD) \
		$(filter %.c,$(SOURCES))

lint-shell:
	shellcheck -x $(SCRIPTS)

# ---- manual ------------------------------------------------------------------------------------
# The sections of wparctl(1) that the table of verbs makes; a unit test compares them.
man: $(WPARCTL) ## write the sections of man/wparctl.1 that `wparctl --help` has too
	$(WPARCTL) --help-man > $(BUILD)/wparctl.mdoc
	sed -i -e '/--help-man`.$$/,/^.." End of what/{/^.." /!d}' -e '/are printed by `wparctl --help-man`.$$/r $(BUILD)/wparctl.mdoc' man/wparctl.1

# ---- install -----------------------------------------------------------------------------------
MAN := $(wildcard man/*.[1-8])
man_target = $(mandir)/man$(patsubst .%,%,$(suffix $(1)))/$(notdir $(1))

install: all ## install below $(DESTDIR)$(prefix)
	$(INSTALL) -d $(addprefix $(DESTDIR),$(bindir) $(sbindir) $(libexecdir)/relocd $(systemdsystemunitdir) \
		$(sysusersdir) $(tmpfilesdir) $(bashcompletiondir) $(zshcompletiondir) $(libdir)/pkgconfig $(includedir) \
		$(sort $(dir $(foreach m,$(MAN),$(call man_target,$(m))))))
	$(INSTALL) -m 755 $(WPARCTL) $(DESTDIR)$(bindir)/
	$(INSTALL) -m 644 scripts/completion/wparctl.bash $(DESTDIR)$(bashcompletiondir)/wparctl
	$(INSTALL) -m 644 scripts/completion/_wparctl $(DESTDIR)$(zshcompletiondir)/
	$(INSTALL) -m 755 $(RELOCD) $(DESTDIR)$(sbindir)/
	$(INSTALL) -m 644 $(BUILD)/lib/$(LIBWPAR_FILE) $(DESTDIR)$(libdir)/
	ln -sf $(LIBWPAR_FILE) $(DESTDIR)$(libdir)/$(LIBWPAR_NAME)
	ln -sf $(LIBWPAR_NAME) $(DESTDIR)$(libdir)/libwpar.so
	$(INSTALL) -m 644 lib/client/wpar.h $(DESTDIR)$(includedir)/
	sed 's|@prefix@|$(prefix)|;s|@libdir@|$(libdir)|;s|@includedir@|$(includedir)|;s|@version@|$(VERSION)|' \
		lib/client/libwpar.pc.in > $(DESTDIR)$(libdir)/pkgconfig/libwpar.pc
	$(INSTALL) -m 755 $(LIBEXEC) $(DESTDIR)$(libexecdir)/relocd/
	sed 's|@sbindir@|$(sbindir)|g' scripts/systemd/relocd.service.in > $(DESTDIR)$(systemdsystemunitdir)/relocd.service
	sed 's|@runstatedir@|$(runstatedir)|g' scripts/systemd/relocd.socket.in > $(DESTDIR)$(systemdsystemunitdir)/relocd.socket
	$(INSTALL) -m 644 scripts/systemd/relocd.sysusers $(DESTDIR)$(sysusersdir)/relocd.conf
	sed 's|@localstatedir@|$(localstatedir)|g; s|@runstatedir@|$(runstatedir)|g' scripts/systemd/relocd.tmpfiles.in \
		> $(DESTDIR)$(tmpfilesdir)/relocd.conf
	$(foreach m,$(MAN),$(INSTALL) -m 644 $(m) $(DESTDIR)$(call man_target,$(m)) &&) :

uninstall: ## remove what install put there
	rm -f $(addprefix $(DESTDIR),$(bindir)/wparctl $(bashcompletiondir)/wparctl $(zshcompletiondir)/_wparctl $(sbindir)/relocd $(addprefix $(systemdsystemunitdir)/,relocd.service relocd.socket) \
		$(addprefix $(libdir)/,libwpar.so $(LIBWPAR_NAME) $(LIBWPAR_FILE) pkgconfig/libwpar.pc) $(includedir)/wpar.h \
		$(sysusersdir)/relocd.conf $(tmpfilesdir)/relocd.conf $(foreach m,$(MAN),$(call man_target,$(m))))
	rm -rf $(DESTDIR)$(libexecdir)/relocd

# ---- packages ----------------------------------------------------------------------------------
DIST := wpar-$(VERSION)
# All that is in git; in an unpacked archive, which has no git, all that is there.
dist_files = if [ -e .git ]; then git ls-files -z; else find . -type f ! -path './$(BUILD)/*' -printf '%P\0'; fi
# The same sources give the same archive, bit for bit: https://reproducible-builds.org/docs/archives/
dist_time = $${SOURCE_DATE_EPOCH:-$$(if [ -e .git ]; then git log -1 --format=%ct; else stat -c %Y Makefile; fi)}

dist: ## $(BUILD)/wpar-VERSION.tar.gz, reproducible
	@mkdir -p $(BUILD)
	{ $(dist_files); } | LC_ALL=C sort -z | tar --create --null --files-from - --mtime="@$(dist_time)" --owner=0 --group=0 \
		--numeric-owner --mode=u+rwX,go=rX --format=ustar --transform='s|^|$(DIST)/|' | gzip -9n > $(BUILD)/$(DIST).tar.gz

# The packages are made from the archive, not from the tree: what it lacks, they lack. The tests are
# those of `make check`.
deb: dist ## Debian packages in $(BUILD)/deb (debhelper)
	rm -rf $(BUILD)/deb
	mkdir -p $(BUILD)/deb
	tar --extract --directory $(BUILD)/deb --file $(BUILD)/$(DIST).tar.gz
	cp -r $(BUILD)/deb/$(DIST)/scripts/debian $(BUILD)/deb/$(DIST)/debian
	sed "s|@VERSION@|$(VERSION)|; s|@DATE@|$$(date -u -R -d "@$(dist_time)")|" scripts/debian/changelog.in \
		> $(BUILD)/deb/$(DIST)/debian/changelog
	cd $(BUILD)/deb/$(DIST) && MAKEFLAGS= DEB_BUILD_OPTIONS="nocheck $$DEB_BUILD_OPTIONS" dpkg-buildpackage --build=binary --no-sign --jobs=$$(nproc)

version: ## print the version
	@echo $(VERSION)

clean: ## remove everything built
	rm -rf $(BUILD)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: all tools unit check-unit check-system check check-faults check-soak check-loop check-memory check-hosts hosts-ready demo demo-postgres bench bench-ready $(BENCHES:%=bench-%) deps deps-check fuzz fuzz-programs fuzz-run fuzz-seeds format lint \
	lint-format lint-c lint-shell install uninstall dist deb version man clean help FORCE
.SECONDARY:

-include $(ENGINE_OBJ:.o=.d) $(wildcard $(BUILD)/pic/lib/*/*.d $(BUILD)/relocd/*/*.d $(BUILD)/wparctl/*.d $(BUILD)/tests/*/*.d)
