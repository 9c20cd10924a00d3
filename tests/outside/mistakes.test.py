# SPDX-License-Identifier: MIT
#
# Mistakes people make: each is answered with what failed, on what, why, and what to do.
import os
import socket
import subprocess
import unittest

from service import PATIENCE, PEAL, Outside


def run(*arguments, **environment):
    """What peal prints on standard error, and its status."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PEAL_")}
    done = subprocess.run([PEAL, *arguments], env={**clean, **environment}, capture_output=True,
                          text=True, check=False, timeout=PATIENCE)
    return done.stderr, done.returncode


class Mistakes(Outside):
    def expect(self, arguments, status, *parts, **environment):
        said, ended = run(*arguments, **environment)
        self.assertEqual(ended, status, said)
        for part in parts:
            self.assertIn(part, said, arguments)

    def test_a_service_that_cannot_start_says_why(self):
        log = f"file:{self.folder / 'log'}"
        held = socket.socket()
        self.addCleanup(held.close)
        held.bind(("127.0.0.1", 0))
        held.listen()
        taken = f"127.0.0.1:{held.getsockname()[1]}"
        broken = self.folder / "broken.yaml"
        broken.write_text("lisen: 1\nlimits: {body: 1}\nauth: {tokens: [{name: a}]}\n")
        serve = lambda *more: ("serve", "--url", log, *more)
        self.expect(serve("--listen", taken), 1, taken.split(":")[1], "Address already in use",
                    "listen elsewhere")
        self.expect(serve("--listen", "192.0.2.1:0", "--insecure"), 1, "192.0.2.1",
                    "does not have that address")
        self.expect(serve("--listen", "0.0.0.0:0"), 2, "0.0.0.0", "peal token new", "insecure")
        self.expect(serve("--listen", "none.invalid:0"), 1, "none.invalid", "there has to be such a host")
        self.expect(serve("--listen", "99999"), 2, "99999", "HOST:PORT")
        self.expect(serve("--port", "80"), 2, "no option --port; did you mean --port-file?")
        self.expect(serve("--config", str(self.folder / "none.yaml")), 2, "none.yaml", "No such file")
        self.expect(serve("--config", str(broken)), 2, "broken.yaml:1:1", "did you mean listen?",
                    "did you mean body_bytes?", "broken.yaml:3:17", "peal token new")
        self.expect(serve("--tls-certificate", "none.pem"), 2, "tls.key is wanted", "none.pem")
        self.expect(serve("--limits-body-bytes", "lots"), 2, "--limits-body-bytes", "lots")
        self.expect(("serve", "--url", "noop:"), 2, "noop:", "file:./events")
        self.expect(("serve", "--url", "redis://x"), 2, "redis:", "file:")
        self.expect(("serve", "--url", "events"), 2, "file:./events")
        self.assertFalse((self.folder / "80").exists())

    def test_a_log_that_somebody_has_is_said_with_who(self):
        service = self.serve()
        said, ended = run("serve", "--url", f"file:{service.folder / 'log'}", "--listen", "0")
        self.assertEqual(ended, 1)
        self.assertIn(f"process {service.process.pid}", said)

    def test_a_service_that_is_not_there_or_is_none_is_said(self):
        service = self.serve()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.expect(("query", "--url", nobody), 1, nobody, "Connection refused", "is that its port?")
        self.expect(("query", "--url", service.url + "/peal"), 1, "404", "http://host:port")
        self.expect(("query", "--url", "http://none.invalid:1"), 1, "none.invalid", "no such host")
        self.expect(("query", "--url", service.url.replace("http", "https")), 2, "https:", "http:")
        self.expect(("query", "--url", service.url.replace("127.0.0.1", "user:word@127.0.0.1")), 2,
                    "token")

    def test_what_is_asked_wrongly_is_said_with_what_is_right(self):
        service = self.serve()
        service.ask("POST", "/v1/subscriptions", '{"name":"s","pattern":"a"}')
        rows = [
            ("GET", "/v1/nothing", None, 404, "docs/http.md"),
            ("DELETE", "/v1/events", None, 405, "POST, GET"),
            ("GET", "/v1/events?typ=a", None, 400, "typ here; there are: type"),
            ("GET", "/v1/events?type=a.%3E", None, 400, 'write "*"'),
            ("GET", "/v1/events?contains=%7Ba", None, 400, "at byte 1"),
            ("GET", "/v1/stream?contains=%7Ba", None, 400, "at byte 1"),
            ("GET", "/v1/events?from=yesterday", None, 400, "2026-11-21T09:15:00Z"),
            ("POST", "/v1/events/a", '{"a":', 400, "Content-Type: text/plain"),
            ("POST", "/v1/events/a..b", "1", 400, 'after "a."'),
            ("POST", "/v1/subscriptions", '{"name":"x","patern":"a"}', 400, 'did you mean "pattern"?'),
            ("POST", "/v1/subscriptions", '{"name":"x"', 400, "not JSON: line 1"),
            ("POST", "/v1/subscriptions", '{"name":"s","pattern":"a"}', 409, "s"),
            ("POST", "/v1/subscriptions", '{"name":"x","pattern":"a","kind":"push"}', 400, "webhook"),
            ("POST", "/v1/subscriptions/none/pull", "{}", 404, "POST /v1/subscriptions"),
            ("POST", "/v1/subscriptions/s/pull", '{"max":0}', 400, "1 to 1000"),
            ("POST", "/v1/subscriptions/s/seek", '{"from":"middle"}', 400, "beginning or now"),
            ("GET", "/v1/ws", None, 426, "Upgrade: websocket"),
        ]
        for method, path, body, status, part in rows:
            answer = service.ask(method, path, body)
            self.assertEqual(answer.status, status, path)
            self.assertIn(part, answer.json["detail"], path)
            self.assertEqual(answer.json["status"], status)
        told = service.ask("POST", "/v1/events", "{}", {"Content-Type": "text/html"})
        self.assertEqual(told.status, 415)
        self.assertIn("/v1/events/TYPE", told.json["detail"])


unittest.main()
