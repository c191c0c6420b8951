"""Goal: `plan` and `mint --explain` add up, agree with what a run then writes, and name what does not fit; registration times
follow from the service's documented rates. Method: run the program and reckon again, with rates written down here; mint and
measure files. Nothing is judged by a clock: how long a run takes is not tested, only that its figures are consistent."""

import json
import math
import os
import resource
import subprocess
import sys

import e2e_kit as kit

KEYS = ["P-256", "P-384", "P-521", "RSA-2048", "RSA-3072", "RSA-4096", "Ed25519"]

# Defaults of an account in a region, a second; devices of a path need each of these so many times.
RATES = {"RegisterCertificate": 10, "RegisterCertificateWithoutCA": 10, "Registrations": 15, "RegisterThing": 10,
         "CreateThing": 100, "AttachThingPrincipal": 100, "AttachPolicy": 15, "UpdateCertificate": 10, "Connect": 500}
_things = {"CreateThing": 1, "AttachThingPrincipal": 1, "AttachPolicy": 1}
PATHS = {"api-no-ca": {"RegisterCertificateWithoutCA": 1, "Registrations": 1, **_things},
         "api": {"RegisterCertificate": 1, "Registrations": 1, **_things},
         "bulk": {"RegisterThing": 1, "Registrations": 1},
         "jitp": {"Connect": 2, "Registrations": 1, "RegisterThing": 1},
         "jitr": {"Connect": 2, "Registrations": 1, "UpdateCertificate": 1, **_things}}


def mill(*args, memlock=None):
    """(exit code, stdout, stderr); memlock: octets that may be locked, which root would not heed."""
    argv = [kit.CERTMILL, *args]
    limit = None
    if memlock is not None:
        if os.geteuid() == 0:
            argv = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", *argv]

        def limit():
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (memlock, memlock))
    done = subprocess.run(argv, capture_output=True, timeout=kit.PATIENCE, preexec_fn=limit, check=False)
    kit.check(not kit.BROKEN.search(done.stdout + done.stderr), args, done.stderr)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def plan(*args, code=0, **how):
    got, out, err = mill("plan", *args, "--json", **how)
    kit.check(got == code, args, "exit", got, err)
    return json.loads(out)


def near(a, b, part=1e-3):
    return abs(a - b) <= part * abs(b)


def check_sums(all_, one):
    """What one algorithm's figures say of each other."""
    n, name = all_["devices"], one["key"]
    kit.check(one["devices"] == n, name, "devices")
    kit.check(near(one["seconds"], n * one["device_us"] / 1e6 / one["workers"]), name, "time")
    kit.check(near(one["devices_per_second"], one["workers"] * 1e6 / one["device_us"]), name, "rate")
    kit.check(0 <= one["seconds_low"] <= one["seconds"] <= one["seconds_high"], name, "interval")
    kit.check(one["disk_bytes"] == sum(one[f"{part}_bytes"] for part in ("chain", "key", "manifest", "index", "books")),
              name, "disk")
    kit.check(near(one["manifest_bytes"], n * one["device_row_bytes"]), name, "rows")
    for part in ("chain", "key"):
        octets = one[f"device_{part}_bytes"]
        if all_["layout"] == "tree":
            kit.check(near(one[f"{part}_bytes"], n * octets), name, part, "tree")
        else:  # a header, whole blocks, and a batch's padding at most
            least = n * (512 + 512 * math.floor(octets / 512))
            most = n * (512 + 512 * (math.ceil(octets / 512) + 1)) + (n / one["batch"] + 1) * 4608 + 4096 * 64
            kit.check(least <= one[f"{part}_bytes"] <= most, name, part, least, one[f"{part}_bytes"], most)
    kit.check(one["disk_bytes_allocated"] >= one["disk_bytes"] - one["books_bytes"], name, "allocated")
    kit.check(0 < one["locked_bytes"] <= one["locked_bytes_wanted"], name, "locked")
    kit.check(one["locked_bytes"] < one["memory_bytes"], name, "memory")
    kit.check(one["registrable"] == (name != "Ed25519"), name, "registrable")


