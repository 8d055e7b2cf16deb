"""Several `parapet` runs in one machine: starting a nested machine takes longer than most of them."""
import glob
import os
import re
import shlex

from harness import BUILD, IMAGE, Result, parapet

PROGRAM = os.path.join(BUILD, "bin/parapet")
RAW = os.path.join(BUILD, "guest/raw.elf")
CACHE = os.environ.get("PARAPET_CACHE") or os.path.expanduser("~/.cache/parapet")
BUSYBOX = [p for p in glob.glob(f"{CACHE}/guest/busybox/**/busybox", recursive=True)
           if os.path.isfile(p) and os.access(p, os.X_OK)][0]


class Case:
    """One run: `parapet run` of the bare-metal guest with options and the words for its tests."""

    def __init__(self, name, words, *options, before="", around="", after="", image=IMAGE):
        command = [PROGRAM, "run", "--image", image, "--kernel", RAW, "--cmdline", f"test={words}",
                   "--memory", "256M", *options]
        # `before` and `after` are shell, `around` a command that starts the program
        self.name = name
        self.line = f"{before}\n{around} {shlex.join(command)} </dev/null 2>&1\ncode=$?\n{after}"


def run_cases(cases, limit, files=(), mem=2560):
    """Runs the cases in order; returns their Results by name."""
    script = "\n".join(f"echo '=== {c.name}'\n{c.line}\necho \"=== code $code\"" for c in cases)
    nested = ["--mem", str(mem)]
    for path in (PROGRAM, RAW, IMAGE, *files):
        nested += ["--file", path]
    whole = parapet("sh", "-c", f"cd /tmp\n{script}", program=BUSYBOX, limit=limit, nested=nested)
    results = {}
    for name, text, code in re.findall(r"=== (\S+)\n(.*?)=== code (\d+)", whole.out.replace("\r", ""),
                                       re.S):
        results[name] = Result(int(code), text, "", 0)
    missing = [c.name for c in cases if c.name not in results]
    if missing:
        raise AssertionError(f"no result of {missing}\n{whole}")
    return results
