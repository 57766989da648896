#!/usr/bin/env bash
# Rewrites the golden files by running, with -update, the tests that look at that flag. With --check it then fails when
# that changed anything in the work tree, and says what.
set -euo pipefail
cd "$(dirname "$0")/.."

# What the work tree holds, uncommitted changes and new files included.
state() { { git diff HEAD; git ls-files --others --exclude-standard | git hash-object --stdin-paths; } | git hash-object --stdin; }

# tests DIR: the tests of a package that look at the flag, as a pattern; all of them when a helper does.
tests() {
	awk '
		/^func / { name = match($0, /^func Test[A-Za-z0-9_]+/) ? substr($0, 6, RLENGTH - 5) : "" }
		/\*update([^A-Za-z0-9_]|$)/ { if (name == "") everything = 1; else names[name] = 1 }
		END {
			for (n in names) pattern = pattern (pattern == "" ? "" : "|") n
			print everything || pattern == "" ? "." : "^(" pattern ")$"
		}' "$1"/*_test.go
}

before=$(state)
while read -r dir; do
	go test -count=1 -timeout 15m -run "$(tests "$dir")" "./$dir" -update
done < <(git grep --untracked -lE 'flag\.Bool(Var)?\(.*"update"' -- '*_test.go' | xargs -rn1 dirname | sort -u)

if [[ ${1:-} == --check && $(state) != "$before" ]]; then
	git status --short
	git --no-pager diff --stat
	echo "golden files were stale: they are rewritten now, look at the change and commit it" >&2
	exit 1
fi