def check_table():
    all_ = plan("--count", "1000000")
    kit.check([one["key"] for one in all_["plans"]] == KEYS, "all algorithms, in order")
    for one in all_["plans"]:
        check_sums(all_, one)
    # The order of cost is the same on every machine: a factor of three and more lies between these.
    us = {one["key"]: one["device_us"] for one in all_["plans"]}
    kit.check(us["P-256"] < us["RSA-2048"] < us["RSA-4096"], us)
    all_ = plan("--count", "3000", "--layout", "tree", "--key", "p-384,rsa:2048", "--key", "Ed25519", "--workers", "1")
    kit.check([one["key"] for one in all_["plans"]] == ["P-384", "RSA-2048", "Ed25519"], "chosen")
    for one in all_["plans"]:
        check_sums(all_, one)
        kit.check(one["files"] == 2 * 3000 + 5, one["key"], "files of a tree")
    code, out, _ = mill("plan", "--count", "1000000", "--key", "P-256,Ed25519", "--layout", "tree")
    kit.check(code == 0 and out.count("\n  P-256 ") == 2 and out.count("\n  Ed25519 ") == 2, out)
    for words in ("1,000,000 devices", "nothing was written", "2,000,005", "default rates", "two new files for each device",
                  "does not register Ed25519 keys"):
        kit.check(words in out, words, out)
    head = out.split("\n")[3].split()
    kit.check("buffers" in head and "memory" not in head, "the buffers are not all memory", head)
    for count, workers, words in (("1", "1", "1 device, 1 worker, a "), ("2", "2", "2 devices, 2 workers, a ")):
        code, out, _ = mill("plan", "--count", count, "--workers", workers, "--key", "P-256")
        kit.check(code == 0 and out.startswith(words), words, out)
    few = plan("--count", "10", "--key", "P-256", "--workers", "4")["plans"][0]
    kit.check(few["workers"] == 1 and few["batch"] == 10, "one batch is one worker's", few)
    none = plan("--count", "10", "--key", "P-256", "--layout", "none")["plans"][0]
    kit.check(none["disk_bytes"] == 0 and none["files"] == 0, "nothing on disk", none)
    kit.check(os.listdir(".") == [], "plan writes nothing", os.listdir("."))


def check_registration():
    for raised in ({}, {"RegisterThing": 200}, {"registercertificate": 100, "AttachPolicy": 40, "Registrations": 90}):
        args = [f"--rate={call}={rate}" for call, rate in raised.items()]
        all_ = plan("--count", "123457", "--key", "P-256", *args)
        rates = {call: {k.lower(): v for k, v in raised.items()}.get(call.lower(), rate) for call, rate in RATES.items()}
        kit.check({path["path"] for path in all_["registration"]} == set(PATHS), "paths")
        for path in all_["registration"]:
            steps = PATHS[path["path"]]
            pace = min(rates[call] / times for call, times in steps.items())
            kit.check({step["call"]: step["times"] for step in path["steps"]} == steps, path)
            kit.check(all(step["per_second"] == rates[step["call"]] and step["default_per_second"] == RATES[step["call"]]
                          for step in path["steps"]), path)
            kit.check(near(path["devices_per_second"], pace, 1e-6) and near(path["seconds"], 123457 / pace, 1e-6), path)
            kit.check(rates[path["limited_by"]] / steps[path["limited_by"]] == pace, path)
            kit.check(path["on_first_connection"] == path["path"].startswith("jit"), path)
    code, out, _ = mill("plan", "--count", "1000000", "--key", "P-256")
    kit.check(code == 0 and out.count("1 d 4 h") == 5, "27.8 hours at 10 a second", out)
    code, out, _ = mill("plan", "--count", "1000000", "--key", "P-256", "--rate", "RegisterThing=12")
    kit.check(code == 0 and "12 a second, RegisterThing (not its default)" in out and "23 h 9 min" in out, out)


