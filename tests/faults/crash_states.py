"""Goal: whatever a power cut leaves of a run, `certmill resume` makes the fleet whole and keeps every promise; and
each sync and rename is needed for that.

Method: runs of three segments (or eight shards) and eight commits are recorded. From each log, disks are built that
a power cut could have left: every prefix of the log, and what no sync has covered by then kept, dropped, torn, or
there in length only. On each: resume, then the promises of fleet_promise.py; on every CM_CRASH_FULL-th also the whole
of check_fleet.py. One disk counts once; it is tried again when a later place of the log promises more of it.
Control: without any one of the log's syncs and renames, some disk must break a promise.

CM_SEED gives the choices back, CM_CRASH_STATES says how many disks in all, CM_CRASH_JOBS on how many processes."""

import collections
import hashlib
import multiprocessing
import os
import random
import re
import shutil
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import crash_model as model
import faultkit as kit
import fleet_promise

try:
    import check_fleet
except ImportError:
    check_fleet = None

SEED = int(os.environ.get("CM_SEED") or random.SystemRandom().getrandbits(32))
STATES = int(os.environ.get("CM_CRASH_STATES") or 20000)
JOBS = int(os.environ.get("CM_CRASH_JOBS") or len(os.sched_getaffinity(0)))
FULL = int(os.environ.get("CM_CRASH_FULL") or 25)
# Layout, I/O, and whether the run was killed on the way and resumed.
RECORDINGS = [("tar", "uring", False), ("tar", "posix", False), ("tree", "posix", False), ("tree", "uring", False),
              ("tar", "posix", True), ("tree", "posix", True)]
CONTROL_TRIES, CONTROL_TRIES_SPARE = 120, 30
SHOWN = 5  # failures that are printed in full

# Operations that may be left out without harm, each time or sometimes, and why.
ALWAYS, SOMETIMES = True, False
SPARE = [
    (r": nothing$", ALWAYS, "nothing was waiting for it"),
    (r"sync of index.part", ALWAYS, "readers check its pages, and make a damaged one again"),
    (r"sync of journal: attempt", ALWAYS, "the reservation behind it covers it"),
    (r", killed: (rename|sync of (journal|manifest|burned))", SOMETIMES, "of a commit that the kill cut off"),
    (r", killed: (sync|syncfs) of (?!journal|manifest|burned)", ALWAYS, "of a commit that the kill cut off"),
    (r"(sync|syncfs) of (chains|keys)", SOMETIMES, "the next one covers it in time, or a resume does"),
    (r"(run\.json|ca\.pem)\.part|the fleet: names", SOMETIMES, "the last one counts: a resume writes anew"),
]


def spare(label, sometimes_told):
    """Why an operation may be left out, or None."""
    return next((reason for pattern, always, reason in SPARE
                 if re.search(pattern, label) and (always or sometimes_told)), None)


