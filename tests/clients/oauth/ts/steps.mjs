// What both TypeScript clients do with an authorization, step by step: each step prints one JSON object. The step
// `authorize` has a link for the user's browser, which comes back to a loopback address of this script; `person` waits
// for a line on stdin that says that the user has done what it names. A kit (v1.mjs, v2.mjs) knows its SDK's spelling.

import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

const DEADLINE_MS = 15_000;
const PAGE = '<!doctype html><title>Done</title><link rel=icon href="data:,"><h1>You can close this tab.</h1>';

const say = (step, facts = {}) => console.log(JSON.stringify({ step, ...facts }));
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const sorted = scope => scope.split(' ').sort().join(' ');
const text = result => result.content[0].text;

async function person(does) {
  say('person', { does });
  await lines.next();
}

/** A loopback address for the browser; `next()` is the query that it brings. */
async function callback() {
  const arrived = [];
  const waiting = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url, 'http://127.0.0.1');
    response.setHeader('content-type', 'text/html').setHeader('connection', 'close').end(PAGE);
    if (url.pathname === '/callback') (waiting.shift() ?? (query => arrived.push(query)))(url.searchParams);
  });
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  const next = () =>
    new Promise((resolve, reject) => {
      if (arrived.length) return resolve(arrived.shift());
      waiting.push(resolve);
      setTimeout(() => reject(new Error('the browser did not come back')), DEADLINE_MS).unref();
    });
  return { url: `http://127.0.0.1:${server.address().port}/callback`, next, close: () => server.close() };
}

/** What an application keeps, and where it sends its user (both SDKs ask for the same). */
class Wallet {
  constructor(redirectUrl, document) {
    this.redirectUrl = redirectUrl;
    this.clientMetadataUrl = document;
    this.clientMetadata = {
      client_name: 'Scribe',
      redirect_uris: [redirectUrl],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    };
    this.kept = {};
  }
  state = () => (this.kept.state = crypto.randomUUID());
  clientInformation = () => this.kept.client;
  saveClientInformation = client => void (this.kept.client = client);
  tokens = () => this.kept.tokens;
  saveTokens = tokens => void (this.kept.tokens = tokens);
  codeVerifier = () => this.kept.verifier;
  saveCodeVerifier = verifier => void (this.kept.verifier = verifier);
  discoveryState = () => this.kept.discovery;
  saveDiscoveryState = discovery => void (this.kept.discovery = discovery);
  invalidateCredentials = what => {
    if (what === 'all' || what === 'client') delete this.kept.client;
    if (what === 'all' || what === 'tokens') delete this.kept.tokens;
    if (what === 'all' || what === 'discovery') delete this.kept.discovery;
  };
  redirectToAuthorization = url =>
    say('authorize', { url: url.href, scope: sorted(url.searchParams.get('scope')), resource: url.searchParams.get('resource') });
}

export async function drive(kit) {
  const browser = await callback();
  const wallet = new Wallet(browser.url, kit.document);
  let me;

  /** Do `what`; when the client says that its user has to authorize it, finish that, connect anew and do it again. */
  async function authorized(what) {
    try {
      return await what();
    } catch (error) {
      if (!kit.isUnauthorized(error)) throw error;
      const query = await browser.next();
      if (query.get('state') !== wallet.kept.state) throw new Error('another state came back', { cause: error });
      await kit.finish(me, query);
      await kit.close(me);
      await connect();
      return await what();
    }
  }
  async function connect() {
    me = kit.make(wallet);
    await kit.connect(me);
  }
  const call = async (name, args = {}) => text(await kit.call(me, name, args));

  await authorized(async () => me ?? connect());
  say('called', { answer: await call('whoami'), scope: wallet.kept.tokens.scope });

  const before = wallet.kept.tokens;
  wallet.kept.tokens = { ...before, access_token: 'lost' };
  const answer = await call('read_page');
  const after = wallet.kept.tokens;
  const renewed = after.access_token !== before.access_token && after.refresh_token !== before.refresh_token;
  say('refreshed', { answer, renewed });

  if (kit.stepUp) {
    say('stepped', { answer: await authorized(() => kit.stepUp(() => call('erase_page'), wallet)), scope: wallet.kept.tokens.scope });
  }

  await person('revoke');
  say('again', { answer: await authorized(() => call('whoami')) });
  await kit.close(me);
  browser.close();
  lines.return();
  process.stdin.destroy();
}
