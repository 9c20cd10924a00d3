# SPDX-License-Identifier: MIT
#
# A service of a test's own: `peal serve` on a free port, with a folder for its files.
#
#     class Something(Outside):
#         def test_a_sentence(self):
#             service = self.serve(config="limits: {body_bytes: 1KiB}")
#             answer = service.ask("POST", "/v1/events/a", "1")
#             self.assertEqual(answer.status, 201)
#
# What a test has started ends with it, in order: a service that does not end with 0 fails the test,
# with what it has said.
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

PEAL = os.environ["PEAL"]
PATIENCE = 30  # seconds: for what takes milliseconds


def until(what, holds, seconds=PATIENCE):
    """Waits until something holds, and gives it."""
    end = time.monotonic() + seconds
    while True:
        last = holds()
        if last:
            return last
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for: {what}")
        time.sleep(0.02)


class Answer:
    def __init__(self, answer):
        self.status = answer.status
        self.headers = answer.headers
        self.bytes = answer.read()

    @property
    def text(self):
        return self.bytes.decode()

    @property
    def json(self):
        return json.loads(self.bytes)


class Service:
    def __init__(self, folder, config, arguments=(), environment=None, port=0, within=()):
        self.folder = folder
        self.config = folder / "peal.yaml"
        self.config.write_text(config)
        ports = folder / "port"
        ports.unlink(missing_ok=True)
        self.log_file = folder / "said"
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PEAL_")}
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [*within, PEAL, "serve", "--config", self.config, "--url", f"file:{folder / 'log'}", "--listen",
                 f"127.0.0.1:{port}", "--port-file", ports, "--log-format", "json", *arguments],
                stderr=log, env={**clean, **(environment or {})})
        self.tls = "tls:" in config
        self.streams = []
        until("it listens", lambda: self.process.poll() is not None or
              (ports.exists() and ports.read_text().endswith("\n")))
        if self.process.poll() is not None:
            raise AssertionError(f"the service has not started:\n{self.log}")
        self.port = int(ports.read_text())
        self.scheme = "https" if self.tls else "http"
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def log(self):
        return self.log_file.read_text()

    def says(self, text, times=1):
        until(f"the log says {text!r}", lambda: self.log.count(text) >= times)

    def ask(self, method, path, body=None, headers=None, token=None, context=None):
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if self.tls:
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE,
                                                     context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def begin(self, method, path, body, token):
        """A connection on which this was asked, and whose answer is yet to come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request(method, path, body, {"Authorization": f"Bearer {token}"})
        return connection

    def speak(self, text):
        """Says exactly this, and gives all that is answered until the service closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as peer:
            peer.sendall(text.encode())
            said = b""
            while piece := peer.recv(65536):
                said += piece
            return said.decode()

    def stream(self, path, token=None):
        self.streams.append(Stream(self, path, token))
        return self.streams[-1]

    def curl(self, *arguments):
        """The status, the body, and the exit status of curl."""
        done = subprocess.run(["curl", "-sS", "-m", str(PATIENCE), "-w", "\n%{http_code}", *arguments],
                              capture_output=True, text=True, check=False)
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body, done.returncode

    def peal(self, *arguments, token=None, wanted=0, parameters="", **more):
        """The command line of peal, on this service's URL with parameters; what it prints."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PEAL_")}
        if token:
            clean["PEAL_TOKEN"] = token
        done = subprocess.run([PEAL, *arguments, "--url", self.url + parameters], env=clean, text=True,
                              capture_output=True, check=False, timeout=PATIENCE, **more)
        if done.returncode != wanted:
            raise AssertionError(f"peal {arguments} ended with {done.returncode}, not {wanted}:\n"
                                 f"{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def reload(self, config=None):
        """SIGHUP, perhaps with another configuration."""
        if config is not None:
            self.config.write_text(config)
        self.process.send_signal(signal.SIGHUP)

    def stop(self):
        for stream in self.streams:
            stream.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the service does not end:\n{self.log}") from None


class Stream:
    """Server-Sent Events: the data of one after the other; None at the end."""

    def __init__(self, service, path, token=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.connection.request("GET", path, headers=headers)
        self.answer = self.connection.getresponse()
        self.status = self.answer.status
        if self.status == 200:
            assert self.answer.readline() == b":\n"

    def next(self):
        while line := self.answer.readline():
            if line.startswith(b"data: "):
                return json.loads(line[6:])
        return None

    def close(self):
        self.connection.close()


class Outside(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="peal-outside."))
        self.addCleanup(shutil.rmtree, self.folder)

    def serve(self, config="", name="service", **more):
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        service = Service(folder, config, **more)
        self.addCleanup(self.expect_end, service)
        return service

    def expect_end(self, service):
        status = service.stop()
        self.assertEqual(status, 0, f"the service has ended with {status}:\n{service.log}")

    def make_token(self, name, rights):
        """A token and its entry for auth.tokens, with these rights: "publish: [a]"."""
        made = subprocess.run([PEAL, "token", "new", name, "--json"], capture_output=True, text=True,
                              check=True)
        made = json.loads(made.stdout)
        return made["token"], f"{{name: {name}, hash: \"{made['hash']}\", {rights}}}"

    def run_openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=self.folder)

    def make_authority(self, name):
        """A certificate that signs others: its file."""
        self.run_openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                         "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
                         "-out", f"{name}.pem")
        return self.folder / f"{name}.pem"

    def make_certificate(self, name, authority):
        """A certificate for 127.0.0.1 and localhost, signed by an authority: its files."""
        (self.folder / f"{name}.ext").write_text(
            "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n")
        self.run_openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                         "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self.run_openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey",
                         f"{authority}.key", "-CAcreateserial", "-days", "2", "-extfile",
                         f"{name}.ext", "-out", f"{name}.pem")
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"


def trust(authority, certificate=None, key=None):
    """A context for TLS that trusts one authority, and perhaps shows a certificate."""
    context = ssl.create_default_context(cafile=authority)
    if certificate:
        context.load_cert_chain(certificate, key)
    return context
