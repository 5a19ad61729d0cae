// The bindings of an isolate, relayed to Miniflare: classes with workerd's names, so that the Workers SDK wraps them.
import { AsyncLocalStorage } from "node:async_hooks";
import { Agent, request } from "node:http";

/** The request under way: `{ calls }`. */
export const invocation = new AsyncLocalStorage();

const agent = new Agent({ keepAlive: true });

const encode = (value) => {
  if (value instanceof ArrayBuffer) return { $bytes: Buffer.from(value).toString("base64") };
  if (ArrayBuffer.isView(value)) {
    return { $bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") };
  }
  return value;
};
const decode = (value) => {
  if (value === null || value?.$bytes === undefined) return value;
  const bytes = Buffer.from(value.$bytes, "base64");
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
};

const LATE_MS = 5000; // until a write is seen anywhere
const CACHED_MS = 60000; // for which what was read is answered again, a miss like a hit

/**
 * The `env` of an isolate. `operations` counts what was asked of each binding; a request gets `most` answers. With
 * `late`, KV is as late as its documentation allows, and later: not even the isolate that wrote sees it at once.
 */
export function connect(port, operations, most, late) {
  const seen = new Map();
  const ask = (binding, method, ...args) => {
    const name = `${binding}.${method}`;
    operations[name] = (operations[name] ?? 0) + 1;
    const under = invocation.getStore();
    under.calls += 1;
    operations.most = Math.max(operations.most ?? 0, under.calls);
    if (under.calls > most) return Promise.reject(new Error("Too many API requests by single Worker invocation."));
    const body = JSON.stringify({ binding, method, args: args.map(encode) });
    return new Promise((resolve, reject) => {
      const asked = request({ host: "127.0.0.1", port, method: "POST", agent }, (response) => {
        const parts = [];
        response.on("data", (part) => parts.push(part));
        response.on("end", () => {
          const { value, error } = JSON.parse(Buffer.concat(parts).toString());
          if (error === undefined) resolve(value);
          else reject(new Error(error));
        });
      });
      asked.on("error", reject);
      asked.end(body);
    });
  };

  const write = (...args) => {
    if (!late) return ask(...args).then(() => undefined);
    setTimeout(() => ask(...args).catch((e) => console.error("a late write failed:", e.message)), LATE_MS).unref();
    return Promise.resolve();
  };

  class KvNamespace {
    async get(key, options) {
      const known = seen.get(key);
      if (late && known !== undefined && known.until > Date.now()) return known.value;
      const value = decode(await ask("KV", "get", key, options ?? "text"));
      seen.set(key, { value, until: Date.now() + CACHED_MS });
      return value;
    }
    async getWithMetadata(key, options) {
      const found = await ask("KV", "getWithMetadata", key, options ?? "text");
      return { ...found, value: decode(found.value) };
    }
    put(key, value, options) {
      return write("KV", "put", key, encode(value), options ?? {});
    }
    delete(key) {
      return write("KV", "delete", key);
    }
    list(options) {
      return ask("KV", "list", options ?? {});
    }
  }

  class D1PreparedStatement {
    constructor(sql, params = []) {
      this.statement = { sql, params };
    }
    bind(...params) {
      return new D1PreparedStatement(this.statement.sql, params.map(encode));
    }
    all() {
      return ask("DB", "all", this.statement);
    }
    run() {
      return ask("DB", "run", this.statement);
    }
    first(column) {
      return ask("DB", "first", this.statement, ...(column === undefined ? [] : [column]));
    }
    raw(options) {
      return ask("DB", "raw", this.statement, ...(options === undefined ? [] : [options]));
    }
  }

  class D1Database {
    prepare(sql) {
      return new D1PreparedStatement(sql);
    }
    batch(statements) {
      return ask("DB", "batch", [...statements].map((each) => each.statement));
    }
    exec(sql) {
      return ask("DB", "exec", sql);
    }
  }

  class Ratelimit {
    limit(options) {
      return ask("RATE_LIMIT", "limit", options);
    }
  }

  return { KV: new KvNamespace(), DB: new D1Database(), RATE_LIMIT: new Ratelimit() };
}
