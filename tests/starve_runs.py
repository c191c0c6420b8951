#!/usr/bin/env python3
"""Goal: when memory runs out, wherever, the program ends with a clean exit code and a message, never in a crash or with half
a fleet that looks whole; what was committed stays, and a resume brings the rest. Method: certmill-starved counts the
allocations of a small run, its own, libcrypto's and jansson's; samples of them fail, once or with all after them, while it
mints and while it resumes what such a failure left. What is left is judged by check_fleet.py.

CM_STARVE=N: so many failures (2,000; of a sanitizer's build 200)."""

import multiprocessing
import os
import random
import re
import shutil
import subprocess
import sys

import run_kit as run
from run_kit import check_fleet, kit

STARVED = os.path.join(os.path.dirname(run.FAULTY), "certmill-starved")
POINTS = int(os.environ.get("CM_STARVE") or (200 if kit.SANITIZE else 2000))
DEVICES, COMMIT = 24, 6
IDS = run.IDS[:DEVICES]
PLAN = f"tune segment_bytes 24576;tune commit_devices {COMMIT};tune shard_devices {COMMIT};" \
       "tune commit_bytes 1000000000;tune commit_ms 1000000"
CLEAN = (0, 2, 3, 4)  # with an input that can't be read into memory, that is what is wrong


# libcrypto 3.0 loses an entry of its table of algorithm names, 16 octets and the name, when memory runs out while it adds
# one: nothing that a caller holds. A report of nothing else is taken out; the exit code stays the program's.
ENTRY = (rb"Direct leak of (?:16|32|48) byte[^\n]*\n(?: +#[0-2] [^\n]*\n){3} +#3 \w+ in CRYPTO_zalloc [^\n]*\n\n"
         rb"(?:Indirect leak of \d+ byte[^\n]*\n(?: +#[0-2] [^\n]*\n){3} +#3 \w+ in CRYPTO_strndup [^\n]*\n\n)+")
ENTRIES = re.compile(rb"\n=+\n==\d+==ERROR: LeakSanitizer: detected memory leaks\n\n(?:" + ENTRY +
                     rb")+SUMMARY: AddressSanitizer: \d{2} byte[^\n]*\n")


def starved(args, when, leaks=True):
    """leaks: whether lost memory counts."""
    env = {**run.environment(PLAN), "CERTMILL_STARVE": when, "ASAN_OPTIONS": f"exitcode=0:detect_leaks={int(leaks)}"}
    done = subprocess.run([STARVED, *args], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=kit.PATIENCE,
                          check=False)
    r = kit.Result([STARVED, when, *args], done.returncode, done.stdout, ENTRIES.sub(b"", done.stderr))
    kit.check(not kit.BROKEN.search(r.err), "the program broke:", r)
    return r


def mint_args(out, layout, io, workers):
    return ["mint", "--quiet", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--out", out, "--plaintext-keys", "--batch", "3",
            "--workers", str(workers), "--layout", layout, "--io", io, "--count", str(DEVICES)]


def allocations(args):
    r = starved(args, "count")
    found = re.search(rb"allocations: (\d+)", r.err)
    kit.check(r.code == 0 and found, "without a failure:", r)
    return int(found[1])


class Samples:
    def __init__(self, number, count):
        self.number, self.count = number, count
        self.rng = random.Random(kit.SEED * 1000 + number)
        self.tally = dict.fromkeys(("failures", "for ever", "absorbed", "told", "nothing begun", "stopped in commits",
                                    "resumes starved, too"), 0)
        self.kinds = [(layout, io, workers) for layout, io in (("tar", "posix"), ("tar", "uring"), ("tree", "posix"))
                      for workers in (1, 2)]
        self.out = f"out{number}"

    def run(self):
        shutil.rmtree(self.out, ignore_errors=True)
        counts = {}
        for kind in self.kinds:
            counts[kind] = allocations(mint_args(self.out, *kind))
            shutil.rmtree(self.out)
        for i in range(self.count):
            kind = self.kinds[i % len(self.kinds)]
            # Over the whole run, denser towards its end: most allocations are made before the first key.
            still = 1 - (i + self.rng.random()) / self.count
            at = int(counts[kind] * (1 - still * still))
            self.one(kind, f"{at}{'+' if i // len(self.kinds) % 2 else ''}")
            if kit.failed > 20:
                break
        return self.tally

    def clean(self, r, title):
        kit.check(r.code in CLEAN, title, r)
        kit.check(r.code == 0 or b"certmill: " in r.err, title, "says nothing:", r)

    def one(self, kind, when):
        title = f"allocation {when}: {kind}"
        shutil.rmtree(self.out, ignore_errors=True)
        self.tally["failures"] += 1
        self.tally["for ever"] += when.endswith("+")
        r = starved(mint_args(self.out, *kind), when)
        self.clean(r, title)
        if r.code == 0:
            self.tally["absorbed"] += 1
            self.look(title, None)
            return
        self.tally["told"] += 1
        if not os.path.exists(self.out):
            self.tally["nothing begun"] += 1
            return
        snap = check_fleet.snapshot(self.out)
        if snap["journal"][0] == 0:  # what it had made could not be removed again
            again = run.mill(["resume", self.out], PLAN)
            kit.check(again.code == 2 and b"mint again" in again.err and run.nothing_yet(self.out, snap), title, again)
            self.tally["nothing begun"] += 1
            return
        self.tally["stopped in commits"] += snap["commits"] > 0
        if self.tally["told"] % 2:
            # The first 2,000 are those of reading the journal.
            at = self.rng.randrange(self.rng.choice((2000, 12000)))
            again = starved(["resume", "--quiet", self.out], f"{at}{self.rng.choice(('', '+'))}")
            self.clean(again, title + ", resumed")
            self.tally["resumes starved, too"] += again.code != 0
        r = run.mill(["resume", "--quiet", self.out], PLAN)
        if kit.check(r.code == 0, title, "afterwards:", r):
            self.look(title, snap)

    def look(self, title, snap):
        found = check_fleet.check(self.out, IDS, "ca/ca.pem", committed_before=snap, ended=True)
        kit.check(found == [], title, *found[:10])


def samples(job):
    tally = Samples(*job).run()
    kit.check(run.no_children(), "a process outlives the test")
    return tally, kit.passed, kit.failed


def main():
    kit.enter_place("starve", memory=True)
    kit.ca_init("ca")
    n = min(2, len(os.sched_getaffinity(0)))
    total = {}
    with multiprocessing.Pool(n) as pool:
        for tally, passed, failed in pool.imap(samples, [(i, POINTS // n + (i < POINTS % n)) for i in range(n)]):
            for key, value in tally.items():
                total[key] = total.get(key, 0) + value
            kit.passed += passed
            kit.failed += failed
    print(", ".join(f"{name} {value}" for name, value in total.items()))
    kit.check(total["stopped in commits"] >= POINTS // 40, "too few failures in mid-run")
    kit.check(total["resumes starved, too"] >= POINTS // 40, "too few resumes starved")
    kit.say("done")
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
