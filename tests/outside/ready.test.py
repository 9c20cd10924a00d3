# SPDX-License-Identifier: MIT
#
# /readyz: red while the disk is full or has failed, or while a subscription lags for longer than
# ready_lag_ms, and green again when that is over; /healthz stays green.
import json
import os
import resource
import subprocess
import time
import unittest

from service import Outside, until

FILL = '"' + "x" * 20000 + '"'


def reasons(service):
    answer = service.ask("GET", "/readyz")
    said = answer.json
    assert (answer.status == 200) == said["ready"] == (said["reasons"] == []), answer.text
    assert service.ask("GET", "/healthz").status == 200
    return said["reasons"]


class Ready(Outside):
    def publish_until_it_fails(self, service):
        for _ in range(2000):
            answer = service.ask("POST", "/v1/events/a", FILL)
            if answer.status != 201:
                return answer
        raise AssertionError("the disk has no end")

    def test_a_subscription_that_lags_is_named_until_it_has_caught_up(self):
        service = self.serve("ready_lag_ms: 200ms\n")
        service.ask("POST", "/v1/subscriptions", '{"name":"billing","pattern":"*"}')
        self.assertEqual(reasons(service), [])
        service.ask("POST", "/v1/events/a", "1")
        [said] = until("it lags", lambda: reasons(service))
        self.assertIn("billing", said)
        self.assertIn("ready_lag_ms", said)

        service.ask("POST", "/v1/subscriptions/billing/pause")
        self.assertEqual(reasons(service), [])  # it is meant to
        service.ask("POST", "/v1/subscriptions/billing/resume")
        until("it lags again", lambda: reasons(service))
        pulled = service.ask("POST", "/v1/subscriptions/billing/pull", '{"wait_ms":5000}').json
        done = [{"receipt": d["receipt"], "verdict": "done"} for d in pulled["deliveries"]]
        service.ask("POST", "/v1/subscriptions/billing/settle", json.dumps({"settlements": done}))
        until("it has caught up", lambda: not reasons(service))

    def test_without_a_limit_nobody_lags(self):
        service = self.serve()
        service.ask("POST", "/v1/subscriptions", '{"name":"billing","pattern":"*"}')
        service.ask("POST", "/v1/events/a", "1")
        time.sleep(0.3)
        self.assertEqual(reasons(service), [])
        service.reload("ready_lag_ms: 100ms\n")
        until("it lags", lambda: reasons(service))

    def test_a_disk_that_fails_is_said_until_the_service_starts_anew(self):
        # No file may grow beyond this: a segment file cannot be begun, and that is no full disk.
        service = self.serve("bus: {segment_bytes: 256KiB}\n")
        self.assertEqual(service.ask("POST", "/v1/events/a", FILL).status, 201)
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (100000, resource.RLIM_INFINITY))
        failed = self.publish_until_it_fails(service)
        self.assertEqual((failed.status, failed.json["code"]), (500, "io"))
        [said] = reasons(service)
        self.assertIn(str(service.folder / "log"), said)
        self.assertGreater(len(service.ask("GET", "/v1/events").json), 1)  # reading goes on
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE,
                         (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.assertEqual(reasons(service), [said])
        service.stop()

        again = self.serve("bus: {segment_bytes: 256KiB}\n")
        self.assertEqual(reasons(again), [])
        self.assertEqual(again.ask("POST", "/v1/events/a", FILL).status, 201)

    def test_a_disk_that_is_full_is_said_until_there_is_room(self):
        # A small file system that only the service sees, and a pipe by which it is made larger.
        space = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
        if subprocess.run([*space, "mount", "-t", "tmpfs", "none", "/mnt"], check=False,
                          capture_output=True).returncode != 0:
            self.skipTest("a small file system needs mount(2), and this process may not")
        log, room = self.folder / "service" / "log", self.folder / "room"
        os.mkfifo(room)
        log.mkdir(parents=True)
        mount = (f"mount -t tmpfs -o size=2m none {log} && "
                 f"{{ (read -r size <{room} && mount -o remount,size=$size {log}) & }} && exec \"$@\"")
        service = self.serve("bus: {segment_bytes: 256KiB}\n", within=[*space, "sh", "-c", mount, "sh"])
        self.assertEqual(reasons(service), [])
        failed = self.publish_until_it_fails(service)
        self.assertEqual((failed.status, failed.json["code"]), (500, "io"))
        [said] = reasons(service)
        self.assertIn("the disk is full", said)
        self.assertIn("make room", said)
        room.write_text("8m\n")
        until("there is room", lambda: not reasons(service))
        self.assertEqual(service.ask("POST", "/v1/events/a", "1").status, 201)


unittest.main()
