// Pyodide with the modules of a Worker, set up as workerd does. Takes its configuration as JSON in the first argument.
import { createCipheriv, createDecipheriv, hkdfSync } from "node:crypto";
import { loadPyodide } from "pyodide";
import { connect, invocation } from "./relay.mjs";

process.on("uncaughtException", (e) => {
  console.error("Traceback (most recent call last) in the host:", String(e.stack).slice(-4000)); // else Node shows Pyodide's source
  process.exit(1);
});
export const config = JSON.parse(process.argv[2]);
const began = performance.now();

export const python = await loadPyodide({
  env: { HOME: "/tmp", PYTHONPYCACHEPREFIX: "/pycache" },
  stdout: (line) => console.log(line),
  stderr: (line) => console.error(line), // workerd shows what Python writes there as errors
});

// -- the file system: the bundle at /session/metadata, as workerd lays it out ----------------------------------------

const ROOT = "/session/metadata";
const mount = (host, path) => {
  python.FS.mkdirTree(path);
  python.FS.mount(python.FS.filesystems.NODEFS, { root: host }, path);
};
for (const [path, host] of Object.entries(config.mounts)) mount(host, path);
for (const [path, text] of Object.entries(config.files)) {
  python.FS.mkdirTree(path.slice(0, path.lastIndexOf("/")));
  python.FS.writeFile(path, text);
}

// -- what workerd registers ------------------------------------------------------------------------------------------

class ExecutionContext {
  constructor() {
    this.waiting = [];
    this.props = {};
  }
  get [Symbol.toStringTag]() {
    return "ExecutionContext";
  }
  waitUntil(promise) {
    this.waiting.push(promise);
  }
  passThroughOnException() {}
}
const patchWaitUntil = (ctx) => {
  const original = ctx.waitUntil.bind(ctx);
  ctx.waitUntil = (given) => {
    const kept = "copy" in given ? given.copy() : given;
    original(
      (async () => {
        try {
          await kept;
        } finally {
          kept.destroy?.();
        }
      })(),
    );
  };
};
python.registerJsModule("_pyodide_entrypoint_helper", {
  cloudflareWorkersModule: { env: {}, waitUntil: () => {} },
  cloudflareSocketsModule: {},
  patchWaitUntil,
  doAnImport: (name) => import(name),
});
python.registerJsModule("_cloudflare_compat_flags", {
  python_workflows_implicit_dependencies: true,
  python_request_headers_preserve_commas: true,
});

const concat = (...parts) => new Uint8Array(Buffer.concat(parts));
python.registerJsModule("_node_crypto", {
  seal(key, nonce, data, context) {
    const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(context);
    return concat(cipher.update(data), cipher.final(), cipher.getAuthTag());
  },
  open(key, nonce, data, context) {
    const cipher = createDecipheriv("aes-256-gcm", key, nonce).setAAD(context);
    cipher.setAuthTag(data.slice(-16));
    return concat(cipher.update(data.slice(0, -16)), cipher.final());
  },
  derive: (hash, key, salt, info, length) => new Uint8Array(hkdfSync(hash, key, salt, info, length)),
});

// -- no randomness while modules are imported ------------------------------------------------------------------------

const entropy = { importing: true, allowed: 0 };
const getRandomValues = crypto.getRandomValues.bind(crypto);
crypto.getRandomValues = (view) => {
  if (entropy.importing) {
    if (entropy.allowed <= 0) throw new Error("Disallowed operation called within global scope: crypto.getRandomValues");
    entropy.allowed -= 1;
  }
  return getRandomValues(view);
};
python.registerJsModule("_entropy", entropy);

// -- the internet, where a test has one of its own -------------------------------------------------------------------

const fetched = globalThis.fetch;
globalThis.fetch = (url, init) => {
  const page = config.internet?.[url];
  if (page === undefined) return config.internet ? Promise.reject(new Error(`no route to ${url}`)) : fetched(url, init);
  const bytes = new TextEncoder().encode(page.body);
  const endless = () => new ReadableStream({ pull: (controller) => controller.enqueue(bytes) });
  return Promise.resolve(new Response(page.endless ? endless() : bytes, { status: page.status ?? 200, headers: page.headers }));
};

// -- the Worker ------------------------------------------------------------------------------------------------------

python.runPython(`
import sys
sys.path[:0] = ["${ROOT}", "/host", "/shims"]
sys.path.append("${ROOT}/python_modules")
sys.pycache_prefix = "/pycache"
`);
const loading = performance.now();
export const host = python.pyimport("_host");
const worker = host.load(`${ROOT}/python_modules`, process.pid);
const loaded = performance.now();
host.ready();
entropy.importing = false;

export const operations = {};
export const env = {
  ...connect(config.bindings, operations, Number(config.vars.SUBREQUESTS), config.late),
  ...config.vars,
};
for (const name of config.without) delete env[name];

/** Call an entry point of the Worker, or of another class of entry points. */
export function run(name, args, Entry = worker.Default) {
  return invocation.run(invocation.getStore() ?? { calls: 0 }, async () => {
    const instance = Entry(new ExecutionContext(), env);
    const result = await host.call(instance, name, ...args);
    instance.destroy();
    return result;
  });
}

export const times = {
  pyodide_ms: loading - began,
  import_ms: loaded - loading,
  total_ms: performance.now() - began,
};
