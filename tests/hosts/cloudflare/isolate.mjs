// One isolate, served over node:http. Prints one line of JSON when it listens, and ends with its standard input.
import { AsyncResource } from "node:async_hooks";
import { createServer } from "node:http";
import { Readable } from "node:stream";
import { config, host, operations, python, run, times } from "./load.mjs";
import { invocation } from "./relay.mjs";

async function answer(incoming, outgoing) {
  const headers = new Headers();
  for (let i = 0; i < incoming.rawHeaders.length; i += 2) {
    headers.append(incoming.rawHeaders[i], incoming.rawHeaders[i + 1]);
  }
  const bodied = incoming.method !== "GET" && incoming.method !== "HEAD";
  const request = new Request(`http://${incoming.headers.host}${incoming.url}`, {
    method: incoming.method,
    headers,
    ...(bodied ? { body: Readable.toWeb(incoming), duplex: "half" } : {}),
  });
  const response = await run("fetch", [request]);
  outgoing.writeHead(response.status, [...response.headers].flat());
  outgoing.flushHeaders();
  if (response.body === null) return void outgoing.end();
  const reader = response.body.getReader();
  const gone = AsyncResource.bind(() => void reader.cancel().catch(() => {}));
  outgoing.on("close", gone);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    outgoing.write(value);
  }
  outgoing.off("close", gone);
  outgoing.end();
}

// Beside the Worker's own paths, for the tests: what was counted, and the cron trigger.
const controls = {
  "/-/operations": () => JSON.stringify(operations),
  "/-/forget": () => (Object.keys(operations).forEach((key) => delete operations[key]), "{}"),
  "/-/scheduled": async () => (await run("scheduled", [{ cron: "17 * * * *" }]), "{}"),
  "/-/memory": () => JSON.stringify({ heap: python._module.HEAPU8.length, modules: host.modules() }),
};

const server = createServer((incoming, outgoing) => {
  const control = controls[incoming.url];
  const work = control ? Promise.resolve(control()).then((text) => outgoing.end(text)) : invocation.run({ calls: 0 }, answer, incoming, outgoing);
  work.catch((e) => {
    console.error("Traceback (most recent call last) in the host:", e);
    if (!outgoing.headersSent) outgoing.writeHead(500);
    outgoing.end("error code: 1101"); // what Cloudflare's edge says of a Worker that threw
  });
});
server.keepAliveTimeout = 75000;
server.listen(config.port, "127.0.0.1", () => {
  console.log(JSON.stringify({ port: server.address().port, ...times }));
});
process.stdin.on("end", () => process.exit(0));
process.stdin.resume();
