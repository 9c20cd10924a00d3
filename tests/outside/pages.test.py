# SPDX-License-Identifier: MIT
#
# Pages of other origins, and names of other people for this machine: what a browser could be led to
# ask, and is refused.
import asyncio
import unittest

import websockets

from service import Outside, until

LISTED = "https://ops.example:8443"


class Pages(Outside):
    def host(self, service, host, path="/v1/stats", method="GET"):
        return service.speak(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")

    def test_without_tokens_only_this_machine_s_names_are_answered(self):
        service = self.serve()
        port = service.port
        for host in (f"localhost:{port}", f"LOCALHOST:{port}", f"127.0.0.1:{port}", "127.0.0.1",
                     f"[::1]:{port}"):
            self.assertIn(" 200 OK", self.host(service, host), host)
        for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil",
                     "evil.example:localhost"):
            said = self.host(service, host)
            self.assertIn(" 403 Forbidden", said, host)
            self.assertIn('"code":"host"', said)
        said = self.host(service, "evil.example", "/v1/events/a", "POST")
        self.assertIn("403", said)
        self.assertEqual(service.ask("GET", "/v1/stats").json["published"], 0)

    def test_a_listed_origin_s_host_is_a_name_of_the_service(self):
        service = self.serve("cors: {origins: [\"https://ops.example:8443\"]}\n")
        self.assertIn(" 200 OK", self.host(service, "ops.example:8443"))
        self.assertIn("403", self.host(service, "other.example"))

    def test_with_tokens_any_name_will_do(self):
        token, entry = self.make_token("a", 'publish: ["*"], subscribe: ["*"]')
        service = self.serve(f"auth: {{tokens: [{entry}]}}\n")
        answer = service.ask("GET", "/v1/stats", headers={"Host": "peal.example"}, token=token)
        self.assertEqual(answer.status, 200)

    def test_what_changes_something_is_for_pages_of_the_own_origin(self):
        service = self.serve()
        own = {"Origin": service.url}
        foreign = {"Origin": "https://evil.example"}
        self.assertEqual(service.ask("POST", "/v1/events/a", "1", own).status, 201)
        for headers in (foreign, {"Origin": "null"}, {"Origin": f"http://127.0.0.1:{service.port + 1}"},
                        {"Origin": service.url + ".evil.example"}):
            for method, path in (("POST", "/v1/events/a"), ("POST", "/v1/subscriptions"),
                                 ("DELETE", "/v1/subscriptions/a"), ("PUT", "/v1/dead-letters/1")):
                answer = service.ask(method, path, "{}", headers)
                self.assertEqual(answer.status, 403, path)
                self.assertEqual(answer.json["code"], "origin")
        read = service.ask("GET", "/v1/events", headers=foreign)
        self.assertEqual(read.status, 200)
        self.assertIsNone(read.headers["Access-Control-Allow-Origin"])  # the browser keeps it
        self.assertEqual(len(read.json), 1)

    def test_a_listed_origin_is_told_that_it_may_and_another_is_not(self):
        service = self.serve(f"cors: {{origins: [\"{LISTED}\"]}}\n")
        asks = {"Access-Control-Request-Method": "POST", 
                "Access-Control-Request-Headers": "ce-subject,prefer"}
        flown = service.ask("OPTIONS", "/v1/events/a", headers={"Origin": LISTED, **asks})
        self.assertEqual(flown.status, 204)
        self.assertEqual(flown.headers["Access-Control-Allow-Origin"], LISTED)
        self.assertEqual(flown.headers["Access-Control-Allow-Headers"], "ce-subject,prefer")
        answer = service.ask("POST", "/v1/events/a", "1", {"Origin": LISTED})
        self.assertEqual((answer.status, answer.headers["Access-Control-Allow-Origin"]), (201, LISTED))
        self.assertEqual(answer.headers["Vary"], "Origin")
        other = service.ask("OPTIONS", "/v1/events/a", headers={"Origin": "https://evil.example", **asks})
        self.assertEqual(other.status, 403)
        self.assertIsNone(other.headers["Access-Control-Allow-Origin"])

    def test_a_star_lists_every_origin_but_no_other_name_of_the_service(self):
        service = self.serve("cors: {origins: [\"*\"]}\n")
        answer = service.ask("POST", "/v1/events/a", "1", {"Origin": "https://any.example"})
        self.assertEqual(answer.status, 201)
        self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "https://any.example")
        self.assertIn("403", self.host(service, "any.example"))

    def test_origins_are_taken_from_a_reload(self):
        service = self.serve()
        publish = lambda: service.ask("POST", "/v1/events/a", "1", {"Origin": LISTED}).status
        self.assertEqual(publish(), 403)
        service.reload(f"cors: {{origins: [\"{LISTED}\"]}}\n")
        until("the origin is listed", lambda: publish() == 201)
        service.reload("")
        until("the origin is not listed any more", lambda: publish() == 403)

    def test_a_socket_is_for_pages_of_the_own_origin(self):
        service = self.serve()
        url = service.url.replace("http", "ws") + "/v1/ws"

        async def talk():
            with self.assertRaises(websockets.InvalidStatusCode) as refused:
                await websockets.connect(url, origin="https://evil.example")
            self.assertEqual(refused.exception.status_code, 403)
            async with websockets.connect(url, origin=service.url):
                pass
            async with websockets.connect(url):  # no page
                pass
        asyncio.run(talk())

    def test_the_page_may_load_nothing_and_be_framed_by_nobody(self):
        service = self.serve()
        answer = service.ask("GET", "/", headers={"Accept-Encoding": "gzip"})
        self.assertEqual(answer.status, 200)
        policy = answer.headers["Content-Security-Policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertIn("frame-ancestors 'none'", policy)
        self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")


unittest.main()
