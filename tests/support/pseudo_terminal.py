"""Runs a command in a pseudo-terminal, types into it, and prints what it showed.

Usage: pseudo_terminal.py, with a JSON object on standard input: command (list), columns, rows, env, and steps, each
{"wait": TEXT, "send": TEXT} or {"wait": TEXT, "signal": NUMBER}: once TEXT has been shown since the
step before, the rest is done. Prints {"code": N, "output": TEXT, "missed": TEXT or null} as JSON.
"""

import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios
import time

# Ends a program that shows nothing more; the machine may be slow.
DEADLINE_S = 60


def main():
    job = json.load(sys.stdin)
    pid, terminal = pty.fork()
    if pid == 0:
        # Whether there is colour is the job's to say.
        os.environ.pop("NO_COLOR", None)
        os.environ.update(job.get("env", {}))
        # The size is there before the program asks.
        time.sleep(0.05)
        os.execvp(job["command"][0], job["command"])
    size = struct.pack("HHHH", job.get("rows", 24), job.get("columns", 80), 0, 0)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
    shown = b""
    seen = 0
    steps = list(job["steps"])
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        while steps:
            at = shown.find(steps[0]["wait"].encode(), seen)
            if at < 0:
                break
            seen = at + len(steps[0]["wait"].encode())
            step = steps.pop(0)
            if "send" in step:
                os.write(terminal, step["send"].encode())
            if "signal" in step:
                os.kill(pid, step["signal"])
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                piece = os.read(terminal, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
    else:
        os.kill(pid, 9)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    missed = steps[0]["wait"] if steps else None
    print(json.dumps({"code": code, "output": shown.decode(errors="replace"), "missed": missed}))


main()
