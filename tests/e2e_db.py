#!/usr/bin/env python3
"""Goal: whatever happens to connections, servers, files and processes, a device is in the database exactly once, as the
manifest and the segments have it; what can't be loaded says why, and nothing of it is there. Method: certmill with SQLite
files and a PostgreSQL server of the test's own: runs that feed both; a proxy that cuts in the middle of COPY and loses
COMMITs or their answers; a server that is killed and started again; kill -9 at random moments and at every point of a
load; then a resume or a load, after which database, manifest and segments must agree column by column (db_kit.py).
Choices come from a printed seed. CM_DB_DEVICES: size of the large fleet; CM_DB_FAULTS: faults per database."""

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import check_fleet
import db_kit
import e2e_kit as kit
import e2e_postgres as postgres
import run_kit as run
from db_kit import Base, File, agree

DEVICES = int(os.environ.get("CM_DB_DEVICES") or (1_500 if kit.SLOW else 20_000))
FAULTS = int(os.environ.get("CM_DB_FAULTS") or (3 if kit.SLOW else 12))
BOUNDS = f"{run.BOUNDS};tune load_rows 40;tune db_wait_ms 5000"
SECRETS = (postgres.PASSWORD, postgres.urllib.parse.quote(postgres.PASSWORD, safe=""))
kinds = [File]


def feeds(*bases):
    return [word for b in bases for word in ("--to", b.url)]


def mill(*args, plan=BOUNDS, **how):
    """certmill-faulty, with small commits and transactions, and no password in what it says."""
    return quiet(run.mill([str(a) for a in args], plan, **how))


def quiet(r):
    kit.check(not any(s.encode() in r.err + r.out for s in SECRETS), "a password is shown", r)
    return r


def ok(r, *what):
    kit.check(r.code == 0, *what, r)
    return r


def refused(r, code, *words):
    kit.check(r.code == code and all(w.encode() in r.err for w in words), f"expected exit {code} and {words}:", r)


def small(out, *more):
    """Arguments of a run of run.DEVICES devices in ten commits."""
    return run.mint_args("ca", out, more=more)


def sound(fleet, ids=None):
    """The fleet, by the checker that knows no database."""
    found = check_fleet.check(fleet, ids)
    return kit.check(not found, fleet, *found[:5])


# --- what comes out ------------------------------------------------------------


def device_list(path, count):
    """A list as factories have them: a BOM, CRLF, fields in quotes with commas, quotes and line ends; some empty."""
    with open(path, "w", encoding="utf-8-sig", newline="") as f:
        out = csv.writer(f, lineterminator="\r\n")
        out.writerow(["part", "serial", "MAC", "note, free"])
        for n in range(count):
            note = ["", "plain", 'a "b", c', "two\r\nlines", "\u00e4\u20ac\U0001f600", "back\\slash"][n % 6]
            out.writerow([f"P-{n % 7}", f"SN{n:08}", f"02:00:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}", note])


def large():
    """A run of a list that feeds all databases at once; then loading it once more changes nothing."""
    bases = [kind() for kind in kinds]
    device_list("large.csv", DEVICES)
    r = kit.mint("large", "ca", "--devices", "large.csv", "--id-column", "serial", "--subject",
                 "/O=A\u00e4 \\+\"b\\\"/CN={id}", "--lot", "L\"1\\", "--sku", "S\u00fc", "--order", "4711", *feeds(*bases))
    ok(quiet(r), "a run that feeds databases")
    kit.say("large: minted and loaded")
    with open("large.csv", encoding="utf-8-sig", newline="") as f:
        listed = list(csv.DictReader(f))
    rows = sorted(db_kit.manifest("large"), key=lambda r: r["seq"])
    kit.check([r["attributes"] for r in rows] == listed, "the rows' attributes are the list's columns")
    for b in bases:
        agree(b, "large", what="large")
        before = b.dump()
        kit.check("PRIVATE KEY" not in repr(before), b.name, "has a private key")
        r = ok(kit.mill("load", "large", "--to", b.url, "--json"), "loading once more")
        one = json.loads(r.out)["databases"][0]
        kit.check((one["rows"], one["loaded"]) == (DEVICES, 0), one)
        r = ok(kit.mill("load", "large", "--to", b.url), "and again")
        kit.check(f": 0 rows loaded, {DEVICES} were there\n".encode() in r.out, r)
        kit.check(b.dump() == before, b.name, "loading once more changed something")
    for name in ("journal", "run.json"):
        with open(f"large/{name}", encoding="utf-8") as f:
            kit.check(not any(s in f.read() for s in SECRETS), "a password is on record in", name)


