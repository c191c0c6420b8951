#!/usr/bin/env python3
"""Goal: whatever a user gives or the machine refuses, certmill says what is wrong, ends with the right exit code and
leaves nothing that looks finished. Method: a table; each row is one run in a directory of its own.

A row is run through `bad(...)`: title, exit code, words that the message must hold, arguments. Unless a row says
otherwise, the message has at most two lines and the directory is afterwards what it was before. Rows:
    bad("count 0", 2, "--count", m(count="0"))
CM_ONLY=TEXT runs the rows whose title holds TEXT."""

import ctypes
import gzip
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time

import certmaker as cert
import e2e_kit as kit

ROOT = os.geteuid() == 0
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
FIX = "../fix"
THREAD = "thread" in kit.SANITIZE
ROWS = []


class Row:
    def __init__(self, title, code, words, args, how):
        self.title, self.code, self.args = title, code if isinstance(code, tuple) else (code,), args
        self.words = (words,) if isinstance(words, str) else tuple(words)
        self.setup = how.pop("setup", None)  # before, in the row's directory
        self.via = how.pop("via", [])  # words before the program
        # What must be left: the "same" as before, a "sound" fleet, one of these two ("full"), a fleet that verify
        # at least knows to be a failed one ("honest"), or "any".
        self.left = how.pop("left", "same" if 0 not in self.code else "any")
        self.after = how.pop("after", None)  # called with the result
        self.needs = how.pop("needs", ())  # root, tmpfs, plain (no sanitizer), strace, or a program
        self.env = how.pop("env", {})
        self.lines = how.pop("lines", 2)
        self.program = how.pop("program", kit.CERTMILL)
        assert not how, how


def bad(title, code, words, args, **how):
    ROWS.append(Row(title, code, words, args, how))


def m(*more, ca="good", ca_key=None, count="3", out="out", plain=True):
    """mint's arguments; ca: a directory below fix/, or a path."""
    where = ca if "/" in ca else f"{FIX}/{ca}/ca.pem"
    ca_key = ca_key or f"{FIX}/{ca}/ca.key"
    args = ["mint", "--quiet", "--ca", where, "--ca-key", ca_key if "/" in ca_key else f"{FIX}/{ca_key}/ca.key"]
    if count is not None:
        args += ["--count", count]
    return [*args, *(["--out", out] if out else []), *(["--plaintext-keys"] if plain else []), *more]


def listed(*more, **how):
    return m("--devices", "ids", *more, count=None, **how)


