// The official TypeScript SDK, version 1: node v1.mjs URL http|sse [DOCUMENT]

import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { drive } from './steps.mjs';

const [url, wire, document] = process.argv.slice(2);
const [Transport, path] = wire === 'sse' ? [SSEClientTransport, '/sse'] : [StreamableHTTPClientTransport, '/mcp'];

await drive({
  document,
  make: wallet => ({
    client: new Client({ name: 'typescript-v1', version: '1.0.0' }),
    transport: new Transport(new URL(url + path), { authProvider: wallet }),
  }),
  connect: ({ client, transport }) => client.connect(transport),
  call: ({ client }, name, args) => client.callTool({ name, arguments: args }),
  isUnauthorized: error => error instanceof UnauthorizedError,
  finish: ({ transport }, query) => transport.finishAuth(query.get('code')),
  close: ({ client }) => client.close(),
  // It answers a 403 by refreshing, which cannot grant more, and only without a refresh token by asking its user. On
  // HTTP+SSE it does not answer a 403 at all.
  stepUp:
    wire === 'sse'
      ? undefined
      : (call, wallet) => {
          delete wallet.kept.tokens.refresh_token;
          return call();
        },
});
