"""Forty programs that do much, and never block an event loop for long; run as `snippets.py`."""

from __future__ import annotations

import array
import asyncio
import contextlib
import functools
import gc
import hashlib
import itertools
import json
import os
import pickle
import random
import sqlite3
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from snippets import FOLDER, cpu

CLEAN = {}


def clean(function):
    CLEAN[function.__name__] = function
    return function


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
