#!/usr/bin/env bash
# Builds API gateways for the tests into bin/, from their Go modules, in the versions that tools/NAME/go.mod
# pins. A module of its own for each: nothing of them is linked into what we ship. What is there in that version
# is left alone.
#
#   scripts/gateways.sh caddy    (its first build on a machine takes a minute or two)
set -euo pipefail
cd "$(dirname "$0")/.."

# build NAME MODULE PACKAGE
build() {
	local pinned built=""
	pinned=$(awk -v module="$2" '$1 == module { print $2 }' "tools/$1/go.mod")
	if [[ -x bin/$1 ]]; then
		built=$(go version -m "bin/$1" 2>/dev/null | awk -v module="$2" '$2 == module { print $3 }')
	fi
	if [[ -n $pinned && $pinned == "$built" ]]; then return; fi
	echo "gateways: building $1 $pinned"
	mkdir -p bin
	go build -C "tools/$1" -o "../../bin/$1" "$3"
}

if (($# == 0)); then
	echo "usage: scripts/gateways.sh NAME…" >&2
	exit 2
fi
for name; do
	case $name in
	caddy) build caddy github.com/caddyserver/caddy/v2 github.com/caddyserver/caddy/v2/cmd/caddy ;;
	*)
		echo "gateways: no gateway is named $name" >&2
		exit 2
		;;
	esac
done
