#!/usr/bin/env python3
"""Goal: with `--to postgresql://…` the ladder of `certmill bench` has a rung for that server and says what a row costs over
all processes; whatever happens, none of the bench's databases stays there, and the one that the URL names is not touched;
what can't be measured is refused before anything is. Method: a server of the test's own; figures are held against each
other and against loose bounds, never against a speed."""

import csv
import glob
import json
import os
import signal
import subprocess
import sys
import time

import e2e_kit as kit
import e2e_postgres as postgres

BENCH = [kit.CERTMILL, "bench", "--smoke", "--key", "P-256", "--case", "ladder", "--out", "work"]
OWN = "SELECT datname FROM pg_database WHERE datname LIKE 'certmill%'"


def clean(server, what):
    kit.check(server.psql(OWN) == [], what, "left on the server:", server.psql(OWN))
    kit.check(server.psql("SELECT 1 FROM pg_namespace WHERE nspname = 'certmill'") == [], what, "wrote where it was told")
    kit.check(os.listdir("work") == [], what, "left in --out:", os.listdir("work"))


def silent(r, what):
    for secret in (postgres.PASSWORD, "p%40ss", "p@ss"):
        kit.check(secret.encode() not in r.out + r.err, what, "shows the password", r.out, r.err)


def figures(server):
    r = kit.must([*BENCH, "--json", "--count", "4000", "--csv", "all.csv", "--report", "rep", "--to", server.url()])
    silent(r, "figures")
    clean(server, "a whole run")
    report = json.loads(r.out)
    kit.check(report["complete"] and report["settings"]["server"].startswith("PostgreSQL ") and
              report["settings"]["server_note"] == "", report["settings"])
    rungs = {x["what"]: x for x in report["results"] if x["case"] == "ladder"}
    kit.check(list(rungs)[-1] == "postgresql" and rungs["postgresql"]["over"] == "tar" and
              rungs["postgresql"]["cpu_us"] > 0, list(rungs))
    loads = [x for x in report["results"] if x["case"] == "load"]
    kit.check([x["what"] for x in loads] == ["database", "postgresql"], loads)
    for x in loads:
        kit.check(x["devices"] == 4000 and len(x["runs"]) == 2 and x["wall"] > 0, x)
        for run in x["runs"]:
            # From a tenth of what it may cost to what start-up, tables and indexes of 4000 rows can on a slow machine.
            kit.check(0.3 < run["own_us"] < 500 and 1 < run["cpu_us"] < 1500, run)
            server_us = run["server_us"] if x["what"] == "postgresql" else 0
            kit.check(abs(run["cpu_us"] - run["own_us"] - server_us) < 1e-3 * run["cpu_us"], run)
        kit.check(min(run["cpu_us"] for run in x["runs"]) <= x["cpu_us"] <= max(run["cpu_us"] for run in x["runs"]), x)
    kit.check(loads[0]["server_us"] is None and loads[1]["server_us"] > 1, "the server's share", loads)
    with open("all.csv", newline="", encoding="utf-8") as f:
        rows = [x for x in csv.DictReader(f) if x["case"] == "load" and x["what"] == "postgresql"]
    kit.check([x["round"] for x in rows] == ["", "1", "2"] and rows[0]["server"] == report["settings"]["server"], rows)
    for column, name in (("processor_us_per_device", "cpu_us"), ("certmill_us_per_device", "own_us"),
                         ("server_us_per_device", "server_us")):
        kit.check(abs(float(rows[0][column]) - loads[1][name]) < 1e-4 * loads[1][name], column, rows[0][column])
    with open("rep/index.html", encoding="utf-8") as f:
        page = f.read()
    for words in ("tar, PostgreSQL database", 'data-case="load"', "PostgreSQL "):
        kit.check(words in page, words, "is not on the page")


def as_text(server):
    r = kit.must([*BENCH, "--count", "300", "--runs", "1", "--quiet", "--to", server.url()])
    text = r.out.decode()
    kit.check(text.count("tar, PostgreSQL database") == 2 and "LADDER, databases" in text, text)
    kit.check("for the ladder\n" in text, "the server is not named", text)
    r = kit.must([*BENCH, "--count", "300", "--runs", "1", "--quiet"])
    kit.check(b"PostgreSQL database" not in r.out and b"LADDER, databases" in r.out, r.out)
    clean(server, "text")


