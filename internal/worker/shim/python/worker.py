"""Makes a Python file a worker of Runnel.

Frames come in on file descriptor 3 and go out on 4; docs/adr/0008-worker-frames.md
says what they are, docs/handlers.md what a handler can do.
"""

import os
import sys

# This file's directory was put first by the interpreter; the user's comes there.
LIB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib")
if __name__ == "__main__":
    sys.path[0] = LIB

import fcntl
import gc
import logging
import signal
import threading

import runnel_context
import runnel_errors
import runnel_load
import runnel_values
from runnel_context import Context, Meta
from runnel_errors import describe
from runnel_values import check_list, decode, failed_call, list_result, result

runnel_errors.SHIM.update(m.__file__ for m in (sys.modules[__name__], runnel_context, runnel_load, runnel_values))

# The longest line of a frame, and the longest text of a log frame, in bytes.
MAX_LINE = 64 << 10
MAX_LOG = 64 << 10


class Frames:
    """The two pipes, moved away from 3 and 4 and hidden from subprocesses."""

    def __init__(self):
        self.into = _move(3)
        self.reader = open(self.into, "rb", buffering=MAX_LINE, closefd=False)
        self.out = _move(4)
        self.lock = threading.Lock()  # user threads may log
        self.current = b"-"  # the id of the call that is running
        self.running = ()  # the ids of all that are, where there can be several

    def send(self, frame):
        with self.lock:
            done = os.write(self.out, frame)
            while done < len(frame):
                frame = memoryview(frame)[done:]
                done = os.write(self.out, frame)

    def log(self, id, level, text):
        raw = text.encode("utf-8", "backslashreplace")[:MAX_LOG]
        if id != self.current and id not in self.running:
            id = b"-"  # a thread that outlived its call
        self.send(b"log %b %b %d\n%b" % (id, level.encode(), len(raw), raw))

    def forget(self):
        """In a forked child: the frames are its parent's."""
        os.close(self.into)
        os.close(self.out)
        self.out = -1
        self.lock = threading.Lock()  # another thread may have held it
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _move(fd):
    for least in (100, 10):
        try:
            moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, least)
            break
        except OSError as error:
            # EINVAL: the limit of open files is lower than that.
            if least == 10 or error.errno == 9:
                sys.exit("a worker of Runnel needs pipes on file descriptors 3 and 4: %s" % error)
    os.close(fd)
    os.set_blocking(moved, True)
    return moved


class Worker:
    """One call at a time. More than one are in runnel_many."""

    def __init__(self, frames, handler):
        self.frames = frames
        self.handler = handler
        self.call = handler.call
        self.takes_context = handler.takes_context
        self.is_async = handler.is_async
        self.loop = None

    def serve(self):
        """Answers calls until the frames end. One call at a time, in the main thread."""
        readline, read = self.frames.reader.readline, self.frames.reader.read
        while True:
            words = readline(MAX_LINE).split()
            if not words or words[0] == b"drain":
                return
            if words[0] == b"cancel":
                continue  # its call is over: this loop reads between calls only
            if words[0] != b"invoke":
                raise SystemExit("unknown frame %r" % words[0])
            _, id, deadline, mode, format, meta_length, _ = words[:7]
            lengths = list(map(int, words[7:]))
            end = int(meta_length)
            body = read(end + sum(lengths))
            if len(body) < end + sum(lengths):
                return  # the server died while it wrote
            payloads = []
            for length in lengths:
                payloads.append(body[end : end + length])
                end += length
            meta = Meta(id, int(deadline), body[: int(meta_length)], self.frames.log)
            del body
            self.frames.current = id
            if mode == b"list":
                answer = self.answer_list(meta, format, payloads)
            else:
                answer = self.answer_each(meta, format, payloads)
            self.frames.current = b"-"
            flush()
            self.frames.send(answer)

    def answer_each(self, meta, format, payloads):
        if self.is_async:
            # One task for the batch: a task costs more than a short handler.
            answers = self.run(self.each_async(meta, format, payloads))
        else:
            answers = []
            encode, count = self.handler.encode, len(payloads)
            for i in range(count):
                try:
                    event = decode(payloads[i], format)
                    if self.takes_context:
                        value = self.call(event, Context(meta, i, 1))
                    else:
                        value = self.call(event)
                    if hasattr(type(value), "__await__"):
                        value = self.run(awaited(value))
                    answers.append(encode(value, format))
                except BaseException as error:
                    answers.append((b"error", self.handler.describe(error)))
        return result(meta.id, answers)

    async def each_async(self, meta, format, payloads):
        answers = []
        encode = self.handler.encode
        for i, payload in enumerate(payloads):
            try:
                event = decode(payload, format)
                if self.takes_context:
                    value = await self.call(event, Context(meta, i, 1))
                else:
                    value = await self.call(event)
                answers.append(encode(value, format))
            except BaseException as error:
                answers.append((b"error", self.handler.describe(error)))
        return answers

    def answer_list(self, meta, format, payloads):
        count = len(payloads)
        try:
            event = [decode(p, format) for p in payloads]
            if self.takes_context:
                value = self.call(event, Context(meta, 0, count))
            else:
                value = self.call(event)
            if hasattr(type(value), "__await__"):
                value = self.run(awaited(value))
            check_list(value, count)
        except BaseException as error:
            return failed_call(meta.id, self.handler.describe(error))
        return list_result(meta.id, value, format, self.handler)

    def run(self, coroutine):
        if self.loop is None:
            import asyncio

            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        return self.loop.run_until_complete(coroutine)

    def close(self):
        if self.loop is not None:
            end_loop(self.loop)


