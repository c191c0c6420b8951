"""What compare and history share: reading results, and telling machines apart.

A result is a dict with "case", "key", "at", "commit", "machine", "settings" and the figures: one line of a history
(`certmill bench --keep`), or one entry of a `certmill bench --json` object with what the object says of all."""
import json
import os
import re
import sys

HISTORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "history.ndjson")
CASES = ["floor", "engine", "tar", "tree", "wall", "scale", "ladder", "load", "keytime", "bytes", "rss", "verify"]
# What must agree for two figures to be comparable, besides case, key, the CA's key and what was measured.
MACHINE = ["processor", "processors", "kernel", "libcrypto", "build", "filesystem", "disk"]
SETTINGS = ["size", "workers", "io", "server"]


class Unreadable(Exception):
    pass


def read_file(path):
    """All results in a history or in the output of --json, each with its line number as "line"."""
    try:
        with open(path, encoding="utf-8") as f:
            text = f.read()
    except OSError as e:
        raise Unreadable(f"{path}: {e.strerror}; certmill bench --keep FILE makes one") from e
    results = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as e:
            raise Unreadable(f"{path}, line {number}: no JSON ({e}); take it out") from e
        common = {k: entry[k] for k in ("at", "commit", "engine", "machine", "settings") if k in entry}
        for result in entry.get("results", [entry]):
            if "case" not in result or "machine" not in common:
                raise Unreadable(f"{path}, line {number}: no result of certmill bench; take it out")
            results.append({**common, **result, "line": number})
    return results


def select(what, history):
    """The results that `what` names: a file, a line or range of lines (12, 12-20), a date or time that `at` begins
    with, or the beginning of a commit."""
    if os.path.isfile(what):
        return read_file(what)
    results = read_file(history)
    lines = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", what)
    commits = [r for r in results if len(what) >= 4 and r["commit"].startswith(what)]
    if commits:
        chosen = commits
    elif lines:
        first, last = int(lines[1]), int(lines[2] or lines[1])
        chosen = [r for r in results if first <= r["line"] <= last]
    else:
        chosen = [r for r in results if re.match(r"\d{4}-", what) and r["at"].startswith(what)]
    if not chosen:
        raise Unreadable(f"\"{what}\" is no file, and {history} has no such line, date or commit; "
                         "it has commits " + (", ".join(dict.fromkeys(r["commit"] for r in results)) or "none"))
    return chosen


def order(result):
    """Sorts as the program's tables do: by case, then in the order in which keys first came."""
    return CASES.index(result["case"]) if result["case"] in CASES else len(CASES)


def ca_of(result):
    """The CA's key: lines of version 1 have it in their settings. "": no CA takes part."""
    return result.get("ca", result["settings"].get("ca", ""))


def pair(result):
    ca = ca_of(result)
    return f"{result['key']}/{ca}" if ca else result["key"]


def identity(result):
    """What two results must have in common to be compared."""
    return result["case"], pair(result), result.get("what", "")


def number(v):
    if v is None:
        return "-"
    if abs(v) >= 99.95:
        return f"{v:,.0f}"
    return f"{v:.1f}" if abs(v) >= 9.995 else f"{v:.3f}" if abs(v) < 2 else f"{v:.2f}"


def fail(program, e):
    print(f"{program}: {e}", file=sys.stderr)
    sys.exit(2)
