"""Goal: the manual page and the program agree on what options there are. Method: every option that `certmill help COMMAND`
lists stands as a tag (behind .TP) in that command's section of docs/certmill.1, with the values that it takes; every tag there
is an option of the command; every option that the text mentions is one somewhere."""

import os
import re
import subprocess
import sys

import e2e_kit as kit

COMMON = {"json", "quiet", "help"}
# Commands that share a section.
SECTION = {"profile list": "PROFILE", "profile show": "PROFILE"}
# What is no command's.
FOREIGN = {"version", "name"}  # --name value: how options are written


def ask(*args):
    done = subprocess.run([kit.CERTMILL, *args], capture_output=True, text=True, timeout=kit.PATIENCE, check=True)
    return done.stdout


def commands():
    part = ask("--help").split("\nCommands:\n")[1].split("\n\n")[0]
    return [line[2:17].strip() for line in part.splitlines()]


def options(command):
    """{option: choices or None} as the program tells."""
    part = ask("help", *command.split()).split("\nOptions:\n")[1].split("\n\n")[0]
    return {m[1]: m[2].split("|") if m[2] and re.fullmatch(r"[a-z|]+", m[2]) and "|" in m[2] else None
            for m in re.finditer(r"^  --([a-z0-9-]+)(?: (\S+))?", part, re.MULTILINE)}


def plain(text):
    """roff's fonts, quotes and escaped dashes taken out."""
    text = re.sub(r"\\f[A-Z]|\\&", "", text).replace("\\-", "-")
    return re.sub(r'^\.(B|I|BR|BI|IR|RB|RI|TP)\b *', "", text, flags=re.MULTILINE).replace('"', "")


def sections(page):
    found = {}
    for part in re.split(r"^\.SH ", page, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        found[plain(title).strip('"')] = body
    return found


def tags(body):
    """The lines behind .TP, with what a font macro leaves for the next lines."""
    lines = body.splitlines()
    return [plain(lines[i + 1]) for i, line in enumerate(lines) if line.startswith(".TP")]


def named(text):
    return re.findall(r"(?<![\w-])--([a-z][a-z0-9-]*)", text)


def main():
    with open(os.path.join(os.environ["CM_SOURCE"], "docs/certmill.1"), encoding="utf-8") as f:
        page = f.read()
    parts = sections(page)
    known = {command: options(command) for command in commands()}
    kit.check(len(known) > 10 and all(known.values()), "commands", list(known))
    every = set().union(*known.values()) | FOREIGN
    for name in named(plain(page)):
        kit.check(name in every, f"the manual names --{name}, which no command has")
    common = parts["OPTIONS OF EVERY COMMAND"]
    for name in COMMON:
        kit.check(name in named("\n".join(tags(common))), f"--{name} is not in OPTIONS OF EVERY COMMAND")
    told = {}  # section: options that one of its commands has
    for command, takes in known.items():
        title = SECTION.get(command, command.upper())
        if not kit.check(title in parts, f"no section for {command}"):
            continue
        own = tags(parts[title])
        told.setdefault(title, set()).update(takes)
        synopsis = f"certmill {command}"
        kit.check(synopsis in plain(parts["SYNOPSIS"]), f"{synopsis} is not in the synopsis")
        for name, choices in takes.items():
            if name in COMMON:
                continue
            lines = [line for line in own if name in named(line)]
            if not kit.check(lines, f"{title}: --{name} is not told"):
                continue
            if choices is not None:
                kit.check(any("|".join(choices) in line for line in lines), f"{title}: --{name} takes {choices}:", *lines)
    for title, has in told.items():
        for line in tags(parts[title]):
            for name in named(line):
                kit.check(name in has, f"{title}: --{name} is no option of it")
    return kit.finish()


if __name__ == "__main__":
    sys.exit(main())
