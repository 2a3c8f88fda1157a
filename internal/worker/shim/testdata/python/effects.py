"""What a handler does besides returning."""

import atexit
import logging
import os
import signal
import subprocess
import sys
import threading
import time

# Lists what the descriptors of a process are.
LISTING = """
import os
for fd in os.listdir("/proc/self/fd"):
    if os.path.exists("/proc/self/fd/" + fd):
        print(os.readlink("/proc/self/fd/" + fd))
"""


def prints(event):
    print("out", event, "ü")
    print("err", event, file=sys.stderr)
    return event


def no_newline(event):
    sys.stdout.write("partial")
    return event


def long(event):
    print("x" * event)
    return event


def writes(event):
    os.write(1, b"result x 1 json:2\n{}\n")
    return event


def closes(event):
    sys.stdout.close()
    os.close(1)
    return event


def logs(event):
    logging.info("info %s", event)
    logging.getLogger("mine").warning("warn")
    return event


def context_logs(event, context):
    context.log("plain\nlines")
    context.log("warning", "ü")
    threading.Thread(target=late, args=(context,)).start()
    return event


def late(context):
    while not os.path.exists(os.environ["GATE"]):
        time.sleep(0.005)
    context.log("error", "late")


def descriptors(event):
    """What a subprocess inherits that inherits all it can."""
    out = subprocess.run([sys.executable, "-c", LISTING], stdout=subprocess.PIPE, close_fds=False, check=True)
    return out.stdout.decode().split()


def forks(event):
    """A child that is forked, not executed, has no frames either."""
    child = os.fork()
    if child == 0:
        pipes = [os.path.exists("/proc/self/fd/%d" % fd) for fd in range(100, 103)]
        os._exit(10 + sum(pipes))
    return os.waitpid(child, 0)[1] >> 8


def terminates(event):
    """SIGTERM does not end the worker, but ends what it starts."""
    os.kill(os.getpid(), signal.SIGTERM)
    child = subprocess.Popen(["sleep", "60"])
    child.terminate()
    return child.wait()


def path(event):
    return [sys.path[0] == os.getcwd(), sys.argv]


atexit.register(lambda: print("bye"))
