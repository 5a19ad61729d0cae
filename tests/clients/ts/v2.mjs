// The official TypeScript SDK, version 2: node v2.mjs URL modern|http|sse

import { Client, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { ANSWERS, drive, noting } from './steps.mjs';

const [url, era, brief] = process.argv.slice(2); // `brief`: only what needs no stream of the server's own

async function connect(wire = era) {
  const me = { seen: [], asked: [], logs: [], changes: [] };
  const fetch = noting(me.seen);
  const capabilities = { elicitation: {}, sampling: {}, roots: {} };
  const versionNegotiation = { mode: era === 'modern' ? { pin: '2026-07-28' } : 'legacy' };
  me.client = new Client({ name: 'typescript-v2', version: '1.0.0' }, { capabilities, versionNegotiation });
  me.client.setRequestHandler('elicitation/create', ({ params }) => {
    me.asked.push(params.message);
    return { action: 'accept', content: ANSWERS[params.message] };
  });
  me.client.setRequestHandler('sampling/createMessage', () => {
    me.asked.push('sampling');
    return { role: 'assistant', model: 'test', content: { type: 'text', text: 'a line' } };
  });
  me.client.setRequestHandler('roots/list', () => {
    me.asked.push('roots');
    return { roots: [{ uri: 'file:///srv' }] };
  });
  me.client.setNotificationHandler('notifications/message', ({ params }) => void me.logs.push(params.data));
  me.client.setNotificationHandler('notifications/tools/list_changed', ({ method }) => void me.changes.push(method));
  me.client.setNotificationHandler('notifications/resources/updated', ({ params }) => void me.changes.push(params.uri));
  me.transport =
    wire === 'sse'
      ? new SSEClientTransport(new URL(`${url}/sse`), { fetch })
      : new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { fetch });
  await me.client.connect(me.transport);
  return me;
}

// On 2026-07-28 a call asks for its own log messages.
const meta = era === 'modern' ? { _meta: { 'io.modelcontextprotocol/logLevel': 'info' } } : {};

await drive({
  era,
  brief: brief === 'brief',
  connect,
  call: (client, name, args, options) => client.callTool({ name, arguments: args, ...meta }, options),
  subscribe: async ({ client }, uri) => {
    if (era === 'modern') {
      const subscription = await client.listen({ toolsListChanged: true, resourceSubscriptions: [uri] });
      return () => subscription.close();
    }
    await client.subscribeResource({ uri });
    return () => client.unsubscribeResource({ uri });
  },
  close: async ({ client, transport }) => {
    await transport.terminateSession?.();
    await client.close();
  },
});
