#!/usr/bin/env python3
"""Goal: runs that share a ledger never mint one id twice under one CA, and a run that is resumed keeps what it reserved.
Method: the program itself with SQLite files and a PostgreSQL server of the test's own: overlapping runs one after the
other and at the same time, runs that are killed, refused, undone and resumed, ledgers that are gone."""

import json
import os
import signal
import subprocess
import sys
import time

import e2e_kit as kit
import e2e_postgres as postgres

SECRET = postgres.PASSWORD


def mint(out, url, start, count, *more, **how):
    return kit.mint(out, "ca", "--start", str(start), "--count", str(count), "--ledger", url, *more, **how)


def ids(fleet):
    with open(f"{fleet}/manifest.ndjson", encoding="utf-8") as f:
        return [json.loads(line)["device_id"] for line in f]


def read(path):
    with open(path, "rb") as f:
        return f.read()


def one_after_the_other(url, at):
    kit.check(mint(f"{at}-a", url, 1, 200).code == 0, "the first run")
    r = mint(f"{at}-b", url, 150, 100)
    kit.check(r.code == 2 and b"51 of the 100" in r.err and b"SN00000150" in r.err, "an overlap:", r)
    kit.check(not os.path.exists(f"{at}-b"), "a refused run leaves nothing")
    kit.check(mint(f"{at}-b", url, 201, 100).code == 0, "the ids beside it are free")
    kit.ca_init(f"{at}-other")
    r = kit.mint(f"{at}-c", f"{at}-other", "--count", "50", "--ledger", url)
    kit.check(r.code == 0, "another CA has its own ids:", r)
    for name in ("journal", "run.json"):
        kit.check(SECRET.encode() not in read(f"{at}-a/{name}"), "a password is on record in", name)


def at_the_same_time(url, at):
    """Six runs for overlapping ids: those that get through share none."""
    argv = [kit.CERTMILL, "mint", "--quiet", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--plaintext-keys",
            "--ledger", url, "--count", "400"]
    runs = [subprocess.Popen([*argv, "--out", f"{at}-{i}", "--start", str(10000 + 150 * i)], stderr=subprocess.PIPE)
            for i in range(6)]
    codes = [(p.communicate(timeout=120), p.returncode)[1] for p in runs]
    kit.check(set(codes) <= {0, 2} and 0 in codes and 2 in codes, "six overlapping runs:", codes)
    minted = [i for n, code in enumerate(codes) if code == 0 for i in ids(f"{at}-{n}")]
    kit.check(len(minted) == len(set(minted)), "an id was minted twice", codes)
    kit.check(not any(os.path.exists(f"{at}-{n}") for n, code in enumerate(codes) if code), "refused runs leave nothing")


def killed(out, start, count, *more):
    """A run that is killed when it has written its first keys."""
    argv = [kit.CERTMILL, "mint", "--quiet", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--plaintext-keys",
            "--count", str(count), "--start", str(start), "--out", out, *more]
    part = f"{out}/keys/000000.tar.part"
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as p:
        until = time.monotonic() + 30
        while time.monotonic() < until and p.poll() is None and not (os.path.exists(part) and os.path.getsize(part)):
            time.sleep(0.005)
        p.send_signal(signal.SIGKILL)


def killed_and_resumed(url, at):
    killed(f"{at}-k", 50000, 20000, "--ledger", url)
    r = mint(f"{at}-l", url, 60000, 10)
    kit.check(r.code == 2 and b"resume" in r.err, "a killed run holds its ids:", r)
    r = kit.mill("resume", "--quiet", f"{at}-k", *(["--ledger", url] if url.startswith("postgresql:") else []))
    kit.check(r.code == 0 and len(set(ids(f"{at}-k"))) == 20000, "resumed:", r)
    kit.check(kit.mill("verify", "--quiet", f"{at}-k").code == 0, "the resumed fleet is sound")


def undone(url, at):
    """A run that fails before its first signature gives its ids back."""
    r = mint(f"{at}-u", url, 90000, 5000, preexec_fn=small_files)
    kit.check(r.code == 3, "files of at most 2 KiB:", r)
    if not os.path.exists(f"{at}-u"):
        kit.check(mint(f"{at}-v", url, 90000, 50).code == 0, "its ids are free again")


def small_files():
    import resource  # pylint: disable=import-outside-toplevel
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))


def ledger_that_is_gone():
    kit.check(mint("gone", "sqlite:gone.db", 1, 100).code == 0, "a run with a ledger")
    os.truncate("gone/journal", os.path.getsize("gone/journal") - 512)  # as if it had been killed before its end
    os.rename("gone.db", "elsewhere.db")
    r = kit.mill("resume", "gone")
    kit.check(r.code == 2 and b"gone.db" in r.err and b"Put it back" in r.err, "a ledger that is not there:", r)
    os.replace("elsewhere.db", "gone.db")
    r = kit.mill("resume", "--ledger", "sqlite:other.db", "gone")
    kit.check(r.code == 2, "another ledger:", r)
    kit.check(kit.mill("resume", "--quiet", "gone").code == 0, "with its own again")


def bad_urls(server):
    for url, code, word in (("gdbm:x", 2, b"sqlite:FILE"), ("sqlite:", 2, b"FILE"), ("sqlite:/no/such/dir/x.db", 3, b"x.db"),
                            ("postgresql://127.0.0.1:1/x", 3, b"127.0.0.1")):
        r = mint("bad", url, 1, 10)
        kit.check(r.code == code and word in r.err, url, r)
        kit.check(not os.path.exists("bad"), "left behind by", url)
    if server:
        r = mint("bad", server.url(password="wrong" + SECRET[::-1]), 1, 10)
        kit.check(r.code == 3 and SECRET[::-1].encode() not in r.err, "a wrong password:", r)
    r = kit.mill("mint", "--layout", "none", "--count", "10", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--ledger",
                 "sqlite:n.db")
    kit.check(r.code == 2 and not os.path.exists("n.db"), "a benchmark reserves nothing:", r)


def signatures():
    r = kit.mint("many", "ca", "--count", "101", "--max-signatures", "100")
    kit.check(r.code == 2 and b"--max-signatures" in r.err and not os.path.exists("many"), r)
    kit.check(kit.mint("many", "ca", "--count", "100", "--max-signatures", "100").code == 0, "exactly so many")
    # What may have been signed before a kill counts.
    killed("more", 1, 20000, "--max-signatures", "20000")
    r = kit.mill("resume", "more")
    kit.check(r.code == 2 and b"--max-signatures" in r.err, "the lost ones would be too many:", r)
    kit.check(kit.mill("resume", "--quiet", "--max-signatures", "200000", "more").code == 0, "with a higher bound")
    kit.check(len(set(ids("more"))) == 20000, "it is complete then")


def main():
    kit.enter_place("cli-ledger")
    kit.ca_init("ca")
    server = postgres.Server.find()
    urls = [("s", "sqlite:ledger.db")] + ([("p", server.url())] if server else [])
    for at, url in urls:
        for part in (one_after_the_other, at_the_same_time, killed_and_resumed, undone):
            part(url, at + part.__name__[0])
            kit.say(f"{at}: {part.__name__}: done")
    ledger_that_is_gone()
    bad_urls(server)
    signatures()
    if server:
        server.close()
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
