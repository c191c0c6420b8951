#!/usr/bin/env python3
"""Goal: verify --deep refuses every key and every certificate that stock validators let pass, names the device that has
it, and no other. Method: real fleets, into which fleetmaker.py plants devices whose bundle, key, digests, row and
signature all fit, so that nothing but the planted fault can be found; one run judges all of them. Controls: the fleets
as minted, and written anew without a plant, are sound. Keys are made of the fleet's own primes and of new ones from a
printed seed (CM_SEED)."""

import json
import math
import os
import shutil
import sys

import certmaker as cm
import e2e_kit as kit
import fleetmaker
from fleetmaker import primes_of, rsa_numbers, rsa_pkcs8, rsa_spki

E = fleetmaker.E
SMALL_PRIMES = [n for n in range(3, 4000, 2) if all(n % k for k in range(3, math.isqrt(n) + 1, 2))]


def is_prime(n, rounds=8):
    if any(n % p == 0 for p in SMALL_PRIMES):
        return False
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(rounds):
        x = pow(kit.rng.randrange(2, n - 1), odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def fits(p, e=E):
    return p % 2 == 1 and math.gcd(p - 1, e) == 1 and is_prime(p)


def prime_from(start, e=E):
    p = start | 1
    while not fits(p, e):
        p += 2
    return p


def new_prime(bits):
    """Its two top bits are ones."""
    return prime_from(kit.rng.getrandbits(bits) | 3 << bits - 2)


def pseudoprime(bits):
    """Composite, and yet 2^(n-1) mod n is 1: n = r(2r-1), both prime, 2r-1 = 1 or 7 mod 8."""
    while True:
        r = kit.rng.getrandbits(bits // 2) | 1
        s = 2 * r - 1
        n = r * s
        if n.bit_length() == bits and n >> bits - 2 == 3 and s % 8 in (1, 7) and is_prime(r, 2) and is_prime(s, 2) \
                and math.gcd(n - 1, E) == 1:
            assert pow(2, n - 1, n) == 1
            return n


def small_d(p, q):
    d = prime_from(kit.rng.getrandbits(300) | 1 << 299)
    while math.gcd(d, (p - 1) * (q - 1)) != 1:
        d = prime_from(d + 2)
    return rsa_numbers(p, q, e=pow(d, -1, math.lcm(p - 1, q - 1)), d=d)


def product_of_two(bits):
    while True:
        n = new_prime(bits // 2) * new_prime(bits // 2)
        if n.bit_length() == bits and math.gcd(n - 1, E) == 1:
            return n


def low_p():
    """p below sqrt(2)*2^1023 and yet of 1024 bits; n of 2048 bits all the same."""
    return rsa_numbers(prime_from((math.isqrt(1 << 2047) >> 10) * 1020), prime_from((1 << 1024) - (1 << 1010)))


def changed(name):
    """One of the numbers with a bit turned over."""
    def make(p, q):
        key = rsa_numbers(p, q)
        return {**key, name: key[name] ^ 1 << 500}
    return make


# What is wrong, the key (p, q: a device's own good primes), words of the finding.
BAD_KEYS = [
    ("|p-q| of 2^300", lambda p, q: rsa_numbers(p, prime_from(p + (1 << 300))), "closer than 2^(nlen/2-100)"),
    ("|p-q| of 2^900", lambda p, q: rsa_numbers(p, prime_from(p + (1 << 900))), "closer than 2^(nlen/2-100)"),
    ("p of 256 bits", lambda p, q: rsa_numbers(new_prime(256), new_prime(1792)), "p is shorter than half of n"),
    ("p below sqrt(2)*2^1023", lambda p, q: low_p(), "or below sqrt(2)*2^(nlen/2-1)"),
    ("e = 3", lambda p, q: rsa_numbers(prime_from(p, 3), prime_from(q, 3), e=3), "e is even, or not between 2^16"),
    ("d of 300 bits", small_d, "d isn't between 2^(nlen/2) and n"),
    ("d that does not invert e", changed("d"), "d times e isn't 1 mod lcm(p-1, q-1)"),
    ("composite q", lambda p, q: rsa_numbers(p, product_of_two(1024)), "q isn't prime"),
    ("composite q that passes Fermat's test", lambda p, q: rsa_numbers(p, pseudoprime(1024)), "q isn't prime"),
    ("wrong dP", changed("dp"), "dP isn't d mod p-1"),
    ("wrong dQ", changed("dq"), "dQ isn't d mod q-1"),
    ("wrong qInv", changed("qinv"), "qInv isn't 1/q mod p"),
    ("n that is not p*q", lambda p, q: {**rsa_numbers(p, q), "n": p * q + 2}, "p times q isn't n"),
]


def findings(fleet, *options):
    """Device id -> its findings, joined; and the whole report."""
    r = kit.mill("verify", fleet, "--json", *options)
    report = json.loads(r.out)
    kit.check(r.code == (1 if report["findings"] else 0), r)
    found = {}
    for f in report["findings"]:
        found[f["device_id"]] = found.get(f["device_id"], "") + f["what"] + "\n"
        kit.check(f["device_id"] is None or f["file"] and f["offset"] is not None, "no place:", f)
    return found, report


def judge(fleet, planted):
    """planted: device id -> (what, words). Prints the table."""
    found, _ = findings(fleet, "--deep")
    usual, _ = findings(fleet)
    for device, (what, words) in planted.items():
        said = found.get(device, "")
        kit.check(words in said, f"{what} ({device}): not \"{words}\" but:", said or "nothing")
        print(f"  {what:45} {'verify too' if device in usual else '--deep only':12} {words}")
    strangers = {d: w for d, w in found.items() if d not in planted}
    kit.check(not strangers, "found what was not planted:", strangers)


def rewritten_is_sound(fleet):
    fleetmaker.Fleet.read(fleet).write("again")
    for options in ((), ("--deep",)):
        for d in (fleet, "again"):
            found, report = findings(d, *options)
            kit.check(not found and report["not_checked"] == [] and report["deep"] == bool(options), d, options, found)
    shutil.rmtree("again")


def plant_key(fleet, i, key):
    fleet.plant(i, leaf=fleet.resign(i, "ca/ca.key", spki=rsa_spki(key)), key=rsa_pkcs8(key))


def rsa():
    kit.must_mint("rsa", "ca", "--count", str(len(BAD_KEYS) + 6), "--key", "RSA-2048")
    rewritten_is_sound("rsa")
    fleet = fleetmaker.Fleet.read("rsa")
    primes = [primes_of(d.key) for d in fleet.devices]
    ids = [d.row["device_id"] for d in fleet.devices]
    planted = {}
    for i, (what, make, words) in enumerate(BAD_KEYS):
        plant_key(fleet, i, make(*primes[i]))
        planted[ids[i]] = (what, words)
    # One prime in two devices, the other theirs alone: once as p and p, once as p and q.
    one, two, three, four = range(len(BAD_KEYS), len(BAD_KEYS) + 4)
    plant_key(fleet, two, rsa_numbers(primes[one][0], primes[two][1]))
    plant_key(fleet, four, rsa_numbers(primes[four][0], primes[three][0]))
    for a, b in ((one, two), (three, four)):
        planted[ids[a]] = ("a prime shared with another device", f"the same as {ids[b]}")
        planted[ids[b]] = ("a prime shared with another device", f"the same as {ids[a]}")
    fleet.write("planted")
    judge("planted", planted)
    shutil.rmtree("planted")


# ---- certificates ----

def serial_of(content):
    return {1: cm.tlv(2, content)}


def validity(not_before, not_after):
    return {4: cm.seq(not_before, not_after)}


def common_name(value):
    return {5: cm.seq(cm.tlv(0x31, cm.seq(cm.oid("CN"), value)))}


def extension(kind, value, critical=False):
    """In the place of the one there is."""
    new = cm.ext(kind, value, critical)
    return lambda exts: [new if cm.oid(kind) in e[:12] else e for e in exts]


NOW, EARLY, LATE = cm.when("20260301000000Z"), cm.when("20260301000000Z"), cm.when("20480101000000Z")
# What is wrong, what is changed, words of the finding.
BAD_CERTIFICATES = [
    ("serial 0", {"replace": serial_of(b"\0")}, "serialNumber: zero"),
    ("negative serial", {"replace": serial_of(b"\x85" + b"\x11" * 19)}, "serialNumber: negative"),
    ("serial of 21 octets", {"replace": serial_of(b"\x15" + b"\x11" * 20)}, "serialNumber: 21 octets"),
    ("serial of 21 octets, the first a zero", {"replace": serial_of(b"\0\x95" + b"\x11" * 19)},
     "serialNumber: 21 octets"),
    ("non-minimal serial", {"replace": serial_of(b"\0\x15" + b"\x11" * 18)},
     "serialNumber: the INTEGER isn't minimal"),
    ("CN of 65 characters", {"replace": common_name(cm.tlv(12, b"x" * 65))}, "65 characters"),
    ("NUL in a CN", {"replace": common_name(cm.tlv(12, b"SN1\0.example"))}, "control character"),
    ("explicit DEFAULT FALSE", {"extensions": extension("basicConstraints", cm.seq(cm.tlv(1, b"\0")), True)},
     "basicConstraints: the DEFAULT FALSE is written out"),
    ("explicit critical FALSE", {"extensions": extension("ski", cm.tlv(4, b"\x11" * 20), cm.tlv(1, b"\0"))},
     "criticality: the DEFAULT FALSE"),
    ("BOOLEAN TRUE as 01", {"extensions": extension("keyUsage", cm.tlv(3, b"\x07\x80"), cm.tlv(1, b"\1"))},
     "criticality: TRUE written as 01"),
    ("GeneralizedTime before 2050", {"replace": validity(EARLY, cm.when("20480101000000Z", 24))},
     "GeneralizedTime for a year before 2050"),
    ("UTCTime after 2049", {"replace": validity(NOW, cm.when("20600101000000Z", 23))}, "is after notAfter 1960"),
    ("keyUsage with trailing zero bits", {"extensions": extension("keyUsage", cm.tlv(3, b"\x04\x80"), True)},
     "keyUsage: zero bits at its end"),
    ("an octet behind the certificate", {"tail": b"\0"}, "1 octets too many at its end"),
    ("NULL behind what is signed", {"tbs_tail": cm.tlv(5)}, "2 octets too many at its end"),
    ("leaf that outlives its issuer", {"replace": validity(EARLY, cm.when("20490601000000Z"))}, "outlives the CA"),
    ("extension twice", {"extensions": lambda exts: exts + exts[1:2]}, "is the same as number"),
    ("AKI of another CA", {"extensions": extension("aki", cm.seq(cm.tlv(0x80, b"\x11" * 20)))},
     "authorityKeyIdentifier isn't the CA's"),
    ("SKI of another key", {"extensions": extension("ski", cm.tlv(4, b"\x11" * 20))}, "isn't the SHA-1"),
    ("version 1", {"replace": {0: b""}}, "version"),
]


def certificates():
    kit.must_mint("ec", "ca", "--count", str(len(BAD_CERTIFICATES) + 8))
    rewritten_is_sound("ec")
    fleet = fleetmaker.Fleet.read("ec")
    planted = {}
    for i, (what, change, words) in enumerate(BAD_CERTIFICATES):
        fleet.plant(i, leaf=fleet.resign(i, "ca/ca.key", **change))
        planted[fleet.devices[i].row["device_id"]] = (what, words)
    fleet.write("planted")
    judge("planted", planted)
    shutil.rmtree("planted")


# ---- what is not judged, and what a sample sees ----

def encrypted():
    """A key that nobody can open: counted, no finding; what can be judged without it still is."""
    fleet = fleetmaker.Fleet.read("ec")
    with open("plain.key", "wb") as f:
        f.write(fleet.devices[3].stored["key"])
    locked = kit.must(["openssl", "pkcs8", "-topk8", "-in", "plain.key", "-passout", "pass:secret"]).out
    os.unlink("plain.key")
    fleet.plant(3, stored_key=locked)
    fleet.write("locked")
    for options in ((), ("--deep",)):
        found, report = findings("locked", *options)
        not_checked = report["not_checked"]
        kit.check(not found and len(not_checked) == 1 and not_checked[0]["count"] == 1
                  and "encrypted" in not_checked[0]["what"], report)
    said = kit.ok([kit.CERTMILL, "verify", "locked", "--deep"]).out.decode()
    kit.check("not checked: 1 private keys that are encrypted" in said, said)
    shutil.rmtree("locked")


def sample():
    """--deep of a sample judges it as deeply, says what it left out, and chooses the same again."""
    first, second = (findings("ec", "--deep", "--sample", "7", "--seed", "11")[1] for _ in range(2))
    for report in (first, second):
        report.pop("seconds"), report.pop("cpu_seconds"), report.pop("devices_per_second")
    kit.check(first == second and first["checked"] == 7 and first["seed"] == 11, first, second)
    outside = len(BAD_CERTIFICATES) + 8 - 7
    kit.check([n["count"] for n in first["not_checked"]] == [outside, 7], first["not_checked"])
    fleet = fleetmaker.Fleet.read("rsa")
    key = changed("qinv")(*primes_of(fleet.devices[0].key))
    for i in range(len(fleet.devices)):
        fleet.plant(i, key=rsa_pkcs8({**key}))
    fleet.write("all-bad")
    found, report = findings("all-bad", "--deep", "--sample", "4", "--seed", "3")
    kit.check(len(found) == 4 == report["checked"], "each of a sample is bad:", report)
    shutil.rmtree("all-bad")


def authority():
    """What is wrong with the CA's own chain is said once, not with each device."""
    cm.authority("lax", not_before="20240101000000Z", not_after="20490101000000Z",
                 constraints=cm.basic(True, critical=False))
    r = kit.mint("of-lax", "lax", "--count", "5")
    if r.code != 0:
        kit.skip("a CA whose basicConstraints are not critical: mint refuses it")
        return
    found, _ = findings("of-lax", "--deep")
    kit.check(set(found) == {None} and found[None].count("certificate 1: libcrypto") == 1, found)


def forms():
    """A sound fleet of every layout, encoding and key format is sound to libcrypto too."""
    for name, options in (("tree", ["--layout", "tree"]), ("der", ["--encoding", "der"]),
                          ("sec1", ["--key-format", "traditional", "--key", "P-384"]),
                          ("pkcs1", ["--key-format", "traditional", "--key", "RSA-2048", "--encoding", "der"]),
                          ("ed25519", ["--key", "Ed25519", "--profile", "tls-client", "--layout", "tree"])):
        kit.must_mint(name, "ca", "--count", "9", *options)
        found, report = findings(name, "--deep")
        kit.check(not found and report["checked"] == 9, name, found)


def main():
    kit.enter_place("deep")
    # Not certmill's: its validity ends before 2050, so that a leaf can outlive it with a UTCTime.
    cm.authority("ca", not_after="20490101000000Z")
    for part in (certificates, rsa, encrypted, sample, authority, forms):
        print(part.__name__)
        part()
    sys.exit(kit.finish())


main()