def shapes():
    """Afterwards: trees, DER, RSA, a list of odd ids; several runs in one database, each agreeing; the view."""
    with open("odd", "w", encoding="utf-8") as f:
        f.write("\n".join(["a\"b", "\u00e4\u00f6\u00fc", "x" * 64, "50%", "it's", "a b", "a|b", "{x}", "$1"]) + "\n")
    fleets = {"tree": ["--layout", "tree", "--count", "60", "--start", "5000"],
              "der": ["--encoding", "der", "--count", "60", "--start", "6000", "--sku", "K"],
              "rsa": ["--key", "RSA-2048", "--count", "3", "--start", "7000"],
              "odd": ["--devices", "odd", "--profile", "tls-client"]}
    for name, args in fleets.items():
        kit.must_mint(f"shape-{name}", "ca", *args)
    for kind in kinds:
        b = kind()
        for name in fleets:
            ok(mill("load", f"shape-{name}", "--to", b.url), name)
        agree(b, *(f"shape-{name}" for name in fleets), what="several runs")
        seen = b.query("SELECT device_id, directory, chain_pem FROM certmill.next_unused WHERE sku = 'K' LIMIT 1")
        kit.check(seen[0][0] == "SN00006000" and seen[0][1] == os.path.abspath("shape-der"), b.name, "next_unused", seen)


def reworked():
    """Rows that take the place of others: while they are minted, and afterwards from nothing."""
    for kind in kinds:
        fed, late = kind(), kind()
        d = f"rework-{fed.name}"
        ok(mill(*small(d, *feeds(fed))), "a run")
        shutil.copytree(d, f"{d}-old", symlinks=True)
        again = feeds(fed) if kind is Base else []  # a password is nowhere on record
        ok(mill("reissue", "--quiet", d, "SN00000003", "SN00000200", "--reason", "x", *again), "a reissue")
        agree(fed, d, what="reissued")
        os.truncate(f"{d}/chains/000000.tar", 1024)  # now its devices must be minted again
        ok(mill("repair", "--quiet", d, *again), "a repair")
        ok(mill("load", d, "--to", late.url), "all of it afterwards")
        for b in (fed, late):
            found = [r for r in b.rows() if r["superseded_by"] is None]
            rows = {r["seq"]: r["certificate_id"] for r in db_kit.manifest(d)}
            kit.check(len(found) == run.DEVICES and all(rows[r["seq"]] == r["certificate_id"] for r in found),
                      "the rows in force are the newest")
            db_kit.cursors_agree(b, d, what="repaired")
        refused(mill("load", f"{d}-old", "--to", fed.url), 2, "an older copy")


# --- what is refused -------------------------------------------------------------


def others():
    """Ids that another run under the CA has: nothing is minted, nothing loaded, and the message names one."""
    for kind in kinds:
        b = kind()
        d = f"others-{b.name}"
        ok(mill(*small(d, *feeds(b))), "the first run")
        first = db_kit.manifest(d)[0]["run_id"]
        before = b.dump()
        r = mill(*small(f"{d}-2", "--start", str(run.DEVICES), *feeds(b)))
        refused(r, 2, f"SN{run.DEVICES:08}", first)
        kit.check(not os.path.exists(f"{d}-2"), "a refused run leaves nothing")
        ok(mill(*small(f"{d}-3", "--start", str(run.DEVICES))), "the same without the database")
        refused(mill("load", f"{d}-3", "--to", b.url), 2, f"SN{run.DEVICES:08}", first)
        kit.check(b.dump() == before, b.name, "half of what was refused is there")
        scheme, rest = b.url.split(":", 1)
        ok(mill("load", d, "--to", f"{scheme.title()}:{rest}"), "a scheme's case does not matter")
        refused(mill("load", d, "--to", b.url, "--to", f"{scheme.upper()}:{rest}"), 2, "twice")
        ok(kit.mint(f"{d}-4", "ca2", "--count", "50", *feeds(b)), "another CA has its own ids")
        agree(b, d, f"{d}-4", what="two CAs")


