# SPDX-License-Identifier: MIT
#
# SIGTERM with clients attached: each is told in its own way, what was acknowledged is there at the
# next start, and nobody can hold the service for longer than drain_ms.
import asyncio
import http.client
import itertools
import json
import re
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest

import websockets

from service import PATIENCE, PEAL, Outside, until


def heads_read(service):
    """How many requests have come, with the one that asks."""
    return int(re.search(r"^peal_http_requests_total (\d+)", service.ask("GET", "/metrics").text, re.M)[1])


def is_refused(service):
    """Whether nobody listens; who is let in while it closes may be answered, or cut off."""
    try:
        service.ask("GET", "/healthz")
    except ConnectionRefusedError:
        return True
    except (OSError, http.client.HTTPException):
        pass
    return False


class Follower:
    """Follows by peal.v1 over a socket that is read when the test says so: what is not taken waits
    in the service."""
    HELLO, FOLLOW, ANSWER, EVENTS = 1, 3, 64, 65

    def __init__(self, service):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", service.port))
        self.bytes = b""
        self.socket.sendall(b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
                            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                            b"Sec-WebSocket-Protocol: peal.v1\r\n\r\n")
        while b"\r\n\r\n" not in self.bytes:
            self.bytes += self.socket.recv(65536)
        head, _, self.bytes = self.bytes.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        self.ask(self.HELLO, struct.pack("<Q4sx", 5, b"test"))
        self.ask(self.FOLLOW, struct.pack("<QQQ", 1, 1 << 30, 0))  # from 1 on, with credit, all

    def close(self):
        self.socket.close()

    def ask(self, kind, body):
        message = struct.pack("<BBHIQ", 1, 0, kind, 0, kind) + body
        self.socket.sendall(struct.pack("!BB4s", 0x82, 0x80 | len(message), b"\0\0\0\0") + message)
        said = self.next()
        assert (struct.unpack_from("<H", said[1], 2)[0], said[1][4:8]) == (self.ANSWER, bytes(4)), said

    def take(self, size):
        while len(self.bytes) < size:
            piece = self.socket.recv(65536)
            assert piece, "the connection has ended without a word"
            self.bytes += piece
        taken, self.bytes = self.bytes[:size], self.bytes[size:]
        return taken

    def next(self):
        """The opcode and the bytes of the next frame."""
        first, size = struct.unpack("!BB", self.take(2))
        size = struct.unpack("!H", self.take(2))[0] if size == 126 else \
            struct.unpack("!Q", self.take(8))[0] if size == 127 else size
        return first & 15, self.take(size)

    def rest(self):
        """How many events come until the service says goodbye, and what it says."""
        events = 0
        while True:
            opcode, message = self.next()
            if opcode == 8:
                return events, struct.unpack_from("!H", message)[0]
            at = 32
            while opcode == 2 and struct.unpack_from("<H", message, 2)[0] == self.EVENTS and at < len(message):
                at += struct.unpack_from("<I", message, at)[0]
                events += 1


