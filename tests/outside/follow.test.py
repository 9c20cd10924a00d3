# SPDX-License-Identifier: MIT
#
# peal tail --follow on a service that goes away, for longer than a call waits for its answer, and
# comes back: it is waited for, and nothing is missed or shown twice.
import json
import os
import signal
import subprocess
import time
import unittest

from service import Outside, PEAL, until

AWAY = 32  # seconds: PL_REMOTE_WAIT_MS is 30,000


class Follow(Outside):
    def shown(self):
        return [json.loads(line)["data"] for line in self.out.read_text().splitlines()]

    def test_who_follows_waits_for_a_service_that_is_away(self):
        service = self.serve()
        self.out = service.folder / "shown"
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PEAL_")}
        with open(self.out, "wb") as out:
            tail = subprocess.Popen([PEAL, "tail", "--follow", "--json", "--url", service.url],
                                    stdout=out, stderr=subprocess.PIPE, env=clean)
        self.addCleanup(tail.stderr.close)
        self.addCleanup(tail.wait)
        self.addCleanup(tail.kill)
        for number in range(3):
            service.ask("POST", "/v1/events/a", str(number))
        until("it shows what is there", lambda: len(self.shown()) == 3)
        service.stop()
        time.sleep(AWAY)
        self.assertIsNone(tail.poll(), "it has given up")
        service = self.serve(port=service.port)
        for number in range(3, 6):
            service.ask("POST", "/v1/events/a", str(number))
        until("it goes on", lambda: len(self.shown()) >= 6, 60)
        tail.send_signal(signal.SIGINT)
        self.assertEqual(tail.wait(10), -signal.SIGINT)
        self.assertEqual(self.shown(), [0, 1, 2, 3, 4, 5])


if __name__ == "__main__":
    unittest.main()
