#!/usr/bin/env python3
"""Goal: whenever the process is killed, what was committed stays octet for octet, a resume brings exactly the rest, and
every serial prefix is accounted for. Method: runs of ten commits that are killed with signal 9 from outside, at moments
drawn by chance: some anywhere; most in a phase of a commit, in which one thread is held up for a moment while the others
go on, so that each phase has its share. Each is resumed (one tenth of the resumes are killed, too, and again), and what is left is checked from the disk
alone by check_fleet.py. The distribution is printed; a phase with fewer than 3 % of the kills, or fewer than 70 % of
them between the first and the last commit, is a failure: then the test has not tested what it says.

CM_KILLS=N: so many kills (1,000)."""

import multiprocessing
import os
import random
import shutil
import sys
import time

import run_kit as run
from run_kit import check_fleet, kit

KILLS = int(os.environ.get("CM_KILLS") or 1000)
COMMITS = run.DEVICES // run.COMMIT
RESUME_POINTS = ("leftovers.ended", "leftovers.wiped", "burned.write", "burned.synced", "journal.write", "journal.synced",
                 "bundles.put", "bundles.sync", "rows.write", "segment.rename", "shard.rename")
PHASE_MIN, BETWEEN_MIN = 0.03, 0.70


class Shots:
    """One process's share of the kills."""

    def __init__(self, number, count):
        self.number, self.count = number, count
        self.rng = random.Random(kit.SEED * 1000 + number)
        self.hits = {phase: 0 for phase in run.PHASES}
        self.table = {}
        self.tally = dict.fromkeys(("kills", "between", "before the first commit", "after the last commit",
                                    "before the journal", "too late", "resumes killed", "resumes", "checks"), 0)
        self.length = 0.1  # of a run, seconds; as the last ones were

    def run(self):
        for i in range(self.count):
            try:
                self.one(f"out{self.number}", i)
            except Exception as e:  # pylint: disable=broad-except
                kit.check(False, f"kill {self.number}.{i}: {e!r}")
                raise
            if kit.failed > 20:
                break
        return self

    # --- one kill --------------------------------------------------------------------------------------------------

    def aim(self, layout):
        """Where the run is to stall, so that it can be killed there: in the phase with the fewest hits so far. None:
        anywhere."""
        rng = self.rng
        if rng.random() < 0.2:
            return None
        fewest = min(self.hits.values())
        phase = rng.choice([p for p in run.PHASES if self.hits[p] <= fewest + self.count // 50])
        wait = rng.choice(run.WAITS[layout][phase])
        # How often it comes: for each file or batch, a few times in a run, or once a commit.
        if any(word in wait for word in ("openat", "close")):
            first, last = 5 * run.COMMIT, run.DEVICES
        elif any(word in wait for word in ("result", "put")):
            first, last = run.DEVICES // run.BATCH // 3, run.DEVICES // run.BATCH
        elif any(word in wait for word in ("segment", "renameat2")):
            first, last = 1, 2
        else:  # the journal has three records before the first commit
            first, last = (5, COMMITS + 3) if "journal" in wait else (2, COMMITS)
        return f"stall {wait} {rng.randint(first, last)} 60000"

    def shoot(self, args, aim):
        """Kills a run: the run, and whether it had not ended before."""
        rng, begun = self.rng, time.perf_counter()
        target = run.Followed(args, run.BOUNDS if aim is None else f"{run.BOUNDS};{aim}")
        if aim is None:
            alive = target.wait_until(begun + rng.random() * self.length)
        else:
            late = rng.choice((0, 100e-6, 1e-3, 5e-3)) * rng.random()
            alive = target.wait_stalled() and target.wait_until(time.perf_counter() + late)
        if alive:
            target.kill()
        code, said = target.end()
        if code == 0:
            self.length = 0.8 * self.length + 0.2 * (time.perf_counter() - begun)
        kit.check(code in (0, -9), f"a run that was to be killed ended with {code}: {said}")
        return target, code == -9

    def one(self, out, i):
        rng = self.rng
        layout, io, workers = rng.choice(("tar", "tree")), rng.choice(("uring", "posix")), rng.choice((1, 2))
        listed = "ids" if rng.random() < 0.15 else None
        aim = self.aim(layout)
        title = f"kill {self.number}.{i}: {layout}, {io}, {workers} workers, {aim}"
        shutil.rmtree(out, ignore_errors=True)
        target, killed = self.shoot(run.mint_args("ca", out, layout, io, workers, listed), aim)
        before = check_fleet.snapshot(out)
        self.count_it(killed, before, target.phase, layout, io)
        if before["journal"][0] == 0:
            self.never_begun(out, before, title)
            return
        snaps = [before]
        while i % 10 == 0 and len(snaps) < 4 and self.kill_resume(out, snaps):
            pass
        self.resume(out, snaps, title, i)

    def count_it(self, killed, snap, phase, layout, io):
        t = self.tally
        t["kills" if killed else "too late"] += 1
        if not killed:
            return
        where = "between" if run.between(snap, COMMITS) else \
            "before the journal" if snap["journal"][0] == 0 else \
            "before the first commit" if snap["commits"] == 0 else "after the last commit"
        t[where] += 1
        if where == "between":
            self.hits[phase] += 1
            self.table[phase, layout, io] = self.table.get((phase, layout, io), 0) + 1

    def never_begun(self, out, snap, title):
        """Killed before the first record: nothing was made, and resume says so."""
        kit.check(run.nothing_yet(out, snap), title, "there is no journal, and there are keys")
        if os.path.isdir(out):
            r = run.mill(["resume", out])
            kit.check(r.code == 2 and b"mint again" in r.err, title, r)

    def kill_resume(self, out, snaps):
        """Kills a resume: True."""
        rng = self.rng
        aim = f"stall point@{rng.choice(RESUME_POINTS)} {rng.randint(1, 3)} 60000" if rng.random() < 0.8 else None
        _, killed = self.shoot(["resume", "--quiet", out], aim)
        self.tally["resumes killed"] += killed
        snaps.append(check_fleet.snapshot(out))
        return killed

    def resume(self, out, snaps, title, i):
        r = run.mill(["resume", "--quiet", out])
        self.tally["resumes"] += 1
        kit.check(r.code == 0, title, r)
        for snap in snaps:
            sample = 3 if i % 25 == 0 else 0
            found = check_fleet.check(out, run.IDS, "ca/ca.pem", sample_openssl=sample, committed_before=snap, ended=True)
            self.tally["checks"] += 1
            kit.check(found == [], title, *found[:10])
        if i % 20 == 0:
            r = run.mill(["verify", "--quiet", out])
            kit.check(r.code == 0, title, r)


def shots(job):
    number, count = job
    s = Shots(number, count).run()
    kit.check(run.no_children(), "a process outlives the test")
    return s.hits, s.table, s.tally, kit.passed, kit.failed


def tell(hits, table, tally):
    print(f"{'phase':28}{'kills':>7}" + "".join(f"{layout + ' ' + io:>12}" for layout in ("tar", "tree")
                                                 for io in ("uring", "posix")))
    for phase in run.PHASES:
        print(f"{phase:28}{hits[phase]:7}" + "".join(f"{table.get((phase, layout, io), 0):12}" for layout in ("tar", "tree")
                                                     for io in ("uring", "posix")))
    print(", ".join(f"{name} {n}" for name, n in tally.items()), flush=True)
    kills = tally["kills"]
    kit.check(tally["between"] >= BETWEEN_MIN * kills, f"only {tally['between']} of {kills} kills fell between commits")
    for phase in run.PHASES:
        kit.check(hits[phase] >= PHASE_MIN * KILLS, f"only {hits[phase]} kills in phase \"{phase}\"")
    kit.check(kills >= 0.9 * KILLS, f"only {kills} kills")
    kit.check(tally["resumes killed"] >= 0.05 * KILLS, f"only {tally['resumes killed']} resumes were killed")


def main():
    kit.enter_place("kill", memory=True)
    kit.ca_init("ca")
    with open("ids", "w", encoding="ascii") as f:
        f.write("".join(i + "\n" for i in run.IDS))
    n = min(2, len(os.sched_getaffinity(0)))
    hits, table, tally = {phase: 0 for phase in run.PHASES}, {}, {}
    with multiprocessing.Pool(n) as pool:
        for one in pool.imap(shots, [(i, KILLS // n + (i < KILLS % n)) for i in range(n)]):
            for total, more in zip((hits, table, tally), one):
                for key, value in more.items():
                    total[key] = total.get(key, 0) + value
            kit.passed += one[3]
            kit.failed += one[4]
    tell(hits, table, tally)
    kit.say(f"{tally['kills']} kills")
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
