# SPDX-License-Identifier: MIT
#
# TLS: only who trusts the service's authority speaks to it, and with tls.client_ca only who shows a
# certificate of that one. The certificates are made here.
import json
import ssl
import subprocess
import unittest

from service import PATIENCE, PEAL, Outside, trust


class Tls(Outside):
    def setUp(self):
        super().setUp()
        self.authority = self.make_authority("authority")
        self.stranger = self.make_authority("stranger")
        self.certificate, self.key = self.make_certificate("server", "authority")
        self.plain = f"tls: {{certificate: {self.certificate}, key: {self.key}}}\n"

    def test_who_trusts_the_authority_is_served(self):
        service = self.serve(self.plain)
        answer = service.ask("POST", "/v1/events/a", '{"n":1}', context=trust(self.authority))
        self.assertEqual(answer.status, 201)
        status, body, _ = service.curl("--cacert", self.authority, f"{service.url}/v1/events")
        self.assertEqual(status, 200)
        self.assertIn('"data":{"n":1}', body)

    def test_a_large_body_and_a_large_answer_pass(self):
        service = self.serve(self.plain)
        text = '"' + "x" * 1_000_000 + '"'
        answer = service.ask("POST", "/v1/events/a?id=1", text, context=trust(self.authority))
        self.assertEqual(answer.status, 201)
        read = service.ask("GET", "/v1/events/1", context=trust(self.authority))
        self.assertEqual(len(read.json["data"]), 1_000_000)

    def test_another_authority_is_refused_by_the_client(self):
        service = self.serve(self.plain)
        with self.assertRaises(ssl.SSLCertVerificationError):
            service.ask("GET", "/healthz", context=trust(self.stranger))
        _, _, ended = service.curl("--cacert", self.stranger, f"{service.url}/healthz")
        self.assertEqual(ended, 60)  # "peer certificate cannot be authenticated"
        self.assertEqual(service.ask("GET", "/healthz", context=trust(self.authority)).status, 200)

    def test_who_speaks_no_tls_is_told_so_and_harms_nobody(self):
        service = self.serve(self.plain)
        url = f"http://127.0.0.1:{service.port}"
        status, body, _ = service.curl(f"{url}/healthz")
        self.assertEqual(status, 400, body)
        self.assertIn("https://", json.loads(body)["detail"])
        status, body, _ = service.curl("--data-binary", "x" * 30000, f"{url}/v1/events/a")
        self.assertEqual(status, 400, body)
        done = subprocess.run([PEAL, "query", "--url", url], text=True, capture_output=True, check=False,
                              timeout=PATIENCE)
        self.assertEqual(done.returncode, 1)
        self.assertIn("HTTP 400", done.stderr)
        self.assertIn("if that port speaks TLS", done.stderr)
        self.assertEqual(service.ask("GET", "/healthz", context=trust(self.authority)).status, 200)

    def test_tls_where_none_is_spoken_is_told_so_at_once(self):
        service = self.serve("limits: {request_ms: 1h}\n")
        _, _, ended = service.curl("-k", f"https://127.0.0.1:{service.port}/healthz")
        self.assertEqual(ended, 35)  # the handshake has failed, and did not wait
        said = service.speak("\x16\x03\x01\x02\x00")
        self.assertTrue(said.startswith("HTTP/1.1 400 "))
        self.assertIn("http://", said)

    def test_old_protocols_are_refused(self):
        service = self.serve(self.plain)
        _, _, ended = service.curl("--cacert", self.authority, "--tls-max", "1.1",
                                   f"{service.url}/healthz")
        self.assertEqual(ended, 35)  # the handshake has failed
        for version in ("1.2", "1.3"):
            status, _, _ = service.curl("--cacert", self.authority, f"--tlsv{version}", "--tls-max",
                                        version, f"{service.url}/healthz")
            self.assertEqual(status, 200)

    def test_a_client_has_to_show_a_certificate_of_the_right_authority(self):
        clients = self.make_authority("clients")
        good = self.make_certificate("good", "clients")
        bad = self.make_certificate("bad", "stranger")
        service = self.serve(f"tls: {{certificate: {self.certificate}, key: {self.key}, "
                             f"client_ca: {clients}}}\n")

        for shown in ((), bad):
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                service.ask("GET", "/healthz", context=trust(self.authority, *shown))
        answer = service.ask("POST", "/v1/events/a", "1", context=trust(self.authority, *good))
        self.assertEqual(answer.status, 201)
        status, _, ended = service.curl("--cacert", self.authority, f"{service.url}/healthz")
        self.assertNotEqual(ended, 0)
        status, _, _ = service.curl("--cacert", self.authority, "--cert", good[0], "--key", good[1],
                                    f"{service.url}/healthz")
        self.assertEqual(status, 200)

    def test_a_certificate_that_is_none_is_said_and_nothing_starts(self):
        rubbish = self.folder / "rubbish.pem"
        rubbish.write_text("no certificate\n")
        for certificate, key in ((rubbish, self.key), (self.certificate, rubbish),
                                 (self.stranger, self.key)):
            with self.assertRaises(AssertionError) as failed:
                self.serve(f"tls: {{certificate: {certificate}, key: {key}}}\n")
            self.assertIn("has not started", str(failed.exception))
            self.assertIn("TLS", str(failed.exception))
            self.assertIn(".pem", str(failed.exception))


unittest.main()
