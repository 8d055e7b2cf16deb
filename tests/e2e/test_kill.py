"""kill -9 of each process of VTL2 in turn, in the debug image. (That of the diagnostics server: diag_vm.)"""
import re

from harness import check, timeout
from machine import VM, VM_FILES, check_sections, run_script

SCRIPT = VM + r"""
within='timeout 20'
pid() { parapet ps | sed -n "s/^ *\([0-9]*\) .* $1\$/\1/p" | head -n 1; }
guest() { n=$((n + 1)); echo "echo GUEST-$((n + 1000))" >&3; i=0
    until grep -q "^GUEST-$((n + 1000))" guest || [ $((i += 1)) -gt 80 ]; do sleep 0.25; done
    [ $i -le 80 ] && echo "guest goes on"; }
vm --vtl2-serial file:/tmp/vtl2.log
guest
check program; $program exec demo /bin/sleep 1000 & client=$!; sleep 2
parapet exec /bin/kill -9 $(pid sleep); wait $client; echo "code $?"; guest
check memory; parapet exec /bin/sh -c 'x=x; while :; do x=$x$x; done' 2>&1; echo "code $?"; parapet ping; guest
[ "$(parapet file /run/underhill.pid)" = "$(pid paravisor)" ] && echo "named"
check shell; old=$(pid sh); parapet exec /bin/kill -9 $old; sleep 2; new=$(pid sh)
[ -n "$new" ] && [ "$new" != "$old" ] && echo "another shell"; guest
parapet kmsg | grep -c 'shell ended with status 0x9'
check diag; old=$(pid diag); parapet exec /bin/kill -9 $old; sleep 3; parapet ping; new=$(pid diag)
[ -n "$new" ] && [ "$new" != "$old" ] && echo "another server"; guest
parapet kmsg | grep -c 'diagnostics ended with status 0x9; starting them again'
check paravisor; kill -0 $vm && date +from-%s
parapet exec /bin/kill -9 $(pid paravisor) >/dev/null 2>&1
( sleep 30; kill -9 $vm ) & wait $vm; echo "code $?"; date +until-%s; cat guest
ls /tmp/parapet; echo "--"; tail -n 4 vtl2.log
"""


@timeout(200)
def test_each_process_of_vtl2():
    result = run_script(SCRIPT, 190, VM_FILES)
    check_sections(result, {
        "program": r"^code 255\nguest goes on\n",
        # a program that takes all of VTL2's memory is the one that goes
        "memory": r"code 255\ndiagnostics answer\nguest goes on\nnamed\n",
        "shell": r"^another shell\nguest goes on\n[1-9]\n",
        "diag": r"diagnostics answer\nanother server\nguest goes on\n[1-9]\n",
        # the guest's processors are its threads: the machine ends, at once and with a reason
        "paravisor": r"code 12\nuntil-\d+\n.*paravisor was killed by signal 9\n--\n",
    })
    begin, end = (int(re.search(rf"{word}-(\d+)", result.out)[1]) for word in ("from", "until"))
    check(end - begin < 15, f"the host ended after {end - begin} s", result)
