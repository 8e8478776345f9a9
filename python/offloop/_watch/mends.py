"""The table of mends: what blocks, by qualified name, and what to write instead.

A row's names are those of functions as Python knows them (``module.qualname``); a name that ends
in ``*`` stands for all that begin so. The first row that matches is taken, so what is special
stands before what is general. In a mend, ``{args}`` is what the call was given, ``{func}`` what was
called, ``{first}`` its first argument, and ``{object}`` what stands before the last dot. `entry`
names the kind of call.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """Functions that block in the same way, and their mend."""

    names: tuple[str, ...]
    code: str
    entry: str


RUN = "await offloop.run({func}, {args})"

TABLE: tuple[Row, ...] = (
    Row(("time.sleep",), "await asyncio.sleep({args})", "time.sleep"),
    Row(
        ("requests.get", "requests.api.get", "requests.sessions.Session.get"),
        "await offloop.fetch({args})",
        "requests",
    ),
    Row(
        tuple(
            name
            for verb in ("post", "put", "patch", "delete", "head", "options", "request")
            for name in (f"requests.api.{verb}", f"requests.sessions.Session.{verb}")
        ),
        "await client.{verb}({args})  # client = offloop.Client()",
        "requests",
    ),
    Row(("requests.*",), "await offloop.fetch(...)", "requests"),
    Row(("httpx._api.get", "httpx._client.Client.get"), "await offloop.fetch({args})", "httpx"),
    Row(
        ("httpx._api.*", "httpx._client.Client.*"),
        "await client.{verb}({args})  # client = offloop.Client()",
        "httpx",
    ),
    Row(("urllib.request.urlretrieve",), "await offloop.Client().download({args})", "urllib"),
    Row(("urllib.request.*",), "await offloop.fetch({first})", "urllib"),
    Row(("urllib3.*",), "await offloop.fetch(...)", "urllib3"),
    Row(("http.client.*",), "await offloop.fetch(...)", "http.client"),
    Row(("ftplib.*", "smtplib.*", "imaplib.*", "poplib.*", "telnetlib.*"), RUN, "mail and ftp"),
    Row(("xmlrpc.client.*",), RUN, "xmlrpc"),
    Row(
        ("socket.create_connection",),
        "reader, writer = await asyncio.open_connection(*{first})",
        "socket",
    ),
    Row(
        tuple(
            f"{module}.{name}"
            for module in ("socket", "_socket")
            for name in (
                "getaddrinfo",
                "gethostbyname",
                "gethostbyname_ex",
                "gethostbyaddr",
                "getnameinfo",
                "getfqdn",
            )
        ),
        "await asyncio.get_running_loop().getaddrinfo({args})",
        "names",
    ),
    Row(
        ("_socket.socket.connect", "socket.socket.connect"),
        "await loop.sock_connect({object}, {args})",
        "socket",
    ),
    Row(
        ("socket.socket.accept", "_socket.socket._accept"),
        "await loop.sock_accept({object})",
        "socket",
    ),
    Row(
        ("_socket.socket.recv", "socket.socket.recv", "socket.SocketIO.readinto"),
        "await loop.sock_recv({object}, {args})",
        "socket",
    ),
    Row(
        ("_socket.socket.send*", "socket.socket.send*"),
        "await loop.sock_sendall({object}, {args})",
        "socket",
    ),
    Row(("_socket.socket.*", "socket.socket.*"), RUN, "socket"),
    Row(
        ("ssl.SSLContext.*", "ssl.create_default_context", "_ssl._SSLContext.*"),
        RUN,
        "ssl contexts",
    ),
    Row(("ssl.*", "_ssl.*"), "await asyncio.open_connection(..., ssl=True)", "ssl contexts"),
    Row(
        ("subprocess.run", "subprocess.call", "subprocess.check_call", "subprocess.check_output"),
        "await asyncio.create_subprocess_exec(*{first})  # then await process.communicate()",
        "subprocess",
    ),
    Row(
        ("subprocess.Popen.communicate", "subprocess.Popen.wait"),
        "await process.communicate()  # of asyncio.create_subprocess_exec",
        "subprocess",
    ),
    Row(
        (
            "subprocess.*",
            "_posixsubprocess.*",
            "posix.system",
            "nt.system",
            "os.system",
            "os.popen",
        ),
        "await asyncio.create_subprocess_shell({args})",
        "subprocess",
    ),
    Row(
        ("posix.waitpid", "posix.wait*"),
        "await process.wait()  # of asyncio.create_subprocess_exec",
        "subprocess",
    ),
    Row(
        ("pathlib.Path.read_bytes", "pathlib._local.Path.read_bytes"),
        "await offloop.read_bytes({object})",
        "files",
    ),
    Row(
        ("pathlib.Path.read_text", "pathlib._local.Path.read_text"),
        "await offloop.read_text({object})",
        "files",
    ),
    Row(
        ("pathlib.Path.write_bytes", "pathlib._local.Path.write_bytes"),
        "await offloop.write_bytes({object}, {args})",
        "files",
    ),
    Row(
        ("pathlib.Path.write_text", "pathlib._local.Path.write_text"),
        "await offloop.write_text({object}, {args})",
        "files",
    ),
    Row(("pathlib.*",), RUN, "files"),
    Row(
        ("io.open", "_io.open", "builtins.open", "_io.FileIO*.__init__"),
        "await offloop.read_bytes({first})",
        "files",
    ),
    Row(("_io.TextIOWrapper.read*",), "await offloop.read_text({object}.name)", "files"),
    Row(("_io.*.read*",), "await offloop.read_bytes({object}.name)", "files"),
    Row(
        ("_io.*.write*", "_io.*.flush", "_io.*.close"),
        "await offloop.write_bytes({object}.name, ...)",
        "files",
    ),
    Row(("posix.fsync", "posix.fdatasync", "posix.sync"), RUN, "os"),
    Row(
        ("posix.walk", "os.walk", "os._walk", "glob.*", "posix.listdir", "posix.scandir"),
        "offloop.walk({args})",
        "os",
    ),
    Row(("posix.*", "nt.*", "os.*"), RUN, "os"),
    Row(("shutil.*", "tempfile.*", "zipfile.*", "tarfile.*"), RUN, "shutil and archives"),
    Row(("fcntl.flock", "fcntl.lockf", "fcntl.fcntl"), RUN, "file locks"),
    Row(("select.*", "selectors.*"), "loop.add_reader({args})", "select"),
    Row(("sqlite3.*", "_sqlite3.*"), RUN, "sqlite3"),
    Row(("psycopg2.*",), "await connection.execute({args})  # of psycopg or asyncpg", "psycopg2"),
    Row(("pymysql.*", "MySQLdb.*", "mysql.*"), RUN, "mysql"),
    Row(("redis.asyncio.*",), RUN, "redis"),
    Row(("redis.*",), "await client.{verb}({args})  # of redis.asyncio", "redis"),
    Row(("pymongo.*",), "await collection.{verb}({args})  # of AsyncMongoClient", "pymongo"),
    Row(("boto3.*", "botocore.*"), RUN, "boto3"),
    Row(("sqlalchemy.*",), "await session.{verb}({args})  # of ext.asyncio", "sqlalchemy"),
    Row(("django.db.*",), "await ...a{verb}({args})", "django"),
    Row(("paramiko.*",), RUN, "paramiko"),
    Row(("queue.Queue.*", "queue.*", "_queue.*"), "await queue.get()  # of asyncio.Queue", "queue"),
    Row(
        (
            "_thread.lock.*",
            "_thread.RLock.*",
            "threading.Condition.*",
            "threading.Semaphore.*",
            "threading.Barrier.*",
        ),
        "async with lock: ...  # lock = asyncio.Lock()",
        "locks",
    ),
    Row(("threading.Event.wait",), "await event.wait()  # of asyncio.Event", "locks"),
    Row(
        (
            "threading.Thread.join",
            "threading.Thread._wait_for_tstate_lock",
            "_thread._ThreadHandle.join",
        ),
        "await offloop.run({func}, {args})",
        "threads",
    ),
    Row(
        ("concurrent.futures._base.Future.result", "concurrent.futures._base.Future.exception"),
        "await asyncio.wrap_future({object})",
        "futures",
    ),
    Row(("concurrent.futures.*", "multiprocessing.*", "_multiprocessing.*"), RUN, "futures"),
    Row(("json.*", "_json.*", "orjson.*", "simplejson.*"), RUN, "json"),
    Row(
        ("pickle.*", "_pickle.*", "marshal.*", "yaml.*", "tomllib.*", "csv.*", "_csv.*"),
        RUN,
        "pickle and parsers",
    ),
    Row(("re.*", "_sre.*", "regex.*"), "await offloop.to_process({func}, {args})", "re"),
    Row(("hashlib.*", "_hashlib.*", "_sha*", "_md5.*", "_blake2.*", "bcrypt.*"), RUN, "hashes"),
    Row(
        ("zlib.*", "gzip.*", "bz2.*", "_bz2.*", "lzma.*", "_lzma.*", "zstandard.*"),
        RUN,
        "compression",
    ),
    Row(
        ("pandas.*", "numpy.*", "polars.*", "pyarrow.*", "scipy.*", "sklearn.*", "cv2.*"),
        RUN,
        "pandas and numpy",
    ),
    Row(("PIL.*",), RUN, "pillow"),
    Row(("builtins.input", "getpass.*"), RUN, "input"),
    Row(
        ("importlib.*", "builtins.__import__"),
        "import it at the top of a module",
        "imports",
    ),
    Row(
        ("asyncio.runners.run", "asyncio.base_events.BaseEventLoop.run_until_complete"),
        "await {first}",
        "asyncio.run",
    ),
    Row(("gc.collect",), "gc.freeze()  # once, after start-up", "garbage collection"),
    Row(("builtins.*", "math.*"), "await offloop.to_process({func}, {args})", "computing"),
)

BY_CAUSE: dict[str, Row] = {
    "import": Row((), "import it at the top of a module, before the loop runs", "imports"),
    "gc": Row((), "gc.freeze() after start-up, and fewer cycles", "garbage collection"),
    "callbacks": Row((), "limit how many tasks become ready at once: a semaphore", "callbacks"),
    "gil": Row((), "await offloop.to_process({function}, ...)", "the GIL"),
    "python": Row((), "await offloop.to_process({function}, ...)", "computing"),
    "native": Row((), "await offloop.run(...)", "native code"),
    "system_call": Row((), "await offloop.run(...)", "system calls"),
    "page_faults": Row((), "await offloop.run(...)", "memory from disk"),
}
"""What to do where the call is not in the table."""