class Explorer:
    def __init__(self, layout, io, killed, top, seed):
        self.name = f"{layout}/{io}" + (", killed" if killed else "")
        self.rng = random.Random(f"{seed} {self.name}")
        self.top = f"{top}/{layout}-{io}-{killed}"
        self.state = f"{self.top}/state"
        os.makedirs(f"{self.top}/disk")
        self.server = kit.Server(f"{self.top}/said")
        self.counts = collections.Counter()
        self.failures = []
        self.ca = kit.make_ca(self.server, f"{self.top}/ca")
        self._record(layout, io, killed)

    def _record(self, layout, io, killed):
        disk = f"{self.top}/disk"
        if killed:
            self._record_killed(layout, io)
        else:
            code = self.server.run(*kit.mint_args(self.ca, f"{disk}/fleet", layout, io),
                                   plan=f"{kit.SMALL};record {self.top}/log {disk}")
            if code != 0:
                sys.exit(f"{self.name}: the run to be recorded failed ({code}): {self.server.said()}")
            self.root, self.ops = model.read_log(f"{self.top}/log")
        self.run = fleet_promise.Run(self.ops, f"{disk}/fleet", self.ca["cert"])
        m = self._whole(self.ops)
        if m.disk({}) != self._read(disk):
            sys.exit(f"{self.name}: the log does not lead to the disk that the run has left")
        left = [str(op) for op in m.loose() if op.kind != "unlink"]
        if left:
            self.failures.append(f"{self.name}: a complete run leaves without a sync: {left}")

    def _record_killed(self, layout, io):
        """A run that is killed somewhere in the middle, and its resume. What the kill left unsynced stays so until
        the resume syncs it."""
        disk = f"{self.top}/disk"
        for _ in range(100):
            shutil.rmtree(disk)
            os.mkdir(disk)
            code = self.server.run(*kit.mint_args(self.ca, f"{disk}/fleet", layout, io),
                                   plan=f"{kit.SMALL};record {self.top}/log {disk};"
                                        f"kill any {self.rng.randint(60, 120 if layout == 'tar' else 200)}")
            if code == 0:
                continue
            self.root, self.ops = model.read_log(f"{self.top}/log")
            # A thread may have been between its call and the record of it.
            if self._whole(self.ops).disk({}) != self._read(disk):
                continue
            code = self.server.run("resume", f"{disk}/fleet", "--quiet", plan=f"{kit.SMALL};record {self.top}/log {disk}")
            if code != 0:
                sys.exit(f"{self.name}: the resume to be recorded failed ({code}): {self.server.said()}")
            self.ops += model.read_log(f"{self.top}/log", first_sync=len(self.ops))[1]
            return
        sys.exit(f"{self.name}: no kill fell into the run")

    def _whole(self, ops):
        m = model.Model(self.root)
        for op in ops:
            m.step(op)
        return m

    @staticmethod
    def _read(top):
        out = {}
        for where, dirs, files in os.walk(top):
            for name in dirs:
                path = os.path.join(where, name)
                out[os.path.relpath(path, top)] = (os.stat(path).st_mode & 0o7777, None)
            for name in files:
                path = os.path.join(where, name)
                with open(path, "rb") as f:
                    out[os.path.relpath(path, top)] = (os.stat(path).st_mode & 0o7777, f.read())
        return out

    def _lay_out(self, disk):
        shutil.rmtree(self.state, ignore_errors=True)
        os.mkdir(self.state)
        for path, (mode, octets) in disk.items():
            where = f"{self.state}/{path}"
            if octets is None:
                os.mkdir(where, mode)
                continue
            fd = os.open(where, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            os.write(fd, octets)
            os.close(fd)

    def trial(self, disk, promise, full=False):
        """What is wrong after a resume of this disk; an empty list: nothing."""
        self._lay_out(disk)
        fleet = f"{self.state}/fleet"
        if promise.number == len(self.ops):
            # The run has said that it is done: nobody needs to resume it.
            found = self.run.findings(fleet, kit.want_ids(), promise)
            if found:
                return [f"a finished run, before any resume: {what}" for what in found]
        code = self.server.run("resume", fleet, "--quiet", plan=kit.SMALL)
        if code in (2, 3) and not promise.begun and not promise.signed:
            self.counts["nothing begun yet"] += 1
            return []
        if code != 0:
            return [f"resume ended with {code}: {self.server.said().strip()}"]
        found = self.run.findings(fleet, kit.want_ids(), promise)
        if not found and full and check_fleet is not None:
            self.counts["checked by check_fleet.py"] += 1
            found = [str(f) for f in check_fleet.check(fleet, ids=sorted(kit.want_ids()), ca=self.ca["cert"], ended=True)]
        return found

    def places(self):
        """(number, model) before the first operation and behind each."""
        m = model.Model(self.root)
        yield 0, m
        for number, op in enumerate(self.ops, 1):
            m.step(op)
            yield number, m

    def choices(self, want):
        """Rounds over all places: whole choices, single ones, then chance, until nobody asks for more."""
        singles = sum(max(0, 4 * len(m.unsynced())) for _, m in self.places())
        share = min(1.0, 0.7 * want / max(1, singles))
        for number, m in self.places():
            unsynced = m.unsynced()
            for i, fates in enumerate(model.systematic_fates(unsynced)):
                if i < 5 or self.rng.random() < share:
                    yield number, m, fates
        while True:
            for number, m in self.places():
                unsynced = m.unsynced()
                if len(unsynced) > 1:
                    yield number, m, model.random_fates(unsynced, self.rng)

    def explore(self, want):
        seen, asked = {}, 0
        for number, m, fates in self.choices(want):
            asked += 1
            if len(seen) >= want or asked > 40 * want:
                break
            disk, promise = m.disk(fates, self.rng), self.run.promises[number]
            key = digest(disk)
            if seen.get(key) == promise.key():
                self.counts["the same disk again"] += 1
                continue
            seen[key] = promise.key()
            found = self.trial(disk, promise, full=len(seen) % FULL == 1)
            if found:
                self.counts["broken"] += 1
                self._report(number, m, fates, found)
        self.counts["disks"] = len(seen)

    def _report(self, number, m, fates, found):
        if len(self.failures) < SHOWN:
            odd = [f"{fates[n]} {op}" for n, op in m.unsynced() if fates.get(n, model.KEEP) != model.KEEP]
            behind = self.ops[number - 1] if number else "nothing"
            self.failures.append(f"{self.name}, cut behind {number} ({behind}), {odd or 'all kept'}: {found}")

    # --- control ---

    def label(self, index):
        """What an operation is about, without its numbers, and what it makes durable."""
        op, m, names = self.ops[index], model.Model(self.root), {self.root: "the parent"}
        for before in self.ops[:index]:
            m.step(before)
            if before.kind in ("create", "mkdir"):
                names[before.child] = f"{names[before.ino]}/{before.name}" if before.ino in names else before.name
            elif before.kind == "rename":
                for ino, name in list(names.items()):
                    if name == f"{names.get(before.ino)}/{before.name}":
                        names[ino] = f"{names[before.ino]}/{before.to}"
        path = names.get(op.ino, "?").removeprefix("the parent/fleet").lstrip("/") or "the fleet"
        path = re.sub(r"\d{6}", "N", path)
        if op.kind == "rename":
            return f"rename {op.name} in {path}".replace(re.sub(r"\D", "", op.name) or "\0", "N")
        covered = [o for ino in m.covered(op) for _, o in m.nodes[ino].pending]
        if path == "journal":
            what = [r["type"] for o in covered for r, end in self.run.journal if o.offset < end <= o.offset + len(o.data)]
        elif any(o.kind in ("write", "truncate") for o in covered):
            what = ["data" if any(o.kind != "write" or o.data.strip(b"\0") for o in covered) else "the end"]
        else:
            what = ["names"] if covered else []
        return f"{'syncfs' if op.what == 'fs' else 'sync'} of {path}: " + (", ".join(sorted(set(what))) or "nothing")

    def removed(self, index):
        """(number, model, fates to try) at every place behind the operation that is left out."""
        m = model.Model(self.root)
        op = self.ops[index]
        out = {n for n, o in enumerate(self.ops) if o.kind in ("begin", "end") and o.sync == op.sync} \
            if op.kind == "begin" else {index}
        start = max(out) + 1
        bare = set()
        for number, o in enumerate(self.ops, 1):
            if op.kind == "begin" and number == index + 1:
                bare = {n for ino in m.covered(op) for n, _ in m.nodes[ino].pending}
            m.step(o, removed=number - 1 in out)
            if number < start:
                continue
            if op.kind == "rename":
                yield number, m, [{}]
                continue
            left = [(n, o) for n, o in m.unsynced() if n in bare]
            if left:
                yield number, m, self._without(left)

    @staticmethod
    def _without(left):
        data = [n for n, op in left if op.kind in ("write", "truncate")]
        fates = [dict.fromkeys((n for n, _ in left), model.DROP)]
        if data:
            fates.append(dict.fromkeys(data, model.GROWN))
        if len(left) > 1:
            fates += [{n: model.DROP} for n, _ in left]
        return fates + [{n: model.TORN} for n in data]

    def control(self):
        """[(label, states tried, broke a promise)] for each sync and rename that is left out."""
        out = []
        for index, op in enumerate(self.ops):
            if op.kind not in ("begin", "rename"):
                continue
            tries, broken, label = 0, False, self.label(index)
            most = CONTROL_TRIES_SPARE if spare(label, True) else CONTROL_TRIES
            for number, m, fates in self._in_order(index):
                tries += 1
                if self.trial(m.disk(fates, self.rng), self.run.promises[number]):
                    broken = True
                    break
                if tries == most:
                    break
            out.append((label, tries, broken))
        return out

    def _in_order(self, index):
        """At first behind the end, then where more has just been promised, then at all other places."""
        def rank(number):
            more = self.run.promises[number].key() != self.run.promises[number - 1].key()
            return 0 if number == len(self.ops) else 1 if more else 2

        for turn in range(3):
            for number, m, choices in self.removed(index):
                if rank(number) == turn:
                    for fates in choices:
                        yield number, m, fates


def digest(disk):
    h = hashlib.blake2b(digest_size=16)
    for path in sorted(disk):
        mode, octets = disk[path]
        h.update(f"{path} {mode} {-1 if octets is None else len(octets)}\n".encode())
        h.update(octets or b"")
    return h.digest()


def work(job):
    recording, top, want = job
    began = time.monotonic()
    e = Explorer(*recording, top, SEED)
    e.explore(want)
    spent = time.monotonic() - began
    table = e.control()
    e.server.close()
    shutil.rmtree(e.top, ignore_errors=True)
    return e.name, len(e.ops), dict(e.counts), e.failures, table, spent


def print_states(results):
    print(f"{'recording':18} {'operations':>10} {'disks':>7} {'again':>7} {'not begun':>9} {'full check':>10} "
          f"{'broken':>7} {'a second':>8}")
    for name, ops, counts, _, _, spent in results:
        print(f"{name:18} {ops:10} {counts['disks']:7} {counts.get('the same disk again', 0):7} "
              f"{counts.get('nothing begun yet', 0):9} {counts.get('checked by check_fleet.py', 0):10} "
              f"{counts.get('broken', 0):7} {counts['disks'] / spent:8.0f}")


def print_control(results):
    """The table of what was left out; returns what never broke a promise."""
    rows = collections.defaultdict(lambda: [0, 0, 0])
    for name, _, _, _, table, _ in results:
        for label, tries, broken in table:
            row = rows[re.sub("/[a-z]*", "", name) + ": " + label]
            row[0] += 1
            row[1] += tries
            row[2] += broken
    print(f"\n{'left out':70} {'times':>6} {'disks':>6} {'told':>8}")
    blind = []
    for label, (times, tries, broken) in sorted(rows.items()):
        why = ""
        if broken < times:
            why = spare(label, broken > 0)
            if why is None:
                blind.append(f"{label}: {times - broken} of {times} can be left out and nothing tells")
        print(f"{label:70} {times:6} {tries:6} {broken:8}  {why or ''}")
    return blind


def main():
    print(f"CM_SEED={SEED}, {STATES} disks, {JOBS} processes, "
          f"check_fleet.py {'on every %d-th' % FULL if check_fleet else 'is missing'}", flush=True)
    top = kit.scratch()
    jobs = [(r, top, STATES // len(RECORDINGS)) for r in RECORDINGS]
    with multiprocessing.get_context("fork").Pool(min(JOBS, len(jobs)), maxtasksperchild=1) as pool:
        results = pool.map(work, jobs, chunksize=1)
    print_states(results)
    blind = print_control(results)
    disks = sum(r[2]["disks"] for r in results)
    wrong = [f for r in results for f in r[3]] + blind
    if disks < STATES * 0.95:
        wrong.append(f"only {disks} different disks of {STATES}")
    for what in wrong:
        print("FAIL:", what)
    print(f"{disks} disks, {len(wrong)} failures" + (f"; again with CM_SEED={SEED}" if wrong else ""))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
