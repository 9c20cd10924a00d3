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
