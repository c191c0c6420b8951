"""Goal: any call that fails ends the run with a cause and a path, or is mended on the spot; nothing that is not whole
looks complete; and a resume without faults makes the fleet whole, with everything that was committed unchanged.

Method: certmill-faulty counts the calls of a small run, then each of them fails in its turn:
  completions   every result of a write × errors and short results, ring and blocking twin
  calls         every call × errors, once and from then on; every sync also with the data lost
  order         completions of the ring late and in any order, with faults in between
  strace        the same from outside, at the calls themselves
  recovery      a run is killed somewhere, its resume meets a fault, or is killed too
CM_SEED gives choices and samples back. CM_FAULT_SHARE (25) is the percentage of the calls that are made to fail; 100
takes errors of writes that stay, too, and four times as many of the random ones."""

import collections
import glob
import json
import multiprocessing
import os
import random
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import faultkit as kit
import fleet_promise

try:
    import check_fleet
except ImportError:
    check_fleet = None

FULL = 10  # every so many fleets get the whole of check_fleet.py
SEED = int(os.environ.get("CM_SEED") or random.SystemRandom().getrandbits(32))
SHARE = min(100, int(os.environ.get("CM_FAULT_SHARE") or 25))
JOBS = int(os.environ.get("CM_FAULT_JOBS") or len(os.sched_getaffinity(0)))
rng = random.Random(SEED)

ERRORS = ["EIO", "ENOSPC", "EINTR", "EAGAIN", "ECANCELED"]
SHORTS = ["0", "1", "half", "less"]
CALL_ERRORS = ["ENOSPC", "EIO", "EINTR", "EDQUOT", "EMFILE", "EROFS"]
MENDED = {"fail EINTR", "fail EAGAIN", "short 1", "short half", "short less"}  # of a write's result
TEXT = {"EIO": "Input/output error", "ENOSPC": "No space left on device", "EDQUOT": "Disk quota exceeded",
        "EMFILE": "Too many open files", "EROFS": "Read-only file system", "ECANCELED": "Operation canceled",
        "EINTR": "Interrupted system call", "EAGAIN": "Resource temporarily unavailable"}
# strace's name of a call, and the layer's kinds that it stands for
STRACED = ["pwrite64", "fdatasync", "fsync", "syncfs", "openat", "mkdirat", "renameat", "renameat2", "unlinkat",
           "ftruncate", "fchmod"]


def serials_of(path):
    with open(path, "rb") as f:
        return fleet_promise.serials_in(f.read())


class Before:
    """What a stopped run has left: what must not change, and what must be accounted for."""

    def __init__(self, fleet, ca):
        self.begun, self.committed = False, b""
        journal = f"{fleet}/journal"
        if os.path.exists(journal):
            with open(journal, "rb") as f:
                records = [r for r, _ in fleet_promise.journal_records(f.read())]
            self.begun = bool(records)
            commits = [r for r in records if r["type"] == "commit"]
            if commits:
                with open(f"{fleet}/manifest.ndjson", "rb") as f:
                    self.committed = f.read(commits[-1]["manifest_bytes"])
        self.signed = set()
        for where, _, files in os.walk(f"{fleet}/chains"):
            for name in files:
                self.signed |= serials_of(os.path.join(where, name))
        self.signed -= serials_of(ca["cert"])

    def looks_complete(self, fleet):
        try:
            with open(f"{fleet}/run.json", "rb") as f:
                outcome = json.load(f)["outcome"]
            return outcome is not None and outcome["state"] == "complete"
        except (OSError, ValueError):
            return False


