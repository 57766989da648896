#!/usr/bin/env bash
# Installs the Node packages that a test compares with, by the lock file in the given folder, into a cache folder, and prints
# where. What is there is left alone: the folder is named after the lock file's digest.
#
#   scripts/node-fixtures.sh internal/webhook/testdata/node
set -euo pipefail
source=$(cd "$1" && pwd)
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/landlord/node
folder=$cache/$(cksum <"$source/package-lock.json" | tr -d ' ')
if [[ ! -d $folder ]]; then
	mkdir -p "$cache"
	new=$(mktemp -d "$cache/new.XXXXXX")
	trap 'rm -rf "$new"' EXIT
	cp "$source/package.json" "$source/package-lock.json" "$new"
	npm ci --prefix "$new" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
	if [[ ! -d $folder ]]; then mv "$new" "$folder"; fi # or another was faster
fi
echo "$folder"
