"""Forty programs that block an event loop, and forty that do not.

Each blocking one is an async function whose blocking line ends with the comment ``# blocks``, with
the causes that are right for it. Each clean one does much, and never for long. They run one after
another in a process of their own: see `snippet_runner.py`.
"""

from __future__ import annotations

import array
import asyncio
import bz2
import contextlib
import fcntl
import functools
import gc
import hashlib
import importlib
import itertools
import json
import os
import pickle
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
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BLOCKING = {}
CLEAN = {}
THRESHOLD = 0.1
FOLDER = Path(tempfile.gettempdir())


def blocking(*causes):
    def register(function):
        BLOCKING[function.__name__] = (function, set(causes))
        return function

    return register


def clean(function):
    CLEAN[function.__name__] = function
    return function


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


# --- clean


@clean
async def sleeps_well():
    await asyncio.sleep(0.3)


@clean
async def many_sleepers():
    await asyncio.gather(*(asyncio.sleep(random.random() / 4) for _ in range(1_000)))


@clean
async def spins_politely():
    end = time.monotonic() + 0.4
    while time.monotonic() < end:
        await asyncio.sleep(0)


@clean
async def short_blocks():
    for _ in range(10):
        time.sleep(0.02)
        await asyncio.sleep(0)


@clean
async def blocks_below_the_threshold():
    for _ in range(3):
        time.sleep(0.06)
        await asyncio.sleep(0.01)


@clean
async def short_computations():
    for _ in range(20):
        end = cpu(0.01)
        while time.thread_time() < end:
            pass
        await asyncio.sleep(0)


@clean
async def sleep_in_a_thread():
    await asyncio.to_thread(time.sleep, 0.4)


@clean
async def many_sleeping_threads():
    await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.2) for _ in range(8)))


@clean
async def reads_in_a_thread():
    def read():
        return [Path(__file__).read_bytes() for _ in range(300)]

    await asyncio.to_thread(read)


@clean
async def hashes_in_a_thread():
    await asyncio.to_thread(hashlib.pbkdf2_hmac, "sha256", b"x", b"y" * 16, 500_000)


@clean
async def compresses_in_a_thread():
    await asyncio.to_thread(zlib.compress, bytes(40 << 20), 6)


@clean
async def own_subprocess():
    process = await asyncio.create_subprocess_exec("sleep", "0.3")
    await process.wait()


@clean
async def own_shell():
    process = await asyncio.create_subprocess_shell(
        "sleep 0.2; echo x", stdout=asyncio.subprocess.PIPE
    )
    await process.communicate()


@clean
async def echo_server():
    async def echo(reader, writer):
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for _ in range(500):
        writer.write(b"x" * 1000)
        await reader.readexactly(1000)
    writer.close()
    server.close()


@clean
async def many_connections():
    async def answer(reader, writer):
        await reader.read(10)
        writer.write(b"x")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()

    async def ask():
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"x")
        await reader.read()
        writer.close()

    for _ in range(5):
        await asyncio.gather(*(ask() for _ in range(20)))
    server.close()


@clean
async def name_lookup():
    await asyncio.get_running_loop().getaddrinfo("localhost", 80)


@clean
async def queue_of_asyncio():
    line = asyncio.Queue(10)

    async def produce():
        for number in range(5_000):
            await line.put(number)
        await line.put(None)

    task = asyncio.create_task(produce())
    while await line.get() is not None:
        pass
    await task


@clean
async def lock_of_asyncio():
    lock = asyncio.Lock()

    async def hold():
        async with lock:
            await asyncio.sleep(0.01)

    await asyncio.gather(*(hold() for _ in range(20)))


@clean
async def event_of_asyncio():
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(0.3, event.set)
    await event.wait()


@clean
async def semaphore_of_asyncio():
    semaphore = asyncio.Semaphore(5)

    async def pass_through():
        async with semaphore:
            await asyncio.sleep(0.005)

    await asyncio.gather(*(pass_through() for _ in range(200)))


@clean
async def timeouts():
    for _ in range(10):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(1), 0.02)


@clean
async def cancellations():
    tasks = [asyncio.create_task(asyncio.sleep(10)) for _ in range(500)]
    await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@clean
async def task_group():
    async with asyncio.TaskGroup() as group:
        for _ in range(200):
            group.create_task(asyncio.sleep(0.05))


@clean
async def many_tasks_in_slices():
    async def work():
        sum(range(2_000))

    for _ in range(100):
        await asyncio.gather(*(work() for _ in range(20)))


@clean
async def async_generator():
    async def numbers():
        for number in range(2_000):
            yield number
            await asyncio.sleep(0)

    async for _ in numbers():
        pass


@clean
async def timers():
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    for number in range(200):
        loop.call_later(number / 1_000, int)
    loop.call_later(0.3, done.set_result, None)
    await done


@clean
async def signals_from_threads():
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def call():
        for _ in range(100):
            time.sleep(0.002)
            loop.call_soon_threadsafe(int)
        loop.call_soon_threadsafe(done.set)

    threading.Thread(target=call).start()
    await done.wait()


@clean
async def reader_of_a_pipe():
    reader, writer = os.pipe()
    loop = asyncio.get_running_loop()
    got = loop.create_future()
    loop.add_reader(reader, lambda: got.done() or got.set_result(None))
    loop.call_later(0.2, os.write, writer, b"x")
    await got
    loop.remove_reader(reader)
    os.close(reader)
    os.close(writer)


@clean
async def datagrams():
    class Protocol(asyncio.DatagramProtocol):
        pass

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Protocol, local_addr=("127.0.0.1", 0))
    for _ in range(100):
        transport.sendto(b"x", transport.get_extra_info("sockname"))
        await asyncio.sleep(0)
    transport.close()


@clean
async def json_in_small_pieces():
    text = json.dumps(list(range(1_000)))
    for _ in range(200):
        json.loads(text)
        await asyncio.sleep(0)


@clean
async def small_collections():
    for _ in range(3):
        gc.collect(0)
        await asyncio.sleep(0.01)


@clean
async def small_files():
    path = FOLDER / f"offloop-small-{os.getpid()}"
    for _ in range(30):
        path.write_text("x" * 1000)
        path.read_text()
        await asyncio.sleep(0)
    path.unlink()


@clean
async def database_of_small_queries():
    base = sqlite3.connect(":memory:")
    base.execute("create table t (x)")
    for number in range(200):
        base.execute("insert into t values (?)", (number,))
        await asyncio.sleep(0)
    base.close()


@clean
async def small_pickles():
    for number in range(300):
        pickle.loads(pickle.dumps([number] * 100))
        await asyncio.sleep(0)


@clean
async def free_lock():
    lock = threading.Lock()
    for _ in range(1_000):
        with lock:
            pass
        await asyncio.sleep(0)


@clean
async def executor():
    with ThreadPoolExecutor(4) as pool:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(pool, time.sleep, 0.1) for _ in range(8)))


@clean
async def job_of_offloop():
    import offloop

    await asyncio.gather(*(offloop.run(time.sleep, 0.1) for _ in range(8)))


@clean
async def many_jobs_of_offloop():
    import offloop

    for _ in range(20):
        await asyncio.gather(*(offloop.run(functools.partial(int, "7")) for _ in range(100)))


@clean
async def arrays_in_small_pieces():
    for _ in range(50):
        array.array("d", itertools.repeat(1.0, 10_000))
        await asyncio.sleep(0)


@clean
async def nothing_at_all():
    pass
