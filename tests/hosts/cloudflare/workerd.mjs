// What the bridge relies on, asked of workerd itself by a Worker in JavaScript: a stream like the bridge's whose client
// leaves, answers to `fetch` in three encodings, and headers whose bytes are not ASCII. Prints one line of JSON.
import { createServer, get } from "node:http";
import { connect } from "node:net";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";

const encoders = { br: brotliCompressSync, deflate: deflateSync, gzip: gzipSync };
const origin = createServer((request, response) => {
  const encoding = request.url.slice(1);
  response.writeHead(200, { "content-encoding": encoding }).end(encoders[encoding]("plain"));
}).listen(0, "127.0.0.1");
await new Promise((resolve) => origin.on("listening", resolve));

const WORKER = `
let left = false; // no promise: workerd lets no request settle what another one awaits
export default {
  async fetch(request, env, ctx) {
    const path = new URL(request.url).pathname;
    if (path === "/left") {
      for (let n = 0; n < 500 && !left; n++) await scheduler.wait(20);
      return Response.json(left);
    }
    if (path === "/headers") {
      return Response.json(Object.fromEntries([...request.headers].filter(([name]) => name.startsWith("x-bytes-"))));
    }
    if (path === "/decoded") {
      const texts = {};
      for (const encoding of ["br", "deflate", "gzip"]) {
        const answer = await fetch("http://127.0.0.1:${origin.address().port}/" + encoding);
        texts[encoding] = (await answer.text()) === "plain";
      }
      return Response.json(texts);
    }
    const source = {
      async pull(controller) {
        await scheduler.wait(20);
        controller.enqueue(new TextEncoder().encode("data: 1\\n\\n"));
      },
      cancel: () => { left = true; },
    };
    ctx.waitUntil(scheduler.wait(20000));
    return new Response(new ReadableStream(source, { highWaterMark: 16 }), { headers: { "content-type": "text/event-stream" } });
  },
};`;

const miniflare = new Miniflare(
  convertV4MiniflareOptions({ modules: true, script: WORKER, compatibilityDate: "2026-11-01", host: "127.0.0.1", port: 0 }),
);
const url = await miniflare.ready;
const ask = async (path) => (await fetch(new URL(path, url))).json();
await new Promise((resolve) => {
  const reading = get(new URL("/stream", url), (response) => response.once("data", () => resolve(reading.destroy())));
  reading.on("error", () => {});
});
// By hand, since Node's own client has a header's value as Latin-1.
const sent = { utf8: [0xc5, 0x81], latin1: [0xe0], control: [0x61, 0x0b, 0x1c], space: [0xc2, 0xa0, 0x61] };
const lines = Object.entries(sent).map(([name, bytes]) =>
  Buffer.concat([Buffer.from(`x-bytes-${name}: `), Buffer.from(bytes), Buffer.from("\r\n")]),
);
const request = ["GET /headers HTTP/1.1", "Host: localhost", "Connection: close", "X-Bytes-Two: a", "X-Bytes-Two: b", ""];
const answer = await new Promise((resolve) => {
  let text = "";
  const socket = connect(Number(url.port), "127.0.0.1", () => {
    socket.write(Buffer.concat([Buffer.from(request.join("\r\n")), ...lines, Buffer.from("\r\n")]));
  });
  socket.setEncoding("utf8").on("data", (part) => (text += part));
  socket.on("end", () => resolve(text.slice(text.indexOf("\r\n\r\n") + 4)));
});
console.log(JSON.stringify({ left: await ask("/left"), decoded: await ask("/decoded"), headers: JSON.parse(answer) }));
await miniflare.dispose();
process.exit(0);
