"""Forty programs that block an event loop.

Each is an async function whose blocking line ends with the comment ``# blocks``, with
the causes that are right for it. They run one after another in a process of their own: see
`snippet_runner.py`.
"""

from __future__ import annotations

import asyncio
import bz2
import contextlib
import fcntl
import gc
import hashlib
import importlib
import json
import os
import queue
import random
import re
import select
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BLOCKING = {}
THRESHOLD = 0.1
FOLDER = Path(tempfile.gettempdir())


def blocking(*causes):
    def register(function):
        BLOCKING[function.__name__] = (function, set(causes))
        return function

    return register


async def breathe():
    await asyncio.sleep(0.03)


def cpu(seconds):
    """Computes for so long, on the processor: other processes do not count."""
    return time.thread_time() + seconds


# --- system calls


@blocking("system_call")
async def sleep():
    time.sleep(0.4)  # blocks


@blocking("system_call")
async def sleep_in_a_function():
    def pause():
        time.sleep(0.4)  # blocks

    pause()


@blocking("system_call")
async def sleep_in_a_callback():
    def pause():
        time.sleep(0.4)  # blocks

    asyncio.get_running_loop().call_soon(pause)
    await breathe()


@blocking("system_call")
async def sleep_in_a_task():
    async def pause():
        await asyncio.sleep(0)
        time.sleep(0.4)  # blocks

    await asyncio.create_task(pause())


@blocking("system_call")
async def sleep_in_an_async_generator():
    async def numbers():
        yield 1
        time.sleep(0.4)  # blocks
        yield 2

    async for _ in numbers():
        await asyncio.sleep(0)


@blocking("system_call")
async def select_on_nothing():
    select.select([], [], [], 0.4)  # blocks


@blocking("system_call")
async def poll_on_a_pipe():
    reader, writer = os.pipe()
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    poller.poll(400)  # blocks
    os.close(reader)
    os.close(writer)


@blocking("system_call")
async def another_epoll():
    with select.epoll() as poller:
        poller.poll(0.4)  # blocks


@blocking("system_call")
async def read_a_pipe():
    reader, writer = os.pipe()
    threading.Timer(0.4, os.write, (writer, b"x")).start()
    os.read(reader, 1)  # blocks
    os.close(reader)
    os.close(writer)


@blocking("system_call")
async def receive_from_a_socket():
    one, other = socket.socketpair()
    threading.Timer(0.4, other.send, (b"x",)).start()
    one.recv(1)  # blocks
    one.close()
    other.close()


@blocking("system_call")
async def accept_a_connection():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        threading.Timer(0.4, lambda: socket.create_connection(address).close()).start()
        server.accept()[0].close()  # blocks


@blocking("system_call")
async def socket_with_a_timeout():
    one, other = socket.socketpair()
    one.settimeout(0.4)
    with contextlib.suppress(TimeoutError):
        one.recv(1)  # blocks
    one.close()
    other.close()


@blocking("system_call")
async def subprocess_run():
    subprocess.run(["sleep", "0.4"], check=True)  # blocks


@blocking("system_call")
async def subprocess_output():
    subprocess.check_output(["sh", "-c", "sleep 0.4; echo x"])  # blocks


@blocking("system_call")
async def os_system():
    os.system("sleep 0.4")  # blocks


@blocking("system_call")
async def wait_for_a_child():
    child = subprocess.Popen(["sleep", "0.4"])
    child.wait()  # blocks


@blocking("system_call")
async def lock_that_is_held():
    lock = threading.Lock()
    lock.acquire()
    threading.Timer(0.4, lock.release).start()
    lock.acquire()  # blocks


@blocking("system_call")
async def with_a_lock_that_is_held():
    lock = threading.Lock()
    lock.acquire()
    threading.Timer(0.4, lock.release).start()
    with lock:  # blocks
        pass


@blocking("system_call")
async def event_that_is_not_set():
    event = threading.Event()
    event.wait(0.4)  # blocks


@blocking("system_call")
async def queue_that_is_empty():
    with contextlib.suppress(queue.Empty):
        queue.Queue().get(timeout=0.4)  # blocks


@blocking("system_call")
async def simple_queue_that_is_empty():
    with contextlib.suppress(queue.Empty):
        queue.SimpleQueue().get(timeout=0.4)  # blocks


