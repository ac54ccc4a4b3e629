// Prints the official JSON Schema of protocol revision 2025-11-25 as the official conformance suite carries it: the suite
// is published as one file of code, and the schema is an object literal in it.

import fs from 'node:fs';
import vm from 'node:vm';

const source = fs.readFileSync(process.argv[2], 'utf8');
const name = /"2025-11-25":([\w$]+)/.exec(source)?.[1];
const start = source.indexOf(`${name}={$schema:`);
if (!name || start < 0) throw new Error('the suite carries no schema of 2025-11-25 where it used to');

// The literal ends at the brace that closes it. Braces in strings and templates do not count.
let depth = 0;
let at = source.indexOf('{', start);
const first = at;
for (; ; at++) {
  const char = source[at];
  if (char === '"' || char === "'" || char === '`') {
    for (at++; source[at] !== char; at++) if (source[at] === '\\') at++;
  } else if (char === '{') depth++;
  else if (char === '}' && --depth === 0) break;
}
process.stdout.write(JSON.stringify(vm.runInNewContext(`(${source.slice(first, at + 1)})`)));
