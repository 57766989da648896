#!/usr/bin/env bash
# Runs each fuzz test of the repository for the given time (go test fuzzes one at a time).
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-20s}

found=0
while IFS=: read -r file name; do
	found=$((found + 1))
	echo "== $name in $(dirname "$file"), $time"
	go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "./$(dirname "$file")"
done < <(git grep --untracked -oE '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | sed 's/:func /:/')
echo "$found fuzz tests ran, none failed"
