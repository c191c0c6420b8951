#!/usr/bin/env python3
"""Goal: when the disk is full, a file may not grow, no descriptor is left or keys can't be locked in memory, the run stops
with exit code 3, says why, where and how to go on; nothing that was committed changes; and once there is room, a resume
brings exactly the rest. Method: 64 sizes of a tmpfs, 32 limits on the size of a file, some limits on open files and on
locked memory; small fleets of ten commits, whatever is left judged by check_fleet.py. A tmpfs needs root: without, that
part says that it was skipped (exit code 77).

CM_SIZES=N: so many sizes of the tmpfs, and half as many of a file."""

import os
import resource
import shutil
import subprocess
import sys

import run_kit as run
from run_kit import check_fleet, kit

SIZES = int(os.environ.get("CM_SIZES") or 64)
KINDS = [("tar", "posix"), ("tar", "uring"), ("tree", "posix")]
ROOM = 1400  # KiB: enough for each of these fleets
tally = {}


def count(what, how):
    tally.setdefault(what, {}).setdefault(how, 0)
    tally[what][how] += 1


def stopped_well(r, title, words, out):
    """Exit code 3; the reason; where; the next step, unless nothing was begun."""
    said = r.err.decode(errors="replace")
    kit.check(r.code == 3, title, "exit code", r)
    kit.check(any(w in said for w in words), title, f"none of {words} in", r)
    kit.check(out in said, title, "no path in", r)
    if os.path.exists(out):
        kit.check(f"certmill resume {out}" in said, title, "no resume command in", r)


def go_on(out, args, snap, title):
    """With room again: resume, or mint when nothing was begun; then look."""
    again = ["resume", "--quiet", out] if os.path.exists(out) else args
    r = run.mill(again)
    kit.check(r.code == 0, title, "afterwards:", r)
    found = check_fleet.check(out, run.IDS, "ca/ca.pem", committed_before=snap, ended=True)
    kit.check(found == [], title, *found[:10])


def one_limit(what, words, out, args, title, limited, freed, limited_again=None):
    """A run under a limit; what it left; the run without it. limited_again: a resume under a limit, too."""
    r = limited(args)
    if r.code == 0:
        count(what, "had room")
        found = check_fleet.check(out, run.IDS, "ca/ca.pem", ended=True)
        kit.check(found == [], title, *found[:10])
        return
    stopped_well(r, title, words, out)
    snap = None
    if os.path.exists(out):
        snap = check_fleet.snapshot(out)
        found = check_fleet.check(out, run.IDS, "ca/ca.pem", committed_before=snap)
        kit.check(found == [], title, "after the stop:", *found[:10])
        count(what, "stopped in commits" if snap["commits"] else "stopped before the first commit")
        if limited_again is not None:
            r = limited_again(["resume", "--quiet", out])
            if r.code != 0:
                stopped_well(r, title + ", resumed without room", words, out)
                count(what, "resumes stopped, too")
    else:
        count(what, "stopped before the first signature")
    freed()
    go_on(out, args, snap, title)


# --- a full disk -------------------------------------------------------------------------------------------------

def mount(size):
    return subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k,mode=0755", "certmill-test", "disk"],
                          stdin=subprocess.DEVNULL, capture_output=True, check=False)


