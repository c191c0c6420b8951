#!/usr/bin/env bash
# Goal: the table of kill points is the program's (two outputs may have a point of the same name), and the release binary knows nothing of faults.
# Method: grep the uses, compare; look at the symbols and strings of the program.
set -euo pipefail
cd "${CM_SOURCE:-$(dirname "$0")/../..}"
failed=0

complain() {
    echo "$1"
    failed=1
}

used=$(grep -rhoE --include='*.c' 'CM_POINT\("[^"]*"\)' io cli | sed 's/.*"\(.*\)".*/\1/' | sort -u || true)
listed=$(sed -n '/^static/,$p' tests/faults/points.h | grep -oE '"[^"]+"' | tr -d '"' | sort)
[[ $(sort -u <<<"$listed") == "$listed" ]] || complain "a name is listed twice: $(uniq -d <<<"$listed")"
while IFS= read -r line; do
    complain "points.h and the CM_POINTs of io/ and cli/ differ: $line"
done < <(diff <(echo "$listed") <(echo "$used") | grep '^[<>]' || true)

if [[ -n ${CERTMILL:-} ]]; then
    for word in CERTMILL_FAULTS CERTMILL_STARVE cm_sys_ cm_plan_ cm_record_; do
        # The debug information of the plain build names inlined cm_sys_ functions: only what is code or data counts.
        found=$(nm "$CERTMILL" 2>/dev/null | grep -E " [A-Z] .*$word" || true)
        [[ -z $found ]] || complain "the program has the symbol $found"
    done
    stripped=$(mktemp)
    strip -o "$stripped" "$CERTMILL"
    for word in CERTMILL_FAULTS $listed; do
        ! grep -qaF -- "$word" "$stripped" || complain "the program has the string $word"
    done
    rm -f "$stripped"
    if [[ -n ${CERTMILL_FAULTY:-} ]]; then
        grep -qa CERTMILL_FAULTS "$CERTMILL_FAULTY" || complain "the check is blind: it misses CERTMILL_FAULTS in certmill-faulty"
        [[ $("$CERTMILL_FAULTY" --points | sort) == "$listed" ]] || complain "certmill-faulty --points differs from points.h"
    fi
fi

[[ $failed -eq 0 ]] && echo "$(grep -c . <<<"$listed" || true) kill points; the program has none of it"
exit "$failed"
