// The official TypeScript SDK, version 2: node v2.mjs URL modern|http|sse [DOCUMENT]

import { Client, SSEClientTransport, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { drive } from './steps.mjs';

const [url, wire, document] = process.argv.slice(2);
const [Transport, path] = wire === 'sse' ? [SSEClientTransport, '/sse'] : [StreamableHTTPClientTransport, '/mcp'];
const versionNegotiation = { mode: wire === 'modern' ? { pin: '2026-07-28' } : 'legacy' };

await drive({
  document,
  make: wallet => ({
    client: new Client({ name: 'typescript-v2', version: '1.0.0' }, { versionNegotiation }),
    transport: new Transport(new URL(url + path), { authProvider: wallet }),
  }),
  connect: ({ client, transport }) => client.connect(transport),
  call: ({ client }, name, args) => client.callTool({ name, arguments: args }),
  isUnauthorized: error => error instanceof UnauthorizedError,
  finish: ({ transport }, query) => transport.finishAuth(query), // with `iss`, which it checks (RFC 9207)
  close: ({ client }) => client.close(),
  stepUp: wire === 'sse' ? undefined : call => call(), // on HTTP+SSE it does not answer a 403
});
