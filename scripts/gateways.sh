#!/usr/bin/env bash
# Builds API gateways for the tests into bin/, from their Go modules, in the versions that tools/NAME/go.mod
# pins. A module of its own for each: nothing of them is linked into what we ship. What is there in that version
# is left alone.
#
#   scripts/gateways.sh caddy      its first build on a machine takes a minute or two
#   scripts/gateways.sh traefik    takes several; for the long tests alone
set -euo pipefail
cd "$(dirname "$0")/.."

# build NAME MODULE PACKAGE [PREPARATION]
build() {
	local pinned built="" prepare=${4:-true}
	pinned=$(awk -v module="$2" '$1 == module { print $2 }' "tools/$1/go.mod")
	if [[ -x bin/$1 ]]; then
		built=$(go version -m "bin/$1" 2>/dev/null | awk -v module="$2" '$2 == module { print $3 }')
	fi
	if [[ -n $pinned && $pinned == "$built" ]]; then return; fi
	echo "gateways: building $1 $pinned"
	mkdir -p bin
	"$prepare"
	go build -C "tools/$1" -o "../../bin/$1" "$3"
}

# lego copies the library that Traefik gets certificates with, in the version that is pinned, to where
# tools/traefik/go.mod looks for it: without its DNS providers, which are most of what there would be to build.
lego() {
	local module=github.com/go-acme/lego/v5 version dir
	version=$(awk -v module=$module '$1 == "require" && $2 == module { print $3 }' tools/traefik/go.mod)
	dir=$(go mod download -json "$module@$version" | jq -r .Dir)
	if [[ -d bin/lego ]]; then chmod -R u+w bin/lego && rm -r bin/lego; fi
	mkdir -p bin
	cp -r "$dir" bin/lego
	chmod -R u+w bin/lego
	rm -r bin/lego/providers/dns
	mkdir bin/lego/providers/dns
	cat >bin/lego/providers/dns/dns.go <<-'GO'
		// Package dns has no providers here.
		package dns

		import (
			"errors"

			"github.com/go-acme/lego/v5/challenge"
		)

		// NewDNSChallengeProviderByName knows none.
		func NewDNSChallengeProviderByName(string) (challenge.Provider, error) {
			return nil, errors.New("built without DNS providers")
		}
	GO
}

if (($# == 0)); then
	echo "usage: scripts/gateways.sh NAME…" >&2
	exit 2
fi
for name; do
	case $name in
	caddy) build caddy github.com/caddyserver/caddy/v2 github.com/caddyserver/caddy/v2/cmd/caddy ;;
	traefik) build traefik github.com/traefik/traefik/v3 github.com/traefik/traefik/v3/cmd/traefik lego ;;
	*)
		echo "gateways: no gateway is named $name" >&2
		exit 2
		;;
	esac
done
