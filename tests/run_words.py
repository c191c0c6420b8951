#!/usr/bin/env python3
"""Goal: what a run says of itself is true: summary, notes, --json and run.json, whether it got through, was stopped, failed,
or was killed and continued; and --quiet says nothing. Method: small fleets of ten commits over both layouts and both kinds
of I/O, ended in each way at a known place; every line is held against the whole text that belongs there."""

import json
import os
import re
import shutil
import signal
import sys

import run_kit as run
from run_kit import check_fleet, kit

KINDS = (("tar", "posix", "blocking writes"), ("tar", "uring", "io_uring"), ("tree", "posix", ""))
RATES = r" devices \(P-256\) in \d+\.\d\d s: \d+ a second, \d+ a second and core\n"
PLAIN = "private keys are written unencrypted (--plaintext-keys)"


def mint(layout, io, *more):
    shutil.rmtree("out", ignore_errors=True)
    return [a for a in run.mint_args("ca", "out", layout, io, more=more) if a != "--quiet"]


def said(result, code, title, out, notes=(), never=()):
    """Standard output as a whole, and what the notes hold and do not."""
    err = result.err.decode()
    kit.check(result.code == code, title, "exit code", result)
    kit.check(re.fullmatch(out, result.out.decode()), title, out, "isn't", result)
    for text in notes:
        kit.check(text in err, title, f"no \"{text}\" in", result)
    for text in ("reissue", *never):
        kit.check(text not in err, title, f"\"{text}\" in", result)


def whole(n, how, end="", total=""):
    """The summary: n devices minted."""
    by = f", by {how}.*" if how else ""
    return f"minted {n} of {run.DEVICES}{RATES}{total}  out: \\d+\\.\\d MB in {-(-n // run.COMMIT)} commits{by}{end}\n"


def outcome(state, devices, title):
    with open("out/run.json", encoding="utf-8") as f:
        told = json.load(f)["outcome"]
    kit.check((told["state"], told["devices"], told["superseded"]) == (state, devices, 0), title, "run.json says", told)


def numbers(result, code, title, how, **expected):
    """--json, once parsed, against expected."""
    kit.check(result.code == code, title, "exit code", result)
    told = json.loads(result.out)
    kit.check({k: told[k] for k in expected} == expected, title, expected, "isn't", told)
    kit.check(how in told["io"] and (how != "") == (told["io"] != ""), title, told)
    if told["minted"] > 0:
        n, s, cpu = told["minted"], told["seconds"], told["cpu_seconds"]
        kit.check(s > 0 and cpu > 0 and told["bytes"] > 500 * n, title, told)
        for key, rate in (("devices_per_second", n / s), ("devices_per_second_per_core", n / s),
                          ("devices_per_cpu_second", n / cpu)):
            kit.check(abs(told[key] - rate) <= 0.01 * rate, title, key, told)


def got_through(layout, io, how):
    title = f"{layout}, {io}, whole"
    said(run.mill(mint(layout, io)), 0, title, whole(run.DEVICES, how), [PLAIN], ["certmill resume", "--sync none", "discarded"])
    outcome("complete", run.DEVICES, title)
    r = run.mill(["resume", "out"])
    said(r, 0, title, f"out is complete: all {run.DEVICES} devices are minted; there is nothing to resume\n", [], ["certmill:"])
    said(run.mill(["resume", "--quiet", "out"]), 0, title, "", [], ["certmill:"])
    told = json.loads(run.mill(["resume", "--json", "out"]).out)
    kit.check(told == {"out": "out", "state": "complete", "devices": run.DEVICES, "minted": 0}, title, told)
    said(run.mill([*mint(layout, io), "--quiet"]), 0, title, "", [], ["certmill:"])
    numbers(run.mill([*mint(layout, io), "--json"]), 0, title, how, out="out", state="complete", requested=run.DEVICES,
            devices=run.DEVICES, minted=run.DEVICES, signatures=run.DEVICES, commits=10, workers=1)
    lost = "; nothing was forced to disk \\(--sync none\\)"
    said(run.mill(mint(layout, io, "--sync", "none")), 0, title, whole(run.DEVICES, how, lost), [PLAIN, "--sync none"],
         ["it may not lock out"])


