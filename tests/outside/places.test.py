# SPDX-License-Identifier: MIT
#
# Where reading begins and pages end: cursors as they are printed anywhere, the beginning by its other
# names, and answers that would be too long.
import http.client
import json
import unittest

from service import PATIENCE, Outside


class Places(Outside):
    def setUp(self):
        super().setUp()
        self.service = self.serve()

    def publish(self, kind, data="1", **headers):
        answer = self.service.ask("POST", f"/v1/events/{kind}", data, headers)
        self.assertEqual(answer.status, 201, answer.text)
        return answer.json["position"]

    def resume(self, cursor):
        """The status of a stream that goes on behind a cursor, and the first position in it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request("GET", "/v1/stream", headers={"Last-Event-ID": cursor})
        answer = connection.getresponse()
        if answer.status != 200:
            return answer.status, json.loads(answer.read())["detail"]
        line = answer.readline()
        while not line.startswith(b"id: "):
            line = answer.readline()
        return 200, int(line[4:])

    def test_a_stream_from_0_or_from_the_beginning_of_time_begins_at_the_beginning(self):
        self.publish("a")
        self.publish("b")
        for place in ("0", "1", "1970-01-01T00:00:00Z"):
            self.assertEqual(self.service.stream(f"/v1/stream?from={place}").next()["type"], "a", place)

    def test_a_cursor_is_taken_as_positions_are_printed(self):
        for kind in ("a", "b", "c"):
            self.publish(kind)
        event = self.service.ask("GET", "/v1/events?type=b").json[0]
        self.assertEqual(self.resume(event["pealposition"]), (200, 3))
        self.assertEqual(self.resume("2"), (200, 3))
        self.assertEqual(self.resume("0"), (200, 1))

    def test_a_cursor_that_is_none_or_of_another_log_is_refused_with_what_to_do(self):
        self.publish("a")
        for cursor in ("x", "-1", "1, 2", "18446744073709551616", "9" * 30):
            status, detail = self.resume(cursor)
            self.assertEqual(status, 400, cursor)
            self.assertIn("no cursor of ours", detail)
        for cursor in ("2", "18446744073709551615"):
            status, detail = self.resume(cursor)
            self.assertEqual(status, 400, cursor)
            self.assertIn("begin anew without it", detail)

    def test_a_page_of_a_stream_ends_where_it_would_be_too_long(self):
        data = b"7" * (1 << 20)
        for _ in range(12):
            self.publish("a", data, **{"ce-subject": "s", "Content-Type": "text/plain"})
        path, versions, sizes = "/v1/streams/s?limit=1000", [], []
        while path:
            answer = self.service.ask("GET", path)
            versions += [int(event["pealversion"]) for event in answer.json]
            sizes.append(len(answer.bytes))
            link = answer.headers["Link"]
            path = link[1:link.index(">")] if link else None
        self.assertEqual(versions, list(range(1, 13)))
        self.assertEqual(len(sizes), 2)
        self.assertLess(max(sizes), 10 << 20)

    def test_a_text_in_an_address_or_a_header_is_utf_8(self):
        for path in ("/v1/events/a?subject=%ff", "/v1/events/a?id=%c3", "/v1/streams/%ff"):
            self.assertEqual(self.service.ask("POST", path, "1").status, 400, path)
        refused = self.service.ask("POST", "/v1/events/a", "1", {"ce-subject": "%ff"})
        self.assertEqual(refused.status, 400)
        self.assertEqual(self.service.ask("GET", "/v1/events").json, [])


unittest.main()
