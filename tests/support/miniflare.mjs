// Miniflare's KV and D1 behind loopback HTTP. It prints its URL, and ends with its standard input.
import { Miniflare, convertV4MiniflareOptions } from "miniflare";

// POST {binding, chain: [[method, arguments], …]}: each method is called on what the one before returned, the last one
// is awaited. POST {reset: "empty"} empties both, {reset: "new"} takes the tables away too.
const script = `
const TABLES = ["records", "atomics", "pieces"];

async function reset({ KV, DB }, how) {
  const each = (statement) => DB.batch(TABLES.map((table) => DB.prepare(statement + table)));
  if (how === "new") await each("DROP TABLE IF EXISTS ");
  else await each("DELETE FROM ").catch(() => undefined); // there may be none yet
  for (let page; !page?.list_complete; ) {
    page = await KV.list();
    await Promise.all(page.keys.map(({ name }) => KV.delete(name)));
  }
}

async function answer(env, { reset: how, binding, chain }) {
  if (how) return reset(env, how);
  return chain.reduce((on, [method, values]) => on[method](...values), env[binding]);
}

export default {
  async fetch(request, env) {
    try {
      return Response.json({ value: (await answer(env, await request.json())) ?? null });
    } catch (error) {
      return Response.json({ error: String(error) });
    }
  },
};`;

const miniflare = new Miniflare(
  convertV4MiniflareOptions({
    modules: true,
    script,
    compatibilityDate: "2026-11-01",
    kvNamespaces: ["KV"],
    d1Databases: ["DB"],
    host: "127.0.0.1",
    port: 0,
    logRequests: false,
  }),
);
console.log(String(await miniflare.ready));
process.stdin.resume().on("end", async () => {
  await miniflare.dispose();
  process.exit(0);
});
