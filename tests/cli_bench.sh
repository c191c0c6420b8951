#!/usr/bin/env bash
# Goal: `certmill bench` measures what it says, and what it keeps can be compared and drawn. Method: smoke runs; look
# at structure and at how the figures hang together, never at how large they are: a busy machine must not fail.
set -uo pipefail
certmill=${CERTMILL:?the program to test}
source=${CM_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failed=0
checks=0
if ! command -v python3 >/dev/null; then
    echo "python3 is missing; scripts/deps test installs it"
    exit 1
fi

# expect CODE WORDS COMMAND…: the exit code, and words that stdout or stderr must hold ("" : any).
expect() {
    local want=$1 words=$2 got=0
    shift 2
    checks=$((checks + 1))
    "$@" >out.txt 2>err.txt </dev/null || got=$?
    if [[ $got -ne $want ]] || { [[ -n $words ]] && ! cat out.txt err.txt | grep -qF -- "$words"; }; then
        echo "FAIL: $*"
        echo "  exit $got, wanted $want with \"$words\"; it said:"
        sed 's/^/  | /' out.txt err.txt
        failed=1
    fi
    if grep -q 'Sanitizer:' err.txt; then
        cat err.txt # for the runner to see
        failed=1
    fi
}
# unsaid WORDS: the last stdout must not hold them.
unsaid() {
    checks=$((checks + 1))
    if grep -qF -- "$1" out.txt; then
        echo "FAIL: \"$1\" is in:"
        sed 's/^/  | /' out.txt
        failed=1
    fi
}
# Nothing is left where fleets were written: no keys, not even an empty directory.
clean() { expect 0 "" test -z "$(ls -A work)"; }
mkdir work

# Every case, twice, as a table and as JSON; each keeps its lines.
expect 0 "" "$certmill" bench --smoke --json --out work --keep history.ndjson
cp out.txt one.json
clean
expect 0 "FLOOR" "$certmill" bench --smoke --quiet --out work --keep history.ndjson
cp out.txt table.txt
clean
for words in "cert/cpu-s" "ENGINE" "TAR" "TREE" "SCALING" "LADDER" "TIME OF A KEY" "BYTES" "MEMORY" "VERIFY" \
    "P-256" "Ed25519" "ratio" "CA key" "tar, not synced"; do
    expect 0 "$words" cat table.txt
done

# Of EC keys the floor has no interval: no low end in the table either.
cat >low.py <<'P'
with open("table.txt") as f:
    lines = f.read().splitlines()
at = next(i for i, line in enumerate(lines) if line.startswith("TAR, "))
head, row = lines[at + 1], lines[at + 3]
end = head.index("low end") + len("low end")
assert row.startswith("P-256") and row[:end].endswith("  -"), (head, row)
P
expect 0 "" python3 low.py

# What a fleet takes on disk, by hand.
expect 0 "" "$certmill" ca init --out hand --quiet
for layout in tar tree; do
    expect 0 "" "$certmill" mint --ca hand/ca.pem --ca-key hand/ca.key --count 100 --layout $layout --plaintext-keys \
        --out hand/$layout --quiet
done

cat >check.py <<'P'
import json
import os
import statistics

def octets(*parts):
    path = os.path.join("hand", *parts)
    if os.path.isfile(path):
        return os.stat(path).st_size
    return sum(octets(*parts, name) for name in os.listdir(path))

def near(a, b):
    return abs(a - b) <= 1e-5 * max(abs(a), abs(b))

def whole(run, floor):
    assert run["devices"] > 0 and run["wall_s"] > 0 and run["user_s"] + run["system_s"] > 0, run
    assert near(run["rate"], run["devices"] / (run["user_s"] + run["system_s"])), run
    assert near(run["wall"], run["devices"] / run["wall_s"]), run
    assert near(run["ratio"], run["rate"] / run["floor"]), run
    # The floor of a round is an average of two of the chunks.
    assert floor["rate_min"] * 0.99 <= run["floor"] <= floor["rate_max"] * 1.01, (run, floor)

with open("one.json") as f:
    o = json.load(f)
assert o["format"] == "certmill-bench" and o["version"] == 2 and o["complete"] is True
assert o["settings"]["size"] == "smoke" and o["settings"]["io"] and len(o["settings"]["cases"]) == 10
for k in ("processor", "processors", "kernel", "libcrypto", "libc", "build", "filesystem", "disk"):
    assert o["machine"][k], k
by = {(r["case"], r["key"], *filter(None, [r.get("what")])): r for r in o["results"]}
assert len(by) == len(o["results"])
assert all(r.get("ca", "P-256") == "P-256" for r in o["results"])
for key in ("P-256", "Ed25519"):
    floor = by["floor", key]
    assert floor["generate_us"] > 0 and floor["sign_us"] > 0 and floor["keys"] > 0 and floor["chunks"] == 4
    assert near(floor["rate"], 1e6 / (floor["generate_us"] + floor["sign_us"])), floor
    assert floor["rate_min"] <= floor["rate_median"] <= floor["rate_max"]
    for case in ("engine", "tar", "tree"):
        r = by[case, key]
        assert len(r["runs"]) == 2
        for run in r["runs"]:
            whole(run, floor)
        for name in ("rate", "ratio", "floor", "wall"):
            assert near(r[name], statistics.median(run[name] for run in r["runs"])), (case, name)
        assert 0 < r["ratio_min"] <= r["ratio"] <= r["ratio_max"] and r["ratio_pooled"] > 0
        # Only RSA keys are timed one by one: without an interval there is no low end.
        assert r["ratio_low"] is None and near(floor["rate_low"], floor["rate_high"])
    # One worker, as many as there are processors for, and the powers of two between.
    scale = [r for r in o["results"] if r["case"] == "scale" and r["key"] == key]
    most = o["settings"]["workers"]
    assert [r["workers"] for r in scale] == sorted({2 ** i for i in range(11) if 2 ** i < most} | {most}), scale
    for r in scale:
        assert r["processors"] == r["workers"] and r["what"] == str(r["workers"])
        for run in r["runs"]:
            whole(run, floor)
        times = [a["wall"] / b["wall"] for a, b in zip(r["runs"], scale[0]["runs"])]
        assert near(r["speedup"], statistics.median(times)), r
        assert near(r["speedup_min"], min(times)) and near(r["speedup_max"], max(times)), r
    for generator in ("libcrypto", "own"):
        t = by["keytime", key, generator]
        known = [t[p] for p in ("min_us", "p50_us", "p90_us", "p95_us", "p99_us", "max_us") if t[p] is not None]
        assert known == sorted(known) and known[0] > 0 and t["min_us"] <= t["mean_us"] <= t["max_us"], t
        assert (t["p99_us"] is None) == (t["samples"] < 100) and t["keys"] == t["samples"] * t["batch"], t
        assert sum(bin["samples"] for bin in t["histogram"]) == t["samples"], t
        assert t["histogram"][0]["from_us"] <= t["min_us"] and t["max_us"] <= t["histogram"][-1]["to_us"], t
    # Keys are the same whatever the layout; a tar pads them, a tree gives each a file, which takes whole blocks.
    tar, tree = by["bytes", key, "tar"], by["bytes", key, "tree"]
    for b in (tar, tree):
        parts = sum(b[p] for p in ("chain_bytes", "key_bytes", "row_bytes", "other_bytes"))
        assert b["devices"] == 100 and near(b["total_bytes"], parts) and b["disk_bytes"] > 0, b
    assert tree["key_bytes"] < tar["key_bytes"] and tree["chain_bytes"] < tar["chain_bytes"], (tar, tree)
    assert tree["disk_bytes"] >= tree["total_bytes"]
for layout in ("tar", "tree"):
    b = by["bytes", "P-256", layout]
    for name, parts in (("chain_bytes", ["chains"]), ("key_bytes", ["keys"]), ("row_bytes", ["manifest.ndjson"]), ("total_bytes", [])):
        want = octets(layout, *parts) / 100
        assert abs(b[name] - want) < 0.03 * want, (layout, name, b[name], want)
ladder = [r for r in o["results"] if r["case"] == "ladder"]
assert [r["what"] for r in ladder] == ["none", "tar-unsynced", "tar", "tree", "ledger", "database"] and {r["key"] for r in ladder} == {"P-256"}
rungs = {r["what"]: r for r in ladder}
for r in ladder:
    cost = [1e6 * (run["user_s"] + run["system_s"]) / run["devices"] for run in r["runs"]]
    assert near(r["cpu_us"], statistics.median(cost)), r
    if r["over"] is None:
        assert r["step_us"] is None
        continue
    below = [1e6 * (run["user_s"] + run["system_s"]) / run["devices"] for run in rungs[r["over"]]["runs"]]
    step = [a - b for a, b in zip(cost, below)]
    assert abs(r["step_us"] - statistics.median(step)) < 1e-4 * cost[0], r
# A row's way into SQLite has no server.
(load,) = [r for r in o["results"] if r["case"] == "load"]
assert load["what"] == "database" and load["devices"] == rungs["database"]["devices"] and load["server_us"] is None, load
assert near(load["cpu_us"], load["own_us"]) and 0 < load["cpu_us_min"] <= load["cpu_us"] <= load["cpu_us_max"], load
# What is measured once is told twice.
assert rungs["tar"]["runs"] == by["tar", "P-256"]["runs"] and rungs["none"]["runs"] == by["engine", "P-256"]["runs"]
verify = by["verify", "P-256"]
assert near(verify["times"], statistics.median(run["floor"] / run["rate"] for run in verify["runs"])), verify
assert 0 < verify["mul_us"] < verify["verify_us"] < verify["cpu_us"] and len(verify["runs"]) == 2, verify
sizes = [r for r in o["results"] if r["case"] == "rss"]
assert [s["devices"] for s in sizes] == [100, 300] and all(s["rss_kib"] > 0 for s in sizes)

with open("history.ndjson") as f:
    lines = [json.loads(line) for line in f]
assert len(lines) == 2 * len(o["results"]), len(lines)
assert [(r["case"], r["key"], *filter(None, [r.get("what")])) for r in lines[:len(by)]] == list(by)
for line in lines:
    assert line["at"] and line["commit"] and line["machine"] == o["machine"]
print(len(o["results"]), "results")
P
expect 0 "results" python3 check.py
lines=$(sed 's/ results//' out.txt)

# One case alone; no child is needed for the floor, and no directory.
expect 0 "FLOOR" "$certmill" bench --smoke --key p-256 --case floor --quiet --out work
unsaid ENGINE
unsaid TAR
expect 0 "Ed25519" "$certmill" bench --smoke --key P-384 --case engine --runs 1 --ca-key-alg Ed25519 --out work
# Each key below each CA; what takes one CA takes the first.
expect 0 "" "$certmill" bench --smoke --json --key P-256 --key P-384 --ca-key-alg RSA-2048 --ca-key-alg P-384 \
    --case engine --case tar --case bytes --case scale --runs 1 --out work
cp out.txt matrix.json
cat >matrix.py <<'P'
import json
with open("matrix.json") as f:
    results = json.load(f)["results"]
pairs = [(k, c) for k in ("P-256", "P-384") for c in ("RSA-2048", "P-384")]
for case in ("floor", "engine", "tar"):
    assert [(r["key"], r["ca"]) for r in results if r["case"] == case] == pairs, case
assert [(r["key"], r["ca"]) for r in results if r["case"] == "bytes"] == [p for p in pairs for _ in "12"]
assert {(r["key"], r["ca"]) for r in results if r["case"] == "scale"} == {("P-256", "RSA-2048"), ("P-384", "RSA-2048")}
# An RSA signature takes longer than one on P-384, and is longer: the CAs are not mixed up.
chain = {(r["key"], r["ca"]): r["chain_bytes"] for r in results if r["case"] == "bytes" and r["what"] == "tree"}
assert chain["P-256", "RSA-2048"] > chain["P-256", "P-384"] + 300, chain
assert {r["signature"] for r in results if r["case"] == "engine" and r["ca"] == "P-384"} == {"ecdsa-with-SHA384"}
print("matrix")
P
expect 0 "matrix" python3 matrix.py
clean

# A last line without its end, as a full disk leaves it, stays a line of its own.
printf '{"half":' >torn.ndjson
for lines_then in 2 3; do
    expect 0 "" "$certmill" bench --smoke --key P-256 --case floor --runs 1 --quiet --out work --keep torn.ndjson
    expect 0 "$lines_then" grep -c '' torn.ndjson
done
expect 0 '{"half":' head -n 1 torn.ndjson
expect 0 "2" grep -c '^{"at":.*}$' torn.ndjson

# RSA is judged at the low end: over the high end of the floor's interval.
expect 0 "" "$certmill" bench --smoke --json --key RSA-2048 --case engine --count 2 --seconds 4 --out work
cp out.txt rsa.json
cat >rsa.py <<'P'
import json
with open("rsa.json") as f:
    floor, r = json.load(f)["results"]
if floor["keys"] < 30: # a slow machine: too few for an interval
    assert floor["rate_low"] == floor["rate"] == floor["rate_high"] and r["ratio_low"] is None, (r, floor)
else:
    assert floor["rate_low"] < floor["rate"] < floor["rate_high"], floor
    want = r["ratio_pooled"] * floor["rate"] / floor["rate_high"]
    assert abs(r["ratio_low"] - want) < 1e-4 * want and r["ratio_low"] < r["ratio_pooled"], (r, floor)
print("interval of", floor["keys"])
P
expect 0 "interval of" python3 rsa.py
clean

# What was kept is compared: two measurements, by lines, by time, and as files; and drawn.
compare=(python3 "$source/bench/compare" --history history.ndjson)
half="1-$lines $((lines + 1))-$((2 * lines))"
# shellcheck disable=SC2086 # two words
expect 0 "ladder  P-256/P-256       tar-unsynced" "${compare[@]}" $half
unsaid "NOT THE SAME"
expect 0 "only in B: " "${compare[@]}" 1 1-9
expect 0 "+0.0 %" "${compare[@]}" 2 2
expect 0 "floor" "${compare[@]}" one.json history.ndjson
sed "$((lines + 1)),\$s/\"online\":/\"build\":\"another\",&/" history.ndjson |
    sed 's/"build":"another",\(.*\)"build":"[^"]*"/"build":"another",\1"was":"x"/' >other.ndjson
# shellcheck disable=SC2086
expect 0 "build: " python3 "$source/bench/compare" --history other.ndjson $half
# shellcheck disable=SC2086
expect 0 "NOT THE SAME MACHINE" python3 "$source/bench/compare" --history other.ndjson $half
expect 2 "no such line, date or commit" "${compare[@]}" nowhere 1
expect 2 "no case and key is in both" "${compare[@]}" 1 2
if command -v gnuplot >/dev/null; then
    expect 0 "" python3 "$source/bench/history" --out picture.svg history.ndjson
    expect 0 "</svg>" cat picture.svg
    expect 0 "picture.svg" python3 -c 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1]); print(sys.argv[1])' picture.svg
    expect 2 "there are: floor" python3 "$source/bench/history" --case tree <(head -n 1 history.ndjson)
