"""More than one call in flight: tasks for async handlers, threads for plain ones.

What a call prints and logs goes out as log frames, so that the server knows
whose it is. Which call that is, a context variable says.
"""

import logging
import os
import sys
import threading
from contextvars import ContextVar

from runnel_context import Context, Meta
from runnel_values import check_list, decode, failed_call, list_result, result

# The longest line of a frame, and the longest text of a log frame, in bytes.
MAX_LINE = 64 << 10
MAX_LOG = 64 << 10
# How much is read at once.
CHUNK = 256 << 10

CALL = ContextVar("runnel_call", default=None)

CANCELLED = (
    b'{"kind":"error","name":"CancelledError","message":"the call was cancelled: nobody waits for it","stack":""}'
)


class Call:
    """A call in flight."""

    def __init__(self, frames, meta):
        self.frames = frames
        self.meta = meta
        self.over = False
        self.cancelled = False
        self.running = None  # what can be cancelled: a task or a future
        self.lock = threading.Lock()  # a call may print from several threads
        self.partial = {}  # by level, the line that has no end yet; guarded by lock

    def print(self, level, text):
        with self.lock:
            text = self.partial.pop(level, "") + text
            lines = text.split("\n")
            rest = lines.pop()
            if len(rest) > MAX_LOG:
                lines.append(rest)
            elif rest:
                self.partial[level] = rest
            self.log(level, lines)

    def log(self, level, lines):
        frames = []
        for line in lines:
            raw = line.encode("utf-8", "backslashreplace")
            for at in range(0, len(raw) or 1, MAX_LOG):
                part = raw[at : at + MAX_LOG]
                frames.append(b"log %b %b %d\n%b" % (self.meta.id, level, len(part), part))
        if frames:
            self.frames.send(b"".join(frames))

    def finish(self):
        with self.lock:
            self.over = True
            for level, rest in self.partial.items():
                self.log(level, [rest])

    def cancel(self):
        self.cancelled = True
        if self.running is not None:
            self.running.cancel()

    def describe(self, error, describe):
        """The JSON of what ended an item."""
        if self.cancelled and type(error).__name__ == "CancelledError":
            return CANCELLED
        return describe(error)


def current(frames):
    """The call that prints; None outside of calls, and in a forked child."""
    call = CALL.get()
    return None if call is None or call.over or frames.out < 0 else call


class Stream:
    """Standard output or error: in a call its log, else the stream that it was."""

    def __init__(self, frames, under, level):
        self._frames = frames
        self._under = under
        self._level = level

    def write(self, text):
        call = current(self._frames)
        if call is None or not isinstance(text, str):
            return self._under.write(text)
        call.print(self._level, text)
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def __getattr__(self, name):
        return getattr(self._under, name)

    def __iter__(self):
        return iter(self._under)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._under.close()


class LogHandler(logging.Handler):
    """Used while the user configured no logging: it keeps the level."""

    def __init__(self, frames, under):
        super().__init__(logging.NOTSET)
        self.frames = frames
        self.under = under

    def emit(self, record):
        call = current(self.frames)
        if call is None:
            return self.under.emit(record)
        try:
            call.log(word(record.levelno), [self.under.format(record)])
        except Exception:
            self.handleError(record)


def word(level):
    if level >= logging.ERROR:
        return b"error"
    if level >= logging.WARNING:
        return b"warn"
    return b"info" if level >= logging.INFO else b"debug"


class Calls:
    """What is set up before the user's code is loaded."""

    def __init__(self, frames, most):
        self.frames = frames
        self.most = most
        if sys.stdout is not None:
            sys.stdout = Stream(frames, sys.stdout, b"info")
        if sys.stderr is not None:
            sys.stderr = Stream(frames, sys.stderr, b"warn")
        logging.lastResort = LogHandler(frames, logging.lastResort)

    def worker(self, handler, flush, end_loop):
        kind = Tasks if handler.is_async else Threads
        return kind(self.frames, handler, self.most, flush, end_loop)


