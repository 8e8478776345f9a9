"""Chat services on loopback, as far as streaming SDKs ask of them; ends with standard input.

usage: sse_server.py CORE|-      prints its port

POST /EVENTS/MILLISECONDS/v1/chat/completions answers with that many server-sent events, so far
apart (0: as fast as they are taken), as OpenAI's service does; /EVENTS/MILLISECONDS/v1/messages as
Anthropic's.
"""

from __future__ import annotations

import asyncio
import json
import sys

import measure


def event(index: int) -> bytes:
    """Write one piece of an answer as OpenAI's chat completions do."""
    delta = {"role": "assistant", "content": f"word{index} "}
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    kind = "chat.completion.chunk"
    chunk = {"id": "c", "object": kind, "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def events(number: int) -> list[bytes]:
    """Write all events of an answer, the last one included."""
    return [*(event(index) for index in range(number)), b"data: [DONE]\n\n"]


def messages(number: int) -> list[bytes]:
    """Write all events of an answer as Anthropic's messages do."""
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": []} | {
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    block = {"type": "text", "text": ""}
    told: list[dict[str, object]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
    ]
    for index in range(number):
        delta = {"type": "text_delta", "text": f"word{index} "}
        told.append({"type": "content_block_delta", "index": 0, "delta": delta})
    told.append({"type": "content_block_stop", "index": 0})
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    told.append({"type": "message_delta", "delta": end, "usage": usage})
    told.append({"type": "message_stop"})
    return [
        b"event: %s\ndata: %s\n\n" % (str(it["type"]).encode(), json.dumps(it).encode())
        for it in told
    ]


def answer(path: str) -> list[bytes]:
    """Write all events of the answer to a request for `path`."""
    number = int(path.split("/")[1])
    return messages(number) if path.endswith("/messages") else events(number)


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            path = head[0].split(" ")[1]
            pause = path.split("/")[2]
            lengths = [int(it.split(":")[1]) for it in head if it.startswith("content-length:")]
            await reader.readexactly(sum(lengths))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
            writer.write(b"transfer-encoding: chunked\r\n\r\n")
            for piece in answer(path):
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                await writer.drain()
                await asyncio.sleep(float(pause) / 1e3)
            writer.write(b"0\r\n\r\n")
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        writer.close()


async def main() -> None:
    """Serve until standard input closes."""
    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    measure.pin(None if sys.argv[1] == "-" else int(sys.argv[1]))
    asyncio.run(main())
