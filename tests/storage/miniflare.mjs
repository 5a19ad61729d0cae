// Miniflare's KV and D1 behind loopback HTTP. It prints its URL, and ends with its standard input.
import { Miniflare, convertV4MiniflareOptions } from "miniflare";

// POST {binding, chain: [[method, arguments], …]}: each method is called on what the one before returned, the last one
// is awaited. POST {reset: true} empties both.
const script = `
async function reset({ KV, DB }) {
  for (let page; !page?.list_complete; ) {
    page = await KV.list();
    for (const { name } of page.keys) await KV.delete(name);
  }
  const tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('records', 'atomics', 'pieces')";
  for (const [name] of await DB.prepare(tables).raw()) await DB.prepare("DROP TABLE " + name).raw();
}

async function answer(env, { reset: wanted, binding, chain }) {
  if (wanted) return reset(env);
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