class Worker:
    def __init__(self, frames, handler, most, flush, end_loop):
        self.frames = frames
        self.handler = handler
        self.most = most
        self.flush = flush
        self.end_loop = end_loop
        self.loop = None
        self.ending = False
        self.calls = {}  # by id
        frames.running = self.calls

    def begin(self, words, body):
        """Returns what an invoke says: its call, mode, format and payloads."""
        _, id, deadline, mode, format, meta_length, _ = words[:7]
        end = int(meta_length)
        call = Call(self.frames, Meta(id, int(deadline), body[:end], self.frames.log))
        payloads = []
        for length in map(int, words[7:]):
            payloads.append(body[end : end + length])
            end += length
        self.calls[id] = call
        return call, mode, format, payloads

    def cancel(self, id):
        call = self.calls.get(id)
        if call is not None:
            call.cancel()

    def end(self, call, answer):
        call.finish()
        del self.calls[call.meta.id]
        self.flush()
        self.frames.send(answer)

    def fatal(self, why):
        try:
            os.write(2, ("runnel: %s\n" % why).encode())
        finally:
            os._exit(1)


def body_length(words):
    return int(words[5]) + sum(map(int, words[7:]))


class Tasks(Worker):
    """Async handlers: a task per call, on one event loop in the main thread."""

    def serve(self):
        import asyncio

        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        os.set_blocking(self.frames.into, False)
        self.data = bytearray(self.frames.reader.peek(1))  # what came with the frame start
        self.want = 0  # the length that data must have before it is looked at again
        self.broken = None
        self.loop.add_reader(self.frames.into, self.readable)
        self.loop.call_soon(self.parse)
        while True:
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                continue  # of a task of the user's: whoever awaits it gets it too
            break
        if self.broken is not None:
            raise self.broken

    def readable(self):
        try:
            chunk = os.read(self.frames.into, CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            return self.drain()
        self.data += chunk
        if len(self.data) >= self.want:
            self.parse()

    def parse(self):
        data, at, self.want = self.data, 0, 0
        while not self.ending:
            end = data.find(b"\n", at)
            if end < 0:
                if len(data) - at > MAX_LINE:
                    self.fatal("a line of a frame is longer than 64 KiB")
                break
            words = bytes(data[at:end]).split()
            next = end + 1
            if words and words[0] == b"invoke":
                next += body_length(words)
                if len(data) < next:
                    self.want = next - at
                    break
                begun = self.begin(words, bytes(data[end + 1 : next]))
                begun[0].running = self.loop.create_task(self.answer(*begun))
            elif words and words[0] == b"cancel":
                self.cancel(words[1])
            elif words and words[0] == b"drain":
                self.drain()
            else:
                self.fatal("unknown frame %r" % bytes(data[at:end])[:64])
            at = next
        del data[:at]

    def drain(self):
        self.ending = True
        self.loop.remove_reader(self.frames.into)
        if not self.calls:
            self.loop.stop()

    async def answer(self, call, mode, format, payloads):
        CALL.set(call)
        if mode == b"list":
            answer = await self.list(call, format, payloads)
        else:
            answer = await self.each(call, format, payloads)
        try:
            self.end(call, answer)
        except BrokenPipeError as error:
            self.broken = error  # the server is gone
            self.loop.stop()
        if self.ending and not self.calls:
            self.loop.stop()

    async def each(self, call, format, payloads):
        handler, answers = self.handler, []
        for i, payload in enumerate(payloads):
            try:
                if call.cancelled:
                    answers.append((b"error", CANCELLED))
                    continue
                event = decode(payload, format)
                if handler.takes_context:
                    value = await handler.call(event, Context(call.meta, i, 1))
                else:
                    value = await handler.call(event)
                answers.append(handler.encode(value, format))
            except BaseException as error:
                answers.append((b"error", call.describe(error, handler.describe)))
        return result(call.meta.id, answers)

    async def list(self, call, format, payloads):
        handler, count = self.handler, len(payloads)
        try:
            event = [decode(p, format) for p in payloads]
            if handler.takes_context:
                value = await handler.call(event, Context(call.meta, 0, count))
            else:
                value = await handler.call(event)
            check_list(value, count)
        except BaseException as error:
            return failed_call(call.meta.id, call.describe(error, handler.describe))
        return list_result(call.meta.id, value, format, handler)

    def close(self):
        self.end_loop(self.loop)


class Threads(Worker):
    """Plain handlers: one thread reads, and then answers what it read while another one reads.

    The main thread is one of them. There is one more than calls in flight, so
    that somebody always reads. They are started when they are needed.
    """

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.turn = threading.Lock()  # held by the thread that reads
        self.count = threading.Lock()
        self.busy = 0  # threads that answer; guarded by count
        self.threads = []  # besides the main one; guarded by turn
        self.looping = None  # the thread of the event loop; guarded by count

    def serve(self):
        self.work()
        for thread in self.threads:
            thread.join()

    def work(self):
        try:
            while True:
                with self.turn:
                    begun = self.read()
                    if begun is None:
                        return
                    with self.count:
                        self.busy += 1
                        waiting = len(self.threads) + 1 - self.busy
                    if waiting == 0 and len(self.threads) < self.most:
                        self.start()
                self.answer(*begun)
                with self.count:
                    self.busy -= 1
        except BrokenPipeError:
            self.ending = True  # the server is gone

    def start(self):
        thread = threading.Thread(target=self.work, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # no more to be had: a call waits for one of the others
        self.threads.append(thread)

    def read(self):
        reader = self.frames.reader
        while not self.ending:
            words = reader.readline(MAX_LINE).split()
            if words and words[0] == b"invoke":
                length = body_length(words)
                body = reader.read(length)
                if len(body) == length:
                    return self.begin(words, body)
                words = ()  # the server died while it wrote
            if not words or words[0] == b"drain":
                self.ending = True
            elif words[0] == b"cancel":
                self.cancel(words[1])
            else:
                self.fatal("unknown frame %r" % words[0])
        return None

    def answer(self, call, mode, format, payloads):
        token = CALL.set(call)
        try:
            if mode == b"list":
                answer = self.list(call, format, payloads)
            else:
                answer = self.each(call, format, payloads)
        finally:
            CALL.reset(token)
        self.end(call, answer)

    def each(self, call, format, payloads):
        handler, answers = self.handler, []
        for i, payload in enumerate(payloads):
            try:
                if call.cancelled:
                    answers.append((b"error", CANCELLED))
                    continue
                event = decode(payload, format)
                if handler.takes_context:
                    value = handler.call(event, Context(call.meta, i, 1))
                else:
                    value = handler.call(event)
                answers.append(handler.encode(self.awaited(call, value), format))
            except BaseException as error:
                answers.append((b"error", call.describe(error, handler.describe)))
        return result(call.meta.id, answers)

    def list(self, call, format, payloads):
        handler, count = self.handler, len(payloads)
        try:
            event = [decode(p, format) for p in payloads]
            if handler.takes_context:
                value = handler.call(event, Context(call.meta, 0, count))
            else:
                value = handler.call(event)
            value = self.awaited(call, value)
            check_list(value, count)
        except BaseException as error:
            return failed_call(call.meta.id, call.describe(error, handler.describe))
        return list_result(call.meta.id, value, format, handler)

    def awaited(self, call, value):
        """The value, if it has to be awaited: on one event loop, in a thread of its own."""
        if not hasattr(type(value), "__await__"):
            return value
        import asyncio

        with self.count:
            if self.looping is None:
                self.loop = asyncio.new_event_loop()
                self.looping = threading.Thread(target=self.loop.run_forever, daemon=True)
                self.looping.start()
        call.running = Awaited(self.loop, value)
        if call.cancelled:
            call.running.cancel()
        return call.running.result()

    def close(self):
        if self.looping is not None:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.looping.join()
            self.end_loop(self.loop)


class Awaited:
    """What is awaited on the loop of another thread.

    When it is cancelled its end is waited for all the same: what it prints until
    then is its call's. The future of run_coroutine_threadsafe would be over at once.
    """

    def __init__(self, loop, value):
        import asyncio

        self.loop = loop
        self.task = None  # once the loop has begun it
        self.cancelled = False
        self.future = asyncio.run_coroutine_threadsafe(self.run(value), loop)

    async def run(self, value):
        import asyncio

        self.task = asyncio.ensure_future(wait(value))
        if self.cancelled:
            self.task.cancel()
        return await self.task

    def cancel(self):
        self.cancelled = True
        self.loop.call_soon_threadsafe(self.stop)

    def stop(self):
        if self.task is not None:
            self.task.cancel()

    def result(self):
        return self.future.result()


async def wait(value):
    return await value
