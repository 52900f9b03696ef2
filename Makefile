# make run, make test, make build, make bench: see README.md.
VERSION := 0.1.0
export CGO_ENABLED ?= 0
GOFLAGS_BUILD = -trimpath -ldflags '-s -w -X gosssd/responder.Version=$(VERSION)'
PROGRAMS = ./cmd/sssd ./cmd/sssctl $(patsubst %/main.go,./%,$(wildcard */sssd_*/main.go))

build:
	go build $(GOFLAGS_BUILD) -o bin/ $(PROGRAMS)

run: build
	DIR='$(DIR)' exec tests/run.sh

test: build
	tests/setup.sh
	go vet ./...
	CGO_ENABLED=1 go test -race ./...

bench: build
	go test -run '^$$' -bench . ./...

clean:
	rm -rf bin build

.PHONY: build run test bench clean
