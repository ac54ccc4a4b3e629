// The stock npm clients through one life with the edge; see life.py. The first argument is the folder of the packages, the
// second the package: `sdk` (1.x) or `client` (2.x). The third is the plan.

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [folder, which, planned] = process.argv.slice(2);
const plan = JSON.parse(planned);
const require = createRequire(pathToFileURL(`${folder}/package.json`));
const load = (name) => import(pathToFileURL(require.resolve(name)));
const scope = '@modelcontextprotocol';

let Client, Transport;
if (which === 'sdk') {
  ({ Client } = await load(`${scope}/sdk/client/index.js`));
  ({ StreamableHTTPClientTransport: Transport } = await load(`${scope}/sdk/client/streamableHttp.js`));
} else {
  ({ Client, StreamableHTTPClientTransport: Transport } = await load(`${scope}/client`));
}

const headers = plan.token ? { Authorization: `Bearer ${plan.token}` } : {};
const report = {};
const result = (answer) => ({ text: answer.content[0].text, isError: answer.isError ?? false, meta: answer._meta ?? {} });

async function connect() {
  const transport = new Transport(new URL(plan.url), { requestInit: { headers } });
  const client = new Client({ name: 'chio-tests', version: '1.0.0' }, { capabilities: {} });
  await client.connect(transport);
  return { client, transport };
}

const { client, transport } = await connect();
report.protocol = transport.protocolVersion ?? client.getNegotiatedProtocolVersion?.();
report.experimental = client.getServerCapabilities().experimental;
report.tools = (await client.listTools()).tools.map((tool) => tool.name);
report.echo = result(await client.callTool({ name: 'echo', arguments: { message: 'hello' } }));
report.denied = result(await client.callTool({ name: plan.denied, arguments: {} }));
report.resumed = result(await client.callTool({ name: 'test_reconnection', arguments: {} }));
await (await fetch(plan.lose)).text();
try {
  await client.callTool({ name: 'echo', arguments: { message: 'lost' } });
  report.lost = null;
} catch (error) {
  report.lost = `${error.constructor.name}: ${error.message}`;
}
await client.close();

const again = await connect();
report.recovered = result(await again.client.callTool({ name: 'echo', arguments: { message: 'again' } }));
await again.transport.terminateSession();
await again.client.close();
console.log(JSON.stringify(report));