def not_to_be_seen(server):
    """A user who may make databases but no checkpoint: certmill's own share is known, the rest is not."""
    server.psql("CREATE ROLE maker LOGIN CREATEDB PASSWORD 'x'")
    url = server.url(user="maker", password="x")
    r = kit.must([*BENCH, "--json", "--count", "300", "--runs", "1", "--to", url])
    report = json.loads(r.out)
    load = [x for x in report["results"] if x["case"] == "load"][1]
    kit.check("checkpoint" in report["settings"]["server_note"], report["settings"])
    kit.check(load["own_us"] > 0 and load["server_us"] is None and load["cpu_us"] is None, load)
    r = kit.must([*BENCH, "--quiet", "--count", "300", "--runs", "1", "--to", url])
    kit.check(b"its share is not known: its user may not ask for a checkpoint" in r.out, r.out)
    row = [line for line in r.out.decode().splitlines() if line.startswith("tar, PostgreSQL")][1]
    kit.check(row.split()[5:7] == ["-", "-"], row)
    clean(server, "maker")


def nobody_there():
    r = kit.run([*BENCH, "--to", "postgresql://127.0.0.1:1/postgres"])
    kit.check(r.code == 3 and b"can't open the server postgresql://127.0.0.1:1/postgres" in r.err and r.out == b"", r)


def refusals(server):
    server.psql("CREATE ROLE nobody LOGIN PASSWORD 'x'")
    for url, code, words, more in (
            (server.url(user="nobody", password="x"), 3, "may not make databases", []),
            (server.url(password="wrong"), 3, "password authentication failed", []),
            (server.url(port=1), 3, "can't open the server", []),
            (server.url("nowhere"), 3, "does not exist", []),
            ("postgresql://me:p@ss@h/d", 2, "'@' too many", []),
            ("sqlite:x.db", 2, "the ladder has SQLite anyway", []),
            ("mysql://h/d", 2, "no such kind of database", []),
            (server.url(), 2, "add --case ladder", ["--case", "tar"])):
        argv = [*BENCH, "--to", url] if not more else [kit.CERTMILL, "bench", "--smoke", "--out", "work", *more, "--to", url]
        r = kit.run(argv)
        kit.check(r.code == code and words in r.err.decode() and r.out == b"", url, r.code, r.out, r.err)
        silent(r, words)
    clean(server, "refusals")


def started(server):
    """A long bench, when it mints into its database."""
    p = subprocess.Popen([*BENCH, "--quiet", "--count", "8000", "--runs", "20", "--to", server.url()],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + kit.PATIENCE
    while p.poll() is None and time.monotonic() < end:
        if glob.glob("work/certmill-bench-*/*-postgresql/run.json"):
            return p
        time.sleep(0.005)
    kit.check(False, "the rung never came", p.poll())
    p.kill()
    return p


def ended(p, code, words, what):
    out, err = p.communicate(timeout=kit.PATIENCE)
    kit.check(p.returncode == code and words in err.decode(), what, "exit", p.returncode, out, err)
    kit.check(not kit.BROKEN.search(out + err), what, err)
    return err.decode()


def stopped(server):
    for number in (signal.SIGINT, signal.SIGTERM):
        p = started(server)
        p.send_signal(number)
        ended(p, 128 + number, f"interrupted by {number.name}: all that was made to measure is removed", number.name)
        clean(server, number.name)


def child_fails(server):
    p = started(server)
    children = []
    while not children and p.poll() is None:
        with open(f"/proc/{p.pid}/task/{p.pid}/children", encoding="ascii") as f:
            children = f.read().split()
    os.kill(int(children[0]), signal.SIGKILL)
    ended(p, 3, "killed by signal 9", "a child that is killed")
    clean(server, "a child that is killed")


def server_away(server):
    """What can't be dropped is told, with the words that drop it."""
    p = started(server)
    left = server.psql(OWN)
    server.stop()
    p.send_signal(signal.SIGINT)
    err = ended(p, 130, f"drop it by hand: DROP DATABASE {left[0]}", "a server that went away")
    kit.check("p@ss" not in err, err)
    server.start()
    kit.check(server.psql(OWN) == left, left)
    server.psql(f"DROP DATABASE {left[0]}")
    clean(server, "a server that went away")


def main():
    kit.enter_place("benchserver", memory=True)  # tree fleets take a disk long
    os.mkdir("work")
    nobody_there()
    server = postgres.Server.find()
    for part in (figures, as_text, not_to_be_seen, refusals, stopped, child_fails, server_away) if server else ():
        part(server)
        kit.say(part.__name__)
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
