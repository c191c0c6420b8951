"""Goal: `mint` makes RSA keys the way that was asked for, says so on record, and a resume does the same; --fips
takes the FIPS provider or refuses. Method: run the program; openssl judges the keys; run.json and the journal are
read. Where a FIPS provider is installed, a fleet is minted with it."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

PROGRAM = os.environ["CERTMILL"]
failed = 0
checks = 0


def check(good, what):
    global checks, failed
    checks += 1
    if not good:
        failed += 1
        print("FAILED:", what)


def certmill(*args):
    done = subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=300)
    if "Sanitizer:" in done.stderr:
        print(done.stderr)
    return done


def mint(out, *options):
    return certmill("mint", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--out", out, "--plaintext-keys", "--quiet",
                    *options)


def records(out):
    """The request in run.json and in the journal's first record."""
    run = json.loads(pathlib.Path(out, "run.json").read_text())
    line = pathlib.Path(out, "journal").read_bytes().split(b"\n")[0]
    first = json.loads(line[line.index(b"{"):].rstrip(b" \0"))
    return run, first


def check_keys(out):
    for key in pathlib.Path(out, "keys").rglob("*.key"):
        judged = subprocess.run(["openssl", "pkey", "-in", str(key), "-check", "-noout"], capture_output=True, text=True,
                                timeout=120)
        check("Key is valid" in judged.stdout, f"{key}: {judged.stdout}{judged.stderr}")


def check_ways():
    for options, want in (([], "own"), (["--rsa-keygen", "auto"], "own"), (["--rsa-keygen", "own"], "own"),
                          (["--rsa-keygen", "libcrypto"], "libcrypto")):
        out = f"way{checks}"
        done = mint(out, "--count", "2", "--key", "RSA-2048", "--layout", "tree", *options)
        check(done.returncode == 0, f"{options}: {done.stderr}")
        run, first = records(out)
        for request in (run["request"], first["request"]):
            check(request["rsa_keygen"] == want and request["fips"] is False, f"{options}: {request}")
        check(certmill("verify", out, "--deep", "--quiet").returncode == 0, f"{options}: verify")
        check_keys(out)
    check(mint("ec", "--count", "2", "--rsa-keygen", "libcrypto").returncode == 0, "P-256 with --rsa-keygen")
    check(records("ec")[0]["request"]["rsa_keygen"] is None, "a run without RSA keys has no generator of them")
    wrong = mint("wrong", "--count", "2", "--rsa-keygen", "mine")
    check(wrong.returncode == 2 and "auto, own, libcrypto" in wrong.stderr, wrong.stderr)


def check_sizes():
    for bits in ("3072", "4096"):
        done = mint("rsa" + bits, "--count", "1", "--key", "RSA-" + bits, "--layout", "tree")
        check(done.returncode == 0, done.stderr)
        check_keys("rsa" + bits)


def check_resume():
    """Stopped by a signal after the first commit at the latest; goes on as it began."""
    run = subprocess.Popen([PROGRAM, "mint", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--out", "stopped", "--quiet",
                            "--plaintext-keys", "--count", "100000", "--key", "RSA-2048", "--rsa-keygen", "libcrypto",
                            "--max-signatures", "200000"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not pathlib.Path("stopped", "manifest.ndjson").exists():
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    stderr = run.communicate(timeout=120)[1]
    check(run.returncode == 130, f"stopped: {run.returncode} {stderr}")
    before = records("stopped")[1]
    check(before["options"]["rsa-keygen"] == "libcrypto", "the journal keeps the option")
    again = subprocess.Popen([PROGRAM, "resume", "stopped", "--quiet"], stderr=subprocess.PIPE, text=True)
    time.sleep(1)
    again.send_signal(signal.SIGINT)
    stderr = again.communicate(timeout=120)[1]
    check(again.returncode == 130, f"resumed: {again.returncode} {stderr}")
    check(records("stopped")[0]["request"]["rsa_keygen"] == "libcrypto", "a resume goes on with libcrypto's keys")


def check_fips():
    both = mint("both", "--count", "2", "--fips", "--rsa-keygen", "own")
    check(both.returncode == 2 and "--fips" in both.stderr and "own" in both.stderr, both.stderr)
    check(not os.path.exists("both"), "a refused run leaves nothing")
    done = mint("fips", "--count", "2", "--key", "RSA-2048", "--fips")
    if done.returncode == 0:
        run = records("fips")[0]
        check(run["request"]["fips"] is True and run["request"]["rsa_keygen"] == "libcrypto" and
              "FIPS" in run["libcrypto"], f"{run}")
        check(certmill("verify", "fips", "--quiet").returncode == 0, "the FIPS fleet")
        print("a FIPS provider is installed: a fleet was minted with it")
    else:
        check(done.returncode == 3 and "no FIPS provider" in done.stderr and "fipsinstall" in done.stderr, done.stderr)
        check(not os.path.exists("fips"), "a refused run leaves nothing")


with tempfile.TemporaryDirectory() as scratch:
    os.chdir(scratch)
    check(certmill("ca", "init", "--out", "ca", "--quiet").returncode == 0, "ca init")
    check_ways()
    check_sizes()
    check_resume()
    check_fips()
    os.chdir("/")
print(f"{checks} checks, {failed} failed")
sys.exit(failed != 0)