def overlapping():
    """Ids that another run brings while this one is loaded: refused as if they had been there, not by an index's words."""
    for kind in kinds:
        b = kind()
        d = f"overlap-{b.name}"
        ok(mill(*small(f"{d}-first", "--start", "200")), "a run without a database")
        first = db_kit.manifest(f"{d}-first")[0]["run_id"]
        late = run.Followed([str(a) for a in small(d, *feeds(b))], f"{BOUNDS};stall point@db.committed 1 60000")
        kit.check(late.wait_stalled(), "the run stalls behind its first transaction")
        ok(mill("load", f"{d}-first", "--to", b.url), "the other run's ids are not there yet")
        late.kill(signal.SIGCONT)
        code, said = late.end()
        kit.check(code == 2 and "has device id SN000002" in said and f"of run {first}" in said, b.name, code, said)
        kit.check("is whole" in said and "loads the rest" not in said and "constraint" not in said, b.name, said)
        sound(d, run.IDS)
        refused(mill("load", d, "--to", b.url), 2, "has device id SN000002", first)


def strangers():
    """Databases that are somebody else's, or newer."""
    for kind in kinds:
        b = kind()
        if kind is Base:
            b.query("CREATE SCHEMA certmill")
        b.query("CREATE TABLE certmill.device (x int)")
        for args in (["load", "large", "--to", b.url], small("stranger", *feeds(b))):
            refused(mill(*args), 2, "certmill did not make", "device")
        kit.check(not os.path.exists("stranger"), "before the first key")
        kit.check(not b.query("SELECT * FROM certmill.device"), "it is as it was")
        for columns, rows in (("a int", ""), ("version int, indexed int", ""), ("a int", "(1)"),
                              ("version int, indexed int", "(NULL, 0)"), ("version int, indexed int", "(-1, 0)")):
            b = kind()
            if kind is Base:
                b.query("CREATE SCHEMA certmill")
            b.query(f"CREATE TABLE certmill.certmill_schema ({columns})")
            if rows:
                b.query(f"INSERT INTO certmill.certmill_schema VALUES {rows}")
            refused(mill("load", "large", "--to", b.url), 2, "certmill_schema", "not certmill's, or damaged", "another database")
        b = kind()
        ok(mill("load", "shape-der", "--to", b.url))
        b.query("UPDATE certmill.certmill_schema SET version = 99")
        refused(mill("load", "large", "--to", b.url), 2, "version 99", "newer certmill")
        b.query("UPDATE certmill.certmill_schema SET version = 1")
        b.query("DROP VIEW certmill.next_unused")
        refused(mill("load", "large", "--to", b.url), 2, "1 of its 6 tables are gone")


