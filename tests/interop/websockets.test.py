# SPDX-License-Identifier: MIT
#
# WebSockets by Debian's python3-websockets.
import asyncio
import json
import os
import unittest

import websockets

URL = os.environ["PEAL_URL"].replace("http", "ws") + "/v1/ws"


def connect(query=""):
    return websockets.connect(URL + query, subprotocols=["cloudevents.json"], max_size=None)


def event(number, kind, data):
    return json.dumps({"specversion": "1.0", "id": str(number), "source": "/python",
                       "type": kind, "data": data})


class Sockets(unittest.IsolatedAsyncioTestCase):
    async def read(self, socket):
        return json.loads(await asyncio.wait_for(socket.recv(), 20))

    async def test_an_event_comes_back(self):
        async with connect("?type=python.*") as socket:
            self.assertEqual(socket.subprotocol, "cloudevents.json")
            await socket.send(event(1, "python.one", {"n": 1.5}))
            self.assertEqual((await self.read(socket))["data"], {"n": 1.5})
        self.assertEqual(socket.close_code, 1000)

    async def test_compression_is_not_agreed_on(self):
        async with connect() as socket:
            self.assertEqual(socket.extensions, [])

    async def test_fragments_are_one_message(self):
        async with connect("?type=fragments") as socket:
            text = event(2, "fragments", "x" * 1000)
            await socket.send(text[i:i + 100] for i in range(0, len(text), 100))
            self.assertEqual(len((await self.read(socket))["data"]), 1000)

    async def test_pings_are_answered(self):
        async with connect("?receive=false") as socket:
            await asyncio.wait_for(await socket.ping(), 20)

    async def test_binary_is_refused(self):
        async with connect() as socket:
            await socket.send(b"\x00")
            with self.assertRaises(websockets.ConnectionClosedError) as closed:
                await socket.recv()
            self.assertEqual(closed.exception.rcvd.code, 1003)

    async def test_many_readers_hear_one_writer(self):
        readers = [await connect("?type=many") for _ in range(50)]
        async with connect("?receive=false") as writer:
            for i in range(100):
                await writer.send(event(f"many-{i}", "many", i))
        for reader in readers:
            for i in range(100):
                self.assertEqual((await self.read(reader))["data"], i)
            await reader.close()

    async def test_a_mistake_is_answered(self):
        async with connect("?receive=false") as socket:
            await socket.send("{}")
            self.assertEqual((await self.read(socket))["error"]["code"], "inval")


unittest.main()
