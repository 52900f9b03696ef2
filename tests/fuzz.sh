#!/bin/sh
# Runs every fuzz target of the source, one after the other: fuzz.sh TIME
# [PATTERN]. What it finds is below testdata/fuzz of its package, to be committed
# with the mend. fuzz.sh --list prints the targets, each behind its directory.
set -eu
cd "$(dirname "$0")/.."

targets() {
	grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+\(' cmd confdb kcm kdc layout linux responder sbus secrets tests |
		sed -E 's|^(.*)/[^/]*:func (.*)\($|./\1 \2|' | sort
}

if [ "$1" = --list ]; then
	targets
	exit
fi
time=$1 pattern=${2:-.} failed=
list=$(targets | grep -E -- "$pattern") || { echo "fuzz: no target matches '$pattern'" >&2; exit 1; }
while read -r package target; do
	echo "== $package $target"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -parallel "${FUZZPARALLEL:-2}" "$package" </dev/null || failed="$failed $package:$target"
done <<END
$list
END
[ -z "$failed" ] || { echo "fuzz: found something:$failed" >&2; exit 1; }