def unmount():
    for _ in range(20):
        done = subprocess.run(["umount", "disk"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode == 0 or not os.path.ismount("disk"):
            return
        subprocess.run(["sleep", "0.1"], check=True)
    kit.check(False, "umount:", done.stderr)


def more_room():
    subprocess.run(["mount", "-o", "remount,size=16m", "disk"], check=True, stdin=subprocess.DEVNULL)


def full_disk(i):
    layout, io = KINDS[i % len(KINDS)]
    size = 48 + (ROOM - 48) * i // SIZES // 4 * 4 + 4 * kit.rng.randrange(4)
    if not kit.check(mount(size).returncode == 0, "mount"):
        return
    try:
        title = f"{layout}, {io}, a disk of {size} KiB"
        one_limit("full disk", ["No space"], "disk/out", run.mint_args("ca", "disk/out", layout, io), title, run.mill,
                  more_room, run.mill)
    finally:
        unmount()


def full_disks():
    os.mkdir("disk")
    probe = mount(100)
    if probe.returncode != 0:
        kit.skip(f"a full disk: tmpfs can't be mounted here ({probe.stderr.decode(errors='replace').strip()}); run as root")
        return False
    unmount()
    for i in range(SIZES):
        full_disk(i)
    return True


# --- a file that may not grow --------------------------------------------------------------------------------------

def large_files():
    n = SIZES // 2
    for i in range(n):
        layout, io = KINDS[i % len(KINDS)]
        size = (2 << 10) + (360 << 10) * i // n + kit.rng.randrange(4096)
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        one_limit("file size", ["File too large", "file size"], "out", run.mint_args("ca", "out", layout, io),
                  f"{layout}, {io}, files of {size} octets", lambda args: run.mill(args, preexec_fn=limit), lambda: None,
                  lambda args: run.mill(args, preexec_fn=limit))
        shutil.rmtree("out", ignore_errors=True)


# --- no descriptors ------------------------------------------------------------------------------------------------

def few_files():
    for layout, io in KINDS:
        for n in (*range(4, 24), 32, 64):
            limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))
            r = run.mill(["--version"], preexec_fn=limit)
            if r.code != 0 or b"error while loading" in r.err:
                continue  # the loader itself can't
            args = run.mint_args("ca", "out", layout, io)
            title = f"{layout}, {io}, {n} open files"
            r = run.mill(args, preexec_fn=limit)
            if r.code == 0:
                count("open files", "had room")
            else:
                kit.check(r.code == 3 and b"open files" in r.err, title, r)
                count("open files", "stopped")
            go_on("out", args, check_fleet.snapshot("out") if os.path.exists("out") else None, title)
            shutil.rmtree("out", ignore_errors=True)


# --- no memory that can be locked -----------------------------------------------------------------------------------

def little_locked(key, devices, kib):
    """One run by a user whose locked memory is bounded: root without that capability. True: it got through."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, (kib << 10, kib << 10))
    r = kit.run(["setpriv", "--bounding-set", "-ipc_lock", run.FAULTY, "mint", "--quiet", "--ca", "ca/ca.pem", "--ca-key",
                 "ca/ca.key", "--out", "out", "--plaintext-keys", "--count", str(devices), "--key", key, "--workers", "3"],
                env=run.environment(), preexec_fn=limit)
    title = f"{key}, {kib} KiB of locked memory"
    if r.code == 0:
        ids = [f"SN{n:08}" for n in range(1, devices + 1)]
        kit.check(check_fleet.check("out", ids, "ca/ca.pem", ended=True) == [], title)
    else:
        kit.check(r.code == 3 and b"ulimit -l" in r.err, title, r)
        kit.check(not os.path.exists("out"), title, "something was begun")
    shutil.rmtree("out", ignore_errors=True)
    count("locked memory", "had room" if r.code == 0 else "refused")
    return r.code == 0


def locked_memory():
    """Who has enough has enough with more; who lacks some for any worker is told before anything is written."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        kit.skip("locked memory: run as root, with setpriv")
        return
    for key, devices in (("P-256", 300), ("RSA-2048", 6)):
        went = [little_locked(key, devices, kib) for kib in (64, 180, 220, 290, 310, 440, 460, 520, 700, 1400)]
        kit.check(went == sorted(went) and not went[0] and went[-1], f"{key}: by locked memory:", went)


def main():
    kit.enter_place("limits", memory=True)
    kit.ca_init("ca")
    mounted = full_disks()
    large_files()
    few_files()
    locked_memory()
    for what, ways in tally.items():
        print(f"{what:12}" + ", ".join(f"{how} {n}" for how, n in sorted(ways.items())))
    if mounted:
        kit.check(tally["full disk"].get("stopped in commits", 0) >= SIZES // 2, "too few disks were full in mid-run")
    kit.check(tally["file size"].get("stopped in commits", 0) >= SIZES // 8, "too few files were too large in mid-run")
    kit.check(run.no_children(), "a process outlives the test")
    code = kit.finish()
    return 77 if code == 0 and not mounted else code


if __name__ == "__main__":
    sys.exit(main())
