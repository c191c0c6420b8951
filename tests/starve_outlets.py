#!/usr/bin/env python3
"""Goal: when memory runs out in an export, a registration kit, a claim, a report or a run that feeds a database, it ends
cleanly: an export or a kit that fails leaves no file, one that succeeds is the same as ever; a claim is had by its station, or
by nobody; a database has each device once after a resume and a load. Method: certmill-starved, as in
starve_runs: samples of the allocations fail, once or with all after them; exports are compared octet for octet, claims are
asked for again under their request id.

CM_STARVE_OUTLETS=N: so many failures of each kind."""

import json
import os
import shutil
import sqlite3
import sys

import starve_runs
from starve_runs import kit, starved

POINTS = int(os.environ.get("CM_STARVE_OUTLETS") or (6 if kit.SANITIZE else 25))
FORMATS = ["aws-bulk", "aws-jitp", "allow-list", "thingpress", "azure-iothub", "azure-dps", "thingsboard", "espressif",
           "rainmaker", "csv", "json", "sql"]
tally = {"told": 0, "absorbed": 0}


def points(args):
    """Which allocations are to fail: from the first to the last."""
    count = starve_runs.allocations(args)
    for i in range(POINTS):
        yield f"{int(count * (i + kit.rng.random()) / POINTS)}{'+' if i % 2 else ''}"


def judge(r, title):
    kit.check(r.code in (0, 2, 3, 4) and (r.code == 0 or b"certmill: " in r.err), title, r)
    tally["absorbed" if r.code == 0 else "told"] += 1
    return r.code == 0


def content(d):
    found = {}
    for name in sorted(os.listdir(d)):
        with open(f"{d}/{name}", "rb") as f:
            found[name] = f.read()
    return found


def exports():
    for form in FORMATS:
        def args(d, form=form):
            os.mkdir(d)
            return ["export", "fleet", "--to", form, "--out", f"{d}/x.out", "--rows-per-file", "10", "--quiet"]
        whole = content_of(args, "reference")
        for when in points(args("counted")):
            d = "starved"
            title = f"{form}, allocation {when}"
            if judge(starved(args(d), when), title):
                kit.check(content(d) == whole, title, "another export than without")
            else:
                kit.check(content(d) == {}, title, "left behind:", list(content(d)))
            shutil.rmtree(d)
        shutil.rmtree("counted")


def kits():
    """A registration kit is there whole, or not at all; a check gives its result, or fails."""
    def args(d):
        os.mkdir(d)
        return ["aws", "kit", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--registration-code", "5a" * 32, "--out", f"{d}/kit",
                "--quiet"]
    whole = None
    for when in points(args("counted")):
        title = f"aws kit, allocation {when}"
        whole = whole or sorted(os.listdir("counted/kit"))
        # Without memory libcrypto 3.0 can't clean up behind itself at the process's end, once it has looked for decoders.
        if judge(starved(args("starved"), when, leaks=not when.endswith("+")), title):
            kit.check(sorted(os.listdir("starved/kit")) == whole, title, "another kit than without")
        else:
            kit.check(os.listdir("starved") == [], title, "left behind:", os.listdir("starved"))
        shutil.rmtree("starved")
    shutil.rmtree("counted")
    check = ["aws", "check", "ca", "fleet", "--json"]
    wanted = kit.must([kit.CERTMILL, *check]).out
    for when in points(check):
        r = starved(check, when)
        if judge(r, f"aws check, allocation {when}"):
            kit.check(r.out == wanted, f"aws check, allocation {when}", r)


def content_of(args, d):
    kit.must([kit.CERTMILL, *args(d)])
    found = content(d)
    shutil.rmtree(d)
    return found


def claimed():
    db = sqlite3.connect("db")
    rows = db.execute("SELECT device_id, request_id, state FROM device WHERE state <> 'unused'").fetchall()
    db.close()
    return rows


def fresh():
    shutil.copy("loaded", "db")


