#!/usr/bin/env bash
# Checks the migrations' files: numbered 000001, 000002, … without a gap or a double, named
# NNNNNN_snake_case, each with an up and a down half, neither of them empty. (That
# migrations/schema.sql is what they make is goldens-check's business, since it is a golden file.)
set -euo pipefail
cd "$(dirname "$0")/.."

bad=0
complain() {
	echo "migrations: $1" >&2
	bad=1
}

declare -A names=()
shopt -s nullglob
for path in migrations/*.sql; do
	file=${path##*/}
	if [[ $file == schema.sql ]]; then continue; fi
	if [[ ! $file =~ ^([0-9]{6})_([a-z][a-z0-9_]*)\.(up|down)\.sql$ ]]; then
		complain "$file isn't named NNNNNN_snake_case.up.sql or .down.sql"
		continue
	fi
	number=${BASH_REMATCH[1]} name=${BASH_REMATCH[2]}
	if [[ -n ${names[$number]:-} && ${names[$number]} != "$name" ]]; then
		complain "$number is taken twice: ${names[$number]} and $name"
	fi
	names[$number]=$name
	for way in up down; do
		if [[ ! -s migrations/${number}_$name.$way.sql ]]; then
			complain "${number}_$name.$way.sql is missing or empty"
		fi
	done
done
for ((i = 1; i <= ${#names[@]}; i++)); do
	number=$(printf '%06d' "$i")
	if [[ -z ${names[$number]:-} ]]; then complain "$number is missing"; fi
done
if ((bad)); then exit 1; fi
echo "${#names[@]} migrations, in order and whole"
