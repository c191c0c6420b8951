#!/usr/bin/env bash
# Goal: the code keeps the shape that its style asks for. Method: ctags measures functions, grep finds the rest.
set -euo pipefail
cd "${CM_SOURCE:-$(dirname "$0")/..}"
function_max=70 file_max=500 columns_max=110
failed=0

complain() {
    echo "$1"
    failed=1
}

mapfile -t files < <(find engine io aws rehearsal cli bench tests -name '*.[ch]' | sort)
mapfile -t scripts < <(find scripts tests .ci cmake -type f \( -name '*.sh' -o -name '*.py' -o -name '*.cmake' \
    -o -path 'scripts/*' -o -path '.ci/*' \) ! -name '*.pyc' | sort)

for file in "${files[@]}"; do
    lines=$(wc -l <"$file")
    [[ $lines -le $file_max ]] || complain "$file: $lines lines, at most $file_max: make two files of it"
done

# Columns are characters, not octets.
while IFS= read -r hit; do
    complain "$hit: more than $columns_max columns"
done < <(LC_ALL=C.UTF-8 grep -nP "^.{$((columns_max + 1)),}" "${files[@]}" | cut -d: -f1,2 || true)

while IFS= read -r hit; do
    complain "$hit: trailing white space"
done < <(grep -nE '[[:blank:]]+$' "${files[@]}" "${scripts[@]}" | cut -d: -f1,2 || true)

while IFS= read -r hit; do
    complain "$hit: a tab; indentation is 4 spaces"
done < <(grep -nP '\t' "${files[@]}" | cut -d: -f1,2 || true)

# Functions without a bound, and those that keep state or say nothing about a failure.
while IFS= read -r hit; do
    complain "$hit"
done < <(grep -nE '(^|[^A-Za-z0-9_"])(strcpy|strcat|sprintf|vsprintf|atoi|atol|atof|strtok|gets|alloca)[[:space:]]*\(' \
    "${files[@]}" | grep -vE '^[^:]+:[0-9]+:[[:space:]]*(/?\*|//)' || true)

while IFS= read -r hit; do
    complain "$hit: whose, and when?"
done < <(grep -nE '\b(TODO|FIXME|XXX)\b' "${files[@]}" | grep -vE '(TODO|FIXME)\([a-z]+\)|XXXXXX' | cut -d: -f1,2 || true)

if ! command -v ctags >/dev/null || ! ctags --version | grep -q 'Universal Ctags'; then
    echo "Universal Ctags is missing (scripts/deps test installs it): functions can't be measured"
    exit 1
fi
while IFS=$'\t' read -r name file start end; do
    [[ $((end - start + 1)) -le $function_max ]] ||
        complain "$file:$start: $name has $((end - start + 1)) lines, at most $function_max"
done < <(ctags -x --_xformat=$'%N\t%F\t%n\t%e' --kinds-C=f --languages=C --langmap=C:+.h "${files[@]}")

[[ $failed -eq 0 ]] && echo "${#files[@]} files in good shape"
exit "$failed"