class Bench:
    """One process's place to try things in."""

    def __init__(self, top, ca):
        self.home = top  # of all benches and the CA
        self.top = f"{top}/{os.getpid()}"
        os.makedirs(self.top, exist_ok=True)
        self.server = kit.Server(f"{self.top}/said")
        self.ca = ca
        self.fleet = f"{self.top}/fleet"
        self.recovered = 0

    def clean(self):
        shutil.rmtree(self.fleet, ignore_errors=True)

    def hit(self):
        """The calls that a rule of the plan hit, of the last traced run."""
        path = f"{self.top}/trace"
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as f:
            lines = [line.rstrip("\n") for line in f if " !" in line]
        os.remove(path)
        return lines

    def mint(self, layout, io, plan):
        return self.server.run(*kit.mint_args(self.ca, self.fleet, layout, io),
                               plan=f"{kit.SMALL};trace {self.top}/trace;{plan}")

    def resume(self, plan=""):
        return self.server.run("resume", self.fleet, "--quiet",
                               plan=f"{kit.SMALL};trace {self.top}/trace;{plan}")

    def recover(self, before, code, layout, io):
        """A resume without faults, and what is wrong then."""
        out = []
        if code != 0 and before.looks_complete(self.fleet):
            out += fleet_promise.findings(self.fleet, kit.want_ids(), before.committed, before.signed)
        if not before.begun:
            if before.signed:
                out.append("certificates were signed before the journal had begun")
            self.clean()
            again = self.mint(layout, io, "")
        else:
            again = self.resume()
        if again != 0:
            return [*out, f"the resume without faults ended with {again}: {self.server.said().strip()}"]
        out += fleet_promise.findings(self.fleet, kit.want_ids(), before.committed, before.signed)
        self.recovered += 1
        if check_fleet is not None and self.recovered % FULL == 1:
            out += check_fleet.check(self.fleet, ids=sorted(kit.want_ids()), ca=self.ca["cert"], ended=True)
        return out


def judge(said, errors, top):
    """What a failed run's message lacks; all that it could be about is below top."""
    out = []
    if errors and not any(TEXT[e] in said for e in errors):
        out.append(f"the cause is not named: {said.strip()}")
    if top not in said:
        out.append(f"no path is named: {said.strip()}")
    return out


def run_case(bench, case):
    """(what came of it, findings)"""
    group, layout, io, plan, want = case
    bench.clean()
    code = bench.mint(layout, io, plan)
    said, hit = bench.server.said(), bench.hit()
    out = []
    if code is None or code < 0 or code not in (0, 3):
        out.append(f"ended with {code}: {said.strip()}")
    if not hit and code == 0:
        return "no fault", out + fleet_promise.findings(bench.fleet, kit.want_ids())
    if not hit:
        return "no fault", [*out, f"no fault, but {code}: {said.strip()}"]
    if want == "mended" and code != 0:
        out.append(f"was not mended: {said.strip()}")
    if want == "fails" and code == 0:
        out.append("went unnoticed")
    if code == 0:
        return "mended", out + fleet_promise.findings(bench.fleet, kit.want_ids())
    out += judge(said, set(re.findall(r"\bE[A-Z]{2,}\b", plan)), bench.home)
    return "failed, resumed", out + bench.recover(Before(bench.fleet, bench.ca), code, layout, io)


def run_recovery(bench, case):
    """A killed run, whose resume meets a fault."""
    _, layout, io, first, second = case
    bench.clean()
    out = []
    code = bench.mint(layout, io, first)
    bench.hit()
    if code != -9:
        return "not killed", [] if code == 0 else [f"{first}: {code}"]
    before = Before(bench.fleet, bench.ca)
    if not before.begun:
        return "killed before the journal", bench.recover(before, code, layout, io)
    code = bench.resume(second)
    said, hit = bench.server.said(), bench.hit()
    if code not in (0, 3, -9):
        out.append(f"the resume ended with {code}: {said.strip()}")
    if code == 3:
        out += judge(said, set(re.findall(r"\bE[A-Z]{2,}\b", second)), bench.home)
    between = Before(bench.fleet, bench.ca)
    if not between.committed.startswith(before.committed):
        out.append("the resume changed what was committed")
    between.signed |= before.signed
    out += bench.recover(between, code, layout, io)
    return ("resume killed" if code == -9 else "resume failed" if code else "mended" if hit else "not reached"), out


