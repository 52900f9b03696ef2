# make run, make test, make build, make bench, make scale, make faults, make histories, make hostile, make soak, make simulate, make install use-kcm: see README.md.
VERSION := 0.1.0
export CGO_ENABLED ?= 0
GOFLAGS_BUILD = -trimpath -ldflags '-s -w -X gosssd/responder.Version=$(VERSION) -X main.libexecDir=$(libexecdir)/sssd -X gosssd/layout.form=$(FORM)'
PAGES = $(notdir $(wildcard packaging/man/*.[1-8]))
RESPONDERS = $(patsubst %/main.go,./%,$(wildcard */sssd_*/main.go))

# Writes the completions, also where the build is for another kind of machine.
NATIVE_TOOL = GOARCH=$$(go env GOHOSTARCH) go run $(GOFLAGS_BUILD) ./cmd/sssctl

# FORM is whole or beside: see package layout, which a test compares with this.
FORM = whole
ifeq ($(FORM),whole)
BIN = bin
monitor = sssd
tool = sssctl
monitordir = $(sbindir)
UNITS = sssd.service
page = $(1)
adapt = cat
else ifeq ($(FORM),beside)
BIN = bin/beside
monitor = gosssd
tool = gosssctl
monitordir = $(libexecdir)/gosssd
UNITS = gosssd.service
page = $(if $(filter sssd-%,$(1)),$(1),go$(1))
adapt = sed -f packaging/man/beside.sed
else
$(error FORM is whole or beside, not $(FORM))
endif

# The catalog of the journal is written for the form whole.
catalog_whole = ''
catalog_beside = 's/\bsssctl\b/gosssctl/g; s/\bsssd\.service/gosssd.service/g; s/man:\(sssd(8)\|sssd\.conf\)/man:go\1/'

# NNP = no leaves NoNewPrivileges= out of the units. Where SELinux is enforced, it
# would keep systemd from starting the programs in SELinux's domain of SSSD.
NNP = yes
NNP_yes = 's|^@nnp@||'
NNP_no = '/^@nnp@/d'

# What sssd reads and writes is below /etc, /run and /var whatever the prefix.
DESTDIR =
prefix = /usr
sbindir = $(prefix)/sbin
libexecdir = $(prefix)/libexec
datadir = $(prefix)/share
mandir = $(datadir)/man
bashcompdir = $(datadir)/bash-completion/completions
zshcompdir = $(datadir)/zsh/site-functions
fishcompdir = $(datadir)/fish/vendor_completions.d
unitdir = $(prefix)/lib/systemd/system
catalogdir = $(prefix)/lib/systemd/catalog
docdir = $(datadir)/doc/gosssd

build:
	mkdir -p $(BIN)
	go build $(GOFLAGS_BUILD) -o $(BIN)/$(monitor) ./cmd/sssd
	go build $(GOFLAGS_BUILD) -o $(BIN)/$(tool) ./cmd/sssctl
	go build $(GOFLAGS_BUILD) -o $(BIN)/ $(RESPONDERS)

# Directories that exist keep their modes. sssd_be is of SSSD's own packages.
install: build
	@if [ $(FORM) = whole ] && [ -e '$(DESTDIR)$(libexecdir)/sssd/sssd_be' ] && [ '$(REPLACE_SSSD)' != yes ]; then \
	  echo "install: SSSD's own sssd is installed here. This build would take its place, and there would be no" >&2; \
	  echo "users, logins and sudo rules of its domains any more: see README.md, or set REPLACE_SSSD=yes" >&2; exit 1; \
	fi
	install -D -t '$(DESTDIR)$(monitordir)' $(BIN)/$(monitor)
	install -D -t '$(DESTDIR)$(sbindir)' $(BIN)/$(tool)
	install -D -t '$(DESTDIR)$(libexecdir)/sssd' $(patsubst %,$(BIN)/%,$(notdir $(RESPONDERS)))
	$(MAKE) --no-print-directory install-units
	install -D -m 644 -t '$(DESTDIR)$(datadir)/sssd-kcm' packaging/kcm_default_ccache
	sed $(catalog_$(FORM)) packaging/gosssd.catalog | \
	  install -D -m 644 /dev/stdin '$(DESTDIR)$(catalogdir)/gosssd.catalog'
	@if [ -z '$(DESTDIR)' ] && command -v journalctl >/dev/null; then journalctl --update-catalog; fi
	install -D -m 644 -t '$(DESTDIR)$(datadir)/dbus-1/interfaces' kcm/sysbus/org.gosssd.Kcm1.xml
	install -D -m 644 -t '$(DESTDIR)$(datadir)/dbus-1/system.d' packaging/dbus/system/org.gosssd.Kcm1.conf
	install -D -m 644 -t '$(DESTDIR)$(datadir)/dbus-1/system-services' packaging/dbus/system/org.gosssd.Kcm1.service
	install -D -m 644 -t '$(DESTDIR)$(docdir)' packaging/systemd/no-network.conf packaging/guides/*.md packaging/contrib/*
	@[ $(FORM) = whole ] || exit 0; \
	other=$$(grep -ls '^/var/log/sssd/' '$(DESTDIR)'/etc/logrotate.d/* | grep -v '/sssd$$' | head -n 1); \
	if [ -n "$$other" ]; then \
	  echo "install: $$other rotates the logs; a second entry would keep logrotate from all of them"; \
	else \
	  install -D -m 644 packaging/logrotate '$(DESTDIR)/etc/logrotate.d/sssd'; \
	fi
	for shell in bash zsh fish; do $(NATIVE_TOOL) completion $$shell >$(BIN)/$(tool).$$shell || exit 1; done
	install -D -m 644 $(BIN)/$(tool).bash '$(DESTDIR)$(bashcompdir)/$(tool)'
	install -D -m 644 $(BIN)/$(tool).zsh '$(DESTDIR)$(zshcompdir)/_$(tool)'
	install -D -m 644 $(BIN)/$(tool).fish '$(DESTDIR)$(fishcompdir)/$(tool).fish'
	$(foreach source,$(PAGES),$(adapt) packaging/man/$(source) | \
	  install -D -m 644 /dev/stdin '$(DESTDIR)$(mandir)/man$(subst .,,$(suffix $(source)))/$(call page,$(source))' &&) :
	while read -r mode dir; do \
	  [ -d '$(DESTDIR)'"$$dir" ] || install -d -m "$$mode" '$(DESTDIR)'"$$dir" || exit 1; \
	done < packaging/directories

install-units:
	for unit in packaging/systemd/sssd-*.socket packaging/systemd/sssd-*.service $(patsubst %,packaging/systemd/%,$(UNITS)); do \
	  sed -e '/^@hardening@$$/r packaging/systemd/hardening' -e '/^@hardening@$$/d' "$$unit" | \
	  sed -e 's|@monitordir@|$(monitordir)|; s|@libexecdir@|$(libexecdir)|; s|^@$(FORM)@||; /^@whole@/d; /^@beside@/d' \
	    -e $(NNP_$(NNP)) | install -D -m 644 /dev/stdin '$(DESTDIR)$(unitdir)'/"$${unit##*/}" || exit 1; \
	done

