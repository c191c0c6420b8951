#!/usr/bin/env python3
"""Goal: a resume, and the end of any run, tell what is true, in words and as JSON, with the right exit code; what a resume is
given on its command line counts, and nothing else changes. Method: small fleets that are killed, stopped by a signal or by
a call that fails (certmill-faulty), then resumed in every way; what is left is judged by check_fleet.py."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import run_kit as run
from run_kit import check_fleet, kit


def mint(out, *more, loud=False, ca="ca", **how):
    args = run.mint_args(ca, out, more=more, **how)
    return [a for a in args if not (loud and a == "--quiet")]


def kill(out, *more, at="kill point@journal.write 8", **how):
    """A run that was killed, by itself after its fourth commit: its snapshot."""
    kit.check(run.mill(mint(out, *more, **how), f"{run.BOUNDS};{at}").code == -9, out, "was not killed")
    return check_fleet.snapshot(out)


def stop(args, plan=run.BOUNDS, number=signal.SIGINT, wait="point@rows.sync 3"):
    """The run gets a signal while it is held up; its exit code, and what it says on stdout and stderr."""
    reads, writes = os.pipe()
    with subprocess.Popen([run.FAULTY, *args], env=run.environment(f"{plan};stall {wait} 60000;trace /dev/fd/{writes}"),
                          pass_fds=(writes,), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        os.close(writes)
        sent = False
        with os.fdopen(reads, "rb") as trace:
            for line in trace:
                if line.rstrip().endswith(b"!stall") and not sent:
                    sent = True
                    p.send_signal(number)
                    time.sleep(0.4)  # it looks ten times a second
                    p.send_signal(signal.SIGCONT)
        out, err = p.communicate(timeout=kit.PATIENCE)
    kit.check(sent, "was never held up:", args)
    return kit.Result(args, p.returncode, out, err)


def sound(out, before=None, ids=None, ca="ca"):
    found = check_fleet.check(out, ids or run.IDS, f"{ca}/ca.pem", committed_before=before, ended=True)
    return kit.check(found == [], out, *found[:10])


def says(r, code, *words, never=()):
    said = (r.out + r.err).decode(errors="replace")
    kit.check(r.code == code and all(w in said for w in words) and not any(w in said for w in never),
              f"exit code {code} and {words} without {never}, but", r)
    return r


def result(r, code, **values):
    """Its JSON has these values."""
    kit.check(r.code == code, f"exit code {code}, but", r)
    try:
        told = json.loads(r.out)
    except ValueError:
        told = {}
    wrong = {k: told.get(k) for k, v in values.items() if told.get(k) != v}
    kit.check(told and not wrong, "JSON: wanted", values, "not", wrong, r)
    return told


def outcome(out):
    with open(f"{out}/run.json", encoding="utf-8") as f:
        return json.load(f)["outcome"]


def read(path):
    with open(path, "rb") as f:
        return f.read()


# --- what is told -------------------------------------------------------------------------------------------------

def summaries():
    r = says(run.mill(mint("told", loud=True)), 0, "minted 240 of 240 devices (P-256)", "MB in 10 commits", "unencrypted")
    kit.check(b"resume" not in r.err, "a run that is through needs none", r)
    told = result(run.mill(mint("json", "--json")), 0, state="complete", requested=240, devices=240, minted=240, signatures=240,
                  commits=10, out="json", workers=1)
    kit.check(told["devices_per_second"] > 0 and told["bytes"] > 100000 and told["run_id"], "JSON:", told)
    r = run.mill(mint("silent"))
    kit.check(r.code == 0 and not r.out and not r.err, "--quiet:", r)
    plain = ["mint", "--layout", "none", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--count", "50", "--workers"]
    r = says(run.mill([*plain, "64"]), 0, "minted 50 of 50", never=("commits", "unencrypted", "resume"))
    result(run.mill([*plain, "1", "--json"]), 0, out=None, state="complete", devices=50, minted=50)
    sound("json")


def stopped():
    for layout in ("tar", "tree"):
        out = f"stopped-{layout}"
        told = result(stop(mint(out, "--json", layout=layout)), 130, state="stopped", requested=240)
        kit.check(0 < told["minted"] == told["devices"] < 240, "in the middle:", told)
        kit.check(outcome(out)["state"] == "stopped" and outcome(out)["devices"] == told["devices"], "run.json:", outcome(out))
        before = check_fleet.snapshot(out)
        r = says(stop(["resume", out], number=signal.SIGTERM, wait="point@bundles.put 3"), 143, "kept ", "stopped",
                 f"devices are durable in {out}", f"certmill resume {out}", "devices in all")
        kit.check(check_fleet.snapshot(out)["devices"] > before["devices"], "a resume that is stopped keeps what it made", r)
        left = 240 - check_fleet.snapshot(out)["devices"]
        result(run.mill(["resume", "--json", out]), 0, state="complete", devices=240, minted=left)
        sound(out, before)


def reissued_while_stopped():
    """A reissue in a run that was stopped mints that device and no other; a resume then the rest."""
    stop(mint("part"))
    had = check_fleet.snapshot("part")["devices"]
    says(run.mill(["reissue", "part", "SN00000002", "--reason", "worn"]), 0, "minted 1 of 1 devices", never=("resume",))
    told = outcome("part")
    kit.check((told["state"], told["devices"], told["superseded"]) == ("stopped", had, 1), "run.json:", told)
    says(run.mill(["verify", "part"]), 0, f"stopped after {had} of 240")
    says(run.mill(["resume", "part"]), 0, f"minted {240 - had} of 240", never=("interrupted",))
    says(run.mill(["verify", "part"]), 0, "complete, 240 devices", "superseded: 1")
    sound("part")


def failed():
    plan = f"{run.BOUNDS};fail fdatasync@*/journal 6 EIO"
    r = run.mill(mint("failed", "--json"), plan)
    told = result(r, 3, state="failed", requested=240)
    kit.check(told["devices"] == outcome("failed")["devices"] < 240 and outcome("failed")["state"] == "failed", "run.json:", told)
    says(r, 3, "failed/journal", "certmill resume failed", "devices are durable")
    r = run.mill(["resume", "--json", "failed"], "fail fdatasync@*/failed/journal 2 ENOSPC")
    result(r, 3, state="failed", minted=0)
    says(run.mill(["resume", "failed"]), 0, "devices in all, complete")
    sound("failed")


def stopped_too_late():
    """What was asked for is done when the signal is seen: so the run is complete, and says so."""
    r = says(stop(mint("late", loud=True), wait="point@journal.sync 13"), 0, "minted 240 of 240", never=("resume late", "kept"))
    kit.check(outcome("late")["state"] == "complete", "run.json:", outcome("late"), r)
    sound("late")


def without_syncs():
    args = mint("fast", "--sync", "none", loud=True)
    says(stop(args), 130, "nothing is forced to disk", "devices are written in fast", "nothing was forced to disk")
    before = check_fleet.snapshot("fast")
    says(run.mill(["resume", "fast"]), 0, "nothing is forced to disk")
    sound("fast", before)
    for layout in ("tar", "tree"):
        out = f"fast-{layout}"
        before = kill(out, "--sync", "none", layout=layout)
        says(run.mill(["resume", out]), 0, "discarded ", "it was not committed")
        sound(out, before)


def notices():
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                    "noski.key", "-out", "noski.pem", "-days", "30", "-subj", "/CN=No SKI", "-addext",
                    "subjectKeyIdentifier=none", "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
                   check=True, capture_output=True)
    args = ["mint", "--ca", "noski.pem", "--ca-key", "noski.key", "--plaintext-keys", "--count", "5", "--out"]
    says(run.mill([*args, "noski"]), 0, "no subject key identifier")
    if os.access("/dev/shm", os.W_OK):
        there = f"/dev/shm/certmill-resume-{os.getpid()}"
        try:
            says(run.mill([*args, there]), 0, "is on tmpfs")
        finally:
            shutil.rmtree(there, ignore_errors=True)
    strace = None if kit.SANITIZE else kit.tool("strace", "strace")
    if strace:
        r = kit.run([strace, "-f", "-o", "/dev/null", "-e", "inject=io_uring_setup:error=ENOSYS", run.FAULTY, *args, "blocking"])
        says(r, 0, "segments are written with blocking calls")
    r = run.mill(["mint", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--plaintext-keys", "--count", "9000000000000", "--out",
                  "huge"])
    says(r, 3, "No space for huge")
    kit.check(not os.path.exists("huge"), "nothing is begun")


# --- a run that is through ------------------------------------------------------------------------------------------

def finished():
    kit.check(run.mill(mint("done")).code == 0, "mint")
    journal, view = read("done/journal"), read("done/run.json")
    result(run.mill(["resume", "--json", "done"]), 0, out="done", state="complete", devices=240, minted=0)
    says(run.mill(["resume", "done"]), 0, "done is complete: all 240 devices are minted; there is nothing to resume")
    r = run.mill(["resume", "--quiet", "done"])
    kit.check(r.code == 0 and not r.out and not r.err, "--quiet:", r)
    kit.check((read("done/journal"), read("done/run.json")) == (journal, view), "a resume of a finished run wrote something")
    # The views are made again where they are missing, and nothing is minted.
    rows = read("done/manifest.ndjson")
    os.remove("done/run.json")
    result(run.mill(["resume", "--json", "done"]), 0, state="complete", devices=240, minted=0, signatures=0)
    kit.check(outcome("done")["state"] == "complete" and read("done/manifest.ndjson") == rows, "run.json is there again")
    os.remove("done/run.json")
    says(run.mill(["resume", "done"]), 0, "240 devices in all, complete")
    sound("done")


def last_steps():
    """Killed between the last commit and the end, or where the end can't be written."""
    for layout in ("tar", "tree"):
        out = f"last-{layout}"
        before = kill(out, layout=layout, at="kill point@journal.write 14")
        kit.check(before["devices"] == 240, "all of them are committed", before["devices"])
        r = run.mill(["resume", "--quiet", out], f"fail pwrite@*/{out}/journal 2 EIO")
        says(r, 3, f"{out}/journal", f"certmill resume {out}")
        r = run.mill(["resume", "--quiet", out], f"fail renameat2@*/run.json* 2 ENOSPC")
        says(r, 3, "run.json")
        says(run.mill(["resume", out]), 0, "complete")
        sound(out, before)