fi
expect 2 "certmill bench --keep FILE makes one" python3 "$source/bench/history" nothing.ndjson

# Refusals name the thing and the next step.
expect 2 "there are: P-256" "$certmill" bench --key P-257
expect 2 "did you mean tree" "$certmill" bench --case tre
expect 2 "there are: P-256" "$certmill" bench --ca-key-alg P-256 --ca-key-alg x
expect 2 "--ca-key-alg: P-256 was given twice" "$certmill" bench --ca-key-alg P-256 --ca-key-alg secp256r1
expect 2 "say it once" "$certmill" bench --key P-256 --key prime256v1
expect 2 "contradict" "$certmill" bench --smoke --full
expect 3 "make it, or name another" "$certmill" bench --smoke --out nowhere
expect 3 "can't be written" "$certmill" bench --smoke --out work --keep nowhere/x
expect 3 "certmill mint failed (exit 3): can't write" bash -c 'ulimit -f 8 && exec "$@"' - "$certmill" bench --smoke \
    --key P-256 --case tar --out work
if [[ ${CM_SANITIZE:-} != thread ]]; then # whose runtime needs a file itself, before main
    expect 3 "raise it: ulimit -f" bash -c '(ulimit -f 0 && exec "$@") 2>&1 | cat; exit "${PIPESTATUS[0]}"' - \
        "$certmill" bench --smoke --key P-256 --case tar --out work
