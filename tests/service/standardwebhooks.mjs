// SPDX-License-Identifier: MIT
//
// A receiver of webhooks that nobody here wrote: npm `standardwebhooks` verifies what comes.
//
//     node standardwebhooks.mjs <folder of the packages> <secret>
//
// The first line it prints is its port; then each request is a line: "ok <type>", or "bad <why>",
// which is answered with 400.
import { createRequire } from 'node:module';
import { createServer } from 'node:http';

const [folder, secret] = process.argv.slice(2);
const { Webhook } = createRequire(`${folder}/`)('standardwebhooks');
const webhook = new Webhook(secret);

const server = createServer((request, response) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => {
        try {
            const event = webhook.verify(Buffer.concat(pieces).toString('utf8'), request.headers);
            console.log(`ok ${event.type} ${request.headers['content-type']}`);
            response.writeHead(204).end();
        } catch (error) {
            console.log(`bad ${error.message}`);
            response.writeHead(400).end(error.message);
        }
    });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit(0)).resume(); // whoever started it has gone
