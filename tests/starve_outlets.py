#!/usr/bin/env python3
"""Goal: when memory runs out in an export, a claim or a report, it ends cleanly: an export that fails leaves no file, one
that succeeds is the same as ever; a claim is had by its station, or by nobody. Method: certmill-starved, as in
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


def main():
    kit.enter_place("outlets", memory=True)
    kit.ca_init("ca")
    kit.must_mint("fleet", "ca", "--count", "24", "--id-pattern", "0200000000{seq:02}")
    kit.must_mint("named", "ca", "--count", "3")
    kit.must([kit.CERTMILL, "load", "named", "--to", "sqlite:loaded", "--quiet"])
    exports()
    os.rename("fleet", "others")
    os.rename("named", "fleet")
    claims()
    reports()
    kit.say(f"{tally['told']} failures told, {tally['absorbed']} absorbed")
    kit.check(tally["told"] > POINTS, "too few failures")
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
