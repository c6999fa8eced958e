"""A mail server that fails on command. It counts the mails it took, whatever it answered."""

import asyncio
import threading
from collections import Counter
from contextlib import suppress

REPLIES = {
    "421": "421 4.3.2 going down",
    "450": "450 4.2.0 greylisted",
    "451": "451 4.3.0 try later",
    "550": "550 5.1.1 no such user",
    "552": "552 5.2.2 mailbox full",
    "554": "554 5.7.1 Relay access denied",
}


class Sink:
    """mode is "ok", a reply's code, "535", "hang", "close" (after DATA), "slow" or "refuse"."""

    def __init__(self) -> None:
        self.mode = "ok"
        self.taken: Counter[str] = Counter()
        self.connections = 0
        self.port = 0
        self.loop = asyncio.new_event_loop()
        self.server: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.listen()

    def do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def listen(self) -> None:
        async def start() -> None:
            self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
            self.port = self.server.sockets[0].getsockname()[1]

        self.do(start())

    def set(self, mode: str) -> None:
        async def stop() -> None:
            assert self.server
            self.server.close()
            for writer in list(self.writers):
                writer.transport.abort()

        if mode == "refuse":
            self.do(stop())
        elif self.mode == "refuse":
            self.listen()
        self.mode = mode
        if mode == "535":  # clients that are logged in would not notice
            self.loop.call_soon_threadsafe(self.hang_up)

    def hang_up(self) -> None:
        for writer in list(self.writers):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self.talk(reader, writer)
        self.writers.discard(writer)
        writer.close()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(line: str) -> None:
            writer.write(line.encode() + b"\r\n")

        recipient = ""
        say("220 sink")
        while line := await reader.readline():
            verb = line[:4].upper()
            if self.mode == "hang":
                await asyncio.sleep(30)
                return
            if verb == b"EHLO":
                say("250-sink\r\n250 AUTH PLAIN")
            elif verb == b"AUTH":
                say("535 5.7.8 wrong password" if self.mode == "535" else "235 welcome")
            elif verb == b"RCPT":
                recipient = line.partition(b"<")[2].partition(b">")[0].decode()
                say(REPLIES.get(self.mode, "250 ok"))
                if self.mode == "421":
                    return
            elif verb == b"DATA":
                say("354 go on")
                await reader.readuntil(b"\r\n.\r\n")
                self.taken[recipient] += 1
                if self.mode == "close":
                    writer.transport.abort()
                    return
                if self.mode == "slow":
                    await asyncio.sleep(0.4)
                say("250 taken")
            elif verb == b"QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")