fi
expect 3 "MiB free" "$certmill" bench --smoke --key P-256 --case tar --count 1000000000 --out work
clean

# There is never more than one fleet of tars, nor more trees than one key has.
"$certmill" bench --smoke --key P-256 --key P-384 --case tar --case ladder --case tree --runs 3 --quiet --out work >out.txt \
    2>err.txt &
pid=$!
most=0
while kill -0 $pid 2>/dev/null; do
    fleets=(work/certmill-bench-*/0*/chains)
    tars=$(printf '%s\n' "${fleets[@]}" | grep -vc -e '-tree/' -e '\*')
    keys=$(printf '%s\n' "${fleets[@]}" | grep -e '-tree/' | sed 's/.*\/[0-9]*-//' | sort -u | wc -l)
    [[ $tars -le $most ]] || most=$tars
    [[ $keys -le 1 ]] || most=99
done
wait $pid
expect 0 "" test $? -eq 0
expect 0 "" test "$most" -eq 1
clean

# Stopped by a signal: 128 + its number, the child gone, nothing left.
"$certmill" bench --smoke --key P-256 --case tar --runs 50 --count 3000 --quiet --out work >out.txt 2>err.txt &
pid=$!
for _ in {1..600}; do
    compgen -G "work/certmill-bench-*/0001-*" >/dev/null && break
    sleep 0.05
done
child=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null)
kill -TERM $pid
wait $pid
code=$?
cp err.txt stopped.txt
expect 0 "" test $code -eq 143
expect 0 "certmill: interrupted by SIGTERM: all that was made to measure is removed; 0 of 1 pairs" cat stopped.txt
for c in $child; do
    expect 1 "" test -e "/proc/$c"
done
clean

[[ $failed -eq 0 ]] && echo "$checks checks passed"
exit "$failed"