def explained():
    """mint --explain looks at the databases, says what mint would say, and makes nothing."""
    def asked(url, *more):
        return quiet(kit.mill("mint", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--out", "never", "--plaintext-keys",
                              "--explain", "--count", "5", "--to", url, *more))
    for kind in kinds:
        b = kind()
        words = b"is not there, and would be made" if kind is File else b"has no tables of certmill's, which would be made"
        kit.check(words in ok(asked(b.url), b.name).out, b.name, "a database without tables")
        kit.check(not b.is_there() and not (kind is File and os.path.exists(b.path)), b.name, "something was made")
        ok(mill("load", "shape-der", "--to", b.url))
        before = b.dump()
        r = ok(asked(b.url, "--start", "1"), b.name)
        kit.check(b"tables of version 1, 1 other run, 1 under this CA; no id of it is there" in r.out, r)
        told = json.loads(ok(asked(b.url, "--start", "1", "--json")).out)["databases"][0]
        kit.check((told["there"], told["version"], told["runs"], told["runs_of_ca"]) == (True, 1, 1, 1), told)
        refused(asked(b.url, "--start", "6003"), 2, "has device id SN00006003 already")
        kit.check(b.dump() == before and not os.path.exists("never"), b.name, "it was changed")
        b.query("UPDATE certmill.certmill_schema SET version = 99")
        refused(asked(b.url), 2, "version 99")
    db = sqlite3.connect(os.path.abspath("explained.db"), isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    refused(asked("sqlite:explained.db", "--db-wait", "1"), 3, "another process has it")
    db.close()
    refused(asked("sqlite:nowhere/x.db"), 3, "nowhere/x.db")
    if Base in kinds:
        refused(asked(Base.server.url("nowhere")), 3, "does not exist")


def spelled():
    """URLs that look like another kind's would name a file in the root; a relative name there is one."""
    for command in (["load", "large", "--to", "sqlite://x/y.db"], small("stranger", "--to", "sqlite://x/y.db"),
                    small("stranger", "--ledger", "sqlite://x/y.db")):
        refused(mill(*command), 2, "write sqlite:x/y.db", "sqlite:/x/y.db")
    ok(kit.run([kit.CERTMILL, "load", os.path.abspath("shape-rsa"), "--to", "sqlite:" + os.path.abspath("root.db")[1:]],
               cwd="/"), "a relative name in the root")
    kit.check(os.path.exists("root.db"), "is a file there")


def unusable(server):
    """Servers that say no, before the first key."""
    b = Base()
    ok(mill("load", "shape-der", "--to", b.url))
    before = b.dump()
    server.psql("CREATE ROLE reader LOGIN PASSWORD 'p'; GRANT USAGE ON SCHEMA certmill TO reader;"
                " GRANT SELECT ON ALL TABLES IN SCHEMA certmill TO reader", b.database)
    empty = Base()
    for url, code, *words in (
            (server.url(b.database, password="wrong"), 3, "authentication failed"),
            (server.url(b.database, password=None), 3, "no password", "PGPASSWORD"),
            (server.url("nowhere"), 3, "nowhere", "does not exist"),
            (server.url(b.database, port=1), 3, "refused"),
            (server.url(b.database).replace("127.0.0.1", "no.such.host.invalid"), 3, "no.such.host.invalid"),
            (server.url(b.database, user="reader", password="p"), 3, "permission denied", "docs/formats.md"),
            (server.url(empty.database, user="reader", password="p"), 3, "permission denied"),
            ("mysql://x", 2, "sqlite:FILE")):
        refused(mill("load", "shape-tree", "--to", url), code, *words)
        refused(quiet(kit.mill("mint", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--out", "never", "--plaintext-keys",
                               "--explain", "--count", "5", "--start", "90001", "--to", url)), code, *words)
    for user, password, words in ((postgres.SUPERUSER, "wrong", "authentication failed"),
                                  ("reader", "p", "permission denied")):
        refused(mill(*small("unusable", "--to", server.url(b.database, user=user, password=password))), 3, words)
    kit.check(not os.path.exists("unusable"), "before the first key")
    kit.check(b.dump() == before, "it is as it was")
    server.psql("CREATE ROLE miller LOGIN PASSWORD 'p'; GRANT USAGE ON SCHEMA certmill TO miller;"
                " GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA certmill TO miller", b.database)
    ok(mill(*small("usable", "--to", server.url(b.database, user="miller", password="p"))), "the rights of the docs")
    agree(b, "shape-der", "usable", what="a user with these rights")
    for args, words in ((("--out", "unusable", "--sync", "none"), "--sync none"),
                        (("--out", "unusable", "--to", b.url), "twice"), (("--layout", "none"), "--to")):
        refused(quiet(kit.mill("mint", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--plaintext-keys", "--count", "5",
                               *feeds(b), *args)), 2, words)


def locked():
    """Somebody has the file: the run waits, ends whole without it, and says how to go on."""
    b = File()
    ok(mill("load", "shape-der", "--to", b.url))
    db = sqlite3.connect(b.path, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    refused(mill("load", "shape-tree", "--to", b.url, "--db-wait", "1", plan="tune db_wait_ms 200"), 3, "locked",
            "another process has it")
    for args in (["load", "shape-tree", "--to", b.url], small("locked-2", *feeds(b))):
        since = time.monotonic()
        refused(quiet(kit.mill(*args[:-2], "--db-wait", "2", *args[-2:])), 3, "another process has it")
        kit.check(2 <= time.monotonic() - since < 10, args[0], "--db-wait 2 took", time.monotonic() - since)
    db.execute("ROLLBACK")
    db.execute("BEGIN IMMEDIATE")  # which may be read, and not written
    since = time.monotonic()
    refused(quiet(kit.mill("load", "shape-tree", "--to", b.url, "--db-wait", "2")), 3,
            f"{b.url}: another process has it locked: trying again", "another process has it; try")
    kit.check(2 <= time.monotonic() - since < 10, "a writer: --db-wait 2 took", time.monotonic() - since)
    db.execute("ROLLBACK")
    going = run.Followed([str(a) for a in small("locked", *feeds(b), "--db-wait", "1")],
                         f"{BOUNDS};tune db_wait_ms 200;stall point@journal.write 1 60000")
    kit.check(going.wait_stalled(), "the run stalls before its first commit")
    db.execute("BEGIN EXCLUSIVE")
    going.kill(signal.SIGCONT)
    code, said = going.end()
    kit.check(code == 3 and "locked" in said and f"certmill load locked --to {b.url}" in said, code, said)
    db.execute("ROLLBACK")
    db.close()
    sound("locked", run.IDS)
    ok(mill("load", "locked", "--to", b.url))
    agree(b, "shape-der", "locked", what="after the lock")


def full():
    """A file system without room below SQLite."""
    place = os.path.abspath("full")
    os.mkdir(place)
    script = ('mount -t tmpfs -o size=1m none "$1" || exit 77; "$2" load "$3" --to "sqlite:$1/d" --db-wait 1; '
              'echo "code $?"; "$2" load shape-rsa --to "sqlite:$1/d"; echo "code $?"; cat "$1/d" >after')
    r = kit.run(["unshare", "-m", "sh", "-c", script, "-", place, kit.CERTMILL, "large"])
    if b"code" not in r.out:
        kit.skip("no file system can be mounted here: a full disk below SQLite")
        return
    kit.check(r.out.startswith(b"code 3") and b"full: free space" in r.err, r)
    b = File()
    os.rename("after", b.path)
    kit.check(r.out.rstrip().endswith(b"code 0") and len(b.rows()) == 3, "nothing of the large fleet is there", r)


def gone(server):
    """A server that stays away: the fleet is whole, exit 3, and the command that loads the rest."""
    b = Base()
    going = run.Followed([str(a) for a in small("gone", *feeds(b), "--db-wait", "1")],
                         f"{BOUNDS};stall point@journal.write 5 60000")
    kit.check(going.wait_stalled(), "the run stalls before a commit")
    server.stop("immediate")
    going.kill(signal.SIGCONT)
    code, said = going.end()
    public = b.url.replace(":" + SECRETS[1], "")
    kit.check(code == 3 and f"certmill load gone --to {public}" in said, code, said)
    kit.check(not any(s in said for s in SECRETS), "a password is shown", said)
    sound("gone", run.IDS)
    server.start()
    ok(mill("resume", "gone", "--to", b.url), "a run that is complete is loaded by resume")
    agree(b, "gone", what="afterwards")


def stays_away(b, fleet, resume, back):
    """A run that was killed is resumed while its database is away: whole on disk, exit 3, and how to load the rest."""
    public = b.url.replace(":" + SECRETS[1], "")
    refused(resume(), 3, "the fleet does not wait for it", "is whole", f"certmill load {fleet} --to {public}")
    sound(fleet, run.IDS)
    back()
    ok(mill("load", fleet, "--to", b.url), "once it is back")
    agree(b, fleet, what="away at the resume")


def begun(b, fleet):
    r = mill(*small(fleet, *feeds(b)), plan=f"{BOUNDS};kill point@journal.synced 4")
    kit.check(r.code == -signal.SIGKILL, "killed", r)


def away_at_resume(server):
    """The fleet does not wait for a database, nor does its resume; what passes with no time is refused at once."""
    b = File()
    begun(b, "away-file")
    db = sqlite3.connect(b.path, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    stays_away(b, "away-file", lambda: mill("resume", "away-file", "--db-wait", "1", plan=f"{BOUNDS};tune db_wait_ms 200"),
               lambda: db.execute("ROLLBACK"))
    db.close()
    if not server:
        return
    b = Base()
    begun(b, "away-server")
    b.settle()
    before = manifest_size("away-server")
    for url, word in ((server.url(b.database, password="wrong"), "authentication failed"),
                      (server.url("nowhere"), "does not exist")):
        refused(mill("resume", "away-server", "--to", url), 3, word, "--to URL", "--to none")
    kit.check(manifest_size("away-server") == before, "refused before the first key")
    server.stop("immediate")
    stays_away(b, "away-server", lambda: mill("resume", "away-server", "--to", b.url, "--db-wait", "1"), server.start)
    refused(mill("resume", "away-server", "--to", server.url("nowhere")), 3, "does not exist", "--to none")
    b = Base()
    begun(b, "away-while")
    server.stop("immediate")
    going = run.Followed(["resume", "away-while", "--to", b.url, "--db-wait", "60"],
                         f"{BOUNDS};stall point@journal.write 5 60000")
    kit.check(going.wait_stalled(), "the resume mints without its database")
    server.start()
    going.kill(signal.SIGCONT)
    code, said = going.end()
    kit.check(code == 0 and "does not wait for it" in said, "it is back before the end", code, said)
    agree(b, "away-while", what="back during the resume")


def manifest_size(fleet):
    return os.path.getsize(f"{fleet}/manifest.ndjson")


def restored():
    """A copy of a fleet that was minted on by itself: it has other rows than the database."""
    for kind in kinds:
        b = kind()
        d = f"restored-{b.name}"
        r = mill(*small(d, *feeds(b)), plan=f"{BOUNDS};kill point@journal.synced 6")
        kit.check(r.code == -signal.SIGKILL, "killed", r)
        shutil.copytree(d, f"{d}-copy", symlinks=True)
        if kind is Base:
            b.settle()
        ok(mill("resume", "--quiet", d, *feeds(b)), "the original")
        before = b.dump()
        ok(mill("resume", "--quiet", f"{d}-copy", "--to", "none"), "the copy, without the database")
        refused(mill("load", f"{d}-copy", "--to", b.url), 2, "restored from an older copy")
        kit.check(b.dump() == before, "it is as it was")
        agree(b, d, what="restored")


def starved():
    """Memory runs out while a fleet is loaded: a message, and the next load brings what lacks."""
    program = os.path.join(os.path.dirname(run.FAULTY), "certmill-starved")
    if not os.path.exists(program):
        kit.skip("certmill-starved is not built")
        return

    def load(b, when):
        return kit.run([program, "load", "race-1", "--quiet", "--to", b.url],
                       env={**run.environment(BOUNDS), "CERTMILL_STARVE": when, "ASAN_OPTIONS": "detect_leaks=0"})
    for kind in kinds:
        r = load(kind(), "count")
        count = int(r.err.split(b"allocations: ")[1].split()[0])
        for _ in range(4 if kit.SLOW else 25):
            b = kind()
            r = load(b, f"{kit.rng.randrange(1, count + 1)}{kit.rng.choice(('', '+'))}")
            kit.check(r.code in (0, 2, 3, 4) and (r.code == 0 or r.err), "a clean end", r)
            ok(mill("load", "race-1", "--quiet", "--to", b.url), "with memory again")
            agree(b, "race-1", what="starved")


def stopped():
    """SIGTERM ends a load behind its transaction; the same command loads the rest."""
    for kind in kinds:
        b = kind()
        going = run.Followed(["load", "race-1", "--to", b.url], f"{BOUNDS};stall point@db.put 3 60000")
        kit.check(going.wait_stalled(), "the load stalls in its third transaction")
        going.kill(signal.SIGTERM)
        time.sleep(0.5)
        going.kill(signal.SIGCONT)
        code, said = going.end()
        kit.check(code == 143 and "has 120 of its rows; `certmill load race-1" in said, code, said)
        ok(mill("load", "race-1", "--to", b.url))
        agree(b, "race-1", what="stopped")


# --- faults ------------------------------------------------------------------------


def races():
    """Loads of one fleet and of others at the same time, into a database that none of them has seen: each is in once."""
    for kind in [k for k in kinds for _ in range(3)]:
        b = kind()
        runs = [subprocess.Popen([run.FAULTY, "load", d, "--quiet", "--to", b.url], env=run.environment(BOUNDS),
                                 stderr=subprocess.PIPE)
                for d in ("race-1", "race-2", "race-1", "race-2", "race-1", "shape-der")]
        ended = [(p.communicate(timeout=kit.PATIENCE)[1], p.returncode) for p in runs]
        kit.check(all(code == 0 for _, code in ended), b.name, *ended)
        agree(b, "race-1", "race-2", "shape-der", what="a race")


def killed_points():
    """kill -9 at each point of a load, first and later; then the load again, or the resume."""
    points = [p for p in kit.must([run.FAULTY, "--points"]).out.decode().split() if p.startswith("db.")]
    for kind in kinds:
        for point in points:
            b = kind()
            at = 1 if point == "db.indexed" else kit.rng.randrange(1, 7)
            r = mill("load", "race-1", "--to", b.url, plan=f"{BOUNDS};kill point@{point} {at}")
            kit.check(r.code == -signal.SIGKILL, "killed at", point, at, r)
            if kind is Base:
                b.settle()
            ok(mill("load", "race-1", "--to", b.url), point)
            agree(b, "race-1", what=f"killed at {point} {at}")


class Fault:
    """One run that feeds a database, something that happens to it, and how it ended."""

    def __init__(self, kind, number):
        self.base, self.fleet = kind(), f"fault-{kind.name}-{number}"
        self.what, self.url = "", self.base.url
        self.proxy = None

    def between(self, at_commit, **when):
        self.proxy = postgres.Proxy(Base.server.port, at_commit, **when)
        self.url = Base.server.url(self.base.database, port=self.proxy.port, sslmode="disable", gssencmode="disable")

    def start(self):
        return run.Followed([str(a) for a in small(self.fleet, "--to", self.url, "--db-wait", "20")], BOUNDS)

    def begun(self):
        """A run that is connected, at a random moment."""
        going = self.start()
        while not os.path.exists(f"{self.fleet}/journal") and going.wait_until(time.perf_counter() + 0.005):
            pass
        going.wait_until(time.perf_counter() + kit.rng.uniform(0, 0.4))
        return going

    # what can happen; each returns when the run has ended: its exit code

    def cut_in_copy(self):
        def cut(proxy, client, server):
            proxy.cut(client)
            proxy.cut(server)
            return False
        self.between(cut, after=kit.rng.randrange(3_000, 400_000))
        return self.start().end()[0]

    def answer_lost(self):
        def lost(proxy, client, server):
            proxy.cut(client)  # before the server can answer
            server.sendall(proxy.COMMIT)
            return False
        self.between(lost, commits=kit.rng.randrange(1, 9))
        return self.start().end()[0]

    def request_lost(self):
        def lost(proxy, client, server):
            proxy.cut(client)
            proxy.cut(server)
            return False
        self.between(lost, commits=kit.rng.randrange(1, 9))
        return self.start().end()[0]

    def restarted(self):
        going = self.begun()
        Base.server.stop("immediate" if kit.rng.random() < 0.7 else "fast")
        ended = threading.Event()
        code, said = [], []

        def wait():
            end = going.end()
            said.append(end[1])
            code.append(end[0])
            ended.set()
        threading.Thread(target=wait).start()
        time.sleep(kit.rng.uniform(0, 0.5))
        Base.server.start()
        kit.check(ended.wait(kit.PATIENCE), "the run hangs")
        kit.check(code[0] == 0, self.what, "did not come back:", said[0])
        return code[0]

    def terminated(self):
        going = self.begun()
        Base.server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'certmill'")
        return going.end()[0]

    def killed(self):
        going = self.start()
        going.wait_until(time.perf_counter() + kit.rng.uniform(0.05, 0.5))
        going.kill()
        return going.end()[0]

    def held(self):
        """Another process has the file for a while."""
        going = self.start()
        going.wait_until(time.perf_counter() + kit.rng.uniform(0.02, 0.3))
        if os.path.exists(self.base.path):
            db = sqlite3.connect(self.base.path, isolation_level=None, timeout=20)
            db.execute("BEGIN EXCLUSIVE")
            time.sleep(kit.rng.uniform(0, 0.5))
            db.close()
        return going.end()[0]

    def killed_at_point(self):
        point = kit.rng.choice(("db.begun", "db.put", "db.committed"))
        r = mill(*small(self.fleet, "--to", self.url), plan=f"{BOUNDS};kill point@{point} {kit.rng.randrange(1, 9)}")
        return r.code

    def play(self):
        ways = [self.killed, self.killed_at_point]
        ways += [self.held] if isinstance(self.base, File) else [self.cut_in_copy, self.answer_lost, self.request_lost,
                                                                 self.restarted, self.terminated]
        way = kit.rng.choice(ways)
        self.what = f"{self.fleet}: {way.__name__}"
        code = way()
        if way not in (self.killed, self.killed_at_point, self.restarted):
            # What breaks while tables are made is told before the first key.
            kit.check(code == 0 or not os.path.exists(self.fleet), self.what, "did not come back")
        if self.proxy:
            self.proxy.close()
        if isinstance(self.base, Base):
            self.base.settle()
        return way.__name__, code

    def mend(self, code):
        """Until the run is whole; then a load, which finds what a dead run could not bring any more."""
        if not os.path.exists(f"{self.fleet}/manifest.ndjson") and code != 0:  # killed before its journal: once more
            shutil.rmtree(self.fleet, ignore_errors=True)
            ok(mill(*small(self.fleet, "--to", self.base.url)), self.what)
        elif code != 0:
            ok(mill("resume", "--quiet", self.fleet, "--to", self.base.url), self.what)
        if code == 0 or kit.rng.random() < 0.3:
            ok(mill("load", "--quiet", self.fleet, "--to", self.base.url), self.what)
        good = sound(self.fleet, run.IDS) and agree(self.base, self.fleet, what=self.what)
        shutil.rmtree(self.fleet)
        return good


def faults():
    for kind in kinds:
        seen = {}
        for n in range(FAULTS):
            fault = Fault(kind, n)
            way, code = fault.play()
            fault.mend(code)
            seen.setdefault(way, []).append(code)
        kit.say(f"{kind.name}: {FAULTS} faults: " + ", ".join(
            f"{len(codes)} {way} ({sum(c == 0 for c in codes)} got through)" for way, codes in sorted(seen.items())))


def main():
    kit.enter_place("db")
    for ca in ("ca", "ca2"):
        kit.ca_init(ca)
    server = postgres.Server.find()
    if server:
        Base.server = server
        kinds.append(Base)
    for n in (1, 2):
        ok(mill(*small(f"race-{n}", "--start", str(1000 * n))))
    parts = [large, shapes, reworked, others, overlapping, strangers, explained, spelled, locked,
             full, stopped, restored, races, starved, killed_points, faults]
    for part in parts:
        part()
        kit.say(f"{part.__name__}: done")
    away_at_resume(server)
    kit.say("away_at_resume: done")
    if server:
        for part in (unusable, gone):
            part(server)
            kit.say(f"{part.__name__}: done")
        server.close()
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
