// The official TypeScript SDK, version 1: node v1.mjs URL http|sse

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CallToolResultSchema,
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { ANSWERS, drive, noting } from './steps.mjs';

const [url, era, brief] = process.argv.slice(2); // `brief`: only what needs no stream of the server's own

async function connect(wire = era) {
  const me = { seen: [], asked: [], logs: [], changes: [] };
  const fetch = noting(me.seen);
  const capabilities = { elicitation: {}, sampling: {}, roots: {} };
  me.client = new Client({ name: 'typescript-v1', version: '1.0.0' }, { capabilities });
  me.client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
    me.asked.push(params.message);
    return { action: 'accept', content: ANSWERS[params.message] };
  });
  me.client.setRequestHandler(CreateMessageRequestSchema, () => {
    me.asked.push('sampling');
    return { role: 'assistant', model: 'test', content: { type: 'text', text: 'a line' } };
  });
  me.client.setRequestHandler(ListRootsRequestSchema, () => {
    me.asked.push('roots');
    return { roots: [{ uri: 'file:///srv' }] };
  });
  me.client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void me.logs.push(params.data));
  me.client.setNotificationHandler(ToolListChangedNotificationSchema, ({ method }) => void me.changes.push(method));
  me.client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => void me.changes.push(params.uri));
  me.transport =
    wire === 'sse'
      ? new SSEClientTransport(new URL(`${url}/sse`), { fetch })
      : new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { fetch });
  await me.client.connect(me.transport);
  return me;
}

await drive({
  era,
  brief: brief === 'brief',
  connect,
  call: (client, name, args, options) => client.callTool({ name, arguments: args }, CallToolResultSchema, options),
  subscribe: async ({ client }, uri) => {
    await client.subscribeResource({ uri });
    return () => client.unsubscribeResource({ uri });
  },
  close: async ({ client, transport }) => {
    await transport.terminateSession?.();
    await client.close();
  },
});
