# SPDX-License-Identifier: MIT
#
# Tokens: who has none, a wrong one, or one that was taken back, over HTTP, event streams, WebSockets,
# and peal itself with an http: URL; and what each may publish and is given.
import asyncio
import json
import select
import signal
import subprocess
import threading
import time
import unittest

import websockets

from service import PATIENCE, PEAL, Outside, until


class Tokens(Outside):
    def setUp(self):
        super().setUp()
        self.orders, orders = self.make_token(
            "orders", 'publish: ["order.*"], subscribe: ["order.*", "!order.secret.**"]')
        self.ops, ops = self.make_token("ops", 'publish: ["*"], subscribe: ["*"], admin: true')
        self.reader, reader = self.make_token("reader", 'publish: [], subscribe: ["*"]')
        self.entries = {"orders": orders, "ops": ops, "reader": reader}
        self.service = self.serve(self.config())

    def config(self, without=()):
        lines = [f"    - {entry}\n" for name, entry in self.entries.items() if name not in without]
        return "auth:\n  tokens:\n" + "".join(lines)

    def revoke(self, name):
        self.service.reload(self.config(without=[name]))

    def publish(self, kind, data="1", token=None):
        answer = self.service.ask("POST", f"/v1/events/{kind}", data, token=token or self.ops)
        self.assertEqual(answer.status, 201, answer.text)
        return answer.json

    def socket(self, query="", token=None, **more):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = self.service.url.replace("http", "ws") + "/v1/ws" + query
        return websockets.connect(url, subprotocols=["cloudevents.json"], extra_headers=headers, **more)

    # ---- HTTP

    def test_without_a_token_only_health_and_the_page_are_answered(self):
        for path in ("/healthz", "/readyz", "/"):
            answer = self.service.curl("--compressed", self.service.url + path)
            self.assertEqual(answer[0], 200, path)
        for method, path in (("GET", "/v1/events"), ("POST", "/v1/events/order.a"), ("GET", "/metrics"),
                             ("GET", "/v1/stats"), ("GET", "/v1/stream"), ("GET", "/v1/dead-letters")):
            for token in (None, "pt_" + "x" * 43, self.ops[:-1]):
                answer = self.service.ask(method, path, "1", token=token)
                self.assertEqual(answer.status, 401, path)
                self.assertTrue(answer.headers["WWW-Authenticate"].startswith("Bearer"))
                self.assertEqual(answer.json["code"], "unauthorized")
        self.assertEqual(self.service.ask("GET", "/v1/events", token=self.reader).status, 200)
        self.assertNotIn(self.ops[:-1], self.service.log)

    def test_what_a_token_may_not_publish_is_403_and_names_it(self):
        event = {"specversion": "1.0", "source": "/t", "id": "1", "type": "payment.made"}
        good = dict(event, type="order.made", id="2")
        batch = {"Content-Type": "application/cloudevents-batch+json"}
        lines = {"Content-Type": "application/x-ndjson"}
        asks = [
            ("/v1/events/payment.made", "1", {}),
            ("/v1/events", json.dumps(event), {"Content-Type": "application/cloudevents+json"}),
            ("/v1/events", json.dumps([good, event]), batch),
            ("/v1/events", json.dumps(event) + "\n", lines),
            ("/v1/events", "1", {"ce-specversion": "1.0", "ce-type": "payment.made"}),
            ("/v1/streams/s", json.dumps(event), {"Content-Type": "application/cloudevents+json"}),
        ]
        for path, body, headers in asks:
            answer = self.service.ask("POST", path, body, headers, token=self.orders)
            self.assertEqual(answer.status, 403, answer.text)
            self.assertEqual(answer.json["code"], "forbidden")
            self.assertIn("orders may not publish payment.made", answer.json["detail"])
        self.assertEqual(self.service.ask("GET", "/v1/stats", token=self.ops).json["published"], 0)
        self.publish("order.made", token=self.orders)

    def test_what_a_token_may_not_read_is_as_if_it_were_not_there(self):
        self.publish("order.open")
        secret = self.publish("order.secret.key")["id"]
        self.publish("payment.made")
        ask = lambda path, token: self.service.ask("GET", path, token=token)

        self.assertEqual([e["type"] for e in ask("/v1/events", self.orders).json], ["order.open"])
        self.assertEqual(len(ask("/v1/events", self.reader).json), 3)
        self.assertEqual(ask("/v1/events?type=payment.*", self.orders).json, [])
        self.assertEqual(ask(f"/v1/events/{secret}", self.orders).status, 404)
        self.assertEqual(ask(f"/v1/events/{secret}/trace", self.orders).status, 404)
        self.assertEqual(ask(f"/v1/events/{secret}", self.reader).status, 200)
        types = until("the types", lambda: ask("/v1/types", self.reader).json["types"])
        self.assertEqual(len(types), 3)
        self.assertEqual([t["type"] for t in ask("/v1/types", self.orders).json["types"]],
                         ["order.open"])

    def test_dead_letters_show_what_may_be_read(self):
        ask = lambda method, path, body=None, token=self.ops: self.service.ask(
            method, path, json.dumps(body) if body is not None else None, token=token)
        self.assertEqual(ask("POST", "/v1/subscriptions", {"name": "s", "pattern": "*"}).status, 201)
        self.publish("order.open")
        self.publish("payment.made")
        pulled = []
        while len(pulled) < 2:
            pulled += ask("POST", "/v1/subscriptions/s/pull", {"wait_ms": 5000}).json["deliveries"]
        verdicts = [{"receipt": d["receipt"], "verdict": "reject", "code": f"no.{d['event']['type']}"}
                    for d in pulled]
        self.assertEqual(ask("POST", "/v1/subscriptions/s/settle",
                             {"settlements": verdicts}).json["settled"], 2)

        count = lambda by, token: {row["name"]: row["count"] for row in ask(
            "GET", f"/v1/dead-letters/counts?by={by}", token=token).json["counts"]}
        letters = ask("GET", "/v1/dead-letters", token=self.reader).json["dead_letters"]
        self.assertEqual(len(letters), 2)
        mine = ask("GET", "/v1/dead-letters", token=self.orders).json["dead_letters"]
        self.assertEqual([letter["event"]["type"] for letter in mine], ["order.open"])
        self.assertEqual(count("type", self.orders), {"order.open": 1})
        self.assertEqual(count("type", self.reader), {"order.open": 1, "payment.made": 1})
        self.assertEqual(count("reason", self.orders), {"no.order.open": 1})
        self.assertEqual(count("subscription", self.orders), {"s": 1})
        self.assertEqual(count("subscription", self.reader), {"s": 2})
        hidden = next(x["id"] for x in letters if x["event"]["type"] == "payment.made")
        self.assertEqual(ask("GET", f"/v1/dead-letters/{hidden}", token=self.orders).status, 404)
        retried = ask("POST", f"/v1/dead-letters/{hidden}/retry", token=self.reader)
        self.assertEqual(retried.status, 403)
        self.assertIn("admin", retried.json["detail"])

    # Tells the service of an administrator who may read orders only.
    def appoint_clerk(self):
        token, self.entries["clerk"] = self.make_token(
            "clerk", 'publish: [], subscribe: ["order.*"], admin: true')
        self.service.reload(self.config())
        until("clerk is known", lambda: self.service.ask("GET", "/v1/stats", token=token).status == 200)
        return token

    def pull(self, name, token, wait_ms=0):
        answer = self.service.ask("POST", f"/v1/subscriptions/{name}/pull",
                                  json.dumps({"max": 10, "wait_ms": wait_ms}), token=token)
        self.assertEqual(answer.status, 200, answer.text)
        return answer.json["deliveries"]

    # Dead letters of the subscription s, one for each of these types in this order.
    def bury(self, *types):
        ask = lambda path, body: self.service.ask("POST", path, json.dumps(body), token=self.ops)
        ask("/v1/subscriptions", {"name": "s", "pattern": "*"})
        for kind in types:
            self.publish(kind)
            pulled = []
            while not pulled:
                pulled = self.pull("s", self.ops, 5000)
            settled = ask("/v1/subscriptions/s/settle", {"settlements": [
                {"receipt": pulled[0]["receipt"], "verdict": "reject"}]})
            self.assertEqual(settled.json["settled"], 1)

    def letters(self, token, query=""):
        answer = self.service.ask("GET", f"/v1/dead-letters{query}", token=token)
        return [letter["event"]["type"] for letter in answer.json["dead_letters"]]

    def test_who_pulls_is_given_what_he_may_read(self):
        clerk = self.appoint_clerk()
        self.service.ask("POST", "/v1/subscriptions", '{"name":"all","pattern":"*"}', token=clerk)
        for kind in ("payment.made", "order.open", "payment.sent"):
            self.publish(kind)
        types = []
        while not types:
            types += [delivery["event"]["type"] for delivery in self.pull("all", clerk, 5000)]
        self.assertEqual(types + [d["event"]["type"] for d in self.pull("all", clerk, 100)],
                         ["order.open"])

    def test_who_waits_for_events_is_sent_away_when_his_token_is_taken_back(self):
        clerk = self.appoint_clerk()
        self.service.ask("POST", "/v1/subscriptions", '{"name":"all","pattern":"*"}', token=clerk)
        # Whether his request has come before that or after it: he is not given anything.
        connection = self.service.begin("POST", "/v1/subscriptions/all/pull", '{"wait_ms":30000}', clerk)
        self.addCleanup(connection.close)
        until("he waits, as far as can be seen", lambda: self.service.ask(
            "GET", "/v1/stats", token=self.ops).json["connections"] >= 2)
        self.revoke("clerk")
        until("he is not known", lambda: self.service.ask(
            "GET", "/v1/stats", token=clerk).status == 401)
        self.publish("order.open")
        self.assertEqual(connection.getresponse().status, 401)
        self.assertEqual([d["event"]["type"] for d in self.pull("all", self.ops, 5000)], ["order.open"])

    def test_a_limit_counts_what_may_be_read(self):
        self.bury("payment.made", "order.open", "order.closed")
        self.assertEqual(self.letters(self.orders, "?limit=1"), ["order.open"])
        self.assertEqual(self.letters(self.reader, "?limit=1"), ["payment.made"])
        clerk = self.appoint_clerk()
        listed = self.service.peal("dead", "--limit", "1", "--json", token=clerk)
        self.assertIn("order.open", listed)
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        for kind in ("payment.later", "order.later", "order.last"):
            answer = self.service.ask("POST", f"/v1/events/{kind}?deliver_at={soon}", "1", token=self.ops)
            self.assertEqual(answer.status, 202, answer.text)
        waiting = self.service.ask("GET", "/v1/schedule?limit=1", token=self.orders).json["scheduled"]
        self.assertEqual([row["event"]["type"] for row in waiting], ["order.later"])
        self.assertIn("order.later", self.service.peal("schedule", "--limit", "1", "--json", token=clerk))

    def test_who_mends_mends_what_he_may_read(self):
        self.bury("payment.made", "order.open", "order.closed", "payment.sent")
        clerk = self.appoint_clerk()
        ask = lambda method, path, body=None: self.service.ask(method, path, body, token=clerk)
        for path in ("/v1/dead-letters/discard?type=payment.*", "/v1/dead-letters/retry?type=payment.*"):
            self.assertEqual(ask("POST", path).json["affected"], 0, path)
        for method, path in (("DELETE", "/v1/dead-letters/1"), ("PUT", "/v1/dead-letters/1"),
                             ("POST", "/v1/dead-letters/1/retry")):
            self.assertEqual(ask(method, path, "2").status, 404, path)
        self.service.peal("dead", "discard", "--type", "payment.*", token=clerk, wanted=1)
        self.service.peal("dead", "edit", "1", "--data", "2", token=clerk, wanted=1)
        dry = ask("POST", "/v1/dead-letters/discard?all=true&dry_run=true").json
        self.assertEqual(dry, {"affected": 2, "dry_run": True})
        self.assertEqual(ask("POST", "/v1/dead-letters/discard?limit=1").json["affected"], 1)
        self.assertEqual(self.letters(self.reader), ["payment.made", "order.closed", "payment.sent"])
        self.assertEqual(ask("POST", "/v1/dead-letters/retry?all=true").json["affected"], 1)
        self.assertEqual([d["event"]["type"] for d in self.pull("s", self.ops, 5000)], ["order.closed"])
        self.service.peal("dead", "discard", "--all", token=clerk, wanted=1)
        self.assertEqual(ask("DELETE", "/v1/dead-letters/3").status, 409) # is being retried

    def test_changing_takes_admin(self):
        for method, path in (("POST", "/v1/subscriptions"), ("DELETE", "/v1/subscriptions/x"),
                             ("POST", "/v1/subscriptions/x/pause"), ("POST", "/v1/dead-letters/discard"),
                             ("DELETE", "/v1/schedule/x")):
            answer = self.service.ask(method, path, '{"name":"x"}', token=self.orders)
            self.assertEqual(answer.status, 403, path)

    # ---- what stays open

    def test_a_stream_has_what_may_be_read_and_ends_when_its_token_is_taken_back(self):
        stream = self.service.stream("/v1/stream", self.orders)
        other = self.service.stream("/v1/stream", self.reader)
        self.assertEqual(self.service.stream("/v1/stream").status, 401)
        for kind in ("payment.made", "order.secret.key", "order.open"):
            self.publish(kind)
        self.assertEqual(stream.next()["type"], "order.open")
        self.assertEqual(other.next()["type"], "payment.made")

        self.revoke("orders")
        self.assertIsNone(stream.next())
        self.assertEqual(self.service.stream("/v1/stream", self.orders).status, 401)
        self.assertEqual(self.service.ask("GET", "/v1/events", token=self.orders).status, 401)
        self.publish("order.later")
        self.assertEqual([other.next()["type"] for _ in range(3)],
                         ["order.secret.key", "order.open", "order.later"])

    def test_a_socket_has_what_may_be_read_and_ends_when_its_token_is_taken_back(self):
        async def talk():
            with self.assertRaises(websockets.InvalidStatusCode) as refused:
                await self.socket()
            self.assertEqual(refused.exception.status_code, 401)
            async with self.socket(token=self.orders) as socket, self.socket(
                    "?receive=false", token=self.ops) as writer:
                for number, kind in enumerate(("payment.made", "order.secret.key", "order.open")):
                    await writer.send(json.dumps({"specversion": "1.0", "source": "/w", "type": kind,
                                                  "id": str(number)}))
                heard = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))
                self.assertEqual(heard["type"], "order.open")
                await socket.send(json.dumps({"specversion": "1.0", "source": "/w",
                                              "type": "payment.made", "id": "9"}))
                error = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))["error"]
                self.assertEqual((error["code"], error["id"]), ("forbidden", "9"))
                self.revoke("orders")
                with self.assertRaises(websockets.ConnectionClosed) as closed:
                    await asyncio.wait_for(socket.recv(), PATIENCE)
                self.assertEqual(closed.exception.rcvd.code, 1008)
                await writer.send(json.dumps({"specversion": "1.0", "source": "/w", "type": "a",
                                              "id": "10"}))
                await (await writer.ping())
        asyncio.run(talk())

    # ---- a program of ours, by its URL

    def test_a_program_with_peal_token_does_what_its_token_may(self):
        peal = self.service.peal
        peal("publish", "order.open", '{"n":1}', token=self.orders)
        said = peal("publish", "payment.made", "1", token=self.orders, wanted=1)
        self.assertIn("payment.made", said)
        said = peal("query", wanted=1)
        self.assertIn("token", said)
        said = peal("query", token="pt_" + "x" * 43, wanted=1)
        self.assertIn("token", said)
        peal("publish", "payment.made", "1", token=self.ops)
        self.assertNotIn("payment.made", peal("query", token=self.orders))
        self.assertIn("payment.made", peal("query", token=self.reader))

    def test_a_program_that_follows_stops_hearing_when_its_token_is_taken_back(self):
        tail = subprocess.Popen([PEAL, "tail", "--follow", "--new", "--json", "--url", self.service.url],
                                env={"PEAL_TOKEN": self.orders}, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)
        try:
            # What comes before it looks is not new to it.
            until("it hears", lambda: self.hears(tail))
            self.revoke("orders")
            self.service.says("auth.tokens")
            until("it is turned away", lambda: self.service.ask(
                "GET", "/v1/events", token=self.orders).status == 401)
            self.publish("order.after", '"after"')
            # It tries again, and says why it is not let in any more.
            while "does not know our token" not in tail.stderr.readline():
                self.assertIsNone(tail.poll())
            tail.send_signal(signal.SIGINT)
            out, _ = tail.communicate(timeout=PATIENCE)
            self.assertNotIn("order.after", out)
        finally:
            if tail.poll() is None:
                tail.kill()
            tail.communicate()

    def test_a_program_whose_rights_change_misses_nothing_meanwhile(self):
        tail = subprocess.Popen([PEAL, "tail", "--follow", "--new", "--json", "--url", self.service.url],
                                env={"PEAL_TOKEN": self.orders}, stdout=subprocess.PIPE, text=True)
        try:
            until("it hears", lambda: self.hears(tail))
            self.entries["orders"] = self.entries["orders"].replace('["order.*", ', '["order.*", "note", ')
            self.service.reload(self.config())
            self.service.says("auth.tokens")
            # Its connection is ended within a second: some of these come before, some behind that.
            for number in range(75):
                self.publish("order.during", str(number))
                time.sleep(0.02)
            patience = threading.Timer(PATIENCE, tail.kill)
            patience.start()
            heard = []
            while len(heard) < 75 and (line := tail.stdout.readline()):
                event = json.loads(line)
                heard += [event["data"]] if event["type"] == "order.during" else []
            patience.cancel()
            self.assertEqual(heard, list(range(75)))
        finally:
            tail.kill()
            tail.communicate()

    def hears(self, tail):
        self.publish("order.before", '"before"')
        ready, _, _ = select.select([tail.stdout], [], [], 0.2)
        return ready and "order.before" in tail.stdout.readline()

    # ---- taking back

    def test_a_token_whose_rights_change_begins_anew_and_others_notice_nothing(self):
        stream = self.service.stream("/v1/stream", self.orders)
        other = self.service.stream("/v1/stream", self.reader)
        self.entries["orders"] = self.entries["orders"].replace('"order.*"', '"*"')
        self.service.reload(self.config())
        self.assertIsNone(stream.next())
        self.publish("payment.made", token=self.orders)
        self.assertEqual(other.next()["type"], "payment.made")

    def test_a_configuration_that_is_wrong_takes_nothing_back(self):
        self.service.reload("auth: {tokns: []}\n")
        self.service.says("stays as it was")
        self.publish("order.open", token=self.orders)
        self.assertIn("did you mean", self.service.log)


unittest.main()
