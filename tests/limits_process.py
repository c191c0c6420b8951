#!/usr/bin/env python3
"""Goal: what users and systems do to a running process, or to its directory between two attempts, loses nothing and doubles
nothing. Method: signals once and twice at moments of a run that is held up, closed descriptors, two processes on one
directory, odd umasks, a clock set back; a resume of a run that is complete, or whose CA, list or profile has changed, or
whose journal was cut or has a bit flipped. What is left is judged by check_fleet.py.

CM_FLIPS=N: so many damaged journals (200)."""

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time

import run_kit as run
from run_kit import check_fleet, kit

FLIPS = int(os.environ.get("CM_FLIPS") or 200)
KINDS = (("tar", "posix"), ("tar", "uring"), ("tree", "posix"))
table = {}


def done(what):
    table[what] = table.get(what, 0) + 1


def mint(out="out", layout="tar", io="posix", more=(), **how):
    shutil.rmtree(out, ignore_errors=True)
    return run.mint_args("ca", out, layout, io, more=more, **how)


def sound(out, title, before=None, ids=None):
    found = check_fleet.check(out, ids or run.IDS, "ca/ca.pem", committed_before=before, ended=True)
    return kit.check(found == [], title, *found[:10])


def resume(out, title, before=None):
    r = run.mill(["resume", "--quiet", out])
    kit.check(r.code == 0, title, r)
    sound(out, title, before)


def interrupted(out, layout="tar", more=(), devices=None, at="kill point@journal.write 8"):
    """A run that was killed after its fourth commit; its snapshot."""
    args = mint(out, layout, more=more, devices=devices)
    kit.check(run.mill(args, f"{run.BOUNDS};{at}").code == -9, "the run was not killed")
    return check_fleet.snapshot(out)


def fingerprint(out):
    """Everything about everything below, times of change too."""
    found = {}
    for base, dirs, files in os.walk(out):
        for name in [".", *dirs, *files]:
            path = os.path.normpath(os.path.join(base, name))
            st = os.lstat(path)
            with open(path, "rb") if stat.S_ISREG(st.st_mode) else open(os.devnull, "rb") as f:
                found[path] = (st.st_mode, st.st_ino, st.st_mtime_ns, st.st_ctime_ns, hashlib.sha256(f.read()).hexdigest())
    return found


# --- signals -----------------------------------------------------------------------------------------------------

def signals():
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        for layout, io in KINDS:
            for wait in ("point@bundles.put 12", "point@rows.sync 3", "point@journal.sync 6"):
                once(number, code, layout, io, wait)
            twice(number, layout, io)


def once(number, code, layout, io, wait):
    title = f"{number.name} once, {layout}, {io}, at {wait}"
    target = run.Followed(mint(layout=layout, io=io), f"{run.BOUNDS};stall {wait} 60000")
    kit.check(target.wait_stalled(), title, "never got there")
    target.stop(number)
    ended, said = target.end()
    kit.check(ended == code, title, "exit code", ended, said)
    kit.check("certmill resume out" in said, title, said)
    found = check_fleet.check("out", run.IDS, "ca/ca.pem", ended=True)
    kit.check(found == [], title, "after the stop:", *found[:10])
    snap = check_fleet.snapshot("out")
    kit.check(0 < snap["devices"] < run.DEVICES, title, "devices:", snap["devices"])
    resume("out", title, snap)
    done(f"{number.name} once")


def twice(number, layout, io):
    title = f"{number.name} twice, {layout}, {io}"
    target = run.Followed(mint(layout=layout, io=io), f"{run.BOUNDS};stall point@rows.sync 3 60000")
    kit.check(target.wait_stalled(), title, "never got there")
    target.kill(number)
    target.wait_until(time.perf_counter() + 0.2)
    target.kill(number)
    ended, _ = target.end()
    kit.check(ended == -number, title, "did not end at once:", ended)
    resume("out", title, check_fleet.snapshot("out"))
    done(f"{number.name} twice")


def stopped_and_continued():
    for layout, io in KINDS:
        target = run.Followed(mint(layout=layout, io=io), f"{run.BOUNDS};stall point@rows.sync 3 60000")
        kit.check(target.wait_stalled(), "never got there")
        target.kill(signal.SIGSTOP)
        time.sleep(0.1)
        target.kill(signal.SIGCONT)
        code, said = target.end()
        kit.check(code == 0, "SIGSTOP, SIGCONT:", code, said)
        sound("out", "SIGSTOP, SIGCONT")
        done("SIGSTOP, SIGCONT")


# --- descriptors, modes, clock -------------------------------------------------------------------------------------

def closed_descriptors():
    for mask in range(1, 8):
        closed = [fd for fd in range(3) if mask & 1 << fd]
        def close():
            for fd in closed:  # pylint: disable=cell-var-from-loop
                os.close(fd)
        for layout, io in KINDS:
            args = [a for a in mint(layout=layout, io=io) if a != "--quiet"]
            r = run.mill(args, preexec_fn=close)
            kit.check(r.code == 0 or (r.code == 3 and 1 in closed), f"closed: {closed}", r)
            if r.code == 0:
                sound("out", f"closed: {closed}")
            else:
                resume("out", f"closed: {closed}")
            done("closed descriptors")


