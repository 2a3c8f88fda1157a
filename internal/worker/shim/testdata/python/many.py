"""What handlers do when several of their calls are in flight."""

import asyncio
import logging
import os
import sys
import threading

gates = {}


def gate(name):
    return gates.setdefault(name, asyncio.Event())


async def talk(event, context):
    """{"hold": NAME} prints and waits; {"release": NAME} lets it go on."""
    if "release" in event:
        gate(event["release"]).set()
        return None
    name = event["hold"]
    print("begin", name)
    sys.stdout.write("half of ")  # the rest of the line comes after the wait
    print("error", name, file=sys.stderr)
    await asyncio.create_task(child(name))
    context.log("debug", "holding " + name)
    try:
        await gate(name).wait()
    finally:
        print(name)
    logging.getLogger("mine").error("logged %s", name)
    await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    sys.stdout.write("end " + name)
    if event.get("fail"):
        raise ValueError("no " + name)
    return name


async def child(name):
    print("child of", name)


left = []


async def late(event):
    """Leaves a task behind that prints after the call."""
    if event == "release":
        gate("late").set()
        await left[0]
    else:
        left.append(asyncio.create_task(after(event)))


async def after(event):
    await gate("late").wait()
    print("after", event)


async def leave(event):
    """A task of the call's own raises what would end a program."""

    async def exits():
        sys.exit(3)

    await asyncio.create_task(exits())


async def crash(event):
    if event == "crash":
        os._exit(9)
    print("waiting", event)
    await asyncio.sleep(3600)


def echo(event):
    return event


async def soon(event):
    return event


lock = threading.Condition()
inside = set()
free = set()


def plain(event, context):
    """talk for threads."""
    with lock:
        if "release" in event:
            free.add(event["release"])
            lock.notify_all()
            return None
    name = event["hold"]
    print("begin", name)
    sys.stdout.write("half of ")
    print("error", name, file=sys.stderr)
    print("child of", name)
    context.log("debug", "holding " + name)
    with lock:
        lock.wait_for(lambda: name in free)
    print(name)
    logging.getLogger("mine").error("logged %s", name)
    sys.stdout.write("end " + name)
    if event.get("fail"):
        raise ValueError("no " + name)
    return name


def awaitable(event, context):
    """Not seen to be async before it is called."""
    return talk(event, context)


def crash_thread(event):
    if event == "crash":
        os._exit(9)
    print("waiting", event)
    threading.Event().wait()


def threads(event):
    with lock:
        inside.add(threading.get_ident())
        lock.notify_all()
        lock.wait_for(lambda: len(inside) >= event)
    return len(inside)


def forks(event):
    """A forked child's printing is not the call's."""
    child = os.fork()
    if child == 0:
        print("from the child")
        sys.stdout.flush()
        os._exit(0)
    return os.waitpid(child, 0)[1]


print("loading")
