#!/usr/bin/env bash
# Makes sure that the programs are there which landlord starts or tests against. What is there is
# left alone. On Debian and Ubuntu it installs the rest, as root or through a sudo that asks for no
# password; elsewhere it prints the command that does and fails. No service is started or enabled:
# landlord and its tests run servers of their own.
#
#   scripts/deps.sh postgres   for `make dev`: PostgreSQL's server programs, 15 or newer
#   scripts/deps.sh test       for the tests: that, Node with npm, Python, nginx, Caddy, Redis, curl, jq,
#                              on Linux ip, and the race detector's C compiler
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "deps: $*"; }

# have NAME…: one of the programs is there; daemons are where an ordinary user's PATH doesn't lead.
have() {
	local name
	for name; do
		if PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin command -v "$name" >/dev/null; then return; fi
	done
	return 1
}

# The places are those of internal/embeddedpg/find.go.
have_postgres() {
	local dir version dirs
	IFS=: read -ra dirs <<<"$PATH"
	if have pg_config; then dirs+=("$(pg_config --bindir)"); fi
	shopt -s nullglob
	dirs+=(/usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* /usr/lib/postgresql*/bin /usr/local/pgsql/bin
		/opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin /home/linuxbrew/.linuxbrew/opt/postgresql*/bin
		/Applications/Postgres.app/Contents/Versions/*/bin /opt/local/lib/postgresql*/bin)
	shopt -u nullglob
	for dir in "${dirs[@]}"; do
		if [[ ! -x $dir/postgres || ! -x $dir/initdb && ! -L $dir/postgres ]]; then continue; fi
		version=$("$dir/postgres" --version 2>/dev/null) || continue
		if [[ $version =~ \(PostgreSQL\)\ ([0-9]+) ]] && ((BASH_REMATCH[1] >= 15)); then return; fi
	done
	return 1
}

missing=() # packages, by their Debian names
case ${1:-} in
postgres) ;;
test)
	have nginx || missing+=(nginx)
	have caddy || missing+=(caddy)
	have redis-server || missing+=(redis-server)
	have curl || missing+=(curl ca-certificates)
	have jq || missing+=(jq)
	have node || missing+=(nodejs)
	have npm || missing+=(npm)
	have python3 || missing+=(python3)
	[[ $(uname) != Linux ]] || have ip || missing+=(iproute2)
	have cc gcc clang || missing+=(gcc libc6-dev)
	;;
*)
	echo "usage: scripts/deps.sh postgres|test" >&2
	exit 2
	;;
esac
have_postgres || missing+=(postgresql)
if ((${#missing[@]} == 0)); then exit 0; fi

# by_hand TOOL…: the command for a person, in the names of that system.
by_hand() {
	local names=" ${missing[*]} " sudo=""
	if ((EUID != 0)) && [[ $1 != brew ]]; then sudo="sudo "; fi
	case $1 in
	brew) names=${names/ postgresql / postgresql@17 } names=${names/ redis-server / redis } names=${names/ gcc libc6-dev / gcc } names=${names/ nodejs npm / node } ;;
	apk) names=${names/ postgresql / postgresql postgresql-contrib } names=${names/ redis-server / redis } names=${names/ gcc libc6-dev / gcc musl-dev } ;;
	pacman) names=${names/ redis-server / valkey } names=${names/ python3 / python } names=${names/ gcc libc6-dev / gcc } names=${names/ nodejs npm / node } ;;
	dnf | zypper) names=${names/ postgresql / postgresql-server postgresql-contrib } names=${names/ redis-server / redis } names=${names/ gcc libc6-dev / gcc glibc-devel } ;;
	esac
	if [[ $1 == dnf ]]; then names=${names/ iproute2 / iproute }; fi
	echo "$sudo$*${names%" "}"
}

if ! have apt-get || [[ $(uname) != Linux ]]; then
	if have brew; then
		command=$(by_hand brew install)
	elif have dnf; then
		command=$(by_hand dnf install -y)
	elif have zypper; then
		command=$(by_hand zypper install -y)
	elif have apk; then
		command=$(by_hand apk add)
	elif have pacman; then
		command=$(by_hand pacman -S --noconfirm)
	else
		command="your package manager, for: ${missing[*]}"
	fi
	say "missing programs; install them with: $command" >&2
	exit 1
fi

as_root=()
if ((EUID != 0)); then
	if ! have sudo || ! sudo -n true 2>/dev/null; then
		say "missing programs, and this user may not install them; do it with: $(by_hand apt-get install -y)" >&2
		exit 1
	fi
	as_root=(sudo -n)
fi

packages=()
for name in "${missing[@]}"; do
	if [[ $name == postgresql ]]; then
		say "installing postgresql"
		"${as_root[@]}" sh internal/embeddedpg/install_debian.sh
	else
		packages+=("$name")
	fi
done
if ((${#packages[@]})); then
	say "installing ${packages[*]}"
	# Root's part: no daemon may start while its package is set up, nor at the next boot.
	"${as_root[@]}" sh -eu -s "${packages[@]}" <<-'ROOT'
		export DEBIAN_FRONTEND=noninteractive
		policy=/usr/sbin/policy-rc.d
		if [ ! -e "$policy" ]; then
			trap 'rm -f "$policy"' EXIT
			printf '#!/bin/sh\nexit 101\n' >"$policy"
			chmod +x "$policy"
		fi
		get() { apt-get -o DPkg::Lock::Timeout=120 -qq -y --no-install-recommends install "$@" >/dev/null; }
		get "$@" 2>/dev/null || { apt-get -qq update && get "$@"; }
		for name in nginx caddy redis-server; do
			case " $* " in *" $name "*)
				if [ -d /run/systemd/system ]; then systemctl --quiet disable "$name"; fi
			esac
		done
	ROOT
fi
if ! have_postgres; then
	say "this system's own postgresql is older than 15: add PostgreSQL's package repository" \
		"(the package postgresql-common has a script for it) and install postgresql-17 from there" >&2
	exit 1
fi