def modes(out):
    return {os.path.relpath(p, out): oct(stat.S_IMODE(os.lstat(p).st_mode)) for p in fingerprint(out)}


def umasks():
    for layout, io in KINDS:
        want = None
        for mask in (0o022, 0o000, 0o777, 0o077):
            for how in ("mint", "resume"):
                limit = lambda: os.umask(mask)  # pylint: disable=cell-var-from-loop
                if how == "resume":
                    interrupted("out", layout)
                r = run.mill(["resume", "--quiet", "out"] if how == "resume" else mint(layout=layout, io=io),
                             preexec_fn=limit)
                kit.check(r.code == 0, f"umask {mask:03o}", r)
                sound("out", f"umask {mask:03o}")
                if how == "mint":
                    want = want or modes("out")
                    kit.check(modes("out") == want, f"umask {mask:03o}: modes", modes("out"))
                done("umasks")


CLOCK = """#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
static long back(void) { const char *s = getenv("BACK"); return s ? atol(s) : 0; }
int clock_gettime(clockid_t c, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
    int rc = real(c, t);
    if (c == CLOCK_REALTIME) t->tv_sec -= back();
    return rc;
}
time_t time(time_t *p) { struct timespec t; clock_gettime(CLOCK_REALTIME, &t); if (p) *p = t.tv_sec; return t.tv_sec; }
"""


def clock_set_back():
    with open("clock.c", "w", encoding="ascii") as f:
        f.write(CLOCK)
    built = subprocess.run(["cc", "-shared", "-fPIC", "-o", "clock.so", "clock.c", "-ldl"], capture_output=True, check=False)
    if built.returncode != 0 or kit.SANITIZE:
        kit.skip("a clock set back: no compiler, or a sanitizer's build")
        return
    for back in (3600, 12 * 3600, -3600):
        snap = interrupted("out")
        env = {**run.environment(), "LD_PRELOAD": os.path.abspath("clock.so"), "BACK": str(back)}
        r = kit.run([run.FAULTY, "resume", "--quiet", "out"], env=env)
        kit.check(r.code == 0, f"a clock {back} s back", r)
        found = [f for f in check_fleet.check("out", run.IDS, "ca/ca.pem", committed_before=snap, ended=True)
                 if "minted at" not in f]  # that is what the clock says
        kit.check(found == [], f"a clock {back} s back:", *found[:10])
        done("clock set back")


# --- two at once -----------------------------------------------------------------------------------------------------

def two_at_once():
    for layout, io in KINDS:
        args = mint(layout=layout, io=io)
        target = run.Followed(args, f"{run.BOUNDS};stall point@rows.sync 3 60000")
        kit.check(target.wait_stalled(), "never got there")
        before = fingerprint("out")
        for command, codes in ((["resume", "out"], (3,)), (args, (2, 3))):
            r = run.mill(command)
            kit.check(r.code in codes and b"out" in r.err, "a second process:", r)
            done("two processes")
        after = fingerprint("out")
        changed = [p for p in before if before[p] != after.get(p) and not p.endswith((".part", "chains", "keys"))]
        kit.check(not changed or layout == "tree", "a second process touched", changed)
        target.kill(signal.SIGCONT)
        code, said = target.end()
        kit.check(code == 0, "the first process:", code, said)
        sound("out", "the first process")
        snap = interrupted("out", layout)
        target = run.Followed(["resume", "--quiet", "out"], f"{run.BOUNDS};stall point@rows.sync 2 60000")
        kit.check(target.wait_stalled(), "never got there")
        r = run.mill(["resume", "out"])
        kit.check(r.code == 3, "two resumes:", r)
        target.kill(signal.SIGCONT)
        code, said = target.end()
        kit.check(code == 0, "the first resume:", code, said)
        sound("out", "two resumes", snap)
        done("two processes")


# --- resume ----------------------------------------------------------------------------------------------------------

def finished():
    for layout, io in KINDS:
        for killed in (False, True):
            if killed:
                interrupted("out", layout)
                resume("out", "to be finished")
            else:
                kit.check(run.mill(mint(layout=layout, io=io)).code == 0, "mint")
            before = fingerprint("out")
            for _ in range(2):
                r = run.mill(["resume", "out"])
                kit.check(r.code == 0 and b"nothing to resume" in r.out, "a finished run:", r)
            kit.check(fingerprint("out") == before, "resume touched a finished run")
            done("finished run resumed")


def refused(out, title, words, args=()):
    """Exit code 2, the words, and nothing is touched."""
    before = {p: v[4] for p, v in fingerprint(out).items()}
    r = run.mill(["resume", out, *args])
    kit.check(r.code == 2, title, r)
    kit.check(all(w.encode() in r.err for w in words), title, f"not all of {words} in", r)
    kit.check({p: v[4] for p, v in fingerprint(out).items()} == before, title, "something was touched")
    done("changed input refused")


