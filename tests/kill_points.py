#!/usr/bin/env python3
"""Goal: the process may die at any of its named points, when it passes it first, again or last, while it mints, while
it resumes, in a reissue, a repair or a purge of the keys, and a resume, or giving the command again, brings the rest. Method: the points come from the program itself (certmill-faulty --points); a run
that is traced tells how often each is passed; then a run for each. What is left is checked by check_fleet.py, and nothing
that was committed may have changed. A point that no run passes is a failure: then nobody has tested it."""

import os
import re
import shutil
import sys

import run_kit as run
from run_kit import check_fleet, kit

# A run that stops in the middle, with leftovers of every kind: its fifth commit is not on record any more.
INTERRUPT = "kill point@journal.write 8"
KINDS = (("tar", "posix"), ("tar", "uring"), ("tree", "posix"))


def hits_of(trace):
    """point -> how often, and the rest of the line when it was killed there"""
    found = {}
    with open(trace, "rb") as f:
        for line in f:
            m = re.match(rb"point ([^ \n]+)", line)
            if m:
                found[m[1].decode()] = found.get(m[1].decode(), 0) + 1
    return found


def traced(args):
    if os.path.exists("trace"):
        os.unlink("trace")
    r = run.mill(args, f"{run.BOUNDS};trace trace")
    kit.check(r.code == 0, "without a kill:", r)
    return hits_of("trace")


def finish(out, snaps, title):
    """Resumes, and looks."""
    r = run.mill(["resume", "--quiet", out])
    if snaps[-1]["journal"][0] == 0:
        kit.check(r.code == 2 and b"mint again" in r.err and run.nothing_yet(out, snaps[-1]), title, r)
        return
    kit.check(r.code == 0, title, r)
    for snap in snaps:
        found = check_fleet.check(out, run.IDS, "ca/ca.pem", committed_before=snap, ended=True)
        kit.check(found == [], title, *found[:10])


def at_each(hits, title, attempt):
    """attempt(plan, title) for each point's first, second and last passing: how many."""
    n = 0
    for point, count in hits.items():
        for nth in sorted({1, min(2, count), count}):
            attempt(f"{run.BOUNDS};kill point@{point} {nth}", f"{title}, killed at {point}, passing {nth} of {count}")
            n += 1
    return n


def reworked(layout):
    """reissue, repair and purge-keys killed at each point, then finished: (kills, points that were passed)"""
    shutil.rmtree("whole", ignore_errors=True)
    kit.check(run.mill(run.mint_args("ca", "whole", layout)).code == 0, layout, "a whole run")
    commands = (["reissue", "out", run.IDS[1], run.IDS[100], "--reason", "r", "--quiet"], ["repair", "out", "--quiet"],
                ["purge-keys", "out", "--yes", "--quiet"])
    kills, passed = 0, set()
    for command in commands:
        def begin(plan):
            run.copy("whole", "out")
            if command[0] == "repair":
                shutil.rmtree("out/chains")
                os.mkdir("out/chains", 0o755)
            return run.mill(command, plan)

        def attempt(plan, title):
            r = begin(plan)
            if not kit.check(r.code == -9, title, r):
                return
            if command[0] != "purge-keys":
                r = run.mill(["resume", "--quiet", "out"])
                kit.check(r.code == 0, title, r)
            # Given again it does what is left, which may be nothing; but a reissue would be another one.
            if command[0] != "reissue":
                r = run.mill(command)
                kit.check(r.code == 0, title, r)
            rows = open("out/manifest.ndjson", "rb").read().count(b'"device_id"')
            asked = {"reissue": (0, 2), "repair": (run.DEVICES,), "purge-keys": (0,)}[command[0]]
            kit.check(rows - run.DEVICES in asked, title, f"{rows} rows")
            keys = [f for f in kit.files_below("out") if f.startswith("keys/") and command[0] == "purge-keys"]
            kit.check(keys == [], title, "keys are left:", *keys)
            found = check_fleet.check("out", run.IDS, "ca/ca.pem", ended=True)
            kit.check(found == [], title, *found[:10])

        if os.path.exists("trace"):
            os.unlink("trace")
        r = begin(f"{run.BOUNDS};trace trace")
        kit.check(r.code == 0, command[0], "without a kill:", r)
        hits = hits_of("trace")
        passed |= set(hits)
        kills += at_each(hits, f"{command[0]}, {layout}", attempt)
    return kills, passed


def try_kind(layout, io):
    """(kills while minting, kills while resuming, points that were passed)"""
    args = run.mint_args("ca", "out", layout, io)

    def mint(plan, title):
        shutil.rmtree("out", ignore_errors=True)
        r = run.mill(args, plan)
        if kit.check(r.code == -9, title, r):
            finish("out", [check_fleet.snapshot("out")], title)

    def resume(plan, title):
        run.copy("base", "out")
        r = run.mill(["resume", "--quiet", "out"], plan)
        if kit.check(r.code == -9, title, r):
            finish("out", [base, check_fleet.snapshot("out")], title)

    shutil.rmtree("out", ignore_errors=True)
    minting = traced(args)
    minted = at_each(minting, f"mint, {layout}, {io}", mint)
    shutil.rmtree("out")
    kit.check(run.mill(args, f"{run.BOUNDS};{INTERRUPT}").code == -9, "the base was not interrupted")
    run.copy("out", "base")
    base = check_fleet.snapshot("base")
    kit.check(base["commits"] == 4 and base["is_open"], "the base:", base["commits"])
    resuming = traced(["resume", "--quiet", "out"])
    resumed = at_each(resuming, f"resume, {layout}, {io}", resume)
    return minted, resumed, set(minting) | set(resuming)


def main():
    kit.enter_place("points", memory=True)
    kit.ca_init("ca")
    points = set(kit.must([run.FAULTY, "--points"]).out.decode().split())
    passed = set()
    print(f"{'':12}{'minting':>10}{'resuming':>10}   killed at a point's first, second and last passing")
    for layout, io in KINDS:
        minted, resumed, here = try_kind(layout, io)
        passed |= here
        print(f"{layout + ' ' + io:12}{minted:10}{resumed:10}", flush=True)
    for layout in ("tar", "tree"):
        kills, here = reworked(layout)
        passed |= here
        print(f"{layout:12}{kills:10}   killed in a reissue, a repair, a purge", flush=True)
    points = {p for p in points if not p.startswith("db.")}  # e2e_db has those
    kit.check(points == passed, "points that no run passed:", *sorted(points - passed))
    print(f"{len(points)} points")
    kit.check(run.no_children(), "a process outlives the test")
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
