// Miniflare's KV, D1 and rate limit behind one HTTP endpoint, so that several isolates share them.
// Prints {"port": N} and ends with its standard input.
import { Miniflare, convertV4MiniflareOptions } from "miniflare";

const RELAY = `
const decode = (value) => value && value.$bytes !== undefined
  ? Uint8Array.from(atob(value.$bytes), (c) => c.charCodeAt(0)).buffer : value;
const encode = (value) => {
  if (!(value instanceof ArrayBuffer)) return value;
  let text = "";
  for (const byte of new Uint8Array(value)) text += String.fromCharCode(byte);
  return { $bytes: btoa(text) };
};
const statement = (db, { sql, params }) => {
  const prepared = db.prepare(sql);
  return params.length ? prepared.bind(...params.map(decode)) : prepared;
};
export default {
  async fetch(request, env) {
    const { binding, method, args } = await request.json();
    const target = env[binding];
    try {
      let value;
      if (method === "batch") value = await target.batch(args[0].map((each) => statement(target, each)));
      else if (args[0]?.sql !== undefined) value = await statement(target, args[0])[method](...args.slice(1));
      else value = await target[method](...args.map(decode));
      if (value?.value instanceof ArrayBuffer) value = { ...value, value: encode(value.value) };
      return Response.json({ value: encode(value) ?? null });
    } catch (e) {
      return Response.json({ error: e.message });
    }
  },
};`;

const miniflare = new Miniflare(
  convertV4MiniflareOptions({
    modules: true,
    script: RELAY,
    compatibilityDate: "2026-11-01",
    kvNamespaces: ["KV"],
    d1Databases: ["DB"],
    ratelimits: { RATE_LIMIT: { namespace_id: "1", simple: { limit: 1000000, period: 60 } } },
    host: "127.0.0.1",
    port: 0,
    logRequests: false,
  }),
);
const url = await miniflare.ready;
console.log(JSON.stringify({ port: Number(url.port) }));
process.stdin.on("end", async () => {
  await miniflare.dispose();
  process.exit(0);
});
process.stdin.resume();