class Drain(Outside):
    def test_streams_and_sockets_end_and_whoever_waits_is_answered(self):
        service = self.serve()
        url = service.url.replace("http", "ws") + "/v1/ws"
        subscribed = service.ask("POST", "/v1/subscriptions", '{"name":"s","pattern":"none"}')
        self.assertEqual(subscribed.status, 201)
        pulled = []
        puller = threading.Thread(target=lambda: pulled.append(service.ask(
            "POST", "/v1/subscriptions/s/pull", '{"wait_ms":30000}')))
        stream = service.stream("/v1/stream")

        async def talk():
            async with websockets.connect(url, subprotocols=["cloudevents.json"]) as web:
                self.assertEqual(service.ask("POST", "/v1/events/last", "1").status, 201)
                before = heads_read(service)
                puller.start()
                asked = itertools.count(1)  # who asks is counted as well
                until("the pull has come", lambda: heads_read(service) > before + next(asked))
                heard = json.loads(await asyncio.wait_for(web.recv(), PATIENCE))
                self.assertEqual(heard["type"], "last")
                self.assertEqual(stream.next()["type"], "last")
                began = time.monotonic()
                service.process.send_signal(signal.SIGTERM)
                with self.assertRaises(websockets.ConnectionClosed) as closed:
                    await asyncio.wait_for(web.recv(), PATIENCE)
                self.assertEqual(closed.exception.rcvd.code, 1001)
                return began
        began = asyncio.run(talk())
        self.assertIsNone(stream.next())
        puller.join(PATIENCE)
        self.assertEqual((pulled[0].status, pulled[0].json), (200, {"deliveries": []}))
        self.assertEqual(service.stop(), 0)
        self.assertLess(time.monotonic() - began, 15)  # drain_ms is 20 s: nobody was waited for
        self.assertIn('"message":"has stopped"', service.log)

    def test_who_follows_by_peal_v1_gets_what_was_acknowledged_before_goodbye(self):
        service = self.serve()
        follower = Follower(service)
        self.addCleanup(follower.close)
        batch = json.dumps([{"specversion": "1.0", "type": "a", "source": "/test", "id": f"{{}}-{i}",
                             "data": "x" * 60000} for i in range(64)])
        for turn in range(8):  # 30 MB: more than sockets and the connection's queue keep
            answer = service.ask("POST", "/v1/events", batch.replace("{}", str(turn)),
                                 {"Content-Type": "application/cloudevents-batch+json"})
            self.assertEqual(answer.status, 201, answer.text)

        service.process.send_signal(signal.SIGTERM)
        service.says('"message":"stops"')

        self.assertEqual(follower.rest(), (8 * 64, 1001))
        follower.close()
        self.assertEqual(service.stop(), 0)

    def test_who_comes_while_it_stops_is_refused_and_readyz_says_why(self):
        service = self.serve()
        held = socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE)
        with held:
            held.sendall(b"POST /v1/events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n1")
            until("the request has begun", lambda: service.ask("GET", "/v1/stats").json["connections"] == 2)
            service.process.send_signal(signal.SIGTERM)
            until("nobody is let in", lambda: is_refused(service))
            service.says('"message":"stops"')
            held.sendall(b"  ")  # the rest of the request
            said = b""
            while piece := held.recv(65536):
                said += piece
            self.assertIn(b" 201 Created", said)
        self.assertEqual(service.stop(), 0)

    def test_what_was_acknowledged_while_it_stopped_is_there(self):
        service = self.serve()
        acknowledged = []

        def publish(writer):
            try:
                for i in range(100000):
                    answer = service.ask("POST", f"/v1/events/a?id={writer}-{i}", "1")
                    if answer.status != 201:
                        return
                    acknowledged.append(f"{writer}-{i}")
            except OSError:
                pass  # it stops
        writers = [threading.Thread(target=publish, args=(i,)) for i in range(4)]
        for writer in writers:
            writer.start()
        until("some are there", lambda: len(acknowledged) > 100)
        self.assertEqual(service.stop(), 0)
        for writer in writers:
            writer.join(PATIENCE)

        again = self.serve()
        there = set()
        path = "/v1/events?limit=10000"
        while path:
            answer = again.ask("GET", path)
            there.update(event["id"] for event in answer.json)
            link = answer.headers["Link"]
            path = link[1:link.index(">")] if link else None
        self.assertEqual([i for i in acknowledged if i not in there], [])

    def test_who_does_not_end_is_cut_off_after_drain_ms(self):
        service = self.serve("drain_ms: 300ms\n")
        with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as held:
            held.sendall(b"POST /v1/events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1")
            until("the request has begun", lambda: service.ask("GET", "/v1/stats").json["connections"] == 2)
            began = time.monotonic()
            self.assertEqual(service.stop(), 0)
            took = time.monotonic() - began
            self.assertGreater(took, 0.25)
            self.assertLess(took, 10)

    def test_told_twice_it_ends_at_once(self):
        service = self.serve("drain_ms: 1h\n")
        with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as held:
            held.sendall(b"POST /v1/events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1")
            until("the request has begun", lambda: service.ask("GET", "/v1/stats").json["connections"] == 2)
            service.process.send_signal(signal.SIGTERM)
            service.says('"message":"stops"')
            self.assertEqual(service.stop(), 0)

    def test_a_program_of_ours_goes_on_with_the_next_one(self):
        service = self.serve()
        tail = subprocess.Popen([PEAL, "tail", "--follow", "--all", "--json", "--url", service.url],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                env={"PATH": "/usr/bin:/bin"})
        try:
            service.ask("POST", "/v1/events/before", "1")
            self.assertIn("before", tail.stdout.readline())
            self.assertEqual(service.stop(), 0)
            again = self.serve(port=service.port)
            again.ask("POST", "/v1/events/after", "2")
            self.assertIn("after", tail.stdout.readline())
            tail.send_signal(signal.SIGINT)
            tail.communicate(timeout=PATIENCE)
        finally:
            if tail.poll() is None:
                tail.kill()
                tail.communicate()


unittest.main()