def check_refusals():
    for args, words in ((["--key", "P-256"], "--count"), (["--count", "0"], "from 1 to 1000000000000"),
                        (["--count", "1000000000001"], "from 1 to 1000000000000"), (["--count", "many"], "--count"),
                        (["--count", "5", "--key", "P-257"], '"P-257"'), (["--count", "5", "--key", "P-256,"], '""'),
                        (["--count", "5", "--key", "P-256,prime256v1"], "twice"),
                        (["--count", "5", "--ca-key-alg", "DSA"], "--ca-key-alg"),
                        (["--count", "5", "--layout", "zip"], "--layout"), (["--count", "5", "--workers", "0"], "--workers"),
                        (["--count", "5", "--rate", "RegisterThing"], "CALL=N"),
                        (["--count", "5", "--rate", "RegisterThing=0"], "CALL=N"),
                        (["--count", "5", "--rate", "RegisterThing=-1"], "CALL=N"),
                        (["--count", "5", "--rate", "DeleteThing=5"], "CreateThing"),
                        (["--count", "5", "--rate", "CreateThing=5", "--rate", "creatething=6"], "twice"),
                        (["--count", "5", "--out", "nowhere"], "nowhere: No such file"),
                        (["--count", "5", "--out", kit.CERTMILL], "is no directory"),
                        (["--count", "5", "--out", f"{kit.CERTMILL}/x"], "x: Not a directory")):
        code, out, err = mill("plan", *args)
        kit.check(code == 2 and words in err and out == "" and err.count("\n") <= 2, args, code, err)


def check_room():
    """More than the disk holds, more than may be locked."""
    free = os.statvfs(".").f_bavail * os.statvfs(".").f_frsize
    all_ = plan("--count", "1000000000000", "--key", "P-256", "--out", ".", code=1)
    kit.check(not all_["plans"][0]["fits"] and near(all_["free_bytes"], free, 0.2), all_["free_bytes"], free)
    all_ = plan("--count", "100", "--key", "P-256", "--out", ".")
    kit.check(all_["plans"][0]["fits"], "100 devices fit")
    code, out, err = mill("plan", "--count", "1000000000000", "--key", "P-256", "--out", ".")
    kit.check(code == 1 and "free, and" in out and "no room" in err, out, err)

    if kit.SANITIZE:
        kit.skip("locked memory: sanitizers make mlock do nothing")
        return
    if os.geteuid() == 0 and not kit.tool("setpriv", "util-linux"):
        return
    asked = ("--count", "100000", "--key", "P-256", "--workers", "2")
    enough = plan(*asked)["plans"][0]
    for memlock in (512 << 10, 2 << 20):
        one = plan(*asked, memlock=memlock)["plans"][0]
        kit.check(not one["memlock_suffices"] and one["batch"] < one["batch_wanted"] == enough["batch"], memlock, one)
        kit.check(one["memlock_limit_bytes"] == memlock >= one["locked_bytes"], memlock, one)
        code, out, _ = mill("plan", *asked, memlock=memlock)
        kit.check(code == 0 and "ulimit -l is" in out and "Raise it." in out, memlock, out)
    # The pool can be locked, the workers' memory for keys in batches can't: slower, and said.
    between = plan(*asked, memlock=enough["locked_bytes"] - 65536)["plans"][0]
    kit.check(not between["memlock_suffices"] and between["batch"] == between["batch_wanted"], between)
    kit.check(plan(*asked, memlock=enough["locked_bytes_wanted"] + (1 << 20))["plans"][0]["memlock_suffices"], "enough")
    code, _, err = mill("plan", *asked, memlock=64 << 10)
    kit.check(code == 3 and "ulimit -l" in err, code, err)
    # The doctor judges by what mint needs by default, which is more for more processors.
    one = plan("--count", "1000000", "--key", "P-256")
    default = one["plans"][0]["locked_bytes_wanted"]
    for memlock, state, code_wanted, words in ((64 << 10, "problem", 1, "mint would be refused"), (512 << 10, "note", 0, "raise it"),
                                               (default + (1 << 20), "ok", 0, f"enough for mint by {one['workers']} worker")):
        if memlock == 512 << 10 and os.cpu_count() > 8:  # may be too little for them all
            continue
        code, out, err = mill("doctor", "--json", memlock=memlock)
        said = next(f for f in json.loads(out)["findings"] if f["topic"] == "key memory")
        kit.check(code == code_wanted and said["state"] == state and words in said["text"], memlock, code, said, err)