def continued(layout, io, how):
    """Killed in the sixth commit's record, and before the record of the end."""
    for more in ((), ("--json",)):
        title = f"{layout}, {io}, killed and resumed"
        kit.check(run.mill(mint(layout, io), f"{run.BOUNDS};kill point@journal.write 9").code == -9, title)
        had = check_fleet.snapshot("out")["devices"]
        kit.check(had % run.COMMIT == 0 and 0 < had < run.DEVICES, title, had)
        r = run.mill(["resume", "out", *more])
        total = f"  out: {run.DEVICES} devices in all, complete\n"
        if more:
            numbers(r, 0, title, how, state="complete", requested=run.DEVICES, devices=run.DEVICES, minted=run.DEVICES - had)
        else:
            said(r, 0, title, whole(run.DEVICES - had, how, total=total), [PLAIN, "certmill: discarded "], ["certmill resume"])
        outcome("complete", run.DEVICES, title)
        title = f"{layout}, {io}, killed before its end"
        kit.check(run.mill(mint(layout, io), f"{run.BOUNDS};kill point@journal.write 14").code == -9, title)
        r = run.mill(["resume", "out", *more])
        if more:
            numbers(r, 0, title, "", state="complete", devices=run.DEVICES, minted=0, commits=0)
        else:
            said(r, 0, title, whole(0, "", total=total))
        outcome("complete", run.DEVICES, title)
        kit.check(run.mill(["verify", "--quiet", "out"]).code == 0, title, "verify")
        kit.check(os.path.isfile("out/index"), title, "there is no index")
    kit.check(run.mill(mint(layout, io), f"{run.BOUNDS};kill point@journal.write 9").code == -9, title)
    said(run.mill(["resume", "--quiet", "out"]), 0, title, "", [], ["certmill:"])


def stopped(layout, io, more):
    title = f"{layout}, {io}, stopped, {more}"
    target = run.Followed([*mint(layout, io), *more], f"{run.BOUNDS};stall point@rows.sync 3 60000")
    kit.check(target.wait_stalled(), title, "never got there")
    target.stop(signal.SIGINT)
    code, text = target.end()
    kept = check_fleet.snapshot("out")["devices"]
    kit.check(code == 130 and 0 < kept < run.DEVICES, title, code, kept, text)
    durable = "written" if "--sync" in more else "durable"
    kit.check(f"{kept} of {run.DEVICES} devices are {durable} in out; `certmill resume out` mints the rest" in text, title, text)
    if "--json" in more:
        kit.check('"state":"stopped"' in text and f'"devices":{kept},"minted":{kept},' in text, title, text)
    else:
        kit.check(re.search(f"^kept {kept} of {run.DEVICES}{RATES}", text, re.M), title, text)
    outcome("stopped", kept, title)


def failed(layout, io, how, more):
    title = f"{layout}, {io}, failed, {more}"
    r = run.mill([*mint(layout, io), *more], f"{run.BOUNDS};fail sync@*/journal 8 EIO")
    kept = check_fleet.snapshot("out")["devices"]
    kit.check(0 < kept < run.DEVICES, title, kept)
    advice = f"{kept} of {run.DEVICES} devices are durable in out; `certmill resume out` mints the rest"
    if more:
        numbers(r, 3, title, how, state="failed", devices=kept, minted=kept)
        kit.check(advice in r.err.decode(), title, r)
    else:
        said(r, 3, title, "", [advice, "out/journal"])
    outcome("failed", kept, title)


def main():
    kit.enter_place("words", memory=True)
    kit.ca_init("ca")
    for layout, io, how in KINDS:
        got_through(layout, io, how)
        continued(layout, io, how)
        for more in ((), ("--json",)):
            failed(layout, io, how, more)
        stopped(layout, io, ())
        stopped(layout, io, ("--json", "--sync", "none"))
        kit.say(layout, io)
    kit.check(run.no_children(), "a process outlives the test")
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
