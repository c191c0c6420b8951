#!/usr/bin/env python3
"""Goal: what `certmill bench --report DIR` and `--csv FILE` write is whole, refers to nothing outside, and says the
same in every form; what keeps it from that is refused or told, and leaves no page that looks complete. Method: smoke
runs; JSON, CSV, HTML, data of the plots and files on disk are read by Python's own readers and held against each
other. A gnuplot that breaks is played by a script of our own. Full disks need root (a tmpfs); without, that part says so."""
import csv
import html.parser
import json
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
import xml.dom.minidom
import zlib

CERTMILL = os.path.realpath(os.environ["CERTMILL"])
FAST = ["--key", "P-256", "--case", "floor", "--case", "keytime", "--runs", "1"]
PLAIN_REPORT = ["bench.csv", "bench.json", "index.html", "keytime.dat", "keytime.gp", "rates.dat", "rates.gp"]  # FAST's
failed = []


def check(good, *words):
    if not good:
        failed.append(words)
        print("FAIL:", *words)


def bench(*options, path=None, want=0, words=""):
    env = dict(os.environ, **({"PATH": path} if path else {}))
    r = subprocess.run([CERTMILL, "bench", "--smoke", "--out", "work", *options], stdin=subprocess.DEVNULL, env=env,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300, check=False)
    err = r.stderr.decode()
    check(r.returncode == want and words in err, "bench", options, "exit", r.returncode, "wanted", want, words, err)
    check("Sanitizer:" not in err, err)
    check(os.listdir("work") == [], "left in --out:", os.listdir("work"))
    return r.stdout.decode(), err


def no_page(where, names=()):
    check(sorted(os.listdir(where)) == sorted(names), where, "holds", os.listdir(where))


# --- one report, in every form ----------------------------------------------


def scalars(result):
    return {k: v for k, v in result.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}


def same(a, b):
    return abs(a - b) <= 1e-6 * max(abs(a), abs(b))


UNITS = ("_s", "_us", "_us_per_device", "_per_device", "_per_s", "_per_processor_s", "_percent", "_kib", "_times",
         "_to_floor", "_floor", "_keys", "_bytes_per_device")
PLAIN = {"case", "key", "ca_key", "what", "round", "label", "over", "signature", "profile", "workers", "processors",
         "devices", "keys", "signatures", "chunks", "samples"}


