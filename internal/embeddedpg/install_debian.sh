#!/bin/sh
# Installs PostgreSQL's server programs on Debian and Ubuntu, as root, without
# making or starting a system cluster: landlord starts a server of its own.
# scripts/deps.sh runs it, and `landlord dev` carries it inside.
set -eu
export DEBIAN_FRONTEND=noninteractive

# For this installation only: the file goes when the script ends.
conf=/etc/postgresql-common/createcluster.d/landlord.conf
mkdir -p "${conf%/*}"
trap 'rm -f "$conf"' EXIT
echo 'create_main_cluster = false' >"$conf"

get() { apt-get -o DPkg::Lock::Timeout=120 -qq -y --no-install-recommends install postgresql >/dev/null; }
get 2>/dev/null || {
	apt-get -qq update
	get
}