def hardly_begun():
    kill("begun", at="kill point@journal.synced 1")
    says(run.mill(["resume", "begun"]), 0, "240 devices in all, complete")
    sound("begun")
    kill("unborn", at="kill point@journal.write 1")
    says(run.mill(["resume", "unborn"]), 2, "no journal", "mint again")
    says(run.mill(["resume", "nowhere"]), 2, "nowhere")
    says(run.mill(["resume", "ca/ca.pem"]), 2, "ca/ca.pem")
    os.mkdir("bare")
    says(run.mill(["resume", "bare"]), 2, "bare")
    # What is read back must be durable before it is believed.
    before = kill("doubt")
    for call in ("openat@*/doubt/manifest.ndjson 1", "fsync@*/doubt/chains 1"):
        r = says(run.mill(["resume", "doubt"], f"fail {call} EIO"), 3, "doubt/")
        kit.check(check_fleet.snapshot("doubt") == before, "nothing is touched before that", r)
    kit.check(run.mill(["resume", "--quiet", "doubt"]).code == 0, "afterwards")
    sound("doubt", before)


# --- what is given again --------------------------------------------------------------------------------------------

def lock_key():
    subprocess.run(["openssl", "pkey", "-in", "ca/ca.key", "-aes256", "-passout", "pass:right", "-out", "locked.key"],
                   check=True, capture_output=True)
    os.chmod("locked.key", 0o600)
    for name, text in (("pass", "right\n"), ("moved", "right\n")):
        with open(name, "w", encoding="ascii") as f:
            f.write(text)
        os.chmod(name, 0o600)


