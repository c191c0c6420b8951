#!/usr/bin/env python3
"""Goal: a reissue or a purge whose call fails says so, and the command that is named next mends it: no key is left behind,
no device has two certificates in force. Method: certmill-faulty counts the calls of each; the first, second, middle and last
two of each kind fail in turn, as on a full, a broken and a read-only disk; a sync also with its data lost. Then the resume, or
the purge again, and check_fleet.py."""

import collections
import os
import shutil
import sys

import run_kit as run
from run_kit import check_fleet, kit

KINDS = ("openat", "pwrite", "fdatasync", "fsync", "syncfs", "unlinkat", "ftruncate", "renameat2")
TEXT = {"ENOSPC": b"No space left", "EIO": b"Input/output error", "EROFS": b"Read-only file system"}
COMMANDS = {"purge-keys": ["purge-keys", "out", "--yes"],
            "reissue": ["reissue", "out", run.IDS[1], run.IDS[100], "--reason", "r"]}
MENDS = {"purge-keys": COMMANDS["purge-keys"], "reissue": ["resume", "out"]}


def lines_of(trace):
    with open(trace, encoding="utf-8") as f:
        lines = f.read().splitlines()
    os.unlink(trace)
    return lines


def attempt(name, plan, error, title):
    """'failed', 'mended' or 'not reached'"""
    run.copy("whole", "out")
    r = run.mill([*COMMANDS[name], "--quiet"], f"{run.BOUNDS};trace trace;{plan}")
    hit = [line for line in lines_of("trace") if " !" in line]
    if r.code == 0:
        # A name that is cleared away beforehand need not have been there.
        kit.check(all(line.startswith("unlinkat ") and ".part" in line for line in hit), title, "went unnoticed:", *hit)
    else:
        kit.check(r.code == 3 and TEXT[error] in r.err and b"out" in r.err, title, r)
    again = run.mill([*MENDS[name], "--quiet"])
    kit.check(again.code == 0, title, "then:", again)
    found = check_fleet.check("out", run.IDS, "ca/ca.pem", ended=True)
    kit.check(found == [], title, *found[:5])
    keys = [f for f in kit.files_below("out") if f.startswith("keys/")]
    kit.check(name != "purge-keys" or keys == [], title, "keys are left:", *keys)
    return "failed" if r.code else "mended" if hit else "not reached"


def sweep(name, layout):
    run.copy("whole", "out")
    kit.check(run.mill([*COMMANDS[name], "--quiet"], f"{run.BOUNDS};trace trace").code == 0, name, "without a fault")
    counts = collections.Counter(line.split(" ")[0] for line in lines_of("trace"))
    came = collections.Counter()
    for kind in KINDS:
        total = counts[kind]
        for nth in sorted({1, 2, total // 2, total - 1, total} & set(range(1, total + 1))):
            for error in TEXT:
                came[attempt(name, f"fail {kind} {nth} {error}", error, f"{layout}, {name}, {kind} {nth}: {error}")] += 1
            if "sync" in kind:
                came[attempt(name, f"lose {kind} {nth} EIO", "EIO", f"{layout}, {name}, {kind} {nth} loses data")] += 1
    kit.check(came["failed"] >= 40, layout, name, "hardly anything failed:", dict(came))
    kit.say(f"{layout}, {name}:", ", ".join(f"{n} {what}" for what, n in sorted(came.items())))


def main():
    kit.enter_place("rework-faults", memory=True)
    kit.ca_init("ca")
    for layout in ("tar", "tree"):
        kit.must([run.FAULTY, *run.mint_args("ca", "whole", layout)], env=run.environment())
        for name in COMMANDS:
            sweep(name, layout)
        shutil.rmtree("whole")
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
