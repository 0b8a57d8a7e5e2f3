"""A proxy between jobmill's programs and Redis, and between clients and the broker, that is told to
misbehave: to be slow, to hold everything back, to refuse, to cut connections in mid-word.

It listens under several names, so that one program's link can be hurt and not another's. Orders come
as JSON, one a line, on stdin; each is answered by a line `ok` when it holds.

    {"do": "listen", "name": "broker", "at": "/dir/p.sock" | ["10.0.0.1", 0], "to": "/dir/redis.sock"}
    {"do": "to", "name": "broker", "to": "/dir/other.sock"}     and connections are cut
    {"do": "slow", "name": "broker", "ms": 50}                  each piece, each way; 0 ends it
    {"do": "hold", "name": "broker", "on": true}                nothing passes, nothing is closed
    {"do": "refuse", "name": "broker", "on": true}              new connections are closed at once
    {"do": "cut", "name": "broker"}                             now
    {"do": "cut", "name": "broker", "after": 9, "way": "up"}    behind so many bytes more (to the
                                                                server "up", from it "down")
"""

import asyncio
import json
import os
import signal
import sys

CHUNK_BYTES = 65536


class Link:
    """One name: where it listens, where it leads, how it misbehaves."""

    def __init__(self, to):
        self.to = to
        self.slow_s = 0
        self.flows = asyncio.Event()
        self.flows.set()
        self.refuses = False
        self.after = {"up": None, "down": None}
        self.pairs = set()

    def cut(self):
        for pair in list(self.pairs):
            for writer in pair:
                abort(writer)

    async def serve(self, reader, writer):
        if self.refuses:
            return abort(writer)
        try:
            await self.flows.wait()
            server_reader, server_writer = await asyncio.open_unix_connection(self.to)
        except OSError:
            return abort(writer)
        pair = (writer, server_writer)
        self.pairs.add(pair)
        try:
            await asyncio.gather(self.pump(reader, server_writer, "up"),
                                 self.pump(server_reader, writer, "down"))
        finally:
            self.pairs.discard(pair)
            for one in pair:
                abort(one)

    async def pump(self, reader, writer, way):
        """Until one side ends; then both do."""
        try:
            while True:
                data = await reader.read(CHUNK_BYTES)
                if not data:
                    break
                if self.slow_s:
                    await asyncio.sleep(self.slow_s)
                await self.flows.wait()
                if not await self.pass_on(data, writer, way):
                    break
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def pass_on(self, data, writer, way):
        """False if this was the piece to be cut in."""
        left = self.after[way]
        if left is not None and len(data) >= left:
            self.after[way] = None
            writer.write(data[:left])
            return False
        if left is not None:
            self.after[way] = left - len(data)
        writer.write(data)
        await writer.drain()
        return True


def abort(writer):
    if writer.transport is not None:
        writer.transport.abort()


async def listen(links, order):
    link = links[order["name"]] = Link(order["to"])
    if isinstance(order["at"], str):
        await asyncio.start_unix_server(link.serve, order["at"])
        return order["at"]
    server = await asyncio.start_server(link.serve, *order["at"])
    return server.sockets[0].getsockname()[1]


async def obey(links, order):
    do = order["do"]
    if do == "listen":
        return await listen(links, order)
    link = links[order["name"]]
    if do == "to":
        link.to = order["to"]
        link.cut()
    elif do == "slow":
        link.slow_s = order["ms"] / 1000
    elif do == "hold":
        link.flows.clear() if order["on"] else link.flows.set()
    elif do == "refuse":
        link.refuses = order["on"]
    elif do == "cut" and "after" in order:
        link.after[order["way"]] = order["after"]
    else:
        link.cut()
    return "ok"


async def main():
    links = {}
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        sys.stdout.write(json.dumps(await obey(links, json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    asyncio.run(main())
