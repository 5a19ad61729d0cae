// CPU of the main thread per request, on Pyodide under this Node: contenders take turns in blocks, within one isolate.
// The second argument: {"seconds", "calls", "contenders": {name: {"headers", "body", "entry"}}}. Prints one line of JSON.
import { env, host, operations, python, run, times } from "../tests/hosts/cloudflare/load.mjs";

const { seconds, calls, contenders } = JSON.parse(process.argv[3]);
const entries = {
  ours: undefined,
  sdk: python.pyimport("benchmarks.worker_sdk").PerRequest,
  bare: python.pyimport("benchmarks.worker_floor").Bare,
  bridged: python.pyimport("benchmarks.worker_floor").Bridged,
};

// KV answers from memory after the first read, as a location's cache does: the relay's HTTP is not the Worker's work.
const kept = new Map();
const relayed = env.KV.get.bind(env.KV);
env.KV.get = async (key, kind) => {
  operations["KV.get"] = (operations["KV.get"] ?? 0) + 1;
  if (!kept.has(key)) kept.set(key, await relayed(key, kind));
  return kept.get(key);
};
delete env.RATE_LIMIT; // neither has the SDK's Worker one
const say = console.log;
console.log = () => {}; // a pipe to another process is not the Worker's either

async function call({ headers, body, entry }) {
  const request = new Request("http://127.0.0.1:8000/mcp", { method: "POST", headers, body });
  const response = await run("fetch", [request], entries[entry]);
  return [response.status, await response.text()];
}

const costs = {};
const answers = {};
const spent = {};
for (const [name, contender] of Object.entries(contenders)) {
  costs[name] = [];
  for (let i = 0; i < 3; i++) answers[name] = await call(contender);
  Object.keys(operations).forEach((key) => delete operations[key]);
  await call(contender);
  spent[name] = { ...operations };
}
const order = Object.keys(contenders);
const deadline = performance.now() + seconds * 1000;
for (let round = 0; performance.now() < deadline || round < 6; round++) {
  for (const name of order) {
    const before = process.threadCpuUsage();
    for (let i = 0; i < calls; i++) await call(contenders[name]);
    const { user, system } = process.threadCpuUsage(before);
    if (round > 0) costs[name].push((user + system) / calls); // the first round warms
  }
  order.reverse();
}
const memory = { wasm: python._module.HEAPU8.length, rss: process.memoryUsage().rss, modules: host.modules() };
say("RESULT " + JSON.stringify({ costs, answers, spent, times, memory }));
process.exit(0);