# .deb and .rpm of both forms, for amd64 and arm64, below build/packages. The same
# source makes the same bytes.
packages:
	packaging/packages $(VERSION) build/packages $(PACKAGES)

# Installs the packages in whole Debian systems, which takes minutes and needs
# root, debootstrap and Debian's mirror. The version before is this source's, too.
TESTED = $(foreach format,deb12 deb13 rpm,whole-amd64-$(format) beside-amd64-$(format))
test-packages:
	tests/setup.sh
	tests/setup.sh debian
	packaging/packages $(VERSION) build/packages
	packaging/packages 0.0.9 build/packages/before $(TESTED)
	GOSSSD_PACKAGES=yes go test -count=1 -timeout 20m -v -run 'Package' ./tests

# KCM: becomes the default of Kerberos programs; packaging/use-kcm --undo is the way back.
use-kcm:
	DESTDIR='$(DESTDIR)' packaging/use-kcm

# The directory comes from the environment, where any name is safe.
export DIR
run: build
	exec tests/run.sh

test: build
	mkdir -p build
	tests/unchanged.sh before build/machine
	tests/setup.sh & setup=$$!; $(MAKE) lint; linted=$$?; wait $$setup && exit $$linted
	CGO_ENABLED=1 go test -race -vet=off -count=1 -parallel 8 -timeout 20m ./...
	tests/unchanged.sh after build/machine

# The linter is pinned in tests/lint/go.mod; its rules are in .golangci.yml. All
# that go vet looks for is among them.
lint:
	cd tests/lint && go build -ldflags '-s -w' -o ../../build/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	build/golangci-lint run --allow-parallel-runners ./...

# Writes what README.md shows of sssctl; a test compares the shapes.
screens: build
	GOSSSD_SCREENS=yes go test -count=1 -run TheScreensOfREADME ./tests

bench: build
	tests/setup.sh
	go test -run '^$$' -bench 'Cold|Kvno' -benchtime 10x ./tests
	go build -o build/bench ./tests/bench
	build/bench -bin bin

# 100 000 caches of 10 000 users, which takes some five minutes and needs root.
scale: build
	go build -o build/bench ./tests/bench
	build/bench -bin bin -parts scale -only 'gosssd secrets,gosssd secdb'

# BEFORE is the directory of an older build's programs, to be compared with.
faults: build
	tests/setup.sh
	go build -o build/faults ./tests/faults
	build/faults -bin bin $(if $(BEFORE),-before '$(BEFORE)')

# The long forms of what make test shows in short: histories of clients, server
# and disk, each by its seed, and what the disk may hold after the power was cut.
HISTORIES = 100000
STATES = 100000
simulate:
	SIMULATION_HISTORIES=$(HISTORIES) go test -count=1 -timeout 60m -v ./tests/simulation
	POWERCUT_STATES=$(STATES) VAULT_TEST_CYCLES=100 go test -count=1 -timeout 60m -run 'PowerCut|AnErrorOf|Killing' ./secrets/vault ./confdb

# Real programs, with a clock that can be stepped, under CYCLES faults, their
# clients' histories checked; hostile clients on new servers. Both fail where a
# promise is not kept, and need root.
CYCLES = 500
histories:
	tests/setup.sh
	go run ./tests/clockshift -o build/shifted ./cmd/sssd ./cmd/sssctl $(RESPONDERS)
	go build -o build/faults ./tests/faults
	build/faults -bin build/shifted -clock -parts histories -cycles $(CYCLES) $(if $(SEED),-seed $(SEED))

hostile: build
	tests/setup.sh
	go build -o build/faults ./tests/faults
	build/faults -bin bin -parts hostile

# A login node's day in SOAK; fails if memory, descriptors, threads or files grow.
SOAK = 1h
soak: build
	tests/setup.sh
	go build -o build/faults ./tests/faults
	build/faults -bin bin -parts soak -soak $(SOAK) -svg build/soak.svg

# Every fuzz target for FUZZTIME, an hour in all; TARGETS is a pattern of some.
FUZZTIME ?= 2m
fuzz:
	tests/fuzz.sh '$(FUZZTIME)' '$(or $(TARGETS),.)'

clean:
	rm -rf bin build

.PHONY: build install install-units use-kcm run test lint bench screens scale fuzz faults histories hostile soak simulate clean
