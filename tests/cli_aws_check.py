"""Goal: `certmill aws check` refuses, and warns of, what AWS IoT would, in CAs and in fleets of any size, and lets the rest pass;
the profile aws-iot refuses the same before the first key. Method: a CA for each rule, good and bad, made by openssl and a DER
writer; fleets with offenders, superseded ones among them; memory measured on a fleet that is large for it.

CM_CHECK_DEVICES=N: size of the large fleet."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import certmaker
import e2e_kit as kit

DEVICES = int(os.environ.get("CM_CHECK_DEVICES", 4000 if kit.SLOW else 100000))


def check(*operands, **how):
    return kit.mill("aws", "check", *operands, **how)


def told(*operands):
    """Exit code, {(rule, verdict): (count, [case])}, the whole."""
    r = check(*operands, "--json")
    if not kit.check(r.code in (0, 1), r):
        return r.code, {}, {}
    whole = json.loads(r.out)
    return r.code, {(f["rule"], f["verdict"]): (f["count"], f["cases"]) for f in whole["findings"]}, whole


def expect(what, operands, *wanted):
    """The findings, no more and no fewer: (rule, verdict, count)"""
    code, found, whole = told(*operands)
    counts = {k: v[0] for k, v in found.items()}
    kit.check(counts == {(rule, verdict): n for rule, verdict, n in wanted}, what, counts)
    refused = any(verdict == "refused" for _, verdict, _ in wanted)
    kit.check(code == (1 if refused else 0) and (whole.get("refused", 0) > 0) == refused, what, code, whole)
    return found


# ---- CAs ----

def comment(octets):
    return (certmaker.ext("2.16.840.1.113730.1.13", certmaker.tlv(22, b"x" * octets)),)


def timed(**delta):
    """A time so many days from now."""
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + 86400 * delta["days"]))


GOOD = {"P-256": {}, "P-384": {"kind": "P-384"}, "P-521": {"kind": "P-521"}, "RSA-2048": {"kind": "RSA:2048"},
        "RSA-3072": {"kind": "RSA:3072"}, "pathlen": {"constraints": certmaker.basic(True, 0)},
        "bc not critical": {"constraints": certmaker.basic(True, critical=False)},
        "just begun": {"not_before": timed(days=-1 / 1440)}, "4000 characters": {"more": comment(2000)}}
BAD = {"RSA-1024": ({"kind": "RSA:1024"}, ("key", "refused")), "RSA-2040": ({"kind": "RSA:2040"}, ("key", "refused")),
       "secp256k1": ({"kind": "secp256k1"}, ("key", "refused")),
       "SHA-1": ({"digest": "sha1"}, ("signature", "refused")),
       "RSA with SHA-1": ({"kind": "RSA:2048", "digest": "sha1"}, ("signature", "refused")),
       "MD5": ({"kind": "RSA:2048", "digest": "md5"}, ("signature", "refused")),
       "no basicConstraints": ({"constraints": b""}, ("basic-constraints", "refused")),
       "CA:FALSE": ({"constraints": certmaker.basic(False)}, ("basic-constraints", "refused")),
       "not yet valid": ({"not_before": timed(days=2)}, ("not-yet-valid", "refused")),
       "expired": ({"not_after": timed(days=-1)}, ("expired", "refused")),
       "5000 characters": ({"more": comment(3500)}, ("size", "warned")),
       "70000 characters": ({"more": comment(52000)}, ("size", "refused"))}


def authorities():
    for n, (what, how) in enumerate(GOOD.items()):
        certmaker.authority(f"good-{n}", common_name=f"Good {n}", **how)
        expect(what, [f"good-{n}"])
    expect("all good ones", [f"good-{n}" for n in range(len(GOOD))])
    for n, (what, (how, finding)) in enumerate(BAD.items()):
        certmaker.authority(f"bad-{n}", common_name=f"Bad {n}", **how)
        found = expect(what, [f"bad-{n}"], (*finding, 1))
        kit.check(found and found[finding][1][0]["file"] == f"bad-{n}/ca.pem", what, found)
        plain = check(f"bad-{n}")
        kit.check(f"bad-{n}/ca.pem".encode() in plain.err and finding[0].encode() in plain.err, what, plain)
    kit.ca_init("ed", "--key", "Ed25519")
    expect("Ed25519", ["ed"], ("key", "refused", 1), ("signature", "refused", 1))
    kit.ca_init("pss", "--key", "RSA-2048", "--signature", "RSASSA-PSS-SHA384", "--subject", "/CN=pss")
    expect("RSASSA-PSS", ["pss"], ("signature", "warned", 1))
    openssl = kit.must(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "x.key", "-out", "v1.pem",
                        "-subj", "/CN=v1", "-days", "3", "-config", "/dev/null"])
    kit.check(openssl.code == 0, openssl)
    expect("X.509 v1, as openssl makes it without a configuration", ["v1.pem"], ("basic-constraints", "refused", 1))
    kit.ca_init("below", "--subject", "/CN=below", "--issuer-cert", "good-0/ca.pem", "--issuer-key", "good-0/ca.key")
    expect("an intermediate: the CA above it is not registered", ["below"])


def subjects():
    os.mkdir("same")
    for n in range(11):
        certmaker.authority(f"s{n}", common_name="Same")
        shutil.copy(f"s{n}/ca.pem", f"same/{n:02}.pem")
    expect("ten CAs", [f"s{n}" for n in range(10)])
    expect("the same ten twice", [*(f"s{n}" for n in range(10)), *(f"s{n}" for n in range(10))])
    expect("eleven CAs", ["same"], ("same-subject", "refused", 11))
    expect("eleven CAs in two directories, and another", ["s10", "good-0", *(f"s{n}" for n in range(10))],
           ("same-subject", "refused", 11))


def operands():
    os.mkdir("empty")
    for what, args, words in (("nothing there", ["nothing"], "nothing"), ("empty", ["empty"], "no certificates"),
                              ("a key", ["good-0/ca.key"], "no certificate"), ("none", [], "DIR|FLEET"),
                              ("an unknown option", ["good-0", "--fix"], "--fix")):
        r = check(*args)
        kit.check(r.code == 2 and words.encode() in r.err, what, r)
    with open("text.pem", "w", encoding="ascii") as f:
        f.write("Comments may stand before it.\n" + open("good-0/ca.pem", encoding="ascii").read())
    expect("text around it", ["text.pem"])


# ---- fleets ----

def devices(name, ids):
    with open(name, "w", encoding="utf-8") as f:
        f.write("".join(f"{i}\n" for i in ids))
    return name


def fleets():
    kit.must_mint("fine", "good-0", "--count", "50")
    _, _, whole = told("fine")
    kit.check(whole == {"cas": 1, "devices": 50, "refused": 0, "warned": 0, "findings": []}, whole)
    ids = devices("ids", ["ok:1", "a b", "x.y", "plain", "grün"])
    common = ("--profile", "tls-client")
    kit.must_mint("names", "good-0", "--devices", ids, "--subject", "/CN=unit", *common)
    found = expect("names", ["names"], ("thing-name", "refused", 3))
    kit.check([c["device_id"] for c in found["thing-name", "refused"][1]] == ["a b", "x.y", "grün"], found)
    kit.must_mint("cns", "good-0", "--count", "3", "--subject", "/CN=unit {id}", *common)
    expect("CNs", ["cns"], ("common-name", "warned", 3))
    kit.must_mint("edkeys", "good-0", "--count", "4", "--key", "Ed25519", *common)
    expect("Ed25519 keys", ["edkeys"], ("key", "refused", 4))
    kit.must_mint("pssfleet", "pss", "--count", "3", "--signature", "RSASSA-PSS-SHA384")
    expect("RSASSA-PSS", ["pssfleet"], ("signature", "warned", 4))
    kit.must_mint("edfleet", "ed", "--count", "2", *common)
    expect("an Ed25519 CA", ["edfleet"], ("key", "refused", 1), ("signature", "refused", 3))
    san = ",".join(f"DNS:{'a' * 60}.{n:02}.{{id}}.example.com" for n in range(40))
    kit.must_mint("large-leaves", "good-0", "--count", "2", "--san", san)
    expect("leaves that are too large for bulk registration", ["large-leaves"], ("size", "warned", 2))
    for layout in (("--layout", "tree"), ("--encoding", "der")):
        kit.must_mint(f"l{layout[1]}", "good-0", "--count", "3", "--key", "Ed25519", *layout, *common)
        expect(layout[1], [f"l{layout[1]}"], ("key", "refused", 3))
    expect("several", ["fine", "cns", "edkeys"], ("common-name", "warned", 3), ("key", "refused", 4))
    damaged()


def damaged():
    """A certificate that is not what was minted is no finding of AWS's, but nothing is said about the others either."""
    shutil.copytree("fine", "hurt")
    with open("hurt/chains/000000.tar", "r+b") as f:
        f.seek(1000)
        octet = f.read(1)
        f.seek(1000)
        f.write(bytes((octet[0] ^ 1,)))
    r = check("hurt")
    kit.check(r.code == 2 and b"damaged" in r.err, r)


