# SPDX-License-Identifier: MIT
#
# Limits: each is reached from outside, and what meets it is told so with its status, as
# application/problem+json, while the next request is served as ever.
import socket
import unittest

from service import PATIENCE, Outside, until

CONFIG = """
limits:
  line_bytes: 512B
  header_bytes: 2KiB
  body_bytes: 4KiB
  json_depth: 5
  connections: 20
  connections_per_address: 12
  streams: 2
  request_ms: 1s
  idle_ms: 1s
"""


class Limits(Outside):
    def setUp(self):
        super().setUp()
        self.service = self.serve(CONFIG)

    def expect(self, answer, status, code, part):
        self.assertEqual(answer.status, status, answer.text)
        self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
        problem = answer.json
        self.assertEqual((problem["status"], problem["code"]), (status, code))
        self.assertIn(part, problem["detail"])
        self.assertEqual(self.service.ask("POST", "/v1/events/next", "1").status, 201)

    def test_a_body_that_is_too_large_is_413_by_its_length_and_in_chunks(self):
        good = '"' + "x" * 4094 + '"'
        self.assertEqual(self.service.ask("POST", "/v1/events/a", good).status, 201)
        self.expect(self.service.ask("POST", "/v1/events/a", good + " "), 413, "limit", "4096")
        status, body, _ = self.service.curl(
            "-H", "Transfer-Encoding: chunked", "-H", "Content-Type: application/json", "--data-binary",
            good + " ", f"{self.service.url}/v1/events/a")
        self.assertEqual(status, 413, body)
        lines = {"Content-Type": "application/x-ndjson"}
        line = '{"specversion":"1.0","type":"a","data":"' + "x" * 4096 + '"}\n'
        self.expect(self.service.ask("POST", "/v1/events", line, lines), 413, "limit", "line")

    def test_a_line_and_headers_that_are_too_long_are_414_and_431(self):
        ask = lambda path, headers=None: self.service.ask("GET", path, headers=headers)
        self.assertEqual(ask("/v1/events?subject=" + "x" * 450).status, 200)
        self.expect(ask("/v1/events?subject=" + "x" * 600), 414, "limit", "line")
        self.expect(ask("/v1/events", {"X-Long": "x" * 4000}), 431, "limit", "head")
        self.expect(ask("/v1/events", {f"x{i}": "1" for i in range(70)}), 431, "limit", "64 headers")

    def test_json_that_is_too_deep_is_400(self):
        ask = lambda text: self.service.ask("POST", "/v1/events/a", text)
        self.assertEqual(ask("[[[[[1]]]]]").status, 201)
        self.expect(ask("[[[[[[1]]]]]]"), 400, "inval", "more than 5 deep")
        self.expect(ask("[" * 4000), 400, "inval", "")

    def test_one_stream_too_many_is_503_and_may_come_later(self):
        streams = [self.service.stream("/v1/stream") for _ in range(2)]
        refused = self.service.ask("GET", "/v1/stream")
        self.assertEqual(refused.headers["Retry-After"], "1")
        self.expect(refused, 503, "limit", "2 streams and sockets")
        streams[0].close()
        until("there is room", lambda: self.service.stream("/v1/stream").status == 200)

    def test_too_many_connections_are_told_so(self):
        held = [socket.create_connection(("127.0.0.1", self.service.port)) for _ in range(12)]
        try:
            answer = self.service.ask("GET", "/healthz")
            self.assertEqual(answer.status, 429)
            self.assertEqual(answer.headers["Retry-After"], "5")
            self.assertIn("connections_per_address", answer.json["detail"])
        finally:
            for one in held:
                one.close()
        until("there is room", lambda: self.service.ask("GET", "/healthz").status == 200)

    def test_who_says_nothing_or_only_half_is_let_go(self):
        post = "POST /v1/events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1"
        for said in ("", "GET /heal", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n", post):
            self.assertEqual(self.service.speak(said), "", said)  # until the service closes
        with socket.create_connection(("127.0.0.1", self.service.port), timeout=PATIENCE) as idle:
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            said = b""
            while piece := idle.recv(65536):
                said += piece
            self.assertEqual(said.count(b"HTTP/1.1"), 1)  # and it ends without a word

    def test_limits_are_taken_from_a_reload(self):
        body = '"' + "x" * 8000 + '"'
        publish = lambda: self.service.ask("POST", "/v1/events/a", body).status
        self.assertEqual(publish(), 413)
        self.service.reload(CONFIG.replace("4KiB", "16KiB").replace("json_depth: 5", "json_depth: 1"))
        until("the limit is another", lambda: publish() == 201)
        self.expect(self.service.ask("POST", "/v1/events/a", "[[1]]"), 400, "inval", "more than 1 deep")

    def test_requests_that_could_be_read_in_two_ways_are_refused(self):
        ends = "\r\nConnection: close\r\n\r\n"
        for head in ("Content-Length: 1\r\nContent-Length: 2", "Content-Length: 1\r\nTransfer-Encoding: chunked",
                     "Content-Length: +1", "Content-Length: 1, 1", "Transfer-Encoding: chunked, identity",
                     "Transfer-Encoding : chunked", "Content-Length: 0x1", "X: a\r\n b", "Host: other"):
            said = self.service.speak(f"POST /v1/events/a HTTP/1.1\r\nHost: localhost\r\n{head}{ends}1")
            self.assertRegex(said, "^HTTP/1.1 (400|501) ", head)
            self.assertEqual(said.count("HTTP/1.1"), 1, head)
        self.assertEqual(self.service.ask("GET", "/v1/stats").json["published"], 0)

    def test_data_as_large_as_it_may_be_goes_by_http_there_and_back(self):
        service = self.serve("bus: {data_max: 64MiB, memory_max: 600MiB}\n", name="large")
        data, read = self.folder / "data", self.folder / "read"
        data.write_bytes(b"7" * (64 << 20))
        url = "?data_max=64M&spool_bytes=200M&memory_max=600M"
        service.peal("publish", "a", "--content-type", "text/plain", "--data-file", data, parameters=url)
        service.peal("export", "-o", read, parameters=url)
        self.assertGreater(read.stat().st_size, 64 << 20)


unittest.main()
