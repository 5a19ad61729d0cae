// A real OpenID Connect provider on a port of 127.0.0.1, whose users sign in by a link instead of a form.
//
// It prints {"issuer": …} when it listens. /interaction/<uid>/finish?login=NAME lets the user in, …?deny=1 turns the
// client away. /rotate signs with a new key from then on, /revoke forgets every grant. Settings come as JSON in argv[2].
import { createServer } from "node:http";
import { generateKeyPairSync, randomUUID } from "node:crypto";
import Provider, { errors } from "oidc-provider";

const settings = JSON.parse(process.argv[2] ?? "{}");

function key() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig", alg: "RS256" };
}

function provider(issuer, keys, adapter) {
  const made = new Provider(issuer, {
    adapter,
    jwks: { keys },
    clients: settings.clients,
    cookies: { keys: ["a key of the tests"] },
    claims: { openid: ["sub"], profile: ["name"], email: ["email", "email_verified"] },
    conformIdTokenClaims: settings.claimsInUserinfo ?? true,
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, name: `${id} of the tests`, email: `${id}@users.test`, email_verified: id !== "mallory" }),
    }),
    features: { devInteractions: { enabled: false }, revocation: { enabled: true } },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: async (_, client, code) => client.grantTypeAllowed("refresh_token") && code.scopes.has("offline_access"),
    ttl: { AccessToken: settings.accessTokenTtl ?? 3600, AuthorizationCode: settings.codeTtl ?? 60, Grant: 3600,
           IdToken: 3600, Interaction: 600, RefreshToken: 3600, Session: 3600 },
  });
  return made;
}

// One memory for all providers that follow each other when keys rotate.
const memory = new Map();
class Memory {
  constructor(model) { this.model = model; }
  key(id) { return `${this.model}:${id}`; }
  async upsert(id, payload, expiresIn) {
    memory.set(this.key(id), { payload: { ...payload }, until: Date.now() + (expiresIn ?? 3600) * 1000 });
  }
  async find(id) {
    const found = memory.get(this.key(id));
    return found && found.until > Date.now() ? { ...found.payload } : undefined;
  }
  async findByUid(uid) {
    for (const [name, { payload }] of memory) if (name.startsWith(`${this.model}:`) && payload.uid === uid) return { ...payload };
  }
  async findByUserCode() {}
  async consume(id) { memory.get(this.key(id)).payload.consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { memory.delete(this.key(id)); }
  async revokeByGrantId(grantId) {
    for (const [name, { payload }] of memory) if (payload.grantId === grantId) memory.delete(name);
  }
}

async function finish(oidc, request, response, query) {
  const details = await oidc.interactionDetails(request, response);
  if (query.get("deny")) {
    await oidc.interactionFinished(request, response, { error: "access_denied", error_description: "no" });
    return;
  }
  const accountId = query.get("login");
  const grant = new oidc.Grant({ accountId, clientId: details.params.client_id });
  grant.addOIDCScope(details.params.scope);
  const result = { login: { accountId }, consent: { grantId: await grant.save() } };
  await oidc.interactionFinished(request, response, result);
}

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  let oidc = provider(issuer, [key()], Memory);
  server.on("request", (request, response) => {
    const url = new URL(request.url, issuer);
    if (url.pathname === "/rotate") {
      oidc = provider(issuer, [key()], Memory);
      response.end();
    } else if (url.pathname === "/revoke") {
      for (const name of memory.keys()) if (/^(Grant|RefreshToken|AccessToken):/.test(name)) memory.delete(name);
      response.end();
    } else if (url.pathname === "/api/whoami") {
      // The API behind the tools: it takes this provider's access tokens.
      const token = (request.headers.authorization ?? "").replace(/^Bearer /, "");
      oidc.AccessToken.find(token).then((found) => {
        response.statusCode = found ? 200 : 401;
        response.setHeader("content-type", "application/json");
        response.end(JSON.stringify(found ? { account: found.accountId } : {}));
      });
    } else if (url.pathname.endsWith("/finish")) {
      request.url = url.pathname.replace(/\/finish$/, "");
      finish(oidc, request, response, url.searchParams).catch((error) => {
        response.statusCode = error instanceof errors.SessionNotFound ? 404 : 500;
        response.end(String(error));
      });
    } else if (url.pathname.startsWith("/interaction/")) {
      response.end("who are you?");
    } else {
      oidc.callback()(request, response);
    }
  });
  console.log(JSON.stringify({ issuer }));
});