def superseded():
    """Only rows in force count."""
    kit.must_mint("again", "good-0", "--count", "5", "--key", "P-256")
    kit.must([kit.CERTMILL, "reissue", "again", "SN00000002", "--reason", "test", "--quiet"])
    _, _, whole = told("again")
    kit.check(whole["devices"] == 5, whole)


def at_mint():
    """The same refusals before the first key."""
    for what, args, ca, words in (("Ed25519 keys", ["--key", "Ed25519"], "good-0", "Ed25519"), ("Ed25519 CA", [], "ed", "Ed25519"),
                                  ("an id", ["--id-pattern", "a.{seq}"], "good-0", "no name for a thing")):
        r = kit.mint("refused", ca, "--count", "2", *args)
        kit.check(r.code == 2 and words.encode() in r.err and b"aws-iot" in r.err and not os.path.exists("refused"), what, r)
    shown = kit.must([kit.CERTMILL, "profile", "show", "aws-iot"]).out
    for name, text, words in (("other", shown.replace(b"= aws-iot", b"= azure"), b"azure"),
                              ("mine", shown, b"Ed25519")):
        with open(f"{name}.profile", "wb") as f:
            f.write(text)
        r = kit.mint("refused", "good-0", "--count", "1", "--key", "Ed25519", "--profile", f"{name}.profile")
        kit.check(r.code == 2 and words in r.err and not os.path.exists("refused"), name, r)