def moved_files():
    lock_key()
    with open("ids", "w", encoding="ascii") as f:
        f.writelines(f"{i}\n" for i in run.IDS)
    args = ["mint", "--quiet", "--ca", "ca/ca.pem", "--ca-key", "locked.key", "--ca-passphrase-file", "pass", "--out", "moving",
            "--plaintext-keys", "--batch", "8", "--workers", "1", "--devices", "ids", "--ledger", "sqlite:ledger.db",
            "--max-signatures", "5000"]
    kit.check(run.mill(args, f"{run.BOUNDS};kill point@journal.write 8").code == -9, "was not killed")
    before = check_fleet.snapshot("moving")
    shutil.copy("ca/ca.pem", "ca2.pem")
    os.rename("locked.key", "key2.key")
    os.rename("ids", "ids2")
    os.remove("pass")
    given = {"--ca": "ca2.pem", "--ca-key": "key2.key", "--ca-passphrase-file": "moved", "--devices": "ids2",
             "--ledger": "sqlite:ledger.db"}
    for left_out, word in (("--ca-key", "locked.key"), ("--ca-passphrase-file", "pass"), ("--devices", "ids")):
        again = [w for option, value in given.items() if option != left_out for w in (option, value)]
        r = says(run.mill(["resume", "moving", *again]), 2, word)
        kit.check(check_fleet.snapshot("moving") == before, "touched without", left_out, r)
    again = [w for pair in given.items() for w in pair]
    says(run.mill(["resume", "moving", *again[:-1], "sqlite:other.db"]), 2, "ledger: was", "other.db")
    says(run.mill(["resume", "moving", *again, "--max-signatures", "239"]), 2, "--max-signatures")
    says(run.mill(["resume", "moving", *again, "--workers", "2", "--max-signatures", "6000"]), 0, "240 devices in all, complete")
    sound("moving", before)