@blocking("system_call")
async def join_a_thread():
    thread = threading.Thread(target=time.sleep, args=(0.4,))
    thread.start()
    thread.join()  # blocks


@blocking("system_call")
async def result_of_a_future():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(time.sleep, 0.4).result()  # blocks


@blocking("system_call")
async def file_lock_that_is_held():
    path = FOLDER / f"offloop-lock-{os.getpid()}"
    with path.open("w") as one, path.open("w") as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        threading.Timer(0.4, fcntl.flock, (one, fcntl.LOCK_UN)).start()
        fcntl.flock(other, fcntl.LOCK_EX)  # blocks
    path.unlink()


@blocking("system_call")
async def fifo_without_a_writer():
    path = FOLDER / f"offloop-fifo-{os.getpid()}"
    os.mkfifo(path)

    def write():
        path.write_bytes(b"x")

    threading.Timer(0.4, write).start()
    open(path, "rb").close()  # blocks
    path.unlink()


@blocking("system_call", "native")
async def sqlite_that_is_locked():
    path = FOLDER / f"offloop-sqlite-{os.getpid()}"
    one = sqlite3.connect(path, isolation_level=None)
    one.execute("create table if not exists t (x)")
    one.execute("begin exclusive")
    other = sqlite3.connect(path, timeout=0.4)
    with contextlib.suppress(sqlite3.OperationalError):
        other.execute("insert into t values (1)")  # blocks
    one.close()
    other.close()
    path.unlink()


# --- native code


@blocking("native")
async def catastrophic_regex():
    re.match(r"(a+)+$", "a" * 25 + "b")  # blocks


@blocking("native")
async def sum_of_a_range():
    sum(range(25_000_000))  # blocks


@blocking("native")
async def sort():
    numbers = random.Random(1).choices(range(10**9), k=60_000)
    await asyncio.sleep(0.03)
    sorted(numbers * 16)  # blocks


@blocking("native")
async def big_power():
    pow(7, 1_200_000)  # blocks


@blocking("native")
async def sqlite_that_computes():
    base = sqlite3.connect(":memory:")
    query = "with recursive c(x) as (select 1 union all select x+1 from c limit 6000000) "
    base.execute(query + "select sum(x) from c").fetchone()  # blocks
    base.close()


@blocking("native")
async def hash_of_many_bytes():
    data = bytes(64 << 20)
    await asyncio.sleep(0)
    hashlib.pbkdf2_hmac("sha256", b"x", data[:16], 900_000)  # blocks


@blocking("native")
async def compress():
    data = random.Random(1).randbytes(6 << 20)
    await asyncio.sleep(0)
    bz2.compress(data)  # blocks


@blocking("native")
async def parse_json():
    text = "[" + "1234567," * 5_000_000 + "0]"
    await asyncio.sleep(0.03)
    json.loads(text)  # blocks


# --- Python


@blocking("python")
async def loop_that_counts():
    end = cpu(0.4)
    while time.thread_time() < end:  # blocks
        pass


@blocking("python")
async def fibonacci():
    fib = []
    fib.append(lambda n: n if n < 2 else fib[0](n - 1) + fib[0](n - 2))  # blocks
    fib[0](33)


@blocking("python")
async def comprehension():
    [number * 2 % 7 for number in range(8_000_000)]  # blocks


# --- the rest


@blocking("gc")
async def collect():
    gc.disable()
    kept = []
    for _ in range(100):
        kept.append([[] for _ in range(50_000)])
        await asyncio.sleep(0)
    gc.collect()  # blocks
    gc.enable()
    del kept


@blocking("import")
async def slow_import():
    name = f"offloop_slow_{os.getpid()}"
    path = FOLDER / f"{name}.py"
    path.write_text("import time\ntime.sleep(0.4)\n")
    sys.path.insert(0, str(FOLDER))
    importlib.invalidate_caches()
    importlib.import_module(name)  # blocks
    sys.path.pop(0)
    path.unlink()


@blocking("callbacks")
async def many_callbacks():
    done = 0

    def step():
        nonlocal done
        done += sum(range(1_000))  # blocks

    loop = asyncio.get_running_loop()
    for _ in range(30_000):
        loop.call_soon(step)
    await breathe()
