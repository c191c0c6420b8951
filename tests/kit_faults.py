#!/usr/bin/env python3
"""Goal: a registration kit is there whole, or not at all, whatever call fails. Method: certmill-faulty counts the calls that
aws kit makes; the first, second, middle and last two of each kind fail in turn, as on a full, a broken and a read-only disk, and
the process is killed there."""

import collections
import os
import shutil
import sys

import run_kit as run
from run_kit import kit

KINDS = ("openat", "mkdirat", "fchmod", "pwrite", "fdatasync", "fsync", "renameat2", "close")
TEXT = {"ENOSPC": b"No space left", "EIO": b"Input/output error", "EROFS": b"Read-only file system"}
ARGS = ["aws", "kit", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--registration-code", "5a" * 32, "--out", "out/kit", "--quiet"]


def clear():
    shutil.rmtree("out", ignore_errors=True)
    os.mkdir("out")


def attempt(title, plan, error):
    clear()
    r = run.mill(ARGS, plan)
    if r.code == 0:
        return "not reached"
    kit.check(r.code == 3 and TEXT[error] in r.err, title, r)
    kit.check(os.listdir("out") == [], title, "left:", os.listdir("out"))
    return "failed"


def killed(title, plan, whole):
    """A .part is all that may stay, and it says so when the kit is made again."""
    clear()
    r = run.mill(ARGS, plan)
    there = os.listdir("out")
    kit.check(r.code == -9 and there in ([], ["kit.part"], ["kit"]), title, r, there)
    if there == ["kit"]:
        kit.check(kit.files_below("out/kit").keys() == whole.keys(), title, "a kit with files missing")
    again = run.mill(ARGS, "")
    if there:
        kit.check(again.code == 2 and b"there already" in again.err, title, again)


def main():
    kit.enter_place("kit-faults", memory=True)
    kit.ca_init("ca")
    clear()
    kit.check(run.mill(ARGS, "trace trace").code == 0, "without a fault")
    whole = kit.files_below("out/kit")
    with open("trace", encoding="utf-8") as f:
        counts = collections.Counter(line.split(" ")[0] for line in f)
    came = collections.Counter()
    for kind in KINDS:
        total = counts[kind]
        for nth in sorted({1, 2, total // 2, total - 1, total} & set(range(1, total + 1))):
            killed(f"{kind} {nth}: kill", f"kill {kind} {nth}", whole)
            for error in TEXT:
                if kind != "close":
                    came[attempt(f"{kind} {nth}: {error}", f"fail {kind} {nth} {error}", error)] += 1
    kit.check(came["failed"] >= 60, "hardly anything failed:", dict(came))
    kit.say(", ".join(f"{n} {what}" for what, n in sorted(came.items())))
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