def changed_inputs():
    with open("list", "w", encoding="ascii") as f:
        f.write("".join(i + "\n" for i in run.IDS))
    with open("my.profile", "w", encoding="ascii") as f:
        f.write("[profile]\nextensions = e\n[e]\nbasicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n"
                "subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n")
    for layout, _ in KINDS[1:]:
        snap = interrupted("out", layout, more=("--profile", "my.profile"), devices="list")
        refused("out", "another CA given", ("CA",), ("--ca", "other/ca.pem", "--ca-key", "other/ca.key"))
        changed("ca/ca.pem", lambda _: _read("other/ca.pem"), "ca/ca.key", _read("other/ca.key"),
                lambda: refused("out", "another CA in its place", ("CA",)))
        changed("list", lambda d: d.replace(b"SN00000200", b"SN00000900"), None, None,
                lambda: refused("out", "a list with another line", ("list",)))
        changed("list", lambda d: d + b"SN00000999\n", None, None, lambda: refused("out", "a list with more lines", ("list",)))
        changed("my.profile", lambda d: d + b"extendedKeyUsage = clientAuth\n", None, None,
                lambda: refused("out", "another profile", ("profile", "clientAuth")))
        resume("out", "inputs as they were", snap)


def lost_segments():
    """What is committed and gone is asked for; once it is back, the resume goes on, and speaks of nothing but what it does."""
    for layout, _ in KINDS[1:]:
        for side in ("chains", "keys"):
            snap = interrupted("out", layout, at="kill point@journal.write 11")
            first = min(name for name in os.listdir(f"out/{side}") if not name.endswith(".part"))
            os.rename(f"out/{side}/{first}", "aside")
            r = run.mill(["resume", "out"])
            kit.check(r.code == 2 and f"out/{side}/{first}".encode() in r.err and b"restore it" in r.err, "a lost segment:", r)
            os.rename("aside", f"out/{side}/{first}")
            r = run.mill(["resume", "out"])
            kit.check(r.code == 0 and b"reissue" not in r.out + r.err, "the segment is back:", r)
            sound("out", "the segment is back", snap)
            done("lost segment refused")


def _read(path):
    with open(path, "rb") as f:
        return f.read()


def changed(path, change, second, octets, attempt):
    """attempt() while a file, or two, have other octets."""
    old = {p: _read(p) for p in (path, second) if p}
    with open(path, "wb") as f:
        f.write(change(old[path]))
    if second:
        with open(second, "wb") as f:
            f.write(octets)
    try:
        attempt()
    finally:
        for p, data in old.items():
            with open(p, "wb") as f:
                f.write(data)


def damaged_journals():
    """Either all behind the last good record is minted anew, or the journal is refused. What a resume makes is sound in
    itself; what is refused is not touched."""
    ways = {"recovered": 0, "refused": 0}
    for i in range(FLIPS):
        layout = ("tar", "tree")[i % 2]
        if i < 2:
            interrupted(f"base{layout}", layout)
        run.copy(f"base{layout}", "out")
        data = bytearray(_read("out/journal"))
        how = ("cut", "flip", "flip in the last record", "zeros", "doubled")[i // 2 % 5]
        at = kit.rng.randrange(len(data))
        if how == "cut":
            del data[at:]
        elif how.startswith("flip"):
            at = max(at, len(data) - 512) if "last" in how else at
            data[at] ^= 1 << kit.rng.randrange(8)
        elif how == "zeros":
            at -= at % 512
            data[at:at + 512] = bytes(len(data[at:at + 512]))
        else:
            data += data[at - at % 512:]
        with open("out/journal", "wb") as f:
            f.write(data)
        one_journal(f"journal {i}, {layout}: {how} at {at} of {len(data)}", ways)
    print("damaged journals: " + ", ".join(f"{k} {v}" for k, v in ways.items()))
    kit.check(min(ways.values()) > FLIPS // 10, "damaged journals: too few of a kind", ways)


def one_journal(title, ways):
    before = {p: v[4] for p, v in fingerprint("out").items()}
    r = run.mill(["resume", "--quiet", "out"])
    done("damaged journals")
    if r.code == 0:
        ways["recovered"] += 1
        sound("out", title)
        return
    ways["refused"] += 1
    kit.check(r.code == 2 and (b"journal" in r.err), title, r)
    changed_files = [p for p, v in fingerprint("out").items() if before.get(p) != v[4]]
    kit.check(not changed_files, title, "refused, and touched", changed_files)


def main():
    kit.enter_place("process", memory=True)
    kit.ca_init("ca")
    kit.ca_init("other")
    for part in (signals, stopped_and_continued, closed_descriptors, umasks, clock_set_back, two_at_once, finished,
                 changed_inputs, lost_segments, damaged_journals):
        part()
        kit.say(part.__name__)
    for what, n in table.items():
        print(f"{what:24}{n:6}")
    kit.check(run.no_children(), "a process outlives the test")
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