def run_strace(bench, case):
    """The same from outside: strace makes the Nth call of a thread fail."""
    _, layout, io, (call, nth, error), _ = case
    bench.clean()
    log = f"{bench.top}/strace"
    for old in glob.glob(f"{log}*"):
        os.remove(old)
    env = dict(os.environ, CERTMILL_FAULTS=kit.SMALL)
    try:
        p = subprocess.run(["strace", "-f", "-qq", "-o", log, "-e", f"trace={call}", "-e",
                            f"inject={call}:error={error}:when={nth}", kit.FAULTY,
                            *kit.mint_args(bench.ca, bench.fleet, layout, io)], env=env, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=kit.PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return "hang", ["strace: hangs"]
    said, code = p.stdout.decode(errors="replace"), p.returncode
    with open(log, encoding="utf-8", errors="replace") as f:
        hit = [line for line in f if "(INJECTED)" in line]
    if not hit:
        return "not reached", [] if code == 0 else [f"no fault, but {code}: {said}"]
    if code == 0:
        return "mended", fleet_promise.findings(bench.fleet, kit.want_ids())
    out = [] if code == 3 else [f"ended with {code}: {said.strip()}"]
    out += judge(said, {error}, bench.home)
    return "failed, resumed", out + bench.recover(Before(bench.fleet, bench.ca), code, layout, io)


# --- the cases ---

def census(bench, layout, io):
    """Calls of an undisturbed run, by kind."""
    bench.clean()
    if bench.mint(layout, io, "") != 0:
        sys.exit(f"an undisturbed run fails: {bench.server.said()}")
    with open(f"{bench.top}/trace", encoding="utf-8") as f:
        kinds = collections.Counter(line.split(" ")[0] for line in f)
    os.remove(f"{bench.top}/trace")
    return kinds


def completions(counts):
    for io in ("uring", "posix"):
        for n in range(1, counts["tar", io]["result"] + 1):
            for how in [f"fail {e}" for e in ERRORS] + [f"short {s}" for s in SHORTS]:
                action, value = how.split(" ")
                want = "mended" if how in MENDED else "fails"
                yield (f"completions, {io}", "tar", io, f"{action} result {n} {value}", want)
                if SHARE == 100:
                    yield (f"completions for ever, {io}", "tar", io, f"{action} result {n}+ {value}", None)


def calls(counts):
    for layout in ("tar", "tree"):
        kinds = counts[layout, "posix"]
        for kind in sorted(set(kinds) - {"result", "point"}):
            for n in range(1, kinds[kind] + 1):
                for error in CALL_ERRORS:
                    for ever in ("", "+"):
                        want = "fails" if kind in ("fdatasync", "fsync", "syncfs") else None
                        yield (f"calls, {layout}", layout, "posix", f"fail {kind} {n}{ever} {error}", want)


def lost_data(counts):
    for layout in ("tar", "tree"):
        kinds = counts[layout, "posix"]
        syncs = sum(kinds[k] for k in ("fdatasync", "fsync", "syncfs"))
        for n in range(1, syncs + 1):
            for error in ("EIO", "ENOSPC"):
                yield (f"syncs with data lost, {layout}", layout, "posix", f"lose sync {n} {error}", "fails")


def order(counts):
    for _ in range(8 * SHARE):
        plan = f"seed {rng.getrandbits(32)};reorder {rng.choice((20, 50, 80, 95))}"
        if rng.random() < 0.5:
            n = rng.randint(1, counts["tar", "uring"]["result"])
            plan += f";{rng.choice(('fail', 'short'))} result {n} "
            plan += rng.choice(ERRORS) if "fail" in plan.split(";")[-1] else rng.choice(SHORTS)
        yield ("order of completions", "tar", "uring", plan, None)


def straced(bench):
    """Calls of each thread that touch the fleet, by an undisturbed run under strace."""
    for layout in ("tar", "tree"):
        bench.clean()
        log = f"{bench.top}/census"
        subprocess.run(["strace", "-f", "-qq", "-y", "-o", log, "-e", f"trace={','.join(STRACED)}", kit.FAULTY,
                        *kit.mint_args(bench.ca, bench.fleet, layout, "posix")],
                       env=dict(os.environ, CERTMILL_FAULTS=kit.SMALL), stdin=subprocess.DEVNULL, check=True,
                       timeout=kit.PATIENCE)
        seen = collections.Counter()
        with open(log, encoding="utf-8", errors="replace") as f:
            for line in f:
                m = re.match(r"(\d+) +(\w+)\(", line)
                if not m:
                    continue
                seen[m.group(1), m.group(2)] += 1
                if bench.top in line:
                    for error in CALL_ERRORS:
                        yield (f"strace, {layout}", layout, "posix", (m.group(2), seen[m.group(1), m.group(2)], error),
                               None)


def recovery(counts):
    for _ in range(16 * SHARE):
        layout = rng.choice(("tar", "tree"))
        io = rng.choice(("uring", "posix"))
        total = sum(n for k, n in counts[layout, io].items() if k not in ("result", "point"))
        first = f"kill any {rng.randint(8, total)}"
        nth, error = rng.randint(1, total), rng.choice(CALL_ERRORS)
        second = rng.choice((f"fail any {nth} {error}", f"fail any {nth}+ {error}", f"kill any {nth}",
                             f"lose sync {rng.randint(1, 30)} EIO",
                             f"fail result {rng.randint(1, 12)} {rng.choice(ERRORS)}",
                             f"short pwrite {rng.randint(1, 20)} {rng.choice(SHORTS)}"))
        yield ("faults during recovery", layout, io, first, second)


RUNNERS = {"strace": run_strace, "faults during recovery": run_recovery}
_bench = None


def start(top, ca):
    global _bench
    _bench = Bench(top, ca)


def work(case):
    runner = next((r for name, r in RUNNERS.items() if case[0].startswith(name)), run_case)
    came, found = runner(_bench, case)
    return case, came, found


def cases_of(top, ca):
    bench = Bench(top, ca)
    counts = {(layout, io): census(bench, layout, io) for layout in ("tar", "tree") for io in ("uring", "posix")}
    every = list(calls(counts))
    cases = [*completions(counts), *rng.sample(every, len(every) * SHARE // 100), *lost_data(counts), *order(counts),
             *recovery(counts)]
    if shutil.which("strace"):
        cases += dict.fromkeys(straced(bench))
    bench.server.close()
    return cases


def main():
    began = time.monotonic()
    print(f"CM_SEED={SEED}, {SHARE} % of the calls, {JOBS} processes", flush=True)
    top = kit.scratch()
    server = kit.Server(f"{top}/said")
    ca = kit.make_ca(server, f"{top}/ca")
    server.close()
    cases = cases_of(top, ca)
    table, failures = collections.defaultdict(collections.Counter), []
    with multiprocessing.get_context("fork").Pool(JOBS, start, (top, ca)) as pool:
        for case, came, found in pool.imap_unordered(work, cases, chunksize=8):
            table[case[0]][came] += 1
            if found:
                table[case[0]]["WRONG"] += 1
                failures.append((case, found))
    for group in sorted(table):
        print(f"{group:32} {sum(v for k, v in table[group].items() if k != 'WRONG'):6}: "
              + ", ".join(f"{n} {came}" for came, n in sorted(table[group].items())))
    for case, found in failures[:20]:
        print("FAIL:", *case[:4], "->", found)
    print(f"{len(cases)} faults, {len(failures)} failures, {time.monotonic() - began:.0f} s"
          + (f"; again with CM_SEED={SEED}" if failures else ""))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