def what_does_not_fit():
    before = kill("counted")
    with open("other-ids", "w", encoding="ascii") as f:
        f.write("one\n")
    says(run.mill(["resume", "counted", "--devices", "other-ids"]), 2, "not both")
    says(run.mill(["resume", "counted", "--ca", "other/ca.pem", "--ca-key", "other/ca.key"]), 2, "asked for differently")
    os.chmod("ca/ca.key", 0o644)
    says(run.mill(["resume", "counted"]), 2, "chmod 600")
    r = run.mill(["resume", "--quiet", "counted", "--allow-insecure-ca-key"])
    os.chmod("ca/ca.key", 0o600)
    kit.check(r.code == 0, "a key that others can read, accepted:", r)
    sound("counted", before)


# --- a reissue that waits, a journal of another version ------------------------------------------------------------------

def reissue_waits():
    with open("all-ids", "w", encoding="ascii") as f:
        f.writelines(f"{i}\n" for i in run.IDS)
    before = kill("again", devices="all-ids")
    says(run.mill(["reissue", "again", "SN00000001", "--reason", "x"]), 2, "did not end: first give `certmill resume again`")
    kit.check(run.mill(["resume", "--quiet", "again"]).code == 0, "resume")
    asked = ["reissue", "again", "SN00000001", "SN00000100", "SN00000200", "--reason", "x"]
    says(run.mill(asked, f"{run.BOUNDS};fail fdatasync@*/again/manifest.ndjson 1 EIO"), 3, "certmill resume again")
    says(run.mill(asked), 2, "wait for new certificates: first give `certmill resume again`")
    says(run.mill(["resume", "again"]), 0, "3 devices get new certificates (x)")
    says(run.mill(asked[:2] + asked[3:]), 0, "minted 2 of 2 devices")
    sound("again", before)


def resealed(out, change):
    """The journal's first record is another, and all of them have the hashes that go with it."""
    chain, sealed = bytes(32), b""
    for number, record in enumerate(read(f"{out}/journal").split(b"\n")[:-1]):
        body = json.loads(record[65:])
        if number == 0:
            change(body)
        text = json.dumps(body, separators=(",", ":")).encode()
        text = b" " + text + b" " * (-(len(text) + 66) % 512) + b"\n"
        chain = hashlib.sha256(chain + text).digest()
        sealed += chain.hex().encode() + text
    with open(f"{out}/journal", "wb") as f:
        f.write(sealed)


def other_versions():
    kill("version")
    journal = read("version/journal")
    def with_option(name, value):
        return lambda r: r["options"].update({name: value})
    for change, words in ((with_option("colour", "red"), ("--colour", "does not know")),
                          (with_option("workers", 1 << 32 | 1), ("--workers 4294967297", "version")),
                          (with_option("count", -1), ("--count -1", "version")),
                          (with_option("start", 2), ("asked for differently", "start: was 1, is 2")),
                          (lambda r: r.update(run_id="none"), ("run_id",)), (lambda r: r.pop("options"), ("options",)),
                          (lambda r: r.pop("request"), ("request",))):
        resealed("version", change)
        before = read("version/journal")
        says(run.mill(["resume", "version"]), 2, *words)
        kit.check(read("version/journal") == before, "a refusal leaves the journal alone:", words)
        with open("version/journal", "wb") as f:
            f.write(journal)
    resealed("version", lambda r: r["options"].pop("lot"))  # an option that this one has more than the other
    kit.check(run.mill(["resume", "--quiet", "version"]).code == 0, "an option that was not there yet")
    sound("version")


# --- ids that can't be given back ------------------------------------------------------------------------------------

def ledger_that_goes_away():
    """The run is undone before its first signature, and the ledger is not there to be told."""
    args = mint("undone", "--ledger", "sqlite:going.db", loud=True)
    plan = f"{run.BOUNDS};stall point@journal.write 2 60000;fail pwrite@*/undone/journal 2 EIO"
    target = run.Followed(args, plan)
    kit.check(target.wait_stalled(), "never got there")
    os.rename("going.db", "gone.db")
    os.mkdir("going.db")
    target.kill(signal.SIGCONT)
    code, said = target.end()
    kit.check(code == 3 and "stay reserved in the ledger" in said, "told:", code, said)
    kit.check(not os.path.exists("undone"), "the directory is undone")
    os.rmdir("going.db")
    os.rename("gone.db", "going.db")
    says(run.mill(mint("undone", "--ledger", "sqlite:going.db")), 2, "SN00000001")
    says(run.mill(mint("fresh", "--ledger", "sqlite:fresh.db", loud=True)), 0, "made the ledger")


def main():
    kit.enter_place("resume")
    for name in ("ca", "other"):
        kit.ca_init(name)
    for part in (summaries, stopped, stopped_too_late, reissued_while_stopped, failed, without_syncs, notices, finished,
                 last_steps, hardly_begun, moved_files, what_does_not_fit, reissue_waits, other_versions, ledger_that_goes_away):
        part()
        kit.say(f"{part.__name__}: done")
    kit.check(run.no_children(), "a process outlives the test")
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
