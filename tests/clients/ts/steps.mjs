// What both TypeScript clients do, step by step: each step prints one JSON object, and the script ends by itself.
// A kit (v1.mjs, v2.mjs) knows how its SDK is spelled; nothing here knows which one it is.

import { setTimeout as pause } from 'node:timers/promises';
import { randomUUID } from 'node:crypto';

const DEADLINE_MS = 15_000;
const GREETING = 'clients://greeting';

export const ANSWERS = { 'Which city?': { city: 'Oslo' }, 'Really delete?': { sure: true } };

const say = (step, facts = {}) => console.log(JSON.stringify({ step, ...facts }));

async function until(what, holds) {
  const deadline = Date.now() + DEADLINE_MS;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await pause(10); // a poll under a deadline
  }
}

const text = result => (result.isError ? `error: ${result.content[0].text}` : result.content[0].text);

/** A fetch that notes what passed. */
export function noting(seen) {
  return async (url, init) => {
    const resumes = new Headers(init?.headers).has('last-event-id');
    const response = await fetch(url, init);
    seen.push({ method: init?.method ?? 'GET', status: response.status, resumes });
    return response;
  };
}

export async function drive(kit) {
  const me = await kit.connect();
  const { client, seen, asked, logs, changes } = me;
  const call = async (name, args = {}, options) => text(await kit.call(client, name, args, options));
  const streaming = kit.era === 'http';
  const listening = peer => until('its stream', () => peer.seen.some(s => s.method === 'GET' && s.status === 200));
  say('connect', { server: client.getServerVersion().name });

  say('list', {
    tools: (await client.listTools()).tools.map(t => t.name),
    resources: (await client.listResources()).resources.map(r => r.uri),
    templates: (await client.listResourceTemplates()).resourceTemplates.map(r => r.uriTemplate),
    prompts: (await client.listPrompts()).prompts.map(p => p.name),
  });
  say('read', {
    resource: (await client.readResource({ uri: GREETING })).contents[0].text,
    template: (await client.readResource({ uri: 'clients://notes/7' })).contents[0].text,
    prompt: (await client.getPrompt({ name: 'greet', arguments: { name: 'Ada' } })).messages[0].content.text,
  });
  say('call', { answer: await call('echo', { text: 'hi' }) });

  if (streaming && !kit.brief) await listening(me);
  if (kit.era !== 'sse' && !kit.brief) {
    const [a, b, c] = [await call('pid'), await call('pid'), await call('pid')];
    say('processes', { turns: a === c && a !== b });
  }

  if (kit.era !== 'modern') await client.setLoggingLevel('info');
  const progress = [];
  const counted = await call('count', { to: 3, pace_s: 0.05 }, { onprogress: p => progress.push([p.progress, p.message]) });
  say('count', { answer: counted, progress, logs: [...logs] });

  if (kit.era !== 'modern' && !kit.brief) say('ask', { answer: await call('ask') });
  say('confirm', { answer: await call('confirm', { action: 'delete' }) });
  say('sample', { answer: await call('sample', { topic: 'rain' }) });
  say('roots', { answer: await call('roots') });
  say('asked', { asked: [...asked] });
  if (kit.brief) return kit.close(me);

  await cancel(call, streaming ? seen : undefined);
  if (streaming) await resume(call, seen);
  if (kit.era === 'sse') await comeBack(call);
  await hear(kit, me, listening);

  await kit.close(me);
  const statuses = method => seen.filter(s => s.method === method && !s.resumes).map(s => s.status);
  say('close', streaming ? { standalone: statuses('GET'), ended: statuses('DELETE') } : {});
}

async function cancel(call, seen) {
  const token = randomUUID();
  const abort = new AbortController();
  const begun = call('slow', { token }, { signal: abort.signal, onprogress: () => abort.abort() });
  const outcome = await begun.then(() => 'answered', () => 'rejected');
  await until('the cancellation', async () => (await call('fate', { token })) === 'cancelled');
  // The stream has ended without an answer, so the client comes back for one, until it is told that there is none.
  if (seen) await until('the end of its stream', () => seen.some(s => s.resumes && s.status === 405));
  say('cancel', { outcome });
}

async function resume(call, seen) {
  const resumed = () => seen.filter(s => s.resumes && s.status === 200).length;
  const mark = resumed();
  const answer = await call('drop_stream');
  say('dropped', { answer, resumed: resumed() - mark });

  const token = randomUUID();
  const before = resumed();
  let waiting = () => {};
  const begun = new Promise(resolve => (waiting = resolve));
  const waited = call('wait', { token }, { onprogress: waiting });
  await begun;
  say('cut', { method: 'POST' }); // whoever reads this cuts the connections of the answers under way
  await until('the resumption', () => resumed() > before);
  const released = await call('release', { token });
  say('resumed', { pids: [await waited, released].map(Number).every(pid => pid > 0), resumed: resumed() - before });
}

async function comeBack(call) {
  const token = randomUUID();
  let waiting = () => {};
  const begun = new Promise(resolve => (waiting = resolve));
  const lost = call('wait', { token }, { onprogress: waiting, timeout: 1500 }).then(() => 'answered', () => 'rejected');
  await begun;
  say('cut', { method: 'GET' });
  const outcome = await lost;
  await until('an answer on the new stream', async () => {
    const answer = await call('echo', { text: 'again' }, { timeout: 1000 }).catch(() => '');
    return answer === 'again';
  });
  await call('release', { token }); // the call itself went on, for a client that says where it was
  say('back', { outcome });
}

async function hear(kit, me, listening) {
  // On HTTP+SSE all calls run where the stream is held: only another wire reaches both processes.
  const other = await kit.connect(kit.era === 'sse' ? 'http' : kit.era);
  if (kit.era === 'http') await listening(me);
  const ended = await kit.subscribe(me, GREETING);
  const tell = async (name, args) => text(await kit.call(other.client, name, args));
  const heard = async (method, count) =>
    until(method, () => me.changes.filter(change => change === method).length === count);
  const pids = new Set();
  for (let count = 1; count <= 6 && pids.size < 2; count++) {
    pids.add(await tell('change', { what: 'tools' }));
    await heard('notifications/tools/list_changed', count);
  }
  await tell('touch', { uri: GREETING });
  await heard(GREETING, 1);
  say('changes', { processes: pids.size });
  await ended();
  await kit.close(other);
}
