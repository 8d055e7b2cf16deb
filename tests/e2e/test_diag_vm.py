"""Diagnostics through VMBus: the host's client, hvsocket, VTL2's server, in one real machine."""
from harness import timeout
from machine import VM, VM_FILES, check_sections, run_script

SCRIPT = VM + r"""
vm --cpus 2 --memory 512M
check inspect; parapet inspect -r build_info; parapet inspect control_state
check tree; parapet inspect -r boot; parapet inspect -r vm/vmbus_relay; parapet inspect vm/vmbus_client/state
parapet inspect -r | grep -c -E "error|_,$"
check exits; parapet inspect vm/partition/vp/1/stats/vtl_transitions
check code; parapet exec /bin/sh -c 'echo out; echo err >&2; exit 7' 2>err; echo "code $? $(cat err)"
check nothing; parapet exec /bin/sh -c 'cat; echo "cat $?"' </dev/null; echo "code $?"
check missing; parapet exec /no/such/file; echo "code $?"
check bytes; head -c 300000 /dev/urandom >blob; parapet exec /bin/cat <blob >blob2; cmp blob blob2 && echo same
check twenty
i=0; while [ $((i += 1)) -le 20 ]; do parapet exec /bin/sh -c "sleep 1; echo $i" >n$i & last=$!; p="$p $last"; done
for pid in $p; do wait $pid || echo "failed"; done
cat n1 n20
check killed; $program exec demo /bin/sleep 1000 & pid=$!; sleep 2
parapet ps | grep -c ' sleep$'; kill -9 $pid; sleep 5; parapet ps | grep -c ' sleep$'
parapet inspect -r diag
check pause; parapet pause; echo "code $?"; parapet pause; echo "code $?"
parapet inspect vm/partition/power_state
a=$(parapet inspect vm/partition/vp/0/stats/vtl_transitions); sleep 1
b=$(parapet inspect vm/partition/vp/0/stats/vtl_transitions); [ "$a" = "$b" ] && echo still
parapet resume; echo "code $?"
check restart; diag=$(parapet ps | sed -n 's/^ *\([0-9]*\) .* diag$/\1/p')
parapet exec /bin/kill -9 $diag >/dev/null 2>&1; sleep 4; parapet ping; parapet kmsg | grep -c 'starting them again'
check second; $program run --image $image --kernel $kernel --vtl2-vsock /tmp/parapet/demo.vsock 2>&1; echo "code $?"
check file; parapet file /proc/version; parapet file /no/such/file; echo "code $?"
check end; echo 'poweroff -f' >&3; wait $vm; echo "code $?"; [ -e /tmp/parapet/demo.vsock ] || echo removed
"""


@timeout(420)
def test_diagnostics_in_a_machine():
    check_sections(run_script(SCRIPT, 400, VM_FILES), {
        "inspect": r'kernel_release: "7\.[^"]*-parapet".*"started"',
        "tree": r'guest_entry_us: [1-9].* init_us: [1-9].*interface_name: "kvp_ic".*relayed: [1-9],\s*}\s*"connected"\s0\n$',
        "exits": r"^[1-9]\d*\n",
        "code": r"^out\ncode 7 err\n",
        "nothing": r"^cat 0\ncode 0\n",
        "missing": r"code 125",
        "bytes": r"same",
        "twenty": r"^1\n20\n",
        "killed": r"^1\n0\n.*programs_running: 0",
        "pause": r'^code 0\ncode 1\n"paused"\nstill\ncode 0\n',
        "restart": r"diagnostics answer\n1\n",
        "second": r"in use by another program\ncode 1\n",
        "file": r"^Linux version 7\..*code 1\n",
        "end": r"^code 0\nremoved\n",
    })
