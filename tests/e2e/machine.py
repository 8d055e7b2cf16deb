"""Several `parapet` runs in one machine: starting a nested machine takes longer than most of them.
Scripts for that machine that run VMs and look at them from inside."""
import glob
import os
import re
import shlex

from harness import BUILD, IMAGE, IMAGE_DEBUG, INITRD, KERNEL, USERSPACE, Result, check, parapet

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


# `vm OPTIONS` runs the test guest as VM "demo", $vm, and waits until its user space and VTL2's diagnostics
# answer. Its console is a pipe (file 3), so that the end of a script can still switch it off; what it and
# the program say is in the file guest. `check NAME` begins a section.
VM = f"""
export XDG_RUNTIME_DIR=/tmp
program={PROGRAM} image={IMAGE_DEBUG} kernel={KERNEL} initrd={INITRD}
mkfifo console
exec 3<>console
check() {{ echo "== $1"; }}
parapet() {{ command=$1; shift; $within $program $command demo "$@"; }}
until_ping() {{ i=0; until parapet ping >/dev/null 2>&1 || [ $((i += 1)) -gt 120 ]; do sleep 0.5; done; }}
vm() {{
    $program run --image $image --kernel $kernel --initrd $initrd --memory 256M \
        --cmdline 'console=ttyS0 quiet' --name demo "$@" <console >guest 2>&1 &
    vm=$!
    until_ping
    until grep -q {USERSPACE} guest || [ $((i += 1)) -gt 240 ]; do sleep 0.5; done
}}
"""
VM_FILES = (IMAGE_DEBUG, KERNEL, INITRD)


def run_script(script, limit, files, out=(), mem=2560):
    """Runs a script in /tmp of one machine, which has the program and the files."""
    nested = ["--mem", str(mem)]
    for path in (PROGRAM, *files):
        nested += ["--file", path]
    for path in out:
        nested += ["--out", path]
    return parapet("sh", "-c", f"cd /tmp\n{script}", program=BUSYBOX, limit=limit, nested=nested)


def check_sections(result, patterns):
    """What the script said after each `check NAME` (or "== NAME"): {name: pattern that is found there}"""
    said = dict(re.findall(r"== (\w+)\n(.*?)(?=== |\Z)", result.out.replace("\r", ""), re.S))
    for name, pattern in patterns.items():
        check(re.search(pattern, said.get(name, ""), re.S), name, result)


def run_cases(cases, limit, files=(), mem=2560):
    """Runs the cases in order; returns their Results by name."""
    script = "\n".join(f"echo '=== {c.name}'\n{c.line}\necho \"=== code $code\"" for c in cases)
    whole = run_script(script, limit, (RAW, IMAGE, *files), mem=mem)
    results = {}
    for name, text, code in re.findall(r"=== (\S+)\n(.*?)=== code (\d+)", whole.out.replace("\r", ""),
                                       re.S):
        results[name] = Result(int(code), text, "", 0)
    missing = [c.name for c in cases if c.name not in results]
    if missing:
        raise AssertionError(f"no result of {missing}\n{whole}")
    return results
