#!/usr/bin/env bash
# Scans the module for known vulnerabilities. A finding always fails. When the vulnerability
# database can't be reached the scan says that it wasn't done, and fails only with VULN_REQUIRED=1:
# a developer offline goes on, CI on the open network doesn't.
#
#   VULN_TIMEOUT   seconds for the scan, and at most 60 of them for reaching the database (300)
#   VULN_DB        another database, e.g. a mirror's URL or file:///dir
set -euo pipefail
cd "$(dirname "$0")/.."
limit=${VULN_TIMEOUT:-300}

scan() { # SECONDS ARGUMENT…
	local seconds=$1
	shift
	timeout "$seconds" go tool -modfile=tools/go.mod govulncheck ${VULN_DB:+"-db=$VULN_DB"} "$@"
}

# Compiled first, so that the time limits are the scan's own.
go tool -modfile=tools/go.mod -n govulncheck >/dev/null

# A look at the packages alone takes no analysis, so an error here is the database. (Status 3
# says that an imported package has a vulnerability; whether our code calls it, the scan tells.)
status=0
probe=$(scan $((limit < 60 ? limit : 60)) -scan package ./... 2>&1) || status=$?
case $status in
0 | 3) ;;
124) reason="no answer in time" ;;
*)
	if [[ $probe != *"fetching vulnerabilities: "* ]]; then
		echo "$probe"
		echo "vulnerability scan FAILED: govulncheck ended with status $status"
		exit 1
	fi
	reason=${probe##*fetching vulnerabilities: }
	;;
esac
if [[ -n ${reason:-} ]]; then
	echo "vulnerability scan NOT DONE: database unreachable ($reason)"
	if [[ ${VULN_REQUIRED:-} == 1 ]]; then exit 1; fi
	exit 0
fi

status=0
scan "$limit" ./... || status=$?
case $status in
0) echo "vulnerability scan done: nothing found" ;;
3) echo "vulnerability scan done: vulnerabilities found, listed above" ;;
*) echo "vulnerability scan FAILED: govulncheck ended with status $status" ;;
esac
exit "$status"
