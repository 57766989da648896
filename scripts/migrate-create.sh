#!/usr/bin/env bash
# Makes the two files of the next migration. The number is the highest one plus one; the name says
# what the migration does, in snake_case.
set -euo pipefail
cd "$(dirname "$0")/.."
name=${1:-}

if [[ ! $name =~ ^[a-z][a-z0-9]*(_[a-z0-9]+)*$ ]]; then
	echo "usage: make migrate-create NAME=snake_case_name (got '$name')" >&2
	exit 2
fi
last=$(for f in migrations/[0-9][0-9][0-9][0-9][0-9][0-9]_*.up.sql; do [[ -e $f ]] && basename "$f"; done | sort | tail -n 1) || true
next=$(printf '%06d' $((10#0${last:0:6} + 1)))
for way in up down; do
	file=migrations/${next}_$name.$way.sql
	: >"$file"
	echo "$file"
done