def octets(top):
    """(octets, files, octets in blocks) below a directory, or of a file."""
    paths = [os.path.join(d, f) for d, _, files in os.walk(top) for f in files] if os.path.isdir(top) else [top]
    dirs = [d for d, _, _ in os.walk(top)]
    return (sum(os.stat(p).st_size for p in paths), len(paths), sum(os.stat(p).st_blocks * 512 for p in paths + dirs))


def check_against_runs():
    """What is estimated is what is written, or up to three per cent and the 64 KiB for the books more."""
    for key, count, layout in (("P-256", 6000, "tar"), ("P-256", 6000, "tree"), ("RSA-2048", 30, "tar"), ("P-521", 900, "tree"),
                               ("P-384", 900, "tar")):
        name = f"{key}-{layout}"
        asked = ["--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--out", name, "--count", str(count), "--key", key,
                 "--layout", layout, "--plaintext-keys", "--json"]
        code, out, err = mill("mint", *asked, "--explain")
        kit.check(code == 0 and not os.path.exists(name), err)
        explained, planned = json.loads(out), plan("--count", str(count), "--key", key, "--layout", layout)["plans"][0]
        code, out, err = mill("mint", *asked)
        kit.check(code == 0, err)
        commits = json.loads(out)["commits"]
        wrote, files, blocks = octets(name)
        for says in (explained, planned):
            kit.check(says["files"] == files, name, "files", says["files"], files)
        kit.check(wrote <= explained["disk_bytes"] <= 1.03 * wrote + 65536, name, explained["disk_bytes"], wrote)
        if os.stat(".").st_blksize == 4096 and layout == "tree":
            kit.check(near(explained["disk_bytes_allocated"], blocks, 0.05), name, explained["disk_bytes_allocated"], blocks)
        for part, where in (("chain", "chains"), ("key", "keys"), ("manifest", "manifest.ndjson"), ("index", "index")):
            real = octets(f"{name}/{where}")[0]
            # Each commit ends the manifest on a whole block of 4096.
            kit.check(0.997 * real - 4096 * commits <= explained[f"{part}_bytes"] <= 1.02 * real + 4096, name, part,
                      explained[f"{part}_bytes"], real)
        # Its CA has a chain of two, a plan's one certificate: that is the only difference.
        more = explained["device_chain_bytes"] - planned["device_chain_bytes"]
        kit.check(explained["device_key_bytes"] == planned["device_key_bytes"] or key == "RSA-2048", name, "keys")
        kit.check(more > 300, name, "the chain of this CA is longer", more)
        with open(f"{name}/manifest.ndjson", encoding="utf-8") as f:
            mean = sum(json.loads(line)["chain"]["length"] for line in f) / count
        kit.check(abs(explained["device_chain_bytes"] - mean) < 3, name, explained["device_chain_bytes"], mean)
        kit.check(explained["first"][0]["device_id"] == "SN00000001" and explained["key"] == key, name, explained)


def check_lists():
    """A list with long ids is reckoned by its own devices, the first batch of them."""
    with open("ids", "w", encoding="utf-8") as f:
        f.writelines(f"{'x' * 60}-{n}\n" for n in range(300))
    code, out, err = mill("mint", "--ca", "ca/ca.pem", "--ca-key", "ca/ca.key", "--out", "never", "--devices", "ids",
                          "--plaintext-keys", "--explain", "--json")
    short = plan("--count", "300", "--key", "P-256")["plans"][0]
    kit.check(code == 0 and json.loads(out)["device_row_bytes"] > short["device_row_bytes"] + 90, out, err)


def main():
    kit.enter_place("plan")
    check_table()
    check_registration()
    check_refusals()
    check_room()
    kit.check(mill("ca", "init", "--out", "top", "--subject", "/CN=Top")[0] == 0, "top")
    kit.check(mill("ca", "init", "--out", "ca", "--subject", "/CN=Issuing", "--issuer-cert", "top/ca.pem", "--issuer-key",
                   "top/ca.key")[0] == 0, "ca")
    check_against_runs()
    check_lists()
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