def write(path, data, mode=0o644):
    with open(path, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    os.chmod(path, mode)


def ids(data):
    return lambda: write("ids", data)


def sh(*argv):
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


# --- what the rows use -------------------------------------------------------------------------------------------

def nc(*subtrees, excluded=False):
    return cert.ext("nameConstraints", cert.seq(cert.tlv(0xa1 if excluded else 0xa0, *(cert.seq(s) for s in subtrees))),
                    True)


def make_fixtures():
    os.mkdir("fix")
    a = lambda where, **how: cert.authority(f"fix/{where}", common_name=where, **how)
    a("good")
    a("other")
    a("rsa", kind="RSA:2048")
    a("ed", kind="Ed25519")
    a("expired", not_before="20200101000000Z", not_after="20210101000000Z")
    a("future", not_before="20480101000000Z")
    a("notca", constraints=cert.basic(False))
    a("nobasic", constraints=b"")
    a("nocertsign", usage=cert.key_usage(0x80, 7))
    a("root0", constraints=cert.basic(True, 0))
    a("toodeep", above="fix/root0")
    a("sha1", above="fix/good", digest="sha1")
    a("sha1root", digest="sha1")
    a("md5", above="fix/rsa", digest="md5")
    a("rsa1024", kind="RSA:1024")
    a("under1024", above="fix/rsa1024")
    a("secp256k1", kind="secp256k1")
    a("server", more=[cert.eku("serverAuth")])
    a("underserver", above="fix/server")
    dns = lambda n: cert.tlv(0x82, n.encode())
    a("named", more=[nc(dns("example.com"))])
    a("notnamed", more=[nc(dns("example.org"), excluded=True)])
    a("dirnamed", more=[nc(cert.tlv(0xa4, cert.name(("O", "Elsewhere"))))])
    a("undernamed", above="fix/dirnamed")
    a("critical", more=[cert.ext("1.3.6.1.4.1.55555.1", cert.tlv(5), True)])
    a("twice", more=[cert.ext("ski", cert.tlv(4, b"j" * 20))])
    a("forged", above="fix/good", signing_key="fix/other/ca.key")
    a("middle", above="fix/good")
    a("issuing", above="fix/middle")
    a("inpast", not_before="20200101000000Z", not_after="20400101000000Z")

    read = lambda where: open(f"fix/{where}/ca.pem", encoding="ascii").read()
    blocks = lambda where: [cert.pem("CERTIFICATE", der) for der in cert.unpem(read(where))]
    issuing, middle, root = blocks("issuing")
    write("fix/reversed.pem", root + middle + issuing)
    write("fix/swapped.pem", issuing + root + middle)
    write("fix/gap.pem", issuing + root)
    write("fix/stranger.pem", blocks("good")[0] + blocks("other")[0])
    write("fix/doubled.pem", issuing + middle + middle + root)
    write("fix/torn.pem", read("good")[:300])
    write("fix/garbage.pem", cert.pem("CERTIFICATE", b"\x30\x03\x02\x01\x01"))
    write("fix/trailing.pem", cert.pem("CERTIFICATE", cert.unpem(read("good"))[0] + b"\0"))
    write("fix/text", "hello\n")
    write("fix/empty", "")
    write("fix/large", b"\n" * 1100000)
    os.mkfifo("fix/fifo")
    os.mkdir("fix/dir")
    sh("openssl", "pkey", "-in", "fix/good/ca.key", "-pubout", "-out", "fix/public.pem")
    sh("openssl", "req", "-new", "-key", "fix/good/ca.key", "-subj", "/CN=x", "-out", "fix/csr.pem")
    sh("openssl", "pkcs12", "-export", "-inkey", "fix/good/ca.key", "-in", "fix/good/ca.pem", "-passout", "pass:x",
       "-out", "fix/p12")
    sh("openssl", "pkey", "-in", "fix/good/ca.key", "-aes256", "-passout", "pass:correct", "-out", "fix/locked.key")
    sh("openssl", "pkey", "-in", "fix/good/ca.key", "-outform", "DER", "-out", "fix/der.key")
    with open("fix/good/ca.key", encoding="ascii") as f:
        write("fix/open.key", f.read(), 0o644)
    write("fix/torn.key", open("fix/good/ca.key", encoding="ascii").read()[:120], 0o600)
    for path in ("public.pem", "csr.pem", "p12", "locked.key", "der.key", "text", "empty", "large"):
        os.chmod(f"fix/{path}", 0o600)
    write("fix/pass", "correct\n", 0o600)
    write("fix/wrongpass", "incorrect\n", 0o600)
    kit.must_mint("fix/fleet", "fix/good", "--count", "3")


# --- the CA and its key ------------------------------------------------------------------------------------------

bad("CA and key of two CAs", 2, ("good/ca.pem", "other/ca.key", "don't belong together"), m(ca_key="other"))
bad("CA and key of two families", 2, ("good/ca.pem", "rsa/ca.key"), m(ca_key="rsa"))
bad("CA expired", 2, ("expired/ca.pem", "expired at 2021-01-01"), m(ca="expired"))
bad("CA not yet valid", 2, ("future/ca.pem", "not valid before 2048-01-01"), m(ca="future"))
bad("CA with CA:FALSE", 2, ("notca/ca.pem", "CA:FALSE"), m(ca="notca"))
bad("CA without basicConstraints", 2, ("nobasic/ca.pem", "no basicConstraints"), m(ca="nobasic"))
bad("CA without keyCertSign", 2, ("nocertsign/ca.pem", "keyCertSign"), m(ca="nocertsign"))
bad("path length exceeded", 2, ("toodeep/ca.pem", "path length"), m(ca="toodeep"))
bad("CA signed with SHA-1", 2, ("sha1/ca.pem", "SHA-256 or better"), m(ca="sha1"))
bad("CA signed with MD5", 2, ("md5/ca.pem", "SHA-256 or better"), m(ca="md5"))
bad("CA with RSA-1024", 2, ("rsa1024/ca.pem", "1024"), m(ca="rsa1024"))
bad("RSA-1024 above the CA", 2, ("under1024/ca.pem", "certificate 2", "1024"), m(ca="under1024"))
bad("CA on secp256k1", 2, "P-256", m(ca="secp256k1"))
bad("CA for servers only", 2, ("server/ca.pem", "extendedKeyUsage"), m(ca="server"))
bad("issuer of the CA for servers only", 2, ("underserver/ca.pem", "extendedKeyUsage"), m(ca="underserver"))
bad("name constraints: DNS not permitted", 2, ("named/ca.pem", "name constraints"),
    m("--san", "DNS:{id}.example.org", ca="named"))
bad("name constraints: DNS permitted", 0, "", m("--san", "DNS:{id}.example.com", ca="named"))
bad("name constraints: DNS excluded", 2, ("notnamed/ca.pem", "name constraints"),
    m("--san", "DNS:{id}.example.org", ca="notnamed"))
bad("name constraints: subject not permitted", 2, ("dirnamed/ca.pem", "name constraints"), m(ca="dirnamed"))
bad("name constraints: subject permitted", 0, "", m("--subject", "/O=Elsewhere/CN={id}", ca="dirnamed"))
bad("name constraints that exclude the CA below", 2, ("undernamed/ca.pem", "name constraints"), m(ca="undernamed"))
bad("name constraints that one device of a list breaks", 2, ("ids, line 2", "name constraints"),
    listed("--san", "DNS:{id}", "--profile", "tls-client", ca="named"), setup=ids("a.example.com\nb.example.org\n"))
bad("unknown critical extension", 2, ("critical/ca.pem", "1.3.6.1.4.1.55555.1"), m(ca="critical"))
bad("extension twice", 2, "twice/ca.pem", m(ca="twice"))
bad("CA's signature by another key", 2, "forged/ca.pem", m(ca="forged"))
bad("chain upside down", 2, ("reversed.pem", "don't belong together"), m(ca=f"{FIX}/reversed.pem", ca_key="issuing"))
bad("chain in the wrong order", 2, ("swapped.pem", "was not issued by"), m(ca=f"{FIX}/swapped.pem", ca_key="issuing"))
bad("chain with a gap", 2, ("gap.pem", "was not issued by"), m(ca=f"{FIX}/gap.pem", ca_key="issuing"))
bad("certificate of a stranger behind a root", 2, ("stranger.pem", "self-signed root"),
    m(ca=f"{FIX}/stranger.pem", ca_key="good"))
bad("chain with a repetition", 2, "doubled.pem", m(ca=f"{FIX}/doubled.pem", ca_key="issuing"))
for _file, _words in (("torn.pem", "torn.pem"), ("garbage.pem", "damaged"), ("trailing.pem", "damaged"),
                      ("text", "no certificate"), ("empty", "empty"), ("large", "too large"), ("fifo", "FIFO"),
                      ("dir", "directory"), ("nowhere", "no such file"), ("public.pem", "public key"),
                      ("csr.pem", "request"), ("good/ca.key", "private key"), ("p12", "PKCS#12")):
    bad(f"--ca {_file}", 2, (_file, _words), m(ca=f"{FIX}/{_file}", ca_key="good"))
bad("--ca /dev/zero", 2, "/dev/zero", m(ca="/dev/zero", ca_key="good"))
for _file, _words in (("torn.key", "torn.key"), ("text", "no private key"), ("empty", "empty"),
                      ("large", "too large"), ("fifo", "FIFO"), ("dir", "directory"), ("nowhere", "no such file"),
                      ("public.pem", "public key"), ("csr.pem", "request"), ("p12", "p12"), ("der.key", "der.key"),
                      ("good/ca.pem", "ca.pem")):
    bad(f"--ca-key {_file}", 2, (_file, _words), m(ca_key=f"{FIX}/{_file}"))
bad("--ca-key /dev/zero", 2, "/dev/zero", m(ca_key="/dev/zero"))
bad("no --ca", 2, "--ca", ["mint", "--count", "1", "--out", "out", "--plaintext-keys"])
bad("key that others can read", 2, ("open.key", "chmod 600"), m(ca_key=f"{FIX}/open.key"))
bad("key that others can read, accepted", 0, "", m("--allow-insecure-ca-key", ca_key=f"{FIX}/open.key"))
bad("key that this user can't read", 3, ("good/ca.key", "Permission denied"), m(), via=NOBODY, needs=("root",),
    setup=lambda: os.chmod(".", 0o777))
bad("encrypted key, no terminal", 2, ("locked.key", "--ca-passphrase-file"), m(ca_key=f"{FIX}/locked.key"),
    via=["setsid", "--wait"])
_locked = {"ca_key": f"{FIX}/locked.key"}
bad("encrypted key, wrong passphrase", 2, ("locked.key", "wrong passphrase"),
    m("--ca-passphrase-file", f"{FIX}/wrongpass", **_locked))
bad("encrypted key, empty passphrase file", 2, ("empty", "passphrase"),
    m("--ca-passphrase-file", f"{FIX}/empty", **_locked))
bad("encrypted key, no passphrase file", 2, ("nowhere", "no such file"),
    m("--ca-passphrase-file", f"{FIX}/nowhere", **_locked))
bad("encrypted key, passphrase file is a directory", 2, f"{FIX}/dir", m("--ca-passphrase-file", f"{FIX}/dir", **_locked))
bad("encrypted key, right passphrase", 0, "", m("--ca-passphrase-file", f"{FIX}/pass", **_locked))

# --- how long ----------------------------------------------------------------------------------------------------

bad("device outlives the CA", 2, ("2050-01-01", "2049-01-01", "--allow-outlive-ca"), m("--not-after", "20500101000000Z"))
bad("device outlives the CA by days", 2, "--allow-outlive-ca", m("--days", "20000"))
bad("device outlives the CA, allowed", 0, "", m("--not-after", "20500101000000Z", "--allow-outlive-ca"))
bad("ended already", 2, ("2020-01-01", "--not-after"), m("--not-after", "2020-01-01T00:00:00Z"))
bad("not a time", 2, "tomorrow", m("--not-after", "tomorrow"))
bad("30 February", 2, "2040-02-30", m("--not-after", "20400230000000Z"))
bad("a time with an offset", 2, "2040-01-01T00:00:00+01:00", m("--not-after", "2040-01-01T00:00:00+01:00"))
bad("days and not-after", 2, ("--days", "--not-after"), m("--days", "5", "--not-after", "2040-01-01"))
bad("days 0", 2, "--days", m("--days", "0"))
bad("days past the year 9999", 2, ("--days", "9999"), m("--days", "3652059", "--allow-outlive-ca"))

# --- which devices -----------------------------------------------------------------------------------------------

for _count in ("0", "-1", "-5", "18446744073709551616", "99999999999999999999999", "9223372036854775808", "many",
               "1e6", "10 000", "10,000", "0x10", "1.5", " 5", "5k", "+5"):
    bad(f"count {_count}", 2, "--count", m(count=_count))
bad("count empty", 2, "--count", m(count=""))
bad("count past the last number", 2, "--count", m("--start", "2", count="9223372036854775807"))
bad("start -1", 2, "--start", m("--start", "-1"))
bad("neither count nor list", 2, ("--count", "--devices"), m(count=None))
bad("count and list", 2, ("--count", "--devices"), m("--devices", "ids"), setup=ids("a\n"))
bad("pattern and list", 2, "--id-pattern", listed("--id-pattern", "{seq}"), setup=ids("a\n"))
bad("same id twice", 2, ("ids, line 5", "as line 2"), listed(), setup=ids("a\nb\nc\nd\nb\n"))
bad("same id twice, at the ends of a long list", 2, ("ids, line 3001", "as line 1"), listed(),
    setup=ids("".join(f"x{i % 3000}\n" for i in range(3001))))
bad("same id but for case, as files", 2, ("ids, line 2", "as line 1", "upper and lower"), listed("--layout", "tree"), setup=ids("Abc\naBC\n"))
for _what, _data, _line, _words in (
        ("a slash", b"a\nb/c\n", 2, "b/c"), ("the root", b"/\n", 1, "/"), ("a path", b"a\n../../etc/passwd\n", 2, ""),
        ("two dots", b"..\n", 1, ".."), ("one dot", b"a\n.\n", 2, "."), ("a NUL", b"a\nb\0c\n", 2, ""),
        ("an escape", b"a\nb\x1b[31mc\n", 2, "\\x1b"), ("a tab", b"a\nb\tc\n", 2, ""), ("a DEL", b"a\nb\x7f\n", 2, ""),
        ("a C1 control", "a\nb\u009bc\n".encode(), 2, ""), ("no UTF-8", b"a\nb\xff\xfe\n", 2, ""),
        ("overlong UTF-8", b"a\nb\xc0\xaf\n", 2, ""), ("a surrogate", b"a\n\xed\xa0\x80\n", 2, ""),
        ("97 octets", b"a\n" + b"x" * 97 + b"\n", 2, ""), ("97 octets encoded", b"a\n" + "ä".encode() * 17 + b"\n", 2, ""),
        ("a megabyte", b"a\n" + b"x" * 1000000 + b"\n", 2, "longer than")):
    bad(f"id with {_what}", 2, (f"ids, line {_line}", _words), listed("--profile", "tls-client"), setup=ids(_data))
bad("id that AWS IoT refuses", 2, ("ids, line 2", "a b", "aws-iot"), listed(), setup=ids("ab\na b\n"))
bad("CN of 65 characters from a list", 2, ("ids, line 2", "64"), listed(), setup=ids(f"{'x' * 64}\n{'y' * 65}\n"))
bad("list: empty", 2, "ids", listed(), setup=ids(""))
bad("list: blank lines only", 2, "ids", listed(), setup=ids("\n\r\n\n"))
bad("list: UTF-16", 2, "UTF-16", listed(), setup=ids("a\nb\n".encode("utf-16")))
bad("list: gzip", 2, "gzip", listed(), setup=lambda: write("ids", gzip.compress(b"a\nb\n")))
bad("list: missing", 2, ("ids", "no such file"), listed())
bad("list: a directory", (2, 3), "ids", listed(), setup=lambda: os.mkdir("ids"))
bad("list: a FIFO", 2, ("ids", "pipe"), listed(), setup=lambda: os.mkfifo("ids"))
bad("list: /dev/null", 2, "/dev/null", m("--devices", "/dev/null", count=None))
bad("list: CRLF, BOM, blank lines, no last line end", 0, "", listed(), setup=ids(b"\xef\xbb\xbfa\r\n\r\nb\n\nc"),
    after=lambda _: kit.check([r["device_id"] for r in rows("out")] == ["a", "b", "c"], "ids of a Windows list"))


def columns(data, *more, name="list.csv"):
    """mint's arguments for a list with columns, and what writes it."""
    return {"args": m("--devices", name, "--profile", "tls-client", *more, count=None), "setup": lambda: write(name, data)}


for _what, _words, _how in (
        ("no header", "no header row", columns("")), ("a header only", "holds no device id", columns("id,b\n")),
        ("a name twice", ("line 1", "column 3", "another column's"), columns("id,b,b\na,1,2\n")),
        ("an empty name", ("line 1", "column 2", "is empty"), columns("id,\na,1\n")),
        ("a name of 65", "longer than 64", columns(f"id,{'x' * 65}\na,1\n")),
        ("a ragged row", ("line 3", "1 field where the header has 2"), columns("id,b\na,1\nb\n")),
        ("a quote that is not closed", ("line 3", "not closed"), columns('id,b\na,1\nb,"2\n')),
        ("no UTF-8", ("line 2", 'column "b"', "not UTF-8"), columns(b"id,b\na,\xff\n")),
        ("a field too large", ("line 2", "16384 are the most"), columns(f"id,b\na,{'x' * 17000}\n")),
        ("a record too large", ("line 2", "longer than"), columns("id,b\na," + "x" * 300000 + "\n")),
        ("257 columns", "more than 256", columns(",".join(f"c{i}" for i in range(257)) + "\n")),
        ("no id column", ("--id-column", "there are a, b"), columns("a,b\n1,2\n")),
        ("two id columns", ("unclear", "ID, Id"), columns("ID,Id\n1,2\n")),
        ("an id column that is not there", ("--id-column", "it has id, b"), columns("id,b\n1,2\n", "--id-column", "c")),
        ("the same id twice", ("line 3", "as line 2"), columns("id,b\na,1\na,2\n")),
        ("a column that the subject can't take", ("line 3", 'column "b"', "PrintableString"),
         columns("id,b\na,1\nb,a_b\n", "--subject", "/CN={id}/serialNumber={b}")),
        ("an empty one that it needs", ("line 3", 'column "b"', "it is empty"),
         columns("id,b\na,1\nb,\n", "--subject", "/CN={id}{b}")),
        ("one of 65 characters", ("line 2", 'column "b"', "X.520 allows 64"),
         columns(f"id,b\na,{'ä' * 65}\n", "--subject", "/CN={b}")),
        ("a DNS name that is none", ("line 2", 'column "b"', "label"), columns("id,b\na,-x\n", "--san", "DNS:{b}.example.com")),
        ("a URI that is none", ("line 2", 'column "b"', "URI"), columns("id,b\na,x y\n", "--san", "URI:urn:{b}")),
        ("an unknown column", ("{c}", "of the list {b}"), columns("id,b\na,1\n", "--subject", "/CN={c}")),
        ("an unclear placeholder", ("{seq} is unclear", "rename it"), columns("id,seq\na,1\n", "--subject", "/CN={seq}")),
        ("a MAC column and --mac-base", ("--mac-base", 'column "mac"'),
         columns("id,mac\na,1\n", "--mac-base", "02:00:00:00:00:00")),
        ("a nested object", ("line 2", "an object or array"), columns('{"id":"a","b":1}\n{"id":"b","b":{}}\n', name="l.ndjson")),
        ("a key that is missing", ("line 2", 'column "b"', "missing"), columns('{"id":"a","b":1}\n{"id":"b"}\n', name="l.jsonl")),
        ("a key too many", ("line 2", 'no key "c"'), columns('{"id":"a"}\n{"id":"b","c":1}\n', name="l.ndjson")),
        ("no JSON", ("line 1", "no JSON object"), columns("id\n", name="l.ndjson")),
        ("an id column without columns", "has no columns", columns("a\n", "--id-column", "id", name="l.txt"))):
    bad(f"list with {_what}", 2, _words, _how["args"], setup=_how["setup"])
bad("columns without a list", 2, ("--id-column", "--devices"), m("--id-column", "id"))
bad("skip-bad without a list", 2, ("--skip-bad", "--devices"), m("--skip-bad", "x"))
bad("skip-bad: the list itself", 2, ("--skip-bad", "is there already"), columns("id,b\na\nb,1\n", "--skip-bad", "list.csv")["args"],
    setup=lambda: write("list.csv", "id,b\na\nb,1\n"))
bad("skip-bad: no such directory", 3, ("can't write the refused rows", "no/bad"),
    columns("", "--skip-bad", "no/bad")["args"], setup=lambda: write("list.csv", "id,b\na\nb,1\n"))
bad("pattern: unknown placeholder", 2, ("{foo}", "{seq"), m("--id-pattern", "X{foo}"))
bad("pattern: unknown format", 2, "{seq:8q}", m("--id-pattern", "X{seq:8q}"))
bad("pattern: brace not closed", 2, "{seq", m("--id-pattern", "X{seq"))
bad("pattern: brace not opened", 2, "X}", m("--id-pattern", "X}{seq}"))
bad("pattern: {id} in the id", 2, "{id}", m("--id-pattern", "X{id}"))
bad("pattern: same id for all", 2, "SAME", m("--id-pattern", "SAME"))
bad("pattern: newline", 2, "\\x0a", m("--id-pattern", "a\nb{seq}", "--profile", "tls-client"))
bad("pattern: slash", 2, "a/", m("--id-pattern", "a/{seq}", "--profile", "tls-client"))
bad("pattern: parent", 2, "..", m("--id-pattern", "../{seq}", "--profile", "tls-client"))
bad("pattern: escape sequence", 2, "\\x1b", m("--id-pattern", "\x1b[2J{seq}", "--profile", "tls-client"))
bad("pattern: not UTF-8", 2, "", m("--id-pattern", b"a\xff{seq}", "--profile", "tls-client"))
bad("pattern: too long", 2, "", m("--id-pattern", "x" * 100 + "{seq}", "--profile", "tls-client"))
bad("pattern: too long at the last device only", 2, "", m("--id-pattern", "x" * 95 + "{seq}", "--profile", "tls-client",
                                                          "--subject", "/O=x", "--start", "9"))
bad("mac base: no MAC", 2, ("--mac-base", "02:00"), m("--mac-base", "02:00"))
bad("mac base: runs out", 2, "--mac-base", m("--id-pattern", "{mac}", "--mac-base", "ff:ff:ff:ff:ff:fe"))

# --- what the certificates say -----------------------------------------------------------------------------------

bad("CN over 64 characters", 2, ("64", "CN"), m("--subject", f"/CN={'x' * 60}{{id}}"))
bad("CN over 64 characters, the constant part", 2, "64", m("--subject", f"/CN={'x' * 65}"))
bad("CN over 64 at the last device only", 2, "64", m("--subject", f"/CN={'x' * 63}{{seq}}", "--start", "8"))
bad("CN of 64 characters, 128 octets", 0, "", m("--subject", f"/CN={'ä' * 54}{{id}}"))
bad("subject: unknown placeholder", 2, "{nope}", m("--subject", "/CN={nope}"))
bad("subject: no slash", 2, "'/'", m("--subject", "CN=x"))
bad("subject: country of three letters", 2, "", m("--subject", "/C=DEU/CN={id}"))
bad("subject: unknown type", 2, "FOO", m("--subject", "/FOO=x"))
bad("subject: not UTF-8", 2, "", m("--subject", b"/CN=\xff{id}"))
bad("subject: control character", 2, "", m("--subject", "/O=a\nb/CN={id}"))
bad("subject: empty value", 2, "CN", m("--subject", "/CN="))
bad("san: unknown placeholder", 2, "{nope}", m("--san", "DNS:{nope}"))
bad("san: unknown kind", 2, "FOO", m("--san", "FOO:x"))
bad("san: not an address", 2, "999", m("--san", "IP:999.1.1.1"))
for value in ("DNS:a..b", "DNS:a_b", "DNS:-a", "email:a", "email:a b@c", "URI:a b:c", "URI:nothing", "critical,DNS:a_b",
              "DNS:{id}.example,DNS:a_b", "email:{id}", "URI:{id}"):
    bad(f"san: {value}", 2, "subjectAltName \"", m("--san", value))
for value in ("email:a@b.example", "URI:urn:dev:{id}", "otherName:1.2.3;UTF8:x..{id}", "RID:1.2.3"):
    bad(f"san: {value} is right", 0, "", m("--san", value))
bad("san: not ASCII", 2, "", m("--san", "DNS:ä.example.com"))
bad("profile: unknown", 2, ("nothing-like-it", "aws-iot"), m("--profile", "nothing-like-it"))
bad("profile: a near miss", 2, ("aws-oit", "did you mean aws-iot"), m("--profile", "aws-oit"))
bad("profile: no such file", 2, "./my.profile", m("--profile", "./my.profile"))
_ok = "[profile]\ndescription = x\nsubject = /CN={id}\nextensions = e\n[e]\nbasicConstraints = critical,CA:FALSE\n"
for _what, _text, _words in (
        ("unknown key", _ok.replace("description", "descripton"), ("line 2", "descripton", "did you mean")),
        ("no [profile] section", "[other]\nsubject = /CN={id}\n", ("my", "[profile]")),
        ("missing section", _ok.replace("= e\n", "= f\n"), ("line 4", "[f]")),
        ("unknown extension", _ok + "keyUssage = digitalSignature\n", ("keyUssage",)),
        ("unknown key usage", _ok + "keyUsage = digitalSignatur\n", ("digitalSignatur",)),
        ("unknown placeholder", _ok.replace("{id}", "{idd}"), ("{idd}",)),
        ("days 0", _ok.replace("extensions =", "days = 0\nextensions ="), ("line 4", "days")),
        ("not its syntax", "[profile]\nwhat is this\n", ("line 2",)),
        ("a CA", _ok.replace("CA:FALSE", "CA:TRUE"), ("CA",)),
        ("binary", b"\0\1\2", ("my",)), ("empty", "", ("my",))):
    bad(f"profile: {_what}", 2, _words, m("--profile", "./my.profile"), setup=lambda t=_text: write("my.profile", t))
bad("profile: a good one", 0, "", m("--profile", "./my.profile"), setup=lambda: write("my.profile", _ok))
bad("profile: a directory", 2, "./my.profile", m("--profile", "./my.profile"), setup=lambda: os.mkdir("my.profile"))
bad("profile: a key it does not allow", 2, ("aws-iot", "Ed25519"), m("--key", "Ed25519"))
bad("profile: a CA it does not allow", 2, ("aws-iot", "Ed25519"), m(ca="ed"))
for _key in ("RSA-1024", "rsa:512", "RSA-16384", "secp112r1", "P-257", "dsa", "x25519", "-"):
    bad(f"key {_key}", 2, (_key, "P-256"), m("--key", _key))
bad("traditional Ed25519", 2, "pkcs8", m("--key", "Ed25519", "--key-format", "traditional", "--profile", "tls-client"))
bad("signature: unknown", 2, "ecdsa-with-MD5", m("--signature", "ecdsa-with-MD5"))
bad("signature: SHA-1", 2, "sha1WithRSAEncryption", m("--signature", "sha1WithRSAEncryption", ca="rsa"))
bad("signature: of another family", 2, "sha256WithRSAEncryption", m("--signature", "sha256WithRSAEncryption"))
bad("lot that is not UTF-8", 2, "lot", m("--lot", b"\xff"))

# --- options -----------------------------------------------------------------------------------------------------

bad("unknown option", 2, ("--cuont", "did you mean --count"), m("--cuont", "5"))
bad("option twice", 2, ("--count", "twice"), m("--count", "5"))
bad("option without its value", 2, "--lot needs a value", m("--lot"))
bad("option that swallows the next", 2, "--lot needs a value", m("--lot", "--json"))
bad("flag with a value", 2, "--explain takes no value", m("--explain=yes"))
bad("operand", 2, "stray", m("stray"))
bad("short option", 2, "-n", m("-n"))
for _option, _value in (("layout", "zip"), ("encoding", "pkcs7"), ("io", "aio"), ("sync", "maybe"),
                        ("key-format", "openssh"), ("workers", "0"), ("workers", "100000"), ("batch", "0"),
                        ("batch", "99999999")):
    bad(f"--{_option} {_value}", 2, (f"--{_option}", _value), m(f"--{_option}", _value))
bad("--plaintext-keys missing", 2, "--plaintext-keys", m(plain=False))
bad("--out missing", 2, "--out", m(out=None))
bad("--out with no layout", 2, ("--layout none", "--out"), m("--layout", "none"))
bad("--keys-out with no layout", 2, "--keys-out", m("--layout", "none", "--keys-out", "k", out=None))
bad("no such command", 2, "did you mean certmill mint", ["mnit"])
bad("no command", 2, "", [], lines=99)

# --- where to ----------------------------------------------------------------------------------------------------

def holds_run():
    shutil.copytree(f"{FIX}/fleet", "out")


def other_run():
    """A run that is under way, ended by the row's `after`."""
    busy = subprocess.Popen([kit.CERTMILL, *m("--workers", "1", count="2000000")], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    other_run.process = busy
    end = time.monotonic() + 60
    while not os.path.exists("out/run.json") and time.monotonic() < end:
        time.sleep(0.01)


def end_other_run(_):
    busy = other_run.process
    busy.send_signal(signal.SIGTERM)
    try:
        code = busy.wait(120)
    except subprocess.TimeoutExpired:
        busy.kill()
        code = busy.wait()
    kit.check(code == 143, "the run that was first ended with", code)
    sound()


bad("out: holds a run", 2, ("out", "run"), m(), setup=holds_run)
bad("out: holds a file", 2, ("out", "precious"), m(), setup=lambda: (os.mkdir("out"), write("out/precious", "x")))
bad("out: an empty directory", 0, "", m(), setup=lambda: os.mkdir("out"))
bad("out: is a file", 2, "out", m(), setup=lambda: write("out", "x"))
bad("out: is a FIFO", 2, "out", m(), setup=lambda: os.mkfifo("out"))
bad("out: dangling link", (2, 3), "out", m(), setup=lambda: os.symlink("nowhere", "out"))
bad("out: link to itself", (2, 3), "out", m(), setup=lambda: os.symlink("out", "out"))
bad("out: parent missing", 3, ("no/such/place", "parent"), m(out="no/such/place"))
bad("out: parent is a file", 3, "file/out", m(out="file/out"), setup=lambda: write("file", "x"))
bad("out: name too long", (2, 3), "", m(out="x" * 256))
bad("out: path too long", (2, 3), "", m(out="./" * 2500 + "out"))
bad("out: not writable", 3, ("out", "Permission denied"), m(ca_key="../open/ca.key"), via=NOBODY, needs=("root",),
    setup=lambda: (os.mkdir("out"), os.chmod("out", 0o755)))
bad("out: parent not writable", 3, ("out", "Permission denied"), m(ca_key="../open/ca.key"), via=NOBODY,
    needs=("root",))
bad("out: read-only file system", 3, ("out", "Read-only file system"), m(out="mnt/out"), needs=("tmpfs",),
    setup=lambda: (mount("size=4m"), sh("mount", "-o", "remount,ro", "mnt")))
bad("out: another process writes there", 3, ("out", "another certmill process"), m(), setup=other_run, left="any",
    after=end_other_run)
bad("keys-out: open to others", 2, ("keys", "chmod 700"), m("--keys-out", "keys"),
    setup=lambda: (os.mkdir("keys"), os.chmod("keys", 0o755)))
bad("keys-out: holds something", 2, "keys", m("--keys-out", "keys"),
    setup=lambda: (os.mkdir("keys", 0o700), write("keys/x", "x")))
bad("keys-out: is a file", 2, "keys", m("--keys-out", "keys"), setup=lambda: write("keys", "x"))
bad("keys-out: parent missing", 3, "no/keys", m("--keys-out", "no/keys"))
bad("keys-out: same as out", 2, "out", m("--keys-out", "out"))

# --- limits and refusals -----------------------------------------------------------------------------------------

def mount(options):
    os.mkdir("mnt")
    sh("mount", "-t", "tmpfs", "-o", options, "tmpfs", "mnt")
    os.chmod("mnt", 0o777)


def small_disk(options):
    return lambda: mount(options)


def too_many(kib, layout="tar"):
    """A count that does not fit, but is not hopeless (mint refuses that): a device takes 4.2 KiB, in a tree a page
    for each file."""
    return str(max(1, kib * 1024 // (3600 if layout == "tar" else 6000)))


for _io in ("uring", "posix"):
    for _size in (8, 16, 64, 256, 1024, 3000, 6000, 20000):
        if _io == "posix" or _size in (64, 1024, 6000):
            bad(f"disk full at {_size} KiB, {_io}", 3, "mnt",
                m("--io", _io, "--batch", "64", out="mnt/out", count=too_many(_size)),
                needs=("tmpfs",), setup=small_disk(f"size={_size}k"), left="full")
if not kit.SLOW:
    # The first commit has 24 MiB of chains and keys and 9 MiB of rows: these fit into some of the disks, those don't.
    for _size in (25, 27, 29, 31, 33, 36, 60, 70):
        bad(f"disk full at {_size} MiB", 3, "No space", m(out="mnt/out", count=too_many(_size * 1024)),
            needs=("tmpfs",), setup=small_disk(f"size={_size}m"), left="full")
for _size in (64, 1024, 6000):
    bad(f"disk full at {_size} KiB, tree", 3, "mnt/out",
        m("--layout", "tree", "--batch", "64", out="mnt/out", count=too_many(_size, "tree")),
        needs=("tmpfs",), setup=small_disk(f"size={_size}k"), left="full")
bad("disk that is too small to begin with", 3, ("No space", "2000000 devices", "room for"), m(out="mnt/out", count="2000000"),
    needs=("tmpfs",), setup=small_disk("size=20m"))
bad("too few inodes to begin with", 3, ("No space", "50000 devices", "--layout tar"), m("--layout", "tree", out="mnt/out", count="50000"),
    needs=("tmpfs",), setup=small_disk("nr_inodes=600"))
bad("manifest can't grow", 3, "manifest.ndjson", m("--layout", "tree", count="300"), via=["prlimit", "--fsize=300000"],
    needs=("nothread",), left="full")
bad("key disk full", 3, ("mnt/keys", "No space"), m("--keys-out", "mnt/keys", "--batch", "64", count="20000"),
    needs=("tmpfs",), setup=small_disk("size=2000k"), left="full")
bad("out of inodes", 3, ("mnt/out", "No space"), m("--layout", "tree", out="mnt/out", count="290"), needs=("tmpfs",),
    setup=lambda: (mount("nr_inodes=600"), [write(f"mnt/{i}", "") for i in range(14)]), left="full")
bad("out of inodes at once", 3, "mnt/out", m(out="mnt/out"), needs=("tmpfs",), setup=small_disk("nr_inodes=3"),
    left="full")
bad("a count that no disk holds", 3, ("9000000000000000000", "room for"), m(out="mnt/out", count="9000000000000000000"),
    needs=("tmpfs",), setup=small_disk("size=5000k"))
for _limit in (4, 5, 6, 8, 10, 12, 16, 20):
    bad(f"only {_limit} descriptors", (0, 3), "", m(count="300"), via=["prlimit", f"--nofile={_limit}"],
        needs=("plain",), left="full")
    bad(f"only {_limit} descriptors, tree", (0, 3), "", m("--layout", "tree", count="30"),
        via=["prlimit", f"--nofile={_limit}"], needs=("plain",), left="full")
bad("only 4 descriptors: said", 3, ("Too many open files",), m(), via=["prlimit", "--nofile=4"], needs=("plain",))
_user = {"needs": ("root", "locks"), "left": "full"}


def open_here():
    os.chmod(".", 0o777)


for _limit, _code in ((0, 3), (4096, (0, 3)), (16384, (0, 3)), (65536, (0, 3)), (524288, 0)):
    bad(f"{_limit} octets of locked memory", _code, "" if _code != 3 else ("RLIMIT_MEMLOCK",),
        m(ca_key="../open/ca.key", count="300"), via=["prlimit", f"--memlock={_limit}", *NOBODY], setup=open_here, **_user)
bad("locked memory for the CA's key refused", 3, "RLIMIT_MEMLOCK", m(ca_key="../open/ca.key"),
    via=["prlimit", "--memlock=0", *NOBODY], setup=open_here, **_user)
bad("no more threads", 3, "", m("--workers", "4", ca_key="../open/ca.key"), via=[*NOBODY, "prlimit", "--nproc=1"],
    setup=open_here, needs=("root", "plain"), left="full")
for _limit in (0, 512, 20000, 300000, 2000000):
    for _layout in ("tar", "tree"):
        bad(f"files of at most {_limit} octets, {_layout}", (0, 3) if _limit >= 20000 and _layout == "tree" else 3,
            "" if _layout == "tree" and _limit >= 20000 else "File too large",
            m("--layout", _layout, count="8000" if _layout == "tar" else "300"), via=["prlimit", f"--fsize={_limit}"],
            needs=("nothread",), left="full")
bad("little address space", (0, 3), "", m(), via=["prlimit", "--as=30000000"], needs=("plain",), left="full")
bad("io_uring forbidden", 0, "blocking calls", [a for a in m(count="300") if a != "--quiet"],
    via=["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=io_uring_setup", "-e",
         "inject=io_uring_setup:error=EPERM"], needs=("strace",), left="sound")
bad("io_uring not there", 0, "blocking calls", [a for a in m(count="300") if a != "--quiet"],
    via=["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=io_uring_setup", "-e",
         "inject=io_uring_setup:error=ENOSYS"], needs=("strace",), left="sound")
bad("io_uring forbidden, asked for", 3, "io_uring", m("--io", "uring"),
    via=["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=io_uring_setup", "-e",
         "inject=io_uring_setup:error=EPERM"], needs=("strace",))
for _call in ("fsync,fdatasync,sync_file_range", "renameat,renameat2,rename", "mkdirat,mkdir", "fchmod,fchmodat",
              "ftruncate", "flock", "fallocate"):
    for _layout in ("tar", "tree"):
        bad(f"{_call} fails, {_layout}", (0, 3), "", m("--io", "posix", "--layout", _layout, count="300"),
            via=["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={_call}", "-e", f"inject={_call}:error=EIO"],
            needs=("strace",), left="honest")

# --- standard streams --------------------------------------------------------------------------------------------

def shell(redirect):
    return ["bash", "-c", f'exec "$@" {redirect}', "_"]


_fleet = f"{FIX}/fleet"
_prints = {"mint": m(), "mint --json": m("--json"), "mint --explain": m("--explain"),
           "plan": ["plan", "--count", "9", "--key", "P-256"], "plan --json": ["plan", "--count", "9", "--key", "P-256", "--json"],
           "verify": ["verify", _fleet], "verify --json": ["verify", _fleet, "--json"],
           "show": ["show", _fleet, "SN00000001"], "show --json": ["show", _fleet, "SN00000001", "--json"],
           "extract --json": ["extract", _fleet, "SN00000001", "--json"],
           "--help": ["--help"], "--version": ["--version"], "help mint": ["help", "mint"],
           "mint --help": ["mint", "--help"], "profile list": ["profile", "list"],
           "profile show": ["profile", "show", "aws-iot"], "doctor": ["doctor"]}
for _name, _args in _prints.items():
    if _name == "mint":
        continue  # with --quiet it prints nothing, so nothing can be lost
    _left = "sound" if _name == "mint --json" else "any" if _name.startswith("extract") else "same"
    bad(f"{_name} to /dev/full", 3, "standard output", _args, via=shell(">/dev/full"), left=_left)
    bad(f"{_name} to a closed stdout", 3, "standard output", _args, via=shell(">&-"), left=_left)
    bad(f"{_name} to a closed pipe", 3, "standard output", _args, via=["../closedpipe"], left=_left)
for _name, _redirect in (("stdin", "<&-"), ("stderr", "2>&-"), ("all", "<&- >&- 2>&-")):
    bad(f"mint with {_name} closed", 0, "", m(), via=shell(_redirect), left="sound")
    bad(f"a refused mint with {_name} closed", 2, "", m(ca="expired"), via=shell(_redirect), lines=2)
bad("mint with stderr full", 0, "", [a for a in m() if a != "--quiet"], via=shell("2>/dev/full"), left="sound")

# --- modes -------------------------------------------------------------------------------------------------------

def modes(layout, keys="out/keys"):
    def look(_):
        want = {"out": 0o755, "out/run.json": 0o644, "out/ca.pem": 0o644, "out/manifest.ndjson": 0o644,
                "out/chains": 0o755, keys: 0o700}
        inner = [f"{keys}/{n}" for n in os.listdir(keys)] + [f"out/chains/{n}" for n in os.listdir("out/chains")]
        if layout == "tar":
            want.update({p: 0o600 if p.startswith(keys) else 0o644 for p in inner})
        else:
            want.update({p: 0o700 if p.startswith(keys) else 0o755 for p in inner})
            want.update({f"{p}/{n}": 0o600 if p.startswith(keys) else 0o644 for p in inner for n in os.listdir(p)})
        kit.check(len(want) > 7, "too few files to look at")
        for path, mode in want.items():
            got = stat.S_IMODE(os.lstat(path).st_mode)
            kit.check(got == mode, f"{path}: mode {got:04o}, not {mode:04o}")
    return look


for _mask in ("000", "022", "077", "777"):
    for _layout in ("tar", "tree"):
        bad(f"umask {_mask}, {_layout}", 0, "", m("--layout", _layout), via=["bash", "-c", f'umask {_mask}; exec "$@"', "_"],
            after=modes(_layout), left="sound")
bad("umask 000, keys elsewhere", 0, "", m("--keys-out", "elsewhere"), via=["bash", "-c", 'umask 000; exec "$@"', "_"],
    after=modes("tar", "elsewhere"), left="sound")

# --- reading back ------------------------------------------------------------------------------------------------

for _command in ("verify", "show", "extract"):
    _id = [] if _command == "verify" else ["SN00000001"]
    bad(f"{_command} nothing", 2, "argument is missing", [_command])
    bad(f"{_command} a missing fleet", 2, "nowhere", [_command, "nowhere", *_id])
    bad(f"{_command} a file", 2, f"{FIX}/text", [_command, f"{FIX}/text", *_id])
    bad(f"{_command} an empty directory", 2, "empty", [_command, "empty", *_id], setup=lambda: os.mkdir("empty"))
    bad(f"{_command} a torn run.json", 2, "run.json", [_command, "out", *_id],
        setup=lambda: (holds_run(), os.truncate("out/run.json", 100)))
    bad(f"{_command} a run.json of the future", 2, "run.json", [_command, "out", *_id],
        setup=lambda: (holds_run(), edit("out/run.json", b'"version": 1', b'"version": 99')))
bad("show an unknown id", (1, 2), "SN99999999", ["show", _fleet, "SN99999999"])
bad("show with a terminal escape", (1, 2), "\\x1b", ["show", _fleet, "\x1b[31m"])
bad("extract an unknown id", (1, 2), "SN99999999", ["extract", _fleet, "SN99999999", "--out", "."])
bad("extract over a file", 2, "SN00000001.key", ["extract", _fleet, "SN00000001", "--out", "."],
    setup=lambda: write("SN00000001.key", "mine"))
bad("extract into a missing directory", (2, 3), "no/where", ["extract", _fleet, "SN00000001", "--out", "no/where"])
bad("extract onto a full disk", 3, "No space", ["extract", _fleet, "SN00000001", "--out", "mnt"], needs=("tmpfs",),
    setup=lambda: (mount("size=8k"), fill("mnt/ballast")))
bad("verify --sample 0", 2, "--sample", ["verify", _fleet, "--sample", "0"])
bad("verify with a wrong --keys", (1, 2, 3), "nowhere", ["verify", _fleet, "--keys", "nowhere"])


def edit(path, old, new):
    with open(path, "rb") as f:
        data = f.read()
    assert old in data, (path, old)
    write(path, data.replace(old, new))


def fill(path):
    with open(path, "wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(1024))
        except OSError:
            pass


# --- running a row -----------------------------------------------------------------------------------------------

def rows(fleet):
    with open(f"{fleet}/manifest.ndjson", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def fleets():
    return [d for d in ("out", "mnt/out") if os.path.isdir(d)]


def sound():
    """What is left is a fleet that verify accepts and that has no unfinished names; where even cleaning up was
    impossible, one that says so, and that a resume completes when there is room again."""
    kit.check(fleets(), "nothing is left")
    if os.path.ismount("mnt"):
        kit.run(["mount", "-o", "remount,size=64m", "mnt"])
    for fleet in fleets():
        with open(f"{fleet}/run.json", encoding="utf-8") as f:
            ended = json.load(f)["outcome"] is not None
        if not ended:
            kit.check(kit.mill("resume", "--quiet", fleet).code == 0, "can't be resumed:", fleet)
        r = kit.mill("verify", "--quiet", fleet, *(["--keys", "mnt/keys"] if os.path.isdir("mnt/keys") else []))
        kit.check(r.code == 0, "what is left is not sound:", r)
        part = [p for p in kit.files_below(fleet) if p.endswith(".part")]
        kit.check(not part, "unfinished names:", part)


def full(before, after):
    """After a run that may have failed in the middle: a sound fleet, or nothing at all."""
    if after != before and any("/run.json" in p for p in after):
        sound()
    else:
        kit.check(after == before, "left behind:", different(before, after))


def honest(before, after):
    """After a file system that failed at the end, too: nothing, or a fleet that is sound or known to have failed."""
    if after == before:
        return
    final = [p for p in after if p.startswith(("out/chains/0", "out/keys/0")) and ".part" not in p]
    if not os.path.exists("out/run.json"):
        kit.check(not final, "finished names without a run.json:", final[:5])
        return
    with open("out/run.json", encoding="utf-8") as f:
        outcome = json.load(f)["outcome"]
    r = kit.mill("verify", "--quiet", "out")
    kit.check(r.code in (0, 1), r)
    if r.code == 1:
        # An index that could not be written, nor its beginning removed, is no part of what was committed.
        only_index = r.err.startswith(b"index.part: unfinished") and r.err.strip().count(b"\n") == 0
        kit.check(outcome is None or outcome["state"] == "failed" or only_index, "verify finds something after:", outcome,
                  r)


def different(before, after):
    names = sorted(p for p in set(after) | set(before) if after.get(p) != before.get(p))
    return names[:8] + (["..."] if len(names) > 8 else [])


def possible(row):
    for need in row.needs:
        if need == "root" and not ROOT:
            return "needs root"
        if need == "tmpfs" and not possible.tmpfs:
            return "needs to mount a tmpfs"
        if need == "plain" and kit.SANITIZE or need == "nothread" and THREAD:
            return "a sanitizer does not start under this limit"
        if need == "locks" and kit.SANITIZE:
            return "sanitizers pass over mlock"
        if need == "strace" and (kit.tool("strace", "strace") is None or THREAD):
            return "no strace here"
    return None


possible.tmpfs = False


def run_row(number, row):
    place = f"row{number:03}"
    os.mkdir(place)
    os.chdir(place)
    try:
        if row.setup:
            row.setup()
        before = kit.files_below(".")
        env = {**os.environ, **row.env}
        if "strace" in row.via:
            env["ASAN_OPTIONS"] = "detect_leaks=0"  # LeakSanitizer does not work where something traces
        program = "../certmill" if "setpriv" in row.via else row.program
        r = kit.run([*row.via, program, *row.args], timeout=kit.PATIENCE, env=env)
        good = kit.check(r.code in row.code, f"{row.title}: exit code", r.code, "not", row.code, "\n ", r)
        for word in row.words:
            good = good and kit.check(word.encode() in r.err or 0 in row.code and word.encode() in r.out,
                                      f"{row.title}: no \"{word}\" in", r)
        if r.code != 0 and "2>&-" not in " ".join(row.via):
            kit.check(1 <= r.err.count(b"\n") <= row.lines, f"{row.title}: one or two lines, not", r)
            kit.check(row.lines > 2 or r.err.startswith(b"certmill: "), f"{row.title}: who speaks?", r)
        kit.check(b"PRIVATE KEY" not in r.out + r.err, f"{row.title}: a key was printed")
        failures = kit.failed
        if row.after:
            row.after(r)
        after = kit.files_below(".")
        if row.left == "same":
            kit.check(after == before, "left behind:", different(before, after))
        elif row.left == "sound":
            sound()
        elif row.left == "full":
            full(before, after)
        elif row.left == "honest":
            honest(before, after)
        if kit.failed > failures:
            print(f"  that was row \"{row.title}\":", r)
    finally:
        os.chdir("..")
        if os.path.ismount(f"{place}/mnt"):
            subprocess.run(["umount", "-l", f"{place}/mnt"], check=False)
        shutil.rmtree(place, ignore_errors=True)


def prepare():
    if ROOT:
        # Mounts of our own, which end with this process whatever happens.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(0x00020000) == 0 and subprocess.run(["mount", "--make-rprivate", "/"], check=False,
                                                            stderr=subprocess.DEVNULL).returncode == 0:
            os.mkdir("try")
            possible.tmpfs = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "try"], check=False,
                                            stderr=subprocess.DEVNULL).returncode == 0
            if possible.tmpfs:
                sh("umount", "try")
    make_fixtures()
    # For an ordinary user: a program, a CA and its key within reach.
    shutil.copy(kit.CERTMILL, "certmill")
    shutil.copytree("fix/good", "open")
    if ROOT:
        os.chmod(".", 0o755)
        for path in ("open/ca.key", "open"):
            os.chown(path, 65534, 65534)
    # A pipe that nobody reads.
    write("closedpipe", "#!/usr/bin/env python3\nimport os, sys\nr, w = os.pipe()\nos.close(r)\nos.dup2(w, 1)\n"
          "os.execv(sys.argv[1], sys.argv[1:])\n", 0o755)


def main():
    kit.enter_place("bad")
    prepare()
    only = os.environ.get("CM_ONLY", "")
    chosen = [(n, row) for n, row in enumerate(ROWS) if only in row.title]
    kit.rng.shuffle(chosen)  # no row may need another
    for number, row in chosen:
        why = possible(row)
        if why:
            kit.skip(f"{row.title}: {why}")
        else:
            run_row(number, row)
    kit.say(f"{len(chosen)} rows")
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
