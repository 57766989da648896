#!/usr/bin/env bash
# Runs `go test` with the given arguments through gotestsum and closes with the totals, alone on
# the last line: "N passed, N failed, N skipped". Exits non-zero when anything failed.
set -euo pipefail
cd "$(dirname "$0")/.."

events=$(mktemp)
trap 'rm -f "$events"' EXIT

status=0
go tool -modfile=tools/go.mod gotestsum --format pkgname --format-hide-empty-pkg --jsonfile "$events" -- "$@" || status=$?

# Subtests count as tests. A package that failed without a failing test (it didn't build, its
# TestMain gave up, it ran out of time) counts as one failure, so that a bad run never says 0 failed.
awk -v status="$status" '
	function field(name,   m) {
		if (!match($0, "\"" name "\":\"[^\"]*\"")) return ""
		m = substr($0, RSTART, RLENGTH)
		return substr(m, length(name) + 5, length(m) - length(name) - 5)
	}
	{ action = field("Action") }
	action != "pass" && action != "fail" && action != "skip" { next }
	field("Test") != "" {
		n[action]++
		if (action == "fail") failing[field("Package")] = 1
		next
	}
	action == "fail" { broken[field("Package")] = 1 }
	END {
		for (p in broken) if (!(p in failing)) n["fail"]++
		if (status != 0 && n["fail"] == 0) n["fail"] = 1
		printf "%d passed, %d failed, %d skipped\n", n["pass"], n["fail"], n["skip"]
	}' "$events"
exit "$status"