def end_loop(loop):
    """Ends what is left of an event loop, as asyncio.run does."""
    import asyncio

    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    try:
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def awaited(value):
    return await value


def flush():
    """Hands what was printed to the kernel. The user may have closed or replaced the streams."""
    for stream in (sys.stdout, sys.stderr, STDOUT):
        try:
            stream.flush()
        except Exception:
            pass


STDOUT = sys.stdout


def configure():
    """What user code finds: text streams, logging, signals."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    # Used while the user configured nothing. Their own basicConfig still works:
    # the root logger has no handler.
    logging.getLogger().setLevel(logging.INFO)
    logging.lastResort.setLevel(logging.NOTSET)
    logging.lastResort.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
    # A worker ends by the frame drain. Not SIG_IGN, which subprocesses would inherit.
    signal.signal(signal.SIGTERM, lambda *_: None)


def main():
    frames = Frames()
    os.register_at_fork(after_in_child=frames.forget)
    configure()
    words = frames.reader.readline(MAX_LINE).split()
    if not words or words[0] == b"drain":
        return
    if words[0] != b"start":
        raise SystemExit("unknown frame %r: want start" % words[0])
    many = None
    if len(words) > 1 and int(words[1]) > 1:
        import runnel_many

        runnel_errors.SHIM.add(runnel_many.__file__)
        many = runnel_many.Calls(frames, int(words[1]))
    name = runnel_load.resolve(os.environ.get("RUNNEL_HANDLER") or "main.handler")
    os.environ.setdefault("_HANDLER", name)
    os.environ.setdefault("LAMBDA_TASK_ROOT", os.getcwd())
    sys.argv = [name]
    sys.path.insert(0, os.getcwd())
    sys.path.remove(LIB)
    sys.path.append(LIB)
    sys.meta_path.insert(0, runnel_load.Finder(LIB))
    handler = None
    try:
        handler = runnel_load.load(name)
        if handler.load is not None:
            handler.load()
    except BaseException as error:
        raw = describe(error) if handler is None else handler.describe_load(error)
        flush()
        frames.send(b"failed %d\n%b" % (len(raw), raw))
        raise SystemExit(1) from None
    gc.freeze()  # what is loaded stays: no collection need look at it
    flush()
    frames.send(b"ready\n")
    worker = Worker(frames, handler) if many is None else many.worker(handler, flush, end_loop)
    try:
        worker.serve()
    except BrokenPipeError:
        pass  # the server is gone
    finally:
        worker.close()


if __name__ == "__main__":
    main()