def claims():
    base = ["claim", "--from", "sqlite:db", "--station", "A", "--request-id", "q", "--json"]
    for more in ([], ["--fleet", "fleet", "--out", "got"]):
        fresh()
        plan = points([*base, *more])
        for when in plan:
            fresh()
            shutil.rmtree("got", ignore_errors=True)
            title = f"claim {more}, allocation {when}"
            good = judge(starved([*base, *more], when), title)
            was = claimed()
            kit.check(len(was) == 1 if good else len(was) <= 1, title, was)
            again = kit.must([kit.CERTMILL, *base, *more])
            now = claimed()
            kit.check(len(now) == 1 and was in ([], now) and json.loads(again.out)["device_id"] == now[0][0], title, was, now)


def reports():
    args = ["report", "--to", "sqlite:db", "SN00000001", "--used", "--station", "A", "--json"]

    def claimed_once():
        fresh()
        kit.must([kit.CERTMILL, "claim", "--from", "sqlite:db", "--station", "A", "--quiet"])

    claimed_once()
    for when in points(args):
        claimed_once()
        good = judge(starved(args, when), f"report, allocation {when}")
        state = claimed()[0][2]
        kit.check(state == "used" or not good and state == "claimed", f"report, allocation {when}:", state)


def rows_in(path):
    """Devices of the database, [] while it has no tables."""
    db = sqlite3.connect(path)
    there = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'device'").fetchone()
    rows = [i for i, in db.execute("SELECT device_id FROM device ORDER BY device_id")] if there else []
    db.close()
    return rows


def minted(fleet):
    if not os.path.exists(f"{fleet}/manifest.ndjson"):
        return set()
    with open(f"{fleet}/manifest.ndjson", encoding="utf-8") as f:
        return {json.loads(line)["device_id"] for line in f if line.endswith("\n")}


def fed():
    """A run that feeds a database: whatever is lost on the way, it has each device once after a resume and a load."""
    wanted = [f"SN{n:08}" for n in range(1, starve_runs.DEVICES + 1)]

    def args():
        shutil.rmtree("fed", ignore_errors=True)
        for name in ("fed.db", "fed.db-journal"):
            if os.path.exists(name):
                os.remove(name)
        return [*starve_runs.mint_args("fed", "tar", "posix", 2), "--to", "sqlite:fed.db", "--db-wait", "1"]

    for when in points(args()):
        title = f"mint --to, allocation {when}"
        good = judge(starved(args(), when), title)
        rows = rows_in("fed.db") if os.path.exists("fed.db") else []
        kit.check(rows == wanted if good else set(rows) <= minted("fed") and len(set(rows)) == len(rows), title, rows)
        if not good and not (os.path.exists("fed/journal") and os.path.getsize("fed/journal")):
            kit.check(rows == [], title, "rows of a run that did not begin", rows)
            continue
        resumed = kit.mill("resume", "--quiet", "fed")
        if resumed.code != 0:  # not even its first record is whole
            kit.check(not good and rows == [] and not os.path.exists("fed/manifest.ndjson"), title, resumed)
            continue
        kit.must([kit.CERTMILL, "load", "--quiet", "fed", "--to", "sqlite:fed.db"])
        kit.check(rows_in("fed.db") == wanted, title, "not each device once")
        kit.check(not starve_runs.check_fleet.check("fed", wanted), title, "the fleet")


def main():
    kit.enter_place("outlets", memory=True)
    kit.ca_init("ca")
    kit.must_mint("fleet", "ca", "--count", "24", "--id-pattern", "0200000000{seq:02}")
    kit.must_mint("named", "ca", "--count", "3")
    kit.must([kit.CERTMILL, "load", "named", "--to", "sqlite:loaded", "--quiet"])
    exports()
    kits()
    os.rename("fleet", "others")
    os.rename("named", "fleet")
    claims()
    reports()
    fed()
    kit.say(f"{tally['told']} failures told, {tally['absorbed']} absorbed")
    kit.check(tally["told"] > POINTS, "too few failures")
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
