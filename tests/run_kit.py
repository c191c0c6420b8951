"""What the tests that kill, starve and interrupt runs share: small fleets of many commits by certmill-faulty, whose bounds
can be made small (tests/faults/README.md), and a run whose calls are followed while it goes on."""

import os
import select
import shutil
import signal
import subprocess
import sys
import time

import check_fleet
import e2e_kit as kit

FAULTY = os.path.realpath(os.environ["CERTMILL_FAULTY"]) if "CERTMILL_FAULTY" in os.environ else None

# 240 devices: 10 commits, 3 segments or 10 shards.
DEVICES, BATCH, COMMIT = 240, 8, 24
BOUNDS = f"tune segment_bytes 200000;tune commit_devices {COMMIT};tune shard_devices {COMMIT};" \
         "tune commit_bytes 1000000000;tune commit_ms 1000000"
IDS = [f"SN{n:08}" for n in range(1, DEVICES + 1)]

# The phases of a commit, by the points that the run passes: after this point, in this phase.
WRITING, SYNCING, ROWS, JOURNAL, NAMING = PHASES = (
    "bundles written", "bundles synced", "rows written and synced", "journal written and synced", "settling, renaming")
AFTER = {"bundles.sync": SYNCING, "bundles.synced": ROWS, "rows.write": ROWS, "rows.sync": ROWS, "rows.synced": JOURNAL,
         "journal.write": JOURNAL, "journal.sync": JOURNAL, "journal.synced": WRITING, "segment.end": NAMING,
         "segment.rename": NAMING, "segment.renamed.key": NAMING, "segment.renamed": WRITING, "shard.rename": NAMING,
         "shard.renamed.key": NAMING, "shard.renamed": SYNCING}
# Where to lie in wait for it: calls and points of the plan's language, by layout.
_common = {
    WRITING: ["point@bundles.put"],
    ROWS: ["point@rows.write", "pwrite@*/manifest.ndjson", "point@rows.sync", "sync@*/manifest.ndjson"],
    JOURNAL: ["point@journal.write", "pwrite@*/journal", "point@journal.sync", "sync@*/journal"]}
WAITS = {
    "tar": {**_common, WRITING: [*_common[WRITING], "result@*/chains/*", "result@*/keys/*"],
            SYNCING: ["point@bundles.sync", "sync@*/keys/*.part", "sync@*/chains/*.part"],
            NAMING: ["point@segment.end", "point@segment.rename", "point@segment.renamed.key", "renameat2@*/chains/*"]},
    "tree": {**_common, WRITING: [*_common[WRITING], "openat@*.crt", "close@*.key"],
             SYNCING: ["point@bundles.sync", "syncfs@*/keys", "syncfs@*/chains"],
             NAMING: ["point@shard.rename", "point@shard.renamed.key", "renameat2@*/keys/*"]}}


def mint_args(ca, out, layout="tar", io="posix", workers=1, devices=None, more=()):
    asked = ["--count", str(DEVICES)] if devices is None else ["--devices", devices]
    return ["mint", "--quiet", "--ca", f"{ca}/ca.pem", "--ca-key", f"{ca}/ca.key", "--out", out, "--plaintext-keys",
            "--batch", str(BATCH), "--workers", str(workers), "--layout", layout, "--io", io, *asked, *more]


def environment(plan=BOUNDS):
    return {**os.environ, "CERTMILL_FAULTS": plan}


def mill(args, plan=BOUNDS, **how):
    """certmill-faulty to its end."""
    return kit.run([FAULTY, *args], env=environment(plan), **how)


class Followed:
    """A run whose calls and points come through a pipe as it makes them."""

    def __init__(self, args, plan=BOUNDS):
        self.reads, writes = os.pipe()
        os.set_blocking(self.reads, False)
        self.process = subprocess.Popen([FAULTY, *args], env=environment(f"{plan};trace /dev/fd/{writes}"),
                                        pass_fds=(writes,), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        os.close(writes)
        self.phase, self._rest = None, b""

    def look(self):
        """Lines of the trace since; None when the run has closed the pipe."""
        try:
            data = os.read(self.reads, 1 << 16)
        except BlockingIOError:
            return []
        if not data:
            return None
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if line.startswith(b"point "):
                self.phase = AFTER.get(line[6:].split(b" ")[0].decode(), self.phase)
        return lines

    def wait_stalled(self):
        """Until a call stalls: True; the run ended before: False."""
        end = time.monotonic() + kit.PATIENCE
        while time.monotonic() < end:
            found = self.look()
            if found is None:
                return False
            if any(line.endswith(b" !stall") for line in found):
                return True
            select.select([self.reads], [], [], 1)
        kit.check(False, "a run hangs:", self.process.args)
        return False

    def wait_until(self, moment):
        """Looks on until the moment has come: True; the run ended before: False."""
        while True:
            left = moment - time.perf_counter()
            if left <= 0:
                return True
            select.select([self.reads], [], [], left)
            if self.look() is None:
                return False

    def kill(self, number=signal.SIGKILL):
        os.kill(self.process.pid, number)

    def stop(self, number):
        """A signal to a run that is held up; it may go on when it must have seen it: it looks ten times a second."""
        self.kill(number)
        time.sleep(0.4)
        self.kill(signal.SIGCONT)

    def end(self):
        """(exit code, what it said); the process is gone then. A hang is killed, and a failure."""
        patience = time.monotonic() + kit.PATIENCE
        while self.look() is not None and time.monotonic() < patience:  # or the run would wait for room in the pipe
            select.select([self.reads], [], [], 1)
        try:
            said = self.process.communicate(timeout=5 + max(0, patience - time.monotonic()))[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            said = self.process.communicate()[0]
            kit.check(False, "a run hangs:", self.process.args)
        os.close(self.reads)
        if kit.BROKEN.search(said):
            kit.check(False, "the program broke:", said[-3000:].decode(errors="replace"))
        return self.process.returncode, said.decode(errors="replace")


def between(snap, commits):
    """Did the run stop behind its first commit and before its last?"""
    return 0 < snap["commits"] < commits


def nothing_yet(out, snap):
    """A run that was killed before its first record: it may have made no key."""
    keys = [f for f in kit.files_below(out) if f.startswith("keys/")] if os.path.isdir(out) else []
    return not snap.get("manifest") and keys == []


def copy(source, target):
    """A copy with its modes; hard links would share octets."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)


def no_children():
    """Every process that this one has started is gone."""
    try:
        pid, _ = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
    print("a process is left:", pid or "running", file=sys.stderr)
    return False


__all__ = ["FAULTY", "DEVICES", "BATCH", "COMMIT", "BOUNDS", "IDS", "PHASES", "WAITS", "AFTER", "check_fleet", "kit",
           "mint_args", "environment", "mill", "Followed", "between", "nothing_yet", "copy", "no_children"]
