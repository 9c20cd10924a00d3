# SPDX-License-Identifier: MIT
#
# Webhooks as their owner meets them: made by the API, verified by npm `standardwebhooks` in node, and
# kept away from addresses that are not for them.
import http.server
import json
import os
import pathlib
import subprocess
import threading
import unittest

from service import Outside, until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
RECEIVER = pathlib.Path(__file__).parent.parent / "service" / "standardwebhooks.mjs"


class Receiver:
    """standardwebhooks in node: a line for each request, "ok <type> ..." or "bad <why>"."""

    def __init__(self, secret):
        self.process = subprocess.Popen(
            [os.environ["PEAL_NODE"], RECEIVER, os.environ["PEAL_NODE_FOLDER"], secret],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/hook"

    def next(self):
        return self.process.stdout.readline().strip()

    def close(self):
        self.process.communicate()


class Webhooks(Outside):
    def receiver(self, secret=SECRET):
        receiver = Receiver(secret)
        self.addCleanup(receiver.close)
        return receiver

    def make(self, service, url, **more):
        definition = {"name": "hook", "pattern": "order.*", "kind": "webhook",
                      "webhook": {"url": url, **more}, "retry": {"max_attempts": 1}}
        return service.ask("POST", "/v1/subscriptions", json.dumps(definition))

    def look(self, service):
        return service.ask("GET", "/v1/subscriptions/hook").json

    def test_a_delivery_is_verified_by_others_and_the_secret_is_told_once(self):
        service = self.serve("webhooks: {allow: [127.0.0.1]}\n")
        receiver = self.receiver()
        made = self.make(service, receiver.url, secret=SECRET)
        self.assertEqual(made.status, 201, made.text)
        service.ask("POST", "/v1/events/order.created", '{"total":5}')
        service.ask("POST", "/v1/events/payment.made", "1")
        service.ask("POST", "/v1/events/order.paid", "2")
        self.assertEqual(receiver.next(), "ok order.created application/cloudevents+json")
        self.assertEqual(receiver.next(), "ok order.paid application/cloudevents+json")
        until("both are done", lambda: self.look(service)["webhook"]["done"] == 2)
        self.assertNotIn(SECRET, service.ask("GET", "/v1/subscriptions").text)
        self.assertNotIn(SECRET, service.log)

    def test_a_secret_that_was_made_is_in_the_answer_and_is_good(self):
        service = self.serve("webhooks: {allow: [127.0.0.1]}\n")
        first = self.receiver()
        made = self.make(service, first.url)
        self.assertEqual(made.status, 201, made.text)
        secret = made.json["webhook"]["secret"]
        second = self.receiver(secret)
        changed = service.ask("PUT", "/v1/subscriptions/hook/webhook", json.dumps({"url": second.url}))
        self.assertEqual(changed.status, 200, changed.text)
        service.ask("POST", "/v1/events/order.created", "1")
        self.assertTrue(second.next().startswith("ok order.created"))

    def test_a_change_is_made_whole_or_not_at_all(self):
        service = self.serve()
        self.assertEqual(self.make(service, "http://hooks.example/1").status, 201)
        before = self.look(service)["webhook"]
        for change in ({"url": "http://hooks.example/2", "secret": "whsec_short"},
                       {"url": "http://hooks.example/2", "concurrency": 65},
                       {"url": "http://hooks.example/2", "concurrency": 2 ** 32},
                       {"rotate": True, "url": "ftp://hooks.example/"},
                       {"concurrency": 2 ** 32 + 1}):
            changed = service.ask("PUT", "/v1/subscriptions/hook/webhook", json.dumps(change))
            self.assertIn(changed.status, (400, 413), changed.text)
            self.assertEqual(self.look(service)["webhook"], before, change)
        both = service.ask("PUT", "/v1/subscriptions/hook/webhook",
                           json.dumps({"url": "http://hooks.example/2", "secret": SECRET}))
        self.assertEqual((both.status, both.json["webhook"]["secret"]), (200, SECRET), both.text)
        self.assertEqual(self.look(service)["webhook"]["url"], "http://hooks.example/2")
        for change in ({"concurrency": 2 ** 32 + 1}, {"concurrency": 2 ** 32}):
            made = service.ask("POST", "/v1/subscriptions", json.dumps(
                {"name": "other", "pattern": "a", "kind": "webhook",
                 "webhook": {"url": "http://hooks.example/3"}, **change}))
            self.assertEqual(made.status, 413, made.text)

    def test_another_secret_is_a_dead_letter_with_what_was_answered(self):
        service = self.serve("webhooks: {allow: [127.0.0.1]}\n")
        receiver = self.receiver("whsec_" + "A" * 32)
        self.make(service, receiver.url, secret=SECRET)
        service.ask("POST", "/v1/events/order.created", "1")
        self.assertTrue(receiver.next().startswith("bad"))
        letters = until("it is dead", lambda: service.ask("GET", "/v1/dead-letters").json["dead_letters"])
        self.assertEqual(letters[0]["reason"], "http_400")
        self.assertIn("signature", letters[0]["text"].lower())

    def test_addresses_that_are_not_public_are_refused_with_what_they_are(self):
        service = self.serve()
        receiver = self.receiver()
        port = receiver.url.split(":")[2].split("/")[0]
        for host in ("127.0.0.1", "127.1", "0x7f000001", "2130706433", "[::1]", "[::ffff:127.0.0.1]",
                     "localhost", "0.0.0.0", "10.0.0.1", "192.168.1.1", "169.254.169.254", "[fe80::1]",
                     "[fd00::1]", "[64:ff9b::7f00:1]", "100.64.0.1"):
            made = self.make(service, f"http://{host}:{port}/hook", secret=SECRET, timeout_ms=5000)
            if made.status == 201:
                service.ask("POST", "/v1/events/order.created", "1")
                letters = until(f"{host} is dead",
                                lambda: service.ask("GET", "/v1/dead-letters").json["dead_letters"])
                self.assertEqual(letters[0]["reason"], "address", f"{host}: {letters[0]['text']}")
                self.assertIn("webhooks.allow", letters[0]["text"], host)
                service.ask("POST", "/v1/dead-letters/discard?all=true")
                service.ask("DELETE", "/v1/subscriptions/hook")
            else:
                self.assertEqual(made.status, 400, host)
        for url in ("ftp://hooks.example/", "file:///etc/passwd", "http://user:word@hooks.example/", "hooks"):
            made = self.make(service, url)
            self.assertEqual(made.status, 400, url)

    def test_what_is_allowed_may_change_while_it_runs(self):
        service = self.serve("webhooks: {allow: [127.0.0.0/8]}\n")
        receiver = self.receiver()
        self.make(service, receiver.url, secret=SECRET)
        service.ask("POST", "/v1/events/order.first", "1")
        self.assertTrue(receiver.next().startswith("ok order.first"))
        service.reload("webhooks: {allow: [192.0.2.1]}\n")
        service.says("webhooks.allow")
        service.ask("POST", "/v1/events/order.second", "1")
        letters = until("it is dead", lambda: service.ask("GET", "/v1/dead-letters").json["dead_letters"])
        self.assertEqual(letters[0]["reason"], "address")

    def test_a_redirect_is_not_followed(self):
        asked = []

        class Elsewhere(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                asked.append(self.path)
                self.send_response(302)
                self.send_header("Location", "/other")
                self.end_headers()

            def log_message(self, *_):
                pass
        server = http.server.HTTPServer(("127.0.0.1", 0), Elsewhere)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            service = self.serve("webhooks: {allow: [127.0.0.1]}\n")
            self.make(service, f"http://127.0.0.1:{server.server_port}/hook", secret=SECRET)
            service.ask("POST", "/v1/events/order.created", "1")
            letters = until("it is dead",
                            lambda: service.ask("GET", "/v1/dead-letters").json["dead_letters"])
            self.assertEqual(letters[0]["reason"], "http_redirect")
            self.assertEqual(asked, ["/hook"])
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


unittest.main()