def check_csv(report, path):
    with open(path, newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    first = list(rows[0]).index("case")
    for column in list(rows[0])[first:]:
        check(column in PLAIN or column.endswith(UNITS), "a column without a unit:", column)
    i = 0
    for result in report["results"]:
        for number in range(len(result.get("runs", [])) + 1):
            row, i = rows[i], i + 1
            source = result["runs"][number - 1] if number else result
            check(row["case"] == result["case"] and row["key"] == result["key"] and
                  row["ca_key"] == result.get("ca", "") and row["what"] == result.get("what", ""), row, result)
            check(row["round"] == (str(number) if number else ""), row["round"], number)
            cells = {k: v for k, v in list(row.items())[first:] if v != "" and k != "round"}
            got = sorted(float(v) for k, v in cells.items() if re.fullmatch(r"-?[\d.e+-]+", v) and k != "what")
            wanted = sorted(float(f"{v:.7g}") for v in scalars(source).values())
            if number: # these are the result's
                wanted = sorted(wanted + [result[k] for k in ("workers", "processors") if k in result])
            check(len(got) == len(wanted) and all(map(same, got, wanted)), result["case"], number, got, wanted)
            for name, column in (("rate", "rate_per_processor_s"), ("ratio", "ratio_to_floor"),
                                 ("cpu_us", "processor_us_per_device"), ("p99_us", "key_p99_us"),
                                 ("disk_bytes", "disk_bytes_per_device"), ("speedup", "speedup_times")):
                if source.get(name) is not None:
                    check(same(float(row[column]), source[name]), name, row[column], source[name])
            for name in ("processor", "libcrypto", "libc", "kernel", "build", "disk"):
                check(row[name] == report["machine"][name], name, row[name])
            check(row["commit"] == report["commit"] and row["at"] == report["at"], row)
    check(i == len(rows), i, "rows of", len(rows))


class Page(html.parser.HTMLParser):
    """Tables as lists of rows of (title, text); and whether every element that is opened is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.tables, self.ids, self.refs, self.cell, self.words = [], {}, [], [], None, ""

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.ids += [a["id"]] if "id" in a else []
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
                self.refs.append(value)
            self.refs += re.findall(r"url\(([^)]*)\)", value or "")
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag == "table":
            self.rows = self.tables.setdefault(a["data-case"], [])
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.cell = [a.get("title"), ""]
            self.rows[-1].append(self.cell)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        check(self.open and self.open[-1] == tag, "closed", tag, "in", self.open[-3:])
        self.open.pop()
        if tag == "td":
            self.cell = None

    def handle_data(self, data):
        self.words += data
        if self.cell is not None:
            self.cell[1] += data


def check_cell(cell, values):
    title, text = cell
    if title is None:
        return
    exact = [float(v) for v in title.split(" to ")]
    shown = [float(v.replace(",", "")) for v in re.findall(r"-?[\d,]+(?:\.\d+)?", text.replace("-", " -").replace("[ ", "["))
             ] if len(exact) == 1 else [float(v.replace(",", "")) for v in re.findall(r"(?<![\d.])-?[\d,]+(?:\.\d+)?", text)]
    for v in exact:
        check(any(same(v, w) for w in values), "not in the JSON:", title)
    if text == "-": # a range of one value
        check(len(exact) == 2 and same(*exact), cell)
        return
    check(len(shown) == len(exact), cell)
    for a, b in zip(shown, exact):
        check(abs(a - b) <= max(0.0051 * abs(b), 0.00051), "rounded wrongly:", cell)


def check_page(report, where, drawn):
    with open(f"{where}/index.html", encoding="utf-8") as f:
        text = f.read()
    page = Page()
    page.feed(text)
    page.close()
    check(page.open == [] and text.endswith("</html>\n"), "open at the end:", page.open)
    check(len(page.ids) == len(set(page.ids)), "an id that is there twice")
    for ref in page.refs:
        check(ref.strip("'\"").startswith("#") and ref.strip("'\"")[1:] in page.ids, "refers to", ref)
    check(not re.findall(r"https?://(?!www\.w3\.org/)", text) and "@import" not in text, "an address in the page")
    check(text.count("<svg") == (len(drawn) if drawn else 0), text.count("<svg"), "pictures")
    for word in (report["commit"], report["machine"]["processor"], report["machine"]["libcrypto"]):
        check(word in page.words, word, "is not in the page")
    cases = {r["case"] for r in report["results"]}
    check(set(page.tables) == cases, set(page.tables) ^ cases)
    for case in cases:
        results = [r for r in report["results"] if r["case"] == case]
        rows = [r for r in page.tables[case] if r]
        check(len(rows) == len(results), case, len(rows))
        for row, result in zip(rows, results):
            for cell in row:
                check_cell(cell, scalars(result).values())
    return page


def check_png(path):
    with open(path, "rb") as f:
        data = f.read()
    check(data[:8] == b"\x89PNG\r\n\x1a\n", path, "has no PNG signature")
    width, height = struct.unpack(">II", data[16:24])
    check(800 <= width <= 4000 and 300 <= height <= 20000, path, width, height)
    at, seen, pixels = 8, [], b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        check(struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0] == zlib.crc32(kind + body), path, kind)
        pixels += body if kind == b"IDAT" else b""
        seen.append(kind)
        at += 12 + length
    check(seen[0] == b"IHDR" and seen[-1] == b"IEND", path, seen)
    check(len(set(zlib.decompress(pixels))) > 10, path, "is blank")


def check_data(report, where, plot):
    values = {float(f"{v:.7g}") for r in report["results"] for v in scalars(r).values()}
    lines = 0
    with open(f"{where}/{plot}.dat", encoding="utf-8") as f:
        for line in f:
            if line.startswith("# row\tseries\tfrom_us"):
                break
            if line.startswith("#") or not line.strip():
                continue
            lines += 1
            for word in line.rstrip("\n").split("\t")[3:]:
                check(word.startswith('"') or word == "NaN" or float(word) in values, plot, word, "is not in the JSON")
    check(lines > 0, plot, "has no data")


def report_in_every_form():
    have = shutil.which("gnuplot") is not None
    plots = ["keytime", "ladder", "rates", "scale"]
    start = time.time()
    _, err = bench("--report", "rep", "--csv", "all.csv", "--json")
    print(f"a smoke report took {time.time() - start:.0f} s")
    suffixes = ("dat", "gp", "png", "svg") if have else ("dat", "gp")
    check(sorted(os.listdir("rep")) == sorted(["bench.csv", "bench.json", "index.html"] +
                                              [f"{p}.{s}" for p in plots for s in suffixes]), os.listdir("rep"))
    check("rep/index.html" in err and ("gnuplot-nox" in err) != have, err)
    with open("rep/bench.json", encoding="utf-8") as f:
        report = json.load(f)
    check(len({r["case"] for r in report["results"]}) == 11, "cases are missing")
    check_csv(report, "rep/bench.csv")
    with open("rep/bench.csv", "rb") as a, open("all.csv", "rb") as b:
        check(a.read() == b.read(), "--csv is not the report's bench.csv")
    page = check_page(report, "rep", plots if have else None)
    for case in ("engine", "tar", "tree"):  # no floor of EC keys has an interval, and so no ratio a low end
        check(all(row[6] == [None, "-"] for row in page.tables[case] if row), case, page.tables[case])
    with open("rep/bench.csv", newline="", encoding="utf-8") as f:
        check(all(row["ratio_low_to_floor"] == "" for row in csv.DictReader(f)), "a low end in the CSV")
    with open("rep/index.html", encoding="utf-8") as f:
        sections = re.findall(r'<section id="(\w+)">(.*?)</section>', f.read(), re.S)
    drawn = [(name, body.count("<figure")) for name, body in sections if "<figure" in body]
    check(drawn == ([(p, 1) for p in ("rates", "scale", "ladder", "keytime")] if have else []), "plots below headings", drawn)
    for plot in plots:
        check_data(report, "rep", plot)
        if have:
            xml.dom.minidom.parse(f"rep/{plot}.svg")
            check_png(f"rep/{plot}.png")
            r = subprocess.run(["gnuplot", "-d", "-e", "kind = 'svg'", f"{plot}.gp"], cwd="rep", check=False,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
            check(r.returncode == 0 and r.stderr == b"", plot, "drawn again:", r.stderr)
    for name in os.listdir("rep"):
        check(os.stat(f"rep/{name}").st_mode & 0o777 == 0o644, name, "has another mode")


def replaced_by_another():
    """An earlier report gives way as a whole: plots that the new one has not, too."""
    stdout, _ = bench(*FAST, "--report", "rep", "--quiet")
    names = os.listdir("rep")
    check("index.html" in names and not [n for n in names if n.startswith(("scale.", "ladder."))], names)
    with open("rep/bench.json", encoding="utf-8") as f:
        report = json.load(f)
    check({r["case"] for r in report["results"]} == {"floor", "keytime"}, report["results"])
    check("TIME OF A KEY" in stdout and "LADDER" not in stdout, stdout)


def without_gnuplot():
    os.mkdir("empty")
    _, err = bench(*FAST, "--report", "plain", path=os.path.abspath("empty"))
    check("apt-get install gnuplot-nox" in err, err)
    without_plots("plain", "because gnuplot was not installed")


def csv_beyond_files():
    """A table goes into what is there: through a link, into a FIFO, into a device, which stay what they are."""
    asked = ["--quiet", "--key", "P-256", "--case", "floor", "--runs", "1", "--csv"]
    os.mkdir("far")
    with open("far/table.csv", "w", encoding="utf-8") as f:
        f.write("old")
    os.symlink("far/table.csv", "near.csv")
    bench(*asked, "near.csv")
    check(os.readlink("near.csv") == "far/table.csv" and os.listdir("far") == ["table.csv"], os.listdir("far"))
    with open("far/table.csv", encoding="utf-8") as f:
        check(f.read().startswith("at,commit,"), "nothing was written through a link")
    os.mkfifo("pipe")
    with subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE) as reader:
        bench(*asked, "pipe")
        got = reader.communicate(timeout=60)[0].decode()
    check(stat.S_ISFIFO(os.lstat("pipe").st_mode), "the FIFO was replaced")
    check(got.startswith("at,commit,") and got.count("\n") == 2, "through the FIFO came", got)
    try:  # a node of /dev/full's own kind
        os.mknod("full", stat.S_IFCHR | 0o600, os.makedev(1, 7))
        open("full", "wb").close()
    except OSError as e:
        print("devices: skipped, a node needs root:", e)
        return
    os.symlink("full", "to-full")
    for name in ("full", "to-full"):
        bench(*asked, name, want=3, words="No space left")
        check(stat.S_ISCHR(os.stat(name).st_mode), name, "was replaced")
    check(os.path.islink("to-full") and not os.path.exists("full.part"), os.listdir("."))


# --- what must not end in a page ---------------------------------------------


def play_gnuplot(script):
    os.makedirs("fake", exist_ok=True)
    with open("fake/gnuplot", "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\n" + script)
    os.chmod("fake/gnuplot", 0o755)
    return os.path.abspath("fake") + ":" + os.environ["PATH"]


def without_plots(where, words):
    """All figures and the page are there, and nothing that gnuplot made."""
    no_page(where, PLAIN_REPORT)
    with open(f"{where}/bench.json", encoding="utf-8") as f:
        report = json.load(f)
    check_csv(report, f"{where}/bench.csv")
    page = check_page(report, where, None)
    check(words in page.words, "the page does not say why there are no plots")
    return report


def broken_gnuplot():
    err = ""
    for script, words in (("echo 'no such terminal' >&2; exit 1\n", "no such terminal"),
                          ("echo 'at first' >&2; echo 'the reason' >&2; exit 1\n", "failed (exit 1): the reason"),
                          ("printf '<svg>' >rates.svg; exit 0\n", "only in part"),
                          ("exit 2\n", "failed (exit 2)"), ("exit 4\n", "failed (exit 4)"),
                          ("kill -9 $$\n", "killed by signal 9")):
        _, err = bench(*FAST, "--report", "broken", path=play_gnuplot(script), want=3, words=words)
        check("gnuplot" in err.split("\n")[0] and "with --count" not in err, err)
        without_plots("broken", "because gnuplot failed")
    if shutil.which("gnuplot"):  # what the message says draws them
        command = re.search(r"to draw them: (.*)", err)
        subprocess.run(["sh", "-c", command[1] if command else "exit 1"], check=True, timeout=60)
        for plot in ("rates", "keytime"):
            check_png(f"broken/{plot}.png")
    # An earlier report gives way as a whole, its pictures too.
    shutil.copytree("rep", "kept")
    with open("kept/bench.json", encoding="utf-8") as f:
        old = json.load(f)
    bench(*FAST, "--report", "kept", path=play_gnuplot("exit 1\n"), want=3)
    check(without_plots("kept", "because gnuplot failed")["results"] != old["results"], "the old figures stayed")


def refusals():
    os.mkdir("other")
    for name, content in (("other/index.html", "<html>mine</html>"), ("file", "x")):
        with open(name, "w", encoding="utf-8") as f:
            f.write(content)
    bench("--report", "file", want=2, words="is no directory")
    bench("--report", "other", want=2, words="holds something else than an earlier report")
    no_page("other", ["index.html"])
    bench("--report", "nowhere/rep", want=3, words="can't be made")
    bench("--csv", "nowhere/x.csv", want=3, words="nowhere")
    bench("--csv", "nowhere/", want=2, words="no file name")
    bench("--csv", "other", want=2, words="is a directory")
    os.symlink("nothing", "astray")
    bench("--csv", "astray", want=3, words="No such file")
    check(os.path.islink("astray") and not os.path.exists("nothing"), "a link to nothing was followed")
    bench("--csv", "x" * 80, want=2, words="at most 58")
    bench("--report", "new", "--ca-key-alg", "P-111", want=2, words="there are: P-256")
    check(not os.path.exists("new"), "a refused report made its directory")


def stopped(where, path, ready, *options, names=()):
    p = subprocess.Popen([CERTMILL, "bench", "--smoke", "--quiet", "--out", "work", "--report", where, *options],
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                         env=dict(os.environ, PATH=path))
    end = time.time() + 120
    while not ready() and p.poll() is None and time.time() < end:
        time.sleep(0.05)
    check(p.poll() is None, "was over before it could be stopped")
    p.send_signal(signal.SIGINT)
    err = p.communicate(timeout=60)[1].decode()
    check(p.returncode == 130 and "Sanitizer:" not in err, p.returncode, err)
    check("interrupted by SIGINT" in err and "no report was written" in err, err)
    no_page(where, names)
    check(os.listdir("work") == [], os.listdir("work"))


def interrupted():
    stopped("early", os.environ["PATH"], lambda: any(n.startswith("certmill-bench") for n in os.listdir("work")),
            "--count", "3000", "--runs", "20")
    path = play_gnuplot(f"echo >{os.path.abspath('drawing')}; exec sleep 100\n")
    stopped("late", path, lambda: os.path.exists("drawing"), *FAST)
    # An earlier report stays as it is.
    os.unlink("drawing")
    shutil.copytree("plain", "before")
    stopped("before", path, lambda: os.path.exists("drawing"), *FAST, names=PLAIN_REPORT)
    for name in PLAIN_REPORT:
        with open(f"plain/{name}", "rb") as a, open(f"before/{name}", "rb") as b:
            check(a.read() == b.read(), name, "was changed")


def killed():
    """What SIGKILL leaves in DIR is removed by the next run, and neither what is in use nor what is not ours."""
    path = play_gnuplot(f"echo >{os.path.abspath('at-it')}; exec sleep 100\n")
    with subprocess.Popen([CERTMILL, "bench", "--smoke", "--quiet", "--out", "work", "--report", "dead", *FAST],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=dict(os.environ, PATH=path)) as p:
        end = time.time() + 120
        while not os.path.exists("at-it") and p.poll() is None and time.time() < end:
            time.sleep(0.05)
        bench(*FAST, "--report", "dead", want=3, words="another bench writes its report there")
        p.kill()
    left = os.listdir("dead")
    check(len(left) == 1 and left[0].startswith("certmill-report-"), "SIGKILL left", left)
    bench(*FAST, "--report", "dead", path=os.path.abspath("empty"))
    no_page("dead", PLAIN_REPORT)
    os.makedirs("theirs/certmill-report-abcdef")
    with open("theirs/certmill-report-abcdef/mine", "wb"):
        pass
    bench(*FAST, "--report", "theirs", want=2, words="holds something else")
    check(os.path.exists("theirs/certmill-report-abcdef/mine"), "what is not ours was removed")


def busy_machine():
    """The page warns as standard error does: on one processor, with something else to do for it before."""
    argv = [CERTMILL, "bench", "--out", "work", "--key", "P-256", "--case", "floor", "--runs", "1", "--report", "busy"]
    one, end = min(os.sched_getaffinity(0)), time.time() + 30
    others = []
    try:
        while os.getloadavg()[0] < 0.5 and time.time() < end:  # it moves every 5 s
            if not others:
                others = [subprocess.Popen(["nice", "-n", "19", "sh", "-c", "while :; do :; done"]) for _ in range(10)]
            time.sleep(0.2)
        for size, busy in ((["--smoke"], False), (["--seconds", "1"], True)):
            r = subprocess.run([*argv, *size], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               timeout=120, check=False, preexec_fn=lambda: os.sched_setaffinity(0, {one}))
            check(r.returncode == 0, r.stderr)
            with open("busy/bench.json", encoding="utf-8") as f:
                report = json.load(f)
            check(report["machine"]["processors"] == 1 and report["settings"]["load"] > 0.3, report)
            page = check_page(report, "busy", ["rates"] if shutil.which("gnuplot") else None)
            for text in (page.words, r.stderr.decode()):
                check(("machine was busy before the first run" in text) == busy, size, text)
    finally:
        for p in others:
            p.kill()
            p.wait()


def full_disk():
    if os.geteuid() != 0 or not shutil.which("mount"):
        print("full disks: skipped, a tmpfs needs root")
        return
    os.mkdir("small")
    ends = []
    for kib in (16, 48, 96, 160, 288, 416, 1024):
        r = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k,mode=0755", "tmpfs", "small"], check=False,
                           stderr=subprocess.PIPE)
        if r.returncode != 0:
            print("full disks: skipped,", r.stderr.decode().strip())
            return
        try:
            r = subprocess.run([CERTMILL, "bench", "--smoke", "--quiet", "--out", "work", "--report", "small", *FAST],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=120, check=False)
            ends.append(r.returncode)
            check(r.returncode in (0, 3), kib, r.returncode, r.stderr)
            if r.returncode == 3:
                if os.listdir("small"):  # there was room for all but the pictures
                    without_plots("small", "because gnuplot failed")
                check(r.stderr.startswith(b"certmill: "), r.stderr)
            else:
                with open("small/bench.json", encoding="utf-8") as f:
                    check_page(json.load(f), "small", ["rates", "keytime"] if shutil.which("gnuplot") else None)
        finally:
            subprocess.run(["umount", "small"], check=True)
    check(ends[0] == 3 and ends[-1] == 0, "no size was too small, or none was enough:", ends)
    print("full disks:", ends)


def main():
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as dir:
        os.chdir(dir)
        os.mkdir("work")
        for part in (report_in_every_form, replaced_by_another, without_gnuplot, csv_beyond_files, broken_gnuplot, refusals, interrupted,
                     killed, busy_machine, full_disk):
            part()
        os.chdir(here)
    print("failed" if failed else "passed")
    return 1 if failed else 0


sys.exit(main())
