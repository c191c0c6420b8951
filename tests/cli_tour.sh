#!/usr/bin/env bash
# Goal: the tour in README.md works as it is printed. Method: take its blocks out of the file, run them command by
# command in a new directory with the program under test in PATH; all but the lines that install and build.
set -uo pipefail
certmill=$(realpath "${CERTMILL:?the program to test}")
source=${CM_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
mkdir bin copy
ln -s "$certmill" bin/certmill
export PATH="$dir/bin:$PATH"
cp -r "$source/scripts" "$source/docs" "$source/README.md" copy
cd copy || exit 1
passed=0
failed=0

# One command a line: those that go on behind a backslash are put together.
awk '/^```tour$/ { on = 1; next } /^```$/ { on = 0 } on' README.md |
    sed -e ':a' -e '/\\$/{N;s/\\\n[[:space:]]*/ /;ba' -e '}' | sed '/^[[:space:]]*$/d' >"$dir/tour.txt"
mapfile -t lines <"$dir/tour.txt"
skipped=0
for line in "${lines[@]}"; do
    case $line in
    scripts/deps* | cmake* | 'export PATH='*)
        skipped=$((skipped + 1))
        continue
        ;;
    esac
    code=0
    bash -o pipefail -c "$line" >"$dir/out.txt" 2>"$dir/err.txt" </dev/null || code=$?
    # head ends a pipe early; what writes into it may say so with SIGPIPE.
    [[ $code -eq 141 && $line == *"| head"* ]] && code=0
    if [[ $code -ne 0 ]] || grep -qE 'Sanitizer:|runtime error:' "$dir/err.txt"; then
        echo "FAIL (exit $code): $line"
        sed 's/^/  | /' "$dir/out.txt" "$dir/err.txt"
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
    fi
done
# A README without its tour would pass otherwise.
if [[ $passed -lt 15 || $skipped -lt 3 ]]; then
    echo "FAIL: only $passed commands and $skipped build lines in the tour of README.md"
    failed=$((failed + 1))
fi
for word in "ca init" "mint" "resume" "verify" "load" "show" "extract" "repair" "reissue" "purge-keys" "doctor" "bench" "profile show"; do
    grep -q "certmill $word" "$dir/tour.txt" || {
        echo "FAIL: the tour does not show certmill $word"
        failed=$((failed + 1))
    }
done
echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