def large():
    """Bounded memory, and a signal stops it."""
    kit.must_mint("large", "good-0", "--count", str(DEVICES), "--key", "Ed25519", "--profile", "tls-client")
    started = time.monotonic()
    with subprocess.Popen([kit.CERTMILL, "aws", "check", "large", "--json"], stdout=subprocess.PIPE) as p:
        out = p.stdout.read()
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
    whole = json.loads(out)
    kit.check(p.returncode == 1 and whole["refused"] == DEVICES and whole["findings"][0]["count"] == DEVICES, whole["refused"])
    kit.check(len(whole["findings"][0]["cases"]) == 100, "more cases than are kept")
    kit.say(f"{DEVICES} devices: {time.monotonic() - started:.1f} s, {usage.ru_maxrss // 1024} MB")
    kit.check(kit.SLOW or usage.ru_maxrss < 40 << 10, "memory:", usage.ru_maxrss, "KiB")
    with subprocess.Popen([kit.CERTMILL, "aws", "check", "large"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        time.sleep(0.2)
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=kit.PATIENCE)
        kit.check(p.returncode in (130, 1), "SIGINT", p.returncode)  # 1: it was through already


def main():
    kit.enter_place("aws-check")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    authorities()
    subjects()
    operands()
    fleets()
    superseded()
    at_mint()
    large()
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
