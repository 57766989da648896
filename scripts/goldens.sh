#!/usr/bin/env bash
# Rewrites the golden files by running, with -update, the tests of the packages that define the
# flag. With --check it then fails when that changed anything in the work tree, and names it.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=$(git grep --untracked -lE 'flag\.Bool(Var)?\(.*"update"' -- '*_test.go' | xargs -rn1 dirname | sort -u | sed 's|^|./|')
if [[ -z $packages ]]; then
	echo "no package has golden files"
	exit 0
fi

# What the work tree holds, uncommitted changes and new files included.
state() { { git diff HEAD; git ls-files --others --exclude-standard | git hash-object --stdin-paths; } | git hash-object --stdin; }

before=$(state)
# shellcheck disable=SC2086 # one word a package
go test -count=1 -timeout 5m $packages -update
if [[ ${1:-} == --check && $(state) != "$before" ]]; then
	git status --short
	git --no-pager diff --stat
	echo "golden files were stale: they are rewritten now, look at the change and commit it" >&2
	exit 1
fi
